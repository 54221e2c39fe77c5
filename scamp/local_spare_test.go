package scamp_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/scamp"
)

// What a handler of a local call keeps is never that of another call, though calls are made
// of those before them.
func TestLocalCallsShareNothing(t *testing.T) {
	const calls = 300
	type kept struct {
		ctx context.Context
		req *scamp.Request
		rep *scamp.ReplyWriter
	}
	all := make([]kept, calls)
	bus := ownBus(t, &scamp.Config{}, "own", func(s *scamp.Service) {
		scamp.HandleJSON(s, "A.keep", func(ctx context.Context, i int) (int, error) {
			k := kept{ctx: ctx}
			switch i % 3 {
			case 1:
				k.req = scamp.RequestFrom(ctx)
			case 2:
				k.rep = scamp.ReplyFrom(ctx)
				k.rep.Envelope = fmt.Sprint("json", i)
			}
			all[i] = k
			return i, nil
		}, nil)
	})
	ticketOf := func(i int) scamp.Ticket { return scamp.Ticket(fmt.Sprint("ticket ", i)) }
	for i := range calls {
		got, err := scamp.Call[int](scamp.WithTicket(context.Background(), ticketOf(i)), bus, "A.keep", i)
		if err != nil || got != i {
			t.Fatalf("call %d: %d, %v", i, got, err)
		}
	}
	for i, k := range all {
		if k.ctx.Err() != context.Canceled || scamp.Cause(k.ctx) == nil {
			t.Errorf("call %d: its context ended with %v, %v", i, k.ctx.Err(), scamp.Cause(k.ctx))
		}
		if got := scamp.RequestFrom(k.ctx).Ticket; got != "" && got != ticketOf(i) {
			t.Errorf("call %d: its context shows the request of another", i)
		}
		scamp.ReplyFrom(k.ctx).Envelope = "late" // nobody's
		if k.req != nil && k.req.Ticket != ticketOf(i) {
			t.Errorf("call %d: the request that it kept is another's now", i)
		}
		if k.rep != nil && k.rep.Envelope != "late" {
			t.Errorf("call %d: the reply that it kept is another's now: %q", i, k.rep.Envelope)
		}
	}
}

// A call that is cut at the moment it ends cuts no other one.
func TestLocalCallsCutNoOther(t *testing.T) {
	cfg := &scamp.Config{Limits: scamp.Limits{WorkerTimeout: 2 * time.Millisecond}}
	bus := ownBus(t, cfg, "own", func(s *scamp.Service) {
		scamp.HandleJSON(s, "A.wait", func(_ context.Context, us int) (int, error) {
			if us > 0 {
				<-time.After(time.Duration(us) * time.Microsecond) // whatever its context says
			}
			return us, nil
		}, nil)
	})
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for range 200 {
				us := rand.IntN(4000)
				if us%2 == 0 {
					us = 0 // it cannot be late but by another's cut, or by a machine that stands still
				}
				began := time.Now()
				got, err := scamp.Call[int](context.Background(), bus, "A.wait", us)
				took := time.Since(began)
				switch {
				case err == nil && got != us:
					t.Errorf("%d: got %d", us, got)
				case err != nil && took < cfg.Limits.WorkerTimeout:
					t.Errorf("%d us was cut after %v: %v", us, took, err)
				}
			}
		})
	}
	work.Wait()
}

// A typed handler that was called within the process makes a call with its own request: with
// a body of its own, and as it is.
func TestLocalHandlerPassesItsRequestOn(t *testing.T) {
	var bus *scamp.Bus
	pass := func(action string, own bool) func(context.Context, int) (int, error) {
		return func(ctx context.Context, _ int) (int, error) {
			on := *scamp.RequestFrom(ctx)
			on.Action = action
			if own {
				on.Data, on.Body = []byte("7"), nil
			}
			reply, err := bus.Call(ctx, &on)
			if err != nil {
				return 0, err
			}
			if reply == nil {
				return 0, errors.New("no reply and no error")
			}
			var n int
			err = reply.JSON(&n)
			return n, err
		}
	}
	bus = ownBus(t, &scamp.Config{}, "own", func(s *scamp.Service) {
		scamp.HandleJSON(s, "A.same", func(_ context.Context, n int) (int, error) { return 10 * n, nil }, nil)
		scamp.HandleJSON(s, "A.other", func(_ context.Context, n int64) (int64, error) { return 10 * n, nil }, nil)
		scamp.HandleJSON(s, "A.ownSame", pass("A.same", true), nil)
		scamp.HandleJSON(s, "A.ownOther", pass("A.other", true), nil)
		scamp.HandleJSON(s, "A.asItIsSame", pass("A.same", false), nil)
		scamp.HandleJSON(s, "A.asItIsOther", pass("A.other", false), nil)
	})
	for action, want := range map[string]int{"A.ownSame": 70, "A.ownOther": 70, "A.asItIsSame": 20, "A.asItIsOther": 20} {
		if got, err := scamp.Call[int](context.Background(), bus, action, 2); got != want || err != nil {
			t.Errorf("%s: %d, %v, want %d", action, got, err, want)
		}
	}
}

// An again sends again what has failed.
type again struct{ *scamp.Bus }

func (a again) Call(ctx context.Context, req *scamp.Request) (*scamp.Reply, error) {
	reply, err := a.Bus.Call(ctx, req)
	if err != nil {
		reply, err = a.Bus.Call(ctx, req)
	}
	return reply, err
}

// A Caller of the user's that sends a request twice has it served twice.
func TestLocalCallerSendsAgain(t *testing.T) {
	for _, ends := range []bool{false, true} {
		n := 0
		bus := ownBus(t, &scamp.Config{}, "own", func(s *scamp.Service) {
			scamp.HandleJSON(s, "A.do", func(_ context.Context, i int) (int, error) {
				if n++; n == 1 {
					return 0, errors.New("not yet")
				}
				return i, nil
			}, nil)
		})
		ctx, cancel := context.Background(), context.CancelFunc(func() {})
		if ends {
			ctx, cancel = context.WithTimeout(ctx, 30*time.Second)
		}
		done := make(chan error, 1)
		go func() { // ends with the call
			got, err := scamp.Call[int](ctx, again{bus}, "A.do", 5)
			if err == nil && got != 5 {
				err = errors.New("not what was asked for")
			}
			done <- err
		}()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("a context that ends: %v: %v, want the second reply", ends, err)
			}
		case <-time.After(time.Minute):
			t.Errorf("a context that ends: %v: the call hangs beyond its deadline", ends)
		}
		cancel()
	}
}

// A hook of the caller's that panics leaves no place among the handlers taken.
func TestLocalHookPanics(t *testing.T) {
	cfg := &scamp.Config{Limits: scamp.Limits{MaxConcurrency: 1}}
	bus := ownBus(t, cfg, "own", func(s *scamp.Service) {
		scamp.HandleJSON(s, "A.same", func(_ context.Context, n int) (int, error) { return n, nil }, nil)
	})
	ctx := scamp.WithTrace(context.Background(), &scamp.Trace{Sent: func() { panic("hook") }})
	for range 3 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic of a hook did not reach its caller")
				}
			}()
			scamp.Call[int](ctx, bus, "A.same", 1)
		}()
	}
	if s := bus.Stats(); s["request_started"] != s["request_ended"] {
		t.Errorf("%d requests started and %d ended", s["request_started"], s["request_ended"])
	}
	if got, err := scamp.Call[int](context.Background(), bus, "A.same", 1); got != 1 || err != nil {
		t.Errorf("after hooks that panicked: %d, %v", got, err)
	}
}
