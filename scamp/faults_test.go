package scamp_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/internal/ledger"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A book is the ledgers of both ends of a fault test.
type book struct{ callers, services *ledger.Ledger }

func newBook() *book {
	return &book{ledger.New("callers", nil), ledger.New("services", nil)}
}

// noted registers an action that answers the nonce its body begins with and the hash of
// the body, and notes each run.
func (b *book) noted(s *scamp.Service) {
	s.Handle("Fault.hash", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
		var nonce ledger.Nonce
		if _, err := io.ReadFull(req.Body, nonce[:]); err != nil {
			return err
		}
		id := nonce.String()
		b.services.Run(id)
		r := rand.New(rand.NewPCG(binary.BigEndian.Uint64(nonce[:]), binary.BigEndian.Uint64(nonce[8:])))
		<-time.After(time.Duration(r.IntN(int(20 * time.Millisecond)))) // so that a fault finds it
		var arrived ledger.Meter
		arrived.Write(nonce[:])
		_, err := io.Copy(&arrived, req.Body)
		sum := arrived.Sum()
		reply := append(nonce[:], sum.SHA256[:]...)
		b.services.Served(id, sum, err == nil, ledger.SumOf(reply))
		if err != nil {
			return err
		}
		return rep.SetBytes(reply)
	}, nil)
}

// call makes one call and notes how it began and ended.
func (b *book) call(t *testing.T, bus *scamp.Bus, nonce ledger.Nonce, r *rand.Rand) {
	size := []int{16, 200, 200, 200, 8 << 10, 8 << 10, 100 << 10}[r.IntN(7)]
	body := append(nonce[:], bytes.Repeat([]byte{'x'}, size-len(nonce))...)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	cancelled := r.IntN(20) == 0
	if cancelled {
		time.AfterFunc(time.Duration(r.IntN(int(3*time.Millisecond))), cancel)
	}
	req := &scamp.Request{Action: "Fault.hash", Data: body}
	if r.IntN(3) == 0 {
		req.Data, req.GetBody = nil, func() (io.Reader, error) { return bytes.NewReader(body), nil }
	}
	deadline, _ := ctx.Deadline()
	b.callers.Issue(nonce.String(), nonce, ledger.SumOf(body), false, deadline)
	o := <-inBackground(ctx, bus, req)
	end := ledger.End{Cancelled: cancelled, Text: fmt.Sprint(o.err)}
	switch {
	case o.err == nil:
		end.Outcome, end.Reply = ledger.OK, ledger.SumOf([]byte(o.body))
		copy(end.Nonce[:], o.body)
	case ranOf(o.err) == scamp.RanNo:
		end.Outcome = ledger.NotRun
	case ranOf(o.err) == scamp.RanMaybe:
		end.Outcome = ledger.MaybeRun
	default:
		end.Outcome = ledger.Error
	}
	b.callers.End(nonce.String(), end)
}

// load makes calls from several goroutines until ctx ends, 5 % of them cancelled.
func (b *book) load(ctx context.Context, t *testing.T, bus *scamp.Bus, seed uint64) {
	var callers sync.WaitGroup
	for c := range 4 {
		callers.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(c)))
			for i := 0; ctx.Err() == nil; i++ {
				<-time.After(time.Duration(r.IntN(int(40 * time.Millisecond)))) // no two at once
				var nonce ledger.Nonce
				copy(nonce[:], fmt.Sprintf("%04d-%011d", c, i))
				b.call(t, bus, nonce, r)
			}
		})
	}
	callers.Wait()
}

// check joins both ends. A call that was said not to have run must not run later
// either, so this comes when all is over.
func (b *book) check(t *testing.T, least float64) ledger.Totals {
	t.Helper()
	report := ledger.Check(append(b.callers.Records(), b.services.Records()...), least)
	if len(report.Violations) > 0 || report.Totals.Issued < 100 {
		t.Errorf("%v", report)
	}
	return report.Totals
}

// TestFaults has the rows of THREATS 3.3 that concern one service and its callers, in
// synthetic time and on pipes: ten seconds each. One of them, with SCAMP_TEST_LONG each, is
// run twice with one seed, and then the same calls end the same way and the directory
// tells the same.
func TestFaults(t *testing.T) {
	twice := rand.IntN(4)
	for i, tt := range []struct {
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
			seed := rand.Uint64()
			first, events := faultRun(t, seed, tt.least, tt.fault)
			t.Logf("seed %d: %+v, %d events of the directory", seed, first, len(events))
			if i != twice && os.Getenv("SCAMP_TEST_LONG") == "" {
				return
			}
			again, same := faultRun(t, seed, tt.least, tt.fault)
			if first != again || !slices.Equal(events, same) {
				t.Errorf("seed %d: totals %+v, then %+v, events\n%s\nthen\n%s\nwant them equal", seed, first, again, strings.Join(events, "\n"), strings.Join(same, "\n"))
			}
		})
	}
}

// faultRun runs a row once. It returns what the ledgers add up to, and what happened in
// the caller's directory and when.
func faultRun(t *testing.T, seed uint64, least float64, fault func(*testing.T, *scamptest.Network, *book, <-chan struct{})) (totals ledger.Totals, events []string) {
	synctest.Test(t, func(t *testing.T) {
		n, b := scamptest.New(t), newBook()
		n.Seed = seed
		bus := n.Bus(nil)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		watched := make(chan struct{})
		go func() { // ends with ctx
			defer close(watched)
			for e := range bus.Directory().Watch(ctx, discovery.Query{Action: "Fault.hash"}) {
				events = append(events, fmt.Sprintf("%v %v %v %s %s", time.Since(began), e.Kind, e.Why, e.Route.Ident, e.Route.Address))
			}
		}()
		done := make(chan struct{})
		go func() { // ends with ctx
			<-time.After(time.Second) // the services are there
			b.load(ctx, t, bus, seed)
			close(done)
		}()
		fault(t, n, b, done)
		<-done
		<-watched
		totals = b.check(t, least)
	})
	return totals, events
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
