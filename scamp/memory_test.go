//go:build resource && linux

package scamp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/scamp"
)

// servesAlone starts a service as a process of its own, and returns that and a client of it.
func servesAlone(t *testing.T) (*child, *scamp.Client) {
	t.Helper()
	service := startChild(t, hostileRole+"=service", hostileSetup+"={}")
	c, err := scamp.Dial(t.Context(), service.line(t, 20*time.Second, "listening "), scamp.Identity{Certificate: samplePair(t).Certificate}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return service, c
}

// growth is how much more anonymous memory the caller, which is us, and the service need
// than before while something is done, in KiB.
func growth(t *testing.T, service *child, do func()) (caller, at int) {
	t.Helper()
	pids := []int{os.Getpid(), service.pid()}
	before := []int{anonymous(t, pids[0]), anonymous(t, pids[1])}
	most := []int{0, 0}
	done := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { // ends when done is closed
		for {
			for i, pid := range pids {
				most[i] = max(most[i], anonymous(t, pid)-before[i])
			}
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	do()
	close(done)
	watch.Wait()
	return most[0], most[1]
}

// A gigabyte passes through constant memory in both processes, and small calls on the
// same connection overtake it (DESIGN 1, sentence 6).
func TestResourceGigabyteEcho(t *testing.T) {
	const most = 16 << 10 // KiB
	service, c := servesAlone(t)
	echoed(t, c, 64<<20) // warm up: the same operation, so that pools are full
	calls, slowest := 0, time.Duration(0)
	var took time.Duration
	caller, at := growth(t, service, func() {
		done := make(chan struct{})
		var small sync.WaitGroup
		small.Go(func() { // ends when done is closed, or a call fails
			for !t.Failed() {
				began := time.Now()
				call(t, c, "Victim.echo", []byte("small"))
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
		took = time.Since(began)
		close(done)
		small.Wait()
	})
	t.Logf("1 GiB there and back in %v; memory grew by %d KiB here and %d KiB at the service; %d small calls meanwhile, the slowest took %v",
		took.Round(time.Millisecond), caller, at, calls, slowest.Round(time.Microsecond))
	if caller >= most || at >= most {
		t.Errorf("memory grew by %d KiB here and %d KiB at the service, want less than %d", caller, at, most)
	}
	if calls < 20 || slowest > 2*time.Second {
		t.Errorf("%d small calls, the slowest took %v: want them to go on", calls, slowest)
	}
}

// echoed sends n octets and wants the same back.
func echoed(t *testing.T, c *scamp.Client, n int64) {
	t.Helper()
	reply, err := c.Call(context.Background(), &scamp.Request{Action: "Victim.stream", Body: io.LimitReader(&pattern{}, n)})
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
