//go:build failpoint && unix

package scamp_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// What the tests of failpoints tell their children, by environment, and the place where
// one of them is to die.
const (
	failpointRuns = "SCAMP_FAILPOINT_RUNS" // file of a service: a line for each handler that runs
	failpointAddr = "SCAMP_FAILPOINT_ADDR" // of the service that a caller asks
	failpointAt   = "SCAMP_FAILPOINT"
)

// TestFailpointChild is no test: it is the service or the caller that may die at a
// failpoint. It ends when its standard input does.
func TestFailpointChild(t *testing.T) {
	switch {
	case os.Getenv(failpointRuns) != "":
		beMortalService(t)
	case os.Getenv(failpointAddr) != "":
		beMortalCaller(t)
	default:
		t.Skip("only a process that other tests of failpoints start does this")
	}
}

// beMortalService answers with what it got, a megabyte or not at all, and writes down each
// run before anything else.
func beMortalService(t *testing.T) {
	runs, err := os.OpenFile(os.Getenv(failpointRuns), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer runs.Close()
	bus, err := scamp.Open(nil, &scamp.Options{Carriers: []discovery.Carrier{discovery.NewLoopback()}})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	svc, err := bus.NewService("mortal", &scamp.ServiceOptions{Listen: []string{"127.0.0.1:0"}, KeyPair: samplePair(t), Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	note := func(req *scamp.Request) error {
		_, err := fmt.Fprintf(runs, "%d\n", req.ClientID)
		return err
	}
	svc.Handle("Mortal.echo", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
		if err := note(req); err != nil {
			return err
		}
		body, err := req.Bytes()
		if err != nil {
			return err
		}
		return rep.SetBytes(body)
	}, nil)
	svc.Handle("Mortal.wait", func(ctx context.Context, req *scamp.Request, _ *scamp.ReplyWriter) error {
		if err := note(req); err != nil {
			return err
		}
		<-ctx.Done()
		return context.Cause(ctx)
	}, nil)
	svc.Handle("Mortal.big", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
		if err := note(req); err != nil {
			return err
		}
		_, err := rep.ReadFrom(io.LimitReader(zeros{}, mortalBig))
		return err
	}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { io.Copy(io.Discard, os.Stdin); cancel() }() // ends with standard input
	go func() { <-svc.Ready(); fmt.Printf("listening %s\n", svc.Addr()) }()
	if err := svc.Serve(ctx); err != nil {
		t.Fatal(err)
	}
}

const mortalBig = 1 << 20 // octets of a reply of Mortal.big

// beMortalCaller calls again and again, one call after the other, until it dies.
func beMortalCaller(t *testing.T) {
	c, err := scamp.Dial(t.Context(), os.Getenv(failpointAddr), scamp.Identity{Certificate: samplePair(t).Certificate}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for id := int64(1); id < 1000; id++ {
		mustEcho(t, c, id)
	}
	t.Error("alive after 1000 calls")
}

// mustEcho makes a call with a number that must succeed.
func mustEcho(t *testing.T, c scamp.Caller, id int64) {
	t.Helper()
	reply, err := c.Call(t.Context(), &scamp.Request{Action: "Mortal.echo", ClientID: id})
	if err == nil {
		_, err = reply.Bytes(0)
	}
	if err != nil {
		t.Fatalf("call %d: %v", id, err)
	}
}

// A mortal is a process that dies at a failpoint, unless place is "".
type mortal struct {
	t     *testing.T
	place string
	cmd   *exec.Cmd
	in    io.Closer
	addr  string // of a service
	runs  string // its file
	out   strings.Builder
	ended chan struct{} // closed when all that it prints was read
	once  sync.Once
	died  bool
}

// startMortal starts a service, or a caller of the service at addr.
func startMortal(t *testing.T, place, addr string) *mortal {
	t.Helper()
	m := &mortal{t: t, place: place, ended: make(chan struct{})}
	m.cmd = exec.Command(os.Args[0], "-test.run=^TestFailpointChild$", "-test.timeout=2m")
	m.cmd.Env = append(os.Environ(), failpointAt+"="+place)
	if addr == "" {
		m.runs = t.TempDir() + "/runs"
		m.cmd.Env = append(m.cmd.Env, failpointRuns+"="+m.runs)
	} else {
		m.cmd.Env = append(m.cmd.Env, failpointAddr+"="+addr)
	}
	in, err := m.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	m.in, m.cmd.Stderr = in, m.cmd.Stdout // the pipe's other end
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listening := make(chan string, 1)
	go func() { // ends with the process
		defer close(m.ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if addr, ok := strings.CutPrefix(lines.Text(), "listening "); ok {
				listening <- addr
			}
			m.out.WriteString(lines.Text() + "\n")
		}
	}()
	t.Cleanup(m.end)
	if addr == "" {
		select {
		case m.addr = <-listening:
		case <-m.ended:
			t.Fatalf("the service ended: %s", m.out.String())
		case <-time.After(30 * time.Second):
			t.Fatal("the service does not listen")
		}
	}
	return m
}

// end ends the process, if it did not die, and waits for it.
func (m *mortal) end() {
	m.once.Do(func() {
		m.in.Close()
		select {
		case <-m.ended:
		case <-time.After(30 * time.Second):
			m.cmd.Process.Kill()
			<-m.ended
		}
		m.cmd.Wait()
		place, _, _ := strings.Cut(m.place, " ")
		status, ok := m.cmd.ProcessState.Sys().(syscall.WaitStatus)
		m.died = ok && status.Signaled() && status.Signal() == syscall.SIGKILL && strings.Contains(m.out.String(), "dies at "+place)
		if !m.died && !m.cmd.ProcessState.Success() {
			m.t.Errorf("a process with failpoint %q: %v: %s", m.place, m.cmd.ProcessState, m.out.String())
		}
	})
}

// wantDeath waits until the process has died at its place.
func (m *mortal) wantDeath() {
	m.t.Helper()
	select {
	case <-m.ended:
	case <-time.After(30 * time.Second):
	}
	m.end()
	if !m.died {
		m.t.Fatalf("the process that is to die at %q lives, or died otherwise: %v: %s", m.place, m.cmd.ProcessState, m.out.String())
	}
}

// countRuns says how often the handlers of services ran for each request.
func countRuns(t *testing.T, services ...*mortal) map[int64]int {
	t.Helper()
	runs := make(map[int64]int)
	for _, m := range services {
		text, err := os.ReadFile(m.runs)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			id, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			runs[id]++
		}
	}
	return runs
}

// mortalBus is a bus that knows these services, and only these.
func mortalBus(t *testing.T, services ...*mortal) *scamp.Bus {
	t.Helper()
	n, pair := scamptest.New(t), samplePair(t)
	n.Allow(pair, "main:ALL")
	bus := n.Bus(&scamp.Options{Dial: dialTCP})
	for i, m := range services {
		a := &discovery.Announcement{Ident: fmt.Sprintf("mortal:%d", i), Weight: 1, Address: "beepish+tls://" + m.addr, Envelopes: []string{"json"},
			Actions:   []discovery.Action{{Class: "Mortal", Name: "echo"}, {Class: "Mortal", Name: "wait"}, {Class: "Mortal", Name: "big"}},
			Timestamp: time.Now().UnixMicro(), Interval: time.Hour, Certificate: pair.Certificate}
		if _, err := a.Sign(pair.Key); err != nil {
			t.Fatal(err)
		}
		if err := bus.Directory().Add(a); err != nil {
			t.Fatal(err)
		}
	}
	return bus
}
