//go:build resource && linux

package scamp_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

const echoChild = "SCAMP_TEST_ECHO_CHILD"

// TestResourceEchoService is no test: it is the service that TestResourceGigabyteEcho
// starts as a process of its own. It ends when its standard input does.
func TestResourceEchoService(t *testing.T) {
	if os.Getenv(echoChild) == "" {
		t.Skip("only runs as the child of TestResourceGigabyteEcho")
	}
	bus, err := scamp.Open(nil, &scamp.Options{Carriers: []discovery.Carrier{discovery.NewLoopback()}})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	svc, err := bus.NewService("echo", &scamp.ServiceOptions{Listen: []string{"127.0.0.1:0"}, KeyPair: samplePair(t), Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	svc.Handle("Echo.echo", echo, nil)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-svc.Ready(); fmt.Printf("listening %s\n", svc.Addr()) }()
	go func() { io.Copy(io.Discard, os.Stdin); cancel() }()
	if err := svc.Serve(ctx); err != nil {
		t.Fatal(err)
	}
}

// A gigabyte passes through constant memory in both processes, and small calls on the
// same connection overtake it (DESIGN 1, sentence 6).
func TestResourceGigabyteEcho(t *testing.T) {
	child := exec.Command(os.Args[0], "-test.run=^TestResourceEchoService$", "-test.v")
	child.Env = append(os.Environ(), echoChild+"=1")
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var rest sync.WaitGroup
	defer rest.Wait()
	defer child.Wait()
	defer in.Close()
	lines := bufio.NewScanner(out)
	addr := ""
	for addr == "" && lines.Scan() {
		_, addr, _ = strings.Cut(lines.Text(), "listening ")
	}
	rest.Go(func() { io.Copy(io.Discard, out) }) // ends with the child
	c, err := scamp.Dial(t.Context(), addr, scamp.Identity{Certificate: samplePair(t).Certificate}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	echoed(t, c, 64<<20) // warm up: the same operation, so that pools are full
	pids := []int{os.Getpid(), child.Process.Pid}
	before := []int{anonymous(t, pids[0]), anonymous(t, pids[1])}
	most := []int{0, 0}
	done := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			for i, pid := range pids {
				most[i] = max(most[i], anonymous(t, pid)-before[i])
			}
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	calls, slowest := 0, time.Duration(0)
	watch.Go(func() {
		for {
			began := time.Now()
			reply, err := c.Call(context.Background(), &scamp.Request{Action: "Echo.echo", Data: []byte("small")})
			if err == nil {
				_, err = reply.Bytes(0)
			}
			if err != nil {
				t.Errorf("small call beside the large one: %v", err)
				return
			}
			calls++
			slowest = max(slowest, time.Since(began))
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	began := time.Now()
	echoed(t, c, 1<<30)
	took := time.Since(began)
	close(done)
	watch.Wait()
	t.Logf("1 GiB there and back in %v; memory grew by %d KiB here and %d KiB at the service; %d small calls meanwhile, the slowest took %v",
		took.Round(time.Millisecond), most[0], most[1], calls, slowest.Round(time.Microsecond))
	for i, who := range []string{"caller", "service"} {
		if most[i] >= 16<<10 {
			t.Errorf("memory of the %s grew by %d KiB, want less than 16 MiB", who, most[i])
		}
	}
	if calls < 20 || slowest > 2*time.Second {
		t.Errorf("%d small calls, the slowest took %v: want them to go on", calls, slowest)
	}
}

// echoed sends n octets and wants the same back.
func echoed(t *testing.T, c *scamp.Client, n int64) {
	t.Helper()
	reply, err := c.Call(context.Background(), &scamp.Request{Action: "Echo.echo", Body: io.LimitReader(&pattern{}, n)})
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	got, err := io.Copy(&wantPattern{}, reply.Body)
	if err != nil || got != n {
		t.Fatalf("echo of %d octets: %d came back, error %v", n, got, err)
	}
}

const prime = 65521 // so that the pattern repeats at no power of two

// A pattern is octets that can be checked wherever one is in them.
type pattern struct{ at int64 }

func (p *pattern) Read(b []byte) (int, error) {
	n := copy(b, patternOctets[p.at%prime:prime])
	p.at += int64(n)
	return n, nil
}

type wantPattern struct{ at int64 }

func (p *wantPattern) Write(b []byte) (int, error) {
	for done := 0; done < len(b); {
		want := patternOctets[p.at%prime : prime]
		n := min(len(want), len(b)-done)
		if !bytes.Equal(b[done:done+n], want[:n]) {
			return 0, errors.New("other octets came back than were sent")
		}
		done += n
		p.at += int64(n)
	}
	return len(b), nil
}

var patternOctets = func() []byte {
	b := make([]byte, prime)
	for i := range b {
		b[i] = byte(i * i >> 3)
	}
	return b
}()

// anonymous is the anonymous resident memory of a process in KiB.
func anonymous(t *testing.T, pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Error(err)
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kib, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")))
			if err != nil {
				t.Error(err)
			}
			return kib
		}
	}
	t.Error("no RssAnon in /proc: this test needs Linux 4.5")
	return 0
}
