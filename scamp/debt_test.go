package scamp_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A stillLoad calls an action that two instances offer, 50 times a second, and notes which
// of them served, and which calls failed.
type stillLoad struct {
	t           *testing.T
	n           *scamptest.Network
	still, well *scamptest.Service
	bus         *scamp.Bus
	deadline    time.Duration // of each call

	mu     sync.Mutex // protects what follows
	served map[string]int
	failed []time.Duration // when calls that failed were made, after begun
	begun  time.Time
}

// newStillLoad has both instances serve for a second.
func newStillLoad(t *testing.T) *stillLoad {
	l := &stillLoad{t: t, n: scamptest.New(t), deadline: 2 * time.Second, served: make(map[string]int)}
	serve := func(name string) *scamptest.Service {
		return l.n.Serve(name, func(s *scamp.Service) {
			s.Handle("Still.do", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.served[name]++
				return nil
			}, nil)
			s.Handle("Still.wait", func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error {
				<-ctx.Done()
				return ctx.Err()
			}, nil)
		})
	}
	l.still, l.well = serve("still"), serve("well")
	l.bus = l.n.Bus(nil)
	l.n.Await(l.bus, "Still.do", 2)
	l.run(time.Second)
	if still, well := l.runs("still"), l.runs("well"); still == 0 || well == 0 || len(l.failed) > 0 {
		t.Fatalf("before: %d and %d served, %d failed: want both to serve all", still, well, len(l.failed))
	}
	l.begun = time.Now()
	return l
}

// runs is how many calls an instance has served.
func (l *stillLoad) runs(name string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.served[name]
}

// run calls for so long, and waits until the calls have ended.
func (l *stillLoad) run(lasts time.Duration) {
	var calls sync.WaitGroup
	for end := time.Now().Add(lasts); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		at := time.Since(l.begun)
		calls.Go(func() { // ends with its deadline
			ctx, cancel := context.WithTimeout(l.t.Context(), l.deadline)
			defer cancel()
			if _, err := l.bus.Call(ctx, &scamp.Request{Action: "Still.do"}); err != nil {
				if !errors.Is(err, context.DeadlineExceeded) {
					l.t.Error(err)
				}
				l.mu.Lock()
				defer l.mu.Unlock()
				l.failed = append(l.failed, at)
			}
		})
	}
	calls.Wait()
}

// wantLeft says that no call failed which was made so long after the first one has failed.
func (l *stillLoad) wantLeft(after time.Duration) {
	l.t.Helper()
	if len(l.failed) == 0 {
		l.t.Fatal("no call failed: want the one that finds out")
	}
	for _, at := range l.failed {
		if at >= l.deadline+after {
			l.t.Errorf("a call that was made %v after the instance went still failed: want none %v after the first, which took %v", at, after, l.deadline)
		}
	}
}

// wantBack says that both serve again, and no call fails.
func (l *stillLoad) wantBack() {
	l.t.Helper()
	before := l.runs("still")
	l.failed = nil
	l.run(time.Second)
	if got := l.runs("still") - before; got == 0 || len(l.failed) > 0 {
		l.t.Errorf("after it came back the instance served %d, and %d calls failed: want some and none", got, len(l.failed))
	}
}

// An instance that stands still with its connections open looks idle whenever the calls it
// was sent have timed out. Traffic stays away from it from the first of them on, and comes
// back when it answers (THREATS F27).
func TestTrafficLeavesWhoStandsStill(t *testing.T) {
	for _, resume := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := newStillLoad(t)
			wake := l.n.Pause(l.still)
			l.run(20 * time.Second) // less than it takes to find its connection dead
			l.wantLeft(time.Second)
			wake()
			if resume {
				time.Sleep(time.Second) // what it was sent is answered
				l.wantBack()
			}
		})
	}
}

// What an instance owes outlives the connection that was found dead, by us or by the
// instance, which may be heard where we are not: those that are dialed after it look idle
// too, and go on to be dialed while the instance announces itself. It is tried without a
// call, and called again when that has succeeded (THREATS F27).
func TestTrafficLeavesWhoCannotBeReached(t *testing.T) {
	for _, tt := range []struct {
		lasts, reset time.Duration
	}{{lasts: time.Minute}, {lasts: 3 * time.Minute}, {time.Minute, 10 * time.Second}, {3 * time.Minute, 10 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			l := newStillLoad(t)
			// A connection on which nobody waits is not found dead.
			var waits []<-chan outcome
			for _, s := range []*scamptest.Service{l.still, l.well} {
				route := &scamp.RouteOptions{Ident: s.Ident()}
				waits = append(waits, inBackground(t.Context(), l.bus, &scamp.Request{Action: "Still.wait", Route: route}))
			}
			l.n.Disturb(l.still, scamptest.Line{Stall: true})
			if tt.reset > 0 {
				l.run(tt.reset)
				l.n.Cut(l.still)
			}
			l.run(tt.lasts - tt.reset)
			for _, w := range waits {
				<-w
			}
			l.wantLeft(3 * time.Second)
			if all := l.bus.Stats(); all["peer_silent"] == 0 && tt.reset == 0 || all["dial_timeout"] == 0 {
				t.Errorf("%d connections found dead, %d dials not done, want some of each: else this is no test", all["peer_silent"], all["dial_timeout"])
			}
			l.n.Disturb(l.still, scamptest.Line{})
			time.Sleep(75 * time.Second) // a probe comes at the latest a minute after the one before
			l.wantBack()
		})
	}
}

// On a machine that is overloaded the one that is well may owe for a moment too: calls
// go to it all the same, and not to the one that has stood still for longer.
func TestTrafficStaysWhereLessIsOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newStillLoad(t)
		l.deadline = 500 * time.Millisecond
		l.n.Disturb(l.still, scamptest.Line{Stall: true})
		l.run(5 * time.Second)
		l.n.Disturb(l.well, scamptest.Line{Stall: true})
		well := time.AfterFunc(2*time.Second, func() { l.n.Disturb(l.well, scamptest.Line{}) })
		defer well.Stop()
		begun := time.Since(l.begun)
		l.failed = nil
		l.run(3 * time.Second)
		if len(l.failed) < 50 {
			t.Fatalf("%d calls failed while nobody answered for 2 s: want most of 100", len(l.failed))
		}
		for _, at := range l.failed {
			if at -= begun; at > 2*time.Second-l.deadline {
				t.Errorf("a call that was made %v after both stood still failed: want none when one was to answer within the %v it waits", at, l.deadline)
			}
		}
	})
}
