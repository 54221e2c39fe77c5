package scamp_test

import (
	"context"
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
		if req := scamp.RequestFrom(k.ctx); req != nil && req.Ticket != ticketOf(i) {
			t.Errorf("call %d: its context shows the request of another", i)
		}
		if k.req != nil && k.req.Ticket != ticketOf(i) {
			t.Errorf("call %d: the request that it kept is another's now", i)
		}
		if k.rep != nil && k.rep.Envelope != fmt.Sprint("json", i) {
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
