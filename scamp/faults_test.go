package scamp_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A book notes every request at both ends, and says at the end what does not add up:
// the rules of THREATS 3.2 that concern one call.
type book struct {
	mu       sync.Mutex
	ran      map[string]int // by nonce, at the services
	ended    map[string]int // by nonce, at the callers
	problems []string

	ok, cancelled, notRun, maybe, refusedByAction int
}

func newBook() *book { return &book{ran: map[string]int{}, ended: map[string]int{}} }

// begin notes that a handler runs for a request.
func (b *book) begin(nonce string) {
	b.mu.Lock()
	b.ran[nonce]++
	b.mu.Unlock()
}

// end notes how a call ended.
func (b *book) end(nonce, body, reply string, err error, cancelled bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended[nonce]++
	ran := ranOf(err)
	switch {
	case err == nil && reply != hash(body):
		b.problems = append(b.problems, fmt.Sprintf("%s: a reply to something else", nonce))
	case err == nil:
		b.ok++
	case cancelled && errors.Is(err, context.Canceled):
		b.cancelled++
	case ran == scamp.RanNo:
		b.notRun++
		b.problemIf(b.ran[nonce] > 0, nonce, "not run, says the error, but it ran", err)
	case ran == scamp.RanMaybe:
		b.maybe++
	default:
		b.refusedByAction++
		b.problemIf(true, nonce, "the action failed, which it never does", err)
	}
	b.problemIf(ran == scamp.RanNo && b.ran[nonce] > 0, nonce, "not run, says the error, but it ran", err)
}

func (b *book) problemIf(bad bool, nonce, what string, err error) {
	if bad {
		b.problems = append(b.problems, fmt.Sprintf("%s: %s: %v", nonce, what, err))
	}
}

// check joins both ends. A call that was said not to have run must not run later
// either, so this comes when all is over.
func (b *book) check(t *testing.T, calls int, least float64) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for nonce, n := range b.ran {
		if n > 1 {
			b.problems = append(b.problems, fmt.Sprintf("%s ran %d times", nonce, n))
		}
	}
	for nonce, n := range b.ended {
		if n != 1 {
			b.problems = append(b.problems, fmt.Sprintf("%s ended %d times", nonce, n))
		}
	}
	if len(b.ended) != calls {
		b.problems = append(b.problems, fmt.Sprintf("%d calls ended, %d were made", len(b.ended), calls))
	}
	for i, p := range b.problems {
		if i == 10 {
			t.Errorf("and %d more problems", len(b.problems)-i)
			break
		}
		t.Error(p)
	}
	rate := float64(b.ok) / float64(calls-b.cancelled)
	t.Logf("%d calls: %d ok, %d cancelled, %d not run, %d maybe", calls, b.ok, b.cancelled, b.notRun, b.maybe)
	if rate < least {
		t.Errorf("%.2f%% of the calls that were not cancelled are ok, want at least %.2f%%", 100*rate, 100*least)
	}
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// noted registers an action that answers the hash of its body, and notes each run under
// the nonce its body begins with.
func (b *book) noted(s *scamp.Service) {
	s.Handle("Fault.hash", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
		nonce := make([]byte, 16)
		if _, err := io.ReadFull(req.Body, nonce); err != nil {
			return err
		}
		b.begin(string(nonce))
		<-time.After(time.Duration(rand.IntN(20)) * time.Millisecond) // so that a fault finds it
		sum := sha256.New()
		sum.Write(nonce)
		if _, err := io.Copy(sum, req.Body); err != nil {
			return err
		}
		return rep.SetBytes([]byte(hex.EncodeToString(sum.Sum(nil))))
	}, nil)
}

// load makes calls from several goroutines until ctx ends, 5 % of them cancelled, and
// returns how many.
func (b *book) load(t *testing.T, ctx context.Context, bus *scamp.Bus) int {
	var callers sync.WaitGroup
	var mu sync.Mutex
	calls := 0
	for c := range 4 {
		callers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(c), 1))
			for i := 0; ctx.Err() == nil; i++ {
				<-time.After(time.Duration(r.IntN(40)) * time.Millisecond)
				nonce := fmt.Sprintf("%04d-%011d", c, i)
				size := []int{16, 200, 200, 200, 8 << 10, 8 << 10, 100 << 10}[r.IntN(7)]
				body := nonce + strings.Repeat("x", size-16)
				one, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				cancelled := r.IntN(20) == 0
				if cancelled {
					time.AfterFunc(time.Duration(r.IntN(3))*time.Millisecond, cancel)
				}
				req := &scamp.Request{Action: "Fault.hash", Data: []byte(body)}
				if r.IntN(3) == 0 {
					req.Data, req.GetBody = nil, func() (io.Reader, error) { return strings.NewReader(body), nil }
				}
				o := <-inBackground(one, bus, req)
				cancel()
				b.end(nonce, body, o.body, o.err, cancelled)
				mu.Lock()
				calls++
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	return calls
}

// TestFaults has the rows of THREATS 3.3 that concern one service and its callers, in
// synthetic time and on pipes: ten seconds each.
func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		name  string
		least float64 // part of the calls that succeed
		fault func(t *testing.T, n *scamptest.Network, b *book, over <-chan struct{})
	}{
		{"F1_none", 1, func(t *testing.T, n *scamptest.Network, b *book, over <-chan struct{}) {
			n.Serve("a", b.noted)
			n.Serve("b", b.noted)
			<-over
		}},
		{"F6_every_connection_cut", 0.97, func(t *testing.T, n *scamptest.Network, b *book, over <-chan struct{}) {
			a, c := n.Serve("a", b.noted), n.Serve("b", b.noted)
			every(over, time.Second, func() { n.Cut(a); n.Cut(c) })
		}},
		{"F8_an_instance_killed_and_started_anew", 0.97, func(t *testing.T, n *scamptest.Network, b *book, over <-chan struct{}) {
			n.Serve("a", b.noted)
			s := n.Serve("b", b.noted)
			every(over, 3*time.Second, func() {
				n.Kill(s)
				<-time.After(time.Second)
				s = n.Serve("b", b.noted)
			})
		}},
		{"F9_rolling_restart", 1, func(t *testing.T, n *scamptest.Network, b *book, over <-chan struct{}) {
			start := func() *scamptest.Service {
				k := n.KeyPair()
				n.Allow(k, "main:ALL")
				return n.ServeWith("a", &scamp.ServiceOptions{KeyPair: k, Grace: 300 * time.Millisecond}, b.noted)
			}
			old := start()
			every(over, time.Second, func() {
				next := start()
				<-time.After(100 * time.Millisecond)
				if err := old.Stop(); err != nil {
					t.Error(err)
				}
				old = next
			})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, b := scamptest.New(t), newBook()
				bus := n.Bus(nil)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				var calls int
				done := make(chan struct{})
				go func() { // ends with ctx
					<-time.After(time.Second) // the services are there
					calls = b.load(t, ctx, bus)
					close(done)
				}()
				tt.fault(t, n, b, done)
				<-done
				b.check(t, calls, tt.least)
			})
		})
	}
}

// every does something again and again until over is closed.
func every(over <-chan struct{}, interval time.Duration, do func()) {
	for {
		select {
		case <-over:
			return
		case <-time.After(interval):
			do()
		}
	}
}
