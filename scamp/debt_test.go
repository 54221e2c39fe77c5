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

// An instance that stands still with its connections open looks idle whenever the calls it
// was sent have timed out. Traffic stays away from it from the first of them on, and comes
// back when it answers (THREATS F27).
func TestTrafficLeavesWhoStandsStill(t *testing.T) {
	for _, resume := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := scamptest.New(t)
			var mu sync.Mutex // protects served
			served := make(map[string]int)
			serve := func(name string) *scamptest.Service {
				return n.Serve(name, func(s *scamp.Service) {
					s.Handle("Still.do", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
						mu.Lock()
						defer mu.Unlock()
						served[name]++
						return nil
					}, nil)
				})
			}
			still, _ := serve("still"), serve("well")
			bus := n.Bus(nil)
			n.Await(bus, "Still.do", 2)

			const deadline = 2 * time.Second
			var failed []time.Duration // when calls that failed were made, after the pause
			var begun time.Time
			var calls sync.WaitGroup
			load := func(lasts time.Duration) {
				for end := time.Now().Add(lasts); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
					at := time.Since(begun)
					calls.Go(func() { // ends with its deadline
						ctx, cancel := context.WithTimeout(t.Context(), deadline)
						defer cancel()
						if _, err := bus.Call(ctx, &scamp.Request{Action: "Still.do"}); err != nil {
							if !errors.Is(err, context.DeadlineExceeded) {
								t.Error(err)
							}
							mu.Lock()
							defer mu.Unlock()
							failed = append(failed, at)
						}
					})
				}
				calls.Wait()
			}
			load(time.Second)
			if served["still"] == 0 || served["well"] == 0 || len(failed) > 0 {
				t.Fatalf("before: %v served, %d failed: want both to serve all", served, len(failed))
			}
			begun = time.Now()
			wake := n.Pause(still)
			load(20 * time.Second) // less than it takes to find its connection dead
			if len(failed) == 0 {
				t.Fatal("no call failed: want the one that finds out")
			}
			for _, at := range failed {
				if at >= deadline+time.Second {
					t.Errorf("a call that was made %v after the pause failed: want none a second after the first, which took %v", at, deadline)
				}
			}
			if !resume {
				wake()
				return
			}
			before := served["still"]
			wake()
			time.Sleep(time.Second) // what it was sent is answered
			failed = nil
			load(time.Second)
			if got := served["still"] - before; got == 0 || len(failed) > 0 {
				t.Errorf("after the pause it served %d, and %d failed: want some and none", got, len(failed))
			}
		})
	}
}
