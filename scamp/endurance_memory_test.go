//go:build resource && linux

package scamp_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

const bothChild = "SCAMP_TEST_BOTH_CHILD"

// TestResourceBothService is no test: it is the service that TestResourceBothWays starts
// as a process of its own. It ends when its standard input does.
func TestResourceBothService(t *testing.T) {
	if os.Getenv(bothChild) == "" {
		t.Skip("only runs as the child of TestResourceBothWays")
	}
	bus, err := scamp.Open(nil, &scamp.Options{Carriers: []discovery.Carrier{discovery.NewLoopback()}})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	svc, err := bus.NewService("both", &scamp.ServiceOptions{Listen: []string{"127.0.0.1:0"}, KeyPair: samplePair(t), Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	bothWays(svc, bothOctets)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-svc.Ready(); fmt.Printf("listening %s\n", svc.Addr()) }()
	go func() { io.Copy(io.Discard, os.Stdin); cancel() }()
	if err := svc.Serve(ctx); err != nil {
		t.Fatal(err)
	}
}

const bothOctets = 64 << 20

// Sixteen times 64 MiB in both directions at once on one connection: all arrive, and
// neither process needs 64 MiB more than at rest after one of them.
func TestResourceBothWays(t *testing.T) {
	const most = 64 << 10 // KiB
	child := exec.Command(os.Args[0], "-test.run=^TestResourceBothService$", "-test.v")
	child.Env = append(os.Environ(), bothChild+"=1")
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

	callBothWays(t, c, 1, bothOctets) // warm up
	pids := []int{os.Getpid(), child.Process.Pid}
	before := []int{anonymous(t, pids[0]), anonymous(t, pids[1])}
	grown := []int{0, 0}
	done := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { // ends when done is closed
		for {
			for i, pid := range pids {
				grown[i] = max(grown[i], anonymous(t, pid)-before[i])
			}
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	began := time.Now()
	callBothWays(t, c, 16, bothOctets)
	took := time.Since(began)
	close(done)
	watch.Wait()
	t.Logf("16 times 64 MiB each way in %v, %.0f MB/s each way; memory grew by %d KiB here and %d KiB at the service",
		took.Round(time.Millisecond), 16*bothOctets/took.Seconds()/1e6, grown[0], grown[1])
	for i, who := range []string{"caller", "service"} {
		if grown[i] >= most {
			t.Errorf("memory of the %s grew by %d KiB, want less than %d", who, grown[i], most)
		}
	}
}
