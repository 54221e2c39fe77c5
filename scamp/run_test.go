package scamp_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// PROTOCOL 7.7: a suspended service is found by nobody and answers whoever asks
// nevertheless; resumed, it is found again.
func TestSuspend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		s := serveNamed(n, 1)[0]
		bus := n.Bus(nil)
		client, err := bus.Dial(t.Context(), s.Addr(), scamp.Identity{Certificate: s.KeyPair.Certificate})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		for range 3 {
			if got := where(t, bus, nil, ""); got != s.Addr() {
				t.Errorf("announced: %s", got)
			}
			if err := s.Suspend(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got := where(t, bus, nil, ""); !strings.Contains(got, "it withdrew") {
				t.Errorf("suspended: %s, want that it withdrew", got)
			}
			if got := where(t, client, nil, ""); got != s.Addr() {
				t.Errorf("suspended, asked directly: %s", got)
			}
			time.Sleep(30 * time.Second)
			if err := s.Resume(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		s.Stop()
		if err := s.Resume(t.Context()); err == nil {
			t.Error("Resume after the drain: no error")
		}
		synctest.Wait() // the withdrawal is out, and may not be heard yet
		if got := where(t, bus, nil, ""); !strings.Contains(got, "it withdrew") {
			t.Errorf("stopped: %s, want that it withdrew", got)
		}
	})
}

// Run serves until a signal comes, tells systemd, and drains; whoever fails ends it.
func TestRun(t *testing.T) {
	n := scamptest.New(t)
	socket := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	hear := func() string {
		b := make([]byte, 100)
		systemd.SetReadDeadline(time.Now().Add(10 * time.Second))
		size, err := systemd.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:size])
	}
	service := func(name string, actions ...string) *scamp.Service {
		pair := n.KeyPair()
		s, err := n.Bus(nil).NewService(name, &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}, Grace: -1})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range actions {
			s.Handle(a, ok, nil)
		}
		return s
	}
	ended := make(chan error, 1)
	go func() { ended <- scamp.Run(service("one", "One.do"), service("two", "Two.do")) }() // ends with the signal
	if got := hear(); got != "READY=1" {
		t.Errorf("systemd hears %q, want READY=1", got)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := hear(); got != "STOPPING=1" {
		t.Errorf("systemd hears %q, want STOPPING=1", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v, want nil after a drain", err)
	}

	if err := scamp.Run(service("one", "One.do"), service("none")); err == nil || !strings.Contains(err.Error(), "no action is registered") {
		t.Errorf("Run with a service that cannot start: %v", err)
	}
	if got := hear(); got != "STOPPING=1" && hear() != "STOPPING=1" {
		t.Errorf("systemd hears %q", got)
	}
	if err := scamp.Run(); err == nil {
		t.Error("Run of nothing: no error")
	}
}

func TestUntilSignal(t *testing.T) {
	ctx, stop := scamp.UntilSignal(context.Background())
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, scamp.ErrInterrupted) {
		t.Errorf("cause %v, want ErrInterrupted", cause)
	}
	// Copies of it, such as timeout of the coreutils sends to the process and to its group, do
	// not end the process.
	seen := make(chan os.Signal, 1)
	signal.Notify(seen, syscall.SIGINT)
	defer signal.Stop(seen)
	for range 10 {
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		<-seen
	}
	stop()
	stop()
}
