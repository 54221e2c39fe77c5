package scamp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A crowd is callers of several instances, in synthetic time: so many requests a second,
// whatever becomes of them.
type crowd struct {
	t   *testing.T
	n   *scamptest.Network
	bus *scamp.Bus

	work time.Duration // of each handler

	mu    sync.Mutex // protects what follows
	runs  map[string]int
	in    map[string]int // handlers that run, by the address of their instance
	calls []*crowdCall
}

// A crowdCall is one call and how it ended.
type crowdCall struct {
	id         string
	idempotent bool
	began      time.Time
	took       time.Duration
	first      string // address of the instance it went to first
	by         string // address of the instance that answered
	err        error
}

const crowdWork = 40 * time.Millisecond // of each handler, if the test does not say else

func newCrowd(t *testing.T) *crowd {
	c := &crowd{t: t, work: crowdWork, n: scamptest.New(t), runs: make(map[string]int), in: make(map[string]int)}
	c.bus = c.n.Bus(nil)
	return c
}

// serve starts an instance.
func (c *crowd) serve(opts *scamp.ServiceOptions) *scamptest.Service {
	return c.n.ServeWith("crowd", opts, func(svc *scamp.Service) {
		svc.Handle("Crowd.work", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
			id, addr := string(req.Data), svc.Addr()
			c.mu.Lock()
			c.runs[id]++
			c.in[addr]++
			c.mu.Unlock()
			<-time.After(c.work)
			c.mu.Lock()
			c.in[addr]--
			c.mu.Unlock()
			return rep.SetBytes([]byte(id + " " + addr))
		}, nil)
	})
}

// load makes so many calls a second for a while, and waits for them.
func (c *crowd) load(rate int, d time.Duration, idempotent func(i int) bool, retry *scamp.RetryOptions) []*crowdCall {
	var all sync.WaitGroup
	var made []*crowdCall
	every := time.NewTicker(time.Second / time.Duration(rate))
	defer every.Stop()
	for i := range int(d.Seconds() * float64(rate)) {
		<-every.C
		c.mu.Lock()
		call := &crowdCall{id: strconv.Itoa(len(c.calls)), idempotent: idempotent(i), began: time.Now()}
		c.calls = append(c.calls, call)
		c.mu.Unlock()
		made = append(made, call)
		all.Go(func() { c.call(call, retry) }) // ends with the call, at its deadline at the latest
	}
	all.Wait()
	return made
}

func (c *crowd) call(call *crowdCall, retry *scamp.RetryOptions) {
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Second)
	defer cancel()
	ctx = scamp.WithTrace(ctx, &scamp.Trace{Routed: func(r discovery.Route) {
		if call.first == "" {
			call.first = r.Address
		}
	}})
	req := &scamp.Request{Action: "Crowd.work", Data: []byte(call.id), Idempotent: call.idempotent}
	if call.idempotent {
		req.Retry = retry
	}
	reply, err := c.bus.Call(ctx, req)
	if err == nil {
		var body []byte
		body, err = reply.Bytes(0)
		var id string
		if fmt.Sscan(string(body), &id, &call.by); err == nil && id != call.id {
			c.t.Errorf("call %s: got the reply %q", call.id, body)
		}
	}
	call.err, call.took = err, time.Since(call.began)
}

// wantTrue compares what was said of calls with the runs of their handlers, and returns
// those that failed.
func (c *crowd) wantTrue(calls []*crowdCall) (failed []*crowdCall) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, call := range calls {
		runs, ran := c.runs[call.id], ranOf(call.err)
		if call.err != nil {
			failed = append(failed, call)
		}
		switch {
		case call.err == nil && runs == 0, call.err != nil && ran == scamp.RanNo && runs > 0, !call.idempotent && runs > 1,
			call.err != nil && ran != scamp.RanNo && ran != scamp.RanMaybe:
			c.t.Errorf("call %s, idempotent %v: %v with Ran %v, and it ran %d times", call.id, call.idempotent, call.err, ran, runs)
		}
	}
	return failed
}

func always(int) bool       { return true }
func never(int) bool        { return false }
func everyOther(i int) bool { return i%2 == 0 }

// One of three instances dies under 500 requests a second: no Idempotent call fails, of
// the others those at most that it was working on, and each says truly whether it ran.
func TestKilledInstance(t *testing.T) {
	t.Run("fast handlers", func(t *testing.T) { killedInstance(t, crowdWork) })
	t.Run("slow handlers", func(t *testing.T) { killedInstance(t, 600*time.Millisecond) }) // one death breaks many calls
}

func killedInstance(t *testing.T, work time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		c.work = work
		victim := c.serve(&scamp.ServiceOptions{})
		c.serve(&scamp.ServiceOptions{})
		c.serve(&scamp.ServiceOptions{})
		hit := 0
		time.AfterFunc(1001*time.Millisecond, func() {
			c.mu.Lock()
			hit = c.in[victim.Addr()]
			c.mu.Unlock()
			c.n.Kill(victim)
		})
		failed := c.wantTrue(c.load(500, 3*time.Second, everyOther, nil))
		for _, call := range failed {
			if call.idempotent || ranOf(call.err) != scamp.RanMaybe || call.first != victim.Addr() {
				t.Errorf("call %s, idempotent %v, to %s: %v; want those alone to fail that are not, and may have run at %s", call.id, call.idempotent, call.first, call.err, victim.Addr())
			}
		}
		if hit == 0 || len(failed) > hit {
			t.Errorf("%d calls failed, the instance was working on %d when it died", len(failed), hit)
		}
		t.Logf("%d of 1500 calls failed; %d were in hand", len(failed), hit)
	})
}

// One of three instances hangs, as one that is stopped: calls to the others take as long
// as ever, each attempt there costs its own time and no more, and what it answers when it
// goes on is dropped and counted.
func TestHungInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		hung := c.serve(&scamp.ServiceOptions{})
		c.serve(&scamp.ServiceOptions{})
		c.serve(&scamp.ServiceOptions{})
		// What fails there must be less than the tenth that may be sent again.
		retry := &scamp.RetryOptions{AttemptTimeout: 500 * time.Millisecond}
		slowest := func(calls []*crowdCall) (elsewhere, there time.Duration, at int) {
			for _, call := range calls {
				if call.first == hung.Addr() {
					there = max(there, call.took)
					at++
				} else {
					elsewhere = max(elsewhere, call.took)
				}
			}
			return elsewhere, there, at
		}
		before, _, _ := slowest(c.load(500, time.Second/2, always, retry))
		resume := c.n.Pause(hung)
		during := c.load(500, 3*time.Second/2, always, retry)
		if failed := c.wantTrue(during); len(failed) > 0 {
			t.Errorf("%d of %d idempotent calls failed, the first with %v", len(failed), len(during), failed[0].err)
		}
		elsewhere, there, at := slowest(during)
		if elsewhere > before {
			t.Errorf("calls to the others took up to %v, %v before one hung", elsewhere, before)
		}
		if at == 0 || there > 500*time.Millisecond+before {
			t.Errorf("%d calls went to the instance that hangs and took up to %v, want 500ms more than %v", at, there, before)
		}
		late := c.bus.Stats()["reply_late"]
		resume()
		after := c.load(500, time.Second/2, never, nil)
		if failed := c.wantTrue(after); len(failed) > 0 {
			t.Errorf("when it goes on %d calls fail, the first with %v", len(failed), failed[0].err)
		}
		late = c.bus.Stats()["reply_late"] - late
		if late == 0 || late > uint64(at) {
			t.Errorf("%d replies came late, want some of those to %d calls", late, at)
		}
		if _, _, back := slowest(after); back == 0 {
			t.Error("the instance gets no calls when it goes on")
		}
		t.Logf("%d of %d calls went there first; others took up to %v; %d replies were late", at, len(during), elsewhere, late)
	})
}

// An address that takes no connection, or does not go on with it, holds up those alone
// who chose it, and those are few: nobody is drawn to it because nobody waits there for
// a reply.
func TestUnconnectableInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		hole := c.serve(&scamp.ServiceOptions{})
		c.serve(&scamp.ServiceOptions{})
		c.serve(&scamp.ServiceOptions{})
		c.n.Pause(hole) // nobody has a connection to it
		calls := c.load(150, 12*time.Second, everyOther, &scamp.RetryOptions{AttemptTimeout: 100 * time.Millisecond})
		c.wantTrue(calls)
		waited := 0
		for _, call := range calls {
			switch {
			case call.first == hole.Addr():
				waited++
			case call.err != nil || call.took > 2*crowdWork:
				t.Errorf("call %s went to %s and took %v, %v", call.id, call.first, call.took, call.err)
			}
		}
		if waited == 0 || waited > len(calls)/10 {
			t.Errorf("%d of %d calls waited for a connection that never came, want some, not many", waited, len(calls))
		}
		t.Logf("%d of %d calls chose the hole", waited, len(calls))
	})
}

// An instance that is new has its share of the calls within an interval.
func TestNewInstanceGetsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		c.serve(&scamp.ServiceOptions{})
		c.serve(&scamp.ServiceOptions{})
		var third *scamptest.Service
		go func() { // ends when it is there
			<-time.After(time.Second)
			third = c.serve(&scamp.ServiceOptions{})
		}()
		began := time.Now()
		calls := c.load(500, 4*time.Second, never, nil)
		if failed := c.wantTrue(calls); len(failed) > 0 {
			t.Errorf("%d calls failed, the first with %v", len(failed), failed[0].err)
		}
		var first time.Duration
		share := 0
		for _, call := range calls {
			if call.by == third.Addr() {
				if share++; first == 0 {
					first = call.began.Sub(began)
				}
			}
		}
		if first == 0 || first > 6*time.Second || share < len(calls)/8 {
			t.Errorf("an instance that came after 1s had its first call after %v, and %d of %d", first, share, len(calls))
		}
	})
}

// Callers who cannot reach an instance do not all come back to it at once.
func TestReconnectsAreJittered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		serveNamed(n, 1)
		began := time.Now()
		const callers = 40
		second := make(map[time.Duration]int) // when each dialed for the second time
		var mu sync.Mutex
		for range callers {
			dials := 0
			bus := n.Bus(&scamp.Options{Dial: func(context.Context, string, string) (net.Conn, error) {
				mu.Lock()
				defer mu.Unlock()
				if dials++; dials == 2 {
					second[time.Since(began)]++
				}
				return nil, errors.New("no route")
			}})
			where(t, bus, nil, "")
		}
		<-time.After(10 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if len(second) < callers/2 {
			t.Errorf("%d callers came back at %d times: %v, want them spread", callers, len(second), second)
		}
	})
}

// Three instances are restarted in turn, again and again, under load: no call fails.
// SCAMP_TEST_LONG makes it a hundred rounds.
func TestRollingRestart(t *testing.T) {
	rounds := 5
	if os.Getenv("SCAMP_TEST_LONG") != "" {
		rounds = 100
	}
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		var opts [3]*scamp.ServiceOptions
		var now [3]*scamptest.Service
		for i := range now {
			k := c.n.KeyPair()
			c.n.Allow(k, "main:ALL")
			opts[i] = &scamp.ServiceOptions{KeyPair: k, Grace: 300 * time.Millisecond}
			now[i] = c.serve(opts[i])
		}
		restarts, over := 0, make(chan struct{})
		go func() { // ends with the last round
			defer close(over)
			for range rounds {
				for i := range now {
					if err := now[i].Stop(); err != nil {
						t.Error(err)
					}
					now[i] = c.serve(opts[i])
					restarts++
					<-time.After(50 * time.Millisecond)
				}
			}
		}()
		var calls []*crowdCall
		for done := false; !done; {
			calls = append(calls, c.load(100, time.Second, never, nil)...)
			select {
			case <-over:
				done = true
			default:
			}
		}
		failed := c.wantTrue(calls)
		for _, call := range failed[:min(len(failed), 5)] {
			t.Errorf("call %s to %s: %v", call.id, call.first, call.err)
		}
		if restarts != 3*rounds || len(failed) > 0 {
			t.Errorf("%d of %d calls failed during %d restarts, want none", len(failed), len(calls), restarts)
		}
		by := make(map[string]bool)
		for _, call := range calls {
			by[call.by] = true
		}
		t.Logf("%d calls, %d restarts, answered from %d addresses", len(calls), restarts, len(by))
	})
}
