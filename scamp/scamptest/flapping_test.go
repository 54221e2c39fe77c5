package scamptest_test

import (
	"context"
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

// TestFlappingServices has three services come and go for ten minutes, by every way there
// is, under calls: nothing is lost, and the same seed gives the same events of the
// directory, at the same nanoseconds, and the same totals of the ledger, run after run.
// SCAMP_TEST_LONG=1 makes it a thousand runs.
func TestFlappingServices(t *testing.T) {
	runs := 5
	if os.Getenv("SCAMP_TEST_LONG") == "1" {
		runs = 1000
	}
	const seed = 7
	var first flapping
	for i := range runs {
		var f flapping
		synctest.Test(t, func(t *testing.T) { f.run(t, seed) })
		report := ledger.Check(slices.Concat(f.callers.Records(), f.services.Records()), 0.9)
		if len(report.Violations) > 0 || report.Totals.Issued < 1000 || len(f.events) < 60 {
			t.Fatalf("run %d: %d events, %v", i, len(f.events), report)
		}
		if i == 0 {
			first = f
			first.totals = report.Totals
			t.Logf("%v faults, %d events, %v", f.faults, len(f.events), report)
			continue
		}
		if report.Totals != first.totals {
			t.Fatalf("run %d ended with %+v, the first with %+v: want them alike", i, report.Totals, first.totals)
		}
		if at := slices.Compare(f.events, first.events); at != 0 {
			for j := range min(len(f.events), len(first.events)) {
				if f.events[j] != first.events[j] {
					t.Fatalf("run %d, event %d: %s, in the first run %s: want them alike", i, j, f.events[j], first.events[j])
				}
			}
			t.Fatalf("run %d had %d events, the first %d", i, len(f.events), len(first.events))
		}
	}
	var other flapping
	synctest.Test(t, func(t *testing.T) { other.run(t, seed+1) })
	if slices.Equal(other.events, first.events) {
		t.Error("another seed gave the same events: want others, or they say nothing")
	}
}

// A flapping is one run of ten minutes.
type flapping struct {
	callers, services *ledger.Ledger
	totals            ledger.Totals
	events            []string
	faults            [3]int // of each service
}

func (f *flapping) run(t *testing.T, seed uint64) {
	f.callers, f.services = ledger.New("callers", nil), ledger.New("services", nil)
	n := scamptest.New(t)
	n.Seed = seed
	var all []*scamptest.Service
	for range 3 {
		all = append(all, n.Serve("flap", f.register))
	}
	bus := n.Bus(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var work sync.WaitGroup
	work.Go(func() { f.watch(ctx, bus) })      // ends with ctx
	work.Go(func() { f.load(ctx, bus, seed) }) // as above
	for i := range all {
		work.Go(func() { f.disturb(ctx, n, all[i], &f.faults[i], rand.New(rand.NewPCG(seed, uint64(1000+i)))) }) // as above
	}
	work.Wait()
}

// watch notes every event of a bus, and when it came.
func (f *flapping) watch(ctx context.Context, bus *scamp.Bus) {
	began := time.Now()
	for e := range bus.Directory().Watch(ctx, discovery.Query{Action: "Flap.hash"}) {
		f.events = append(f.events, fmt.Sprintf("%v %v (%v) %s", time.Since(began), e.Kind, e.Why, e.Route.Ident))
	}
}

// disturb does something to a service every half minute or so.
func (f *flapping) disturb(ctx context.Context, n *scamptest.Network, s *scamptest.Service, faults *int, r *rand.Rand) {
	rest := func(least, most time.Duration) bool {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(least + time.Duration(r.Int64N(int64(most-least)))):
			return true
		}
	}
	for rest(5*time.Second, 45*time.Second) {
		*faults++
		switch r.IntN(6) {
		case 0:
			n.Kill(s)
			rest(time.Second, 20*time.Second)
			s = n.Restart(s)
		case 1:
			s.Stop()
			rest(time.Second, 5*time.Second)
			s = n.Restart(s)
		case 2:
			s.Suspend(ctx)
			rest(time.Second, 5*time.Second)
			s.Resume(ctx)
		case 3:
			resume := n.Pause(s)
			rest(time.Second, 20*time.Second)
			resume()
		case 4:
			n.Cut(s)
		case 5:
			n.Disturb(s, scamptest.Line{Delay: 30 * time.Millisecond})
			rest(time.Second, 5*time.Second)
			n.Disturb(s, scamptest.Line{})
		}
	}
}

// load makes two or three calls a second that take up to a third of one, and waits for them.
func (f *flapping) load(ctx context.Context, bus *scamp.Bus, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	var calls sync.WaitGroup
	defer calls.Wait()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(r.Int64N(int64(800 * time.Millisecond)))):
		}
		body := fmt.Sprintf("%016d%s", i, strings.Repeat("x", r.IntN(1000)))
		idempotent, cancelled, patience := r.IntN(3) == 0, r.IntN(20) == 0, 2*time.Second
		if cancelled {
			patience = time.Duration(r.Int64N(int64(300 * time.Millisecond)))
		}
		calls.Go(func() { f.call(bus, body, idempotent, cancelled, patience) }) // ends within its patience
	}
}

func (f *flapping) call(bus *scamp.Bus, body string, idempotent, cancelled bool, patience time.Duration) {
	var nonce ledger.Nonce
	copy(nonce[:], body)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	deadline, _ := ctx.Deadline()
	f.callers.Issue(nonce.String(), nonce, ledger.SumOf([]byte(body)), idempotent, deadline)
	end := ledger.End{Cancelled: cancelled}
	reply, err := bus.Call(ctx, &scamp.Request{Action: "Flap.hash", Data: []byte(body), Idempotent: idempotent})
	var got []byte
	if err == nil {
		got, err = reply.Bytes(0)
	}
	switch end.Text = fmt.Sprint(err); {
	case err == nil:
		end.Outcome, end.Reply = ledger.OK, ledger.SumOf(got)
		copy(end.Nonce[:], got)
	case ran(err) == scamp.RanNo:
		end.Outcome = ledger.NotRun
	case ran(err) == scamp.RanMaybe:
		end.Outcome = ledger.MaybeRun
	default:
		end.Outcome = ledger.Error
	}
	f.callers.End(nonce.String(), end)
}

// register has a service answer what it was sent, after a time that the request decides.
func (f *flapping) register(s *scamp.Service) {
	s.Handle("Flap.hash", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
		var nonce ledger.Nonce
		if _, err := io.ReadFull(req.Body, nonce[:]); err != nil {
			return err
		}
		f.services.Run(nonce.String())
		body, err := io.ReadAll(req.Body)
		body = append(nonce[:], body...)
		<-time.After(time.Duration(len(body)) * 311 * time.Microsecond)
		f.services.Served(nonce.String(), ledger.SumOf(body), err == nil, ledger.SumOf(body))
		if err != nil {
			return err
		}
		return rep.SetBytes(body)
	}, nil)
}
