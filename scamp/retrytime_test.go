package scamp_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A call does not rest beyond its time, nor for an attempt that has no time left, nor on a
// bus that is closed.
func TestRetryRestsWithinTheCall(t *testing.T) {
	for _, tt := range []struct {
		name            string
		pause           time.Duration
		deadline, close time.Duration // zero for none
		wait            time.Duration
	}{
		{"one rest fits", 70 * time.Second, 0, 0, 35 * time.Second},
		{"none fits", 200 * time.Second, 0, 0, 0},
		{"none fits before the deadline", 70 * time.Second, 10 * time.Second, 0, 0},
		{"a far deadline, three rests", 70 * time.Second, time.Hour, 0, 245 * time.Second},
		{"the bus is closed", 70 * time.Second, 0, time.Second, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scamptest.New(t)
				serveEach(n, new(runLog), good, good, good, good)
				bus := n.Bus(&scamp.Options{Rand: func(int) int { return 0 }, Dial: func(context.Context, string, string) (net.Conn, error) {
					return nil, errors.New("no route")
				}})
				ctx := t.Context()
				if tt.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.deadline)
					defer cancel()
				}
				if tt.close > 0 {
					time.AfterFunc(tt.close, func() { bus.Close() })
				}
				began := time.Now()
				_, err := bus.Call(ctx, &scamp.Request{Action: "Sample.do", Idempotent: true, Retry: &scamp.RetryOptions{Attempts: 5, Pause: tt.pause}})
				if took := time.Since(began); took != tt.wait || ranOf(err) != scamp.RanNo {
					t.Errorf("Pause %v with a deadline of %v: %v after %v, want Ran no after %v", tt.pause, tt.deadline, err, took, tt.wait)
				}
			})
		})
	}
}

// An attempt that took all the time of the call is the last: no instance is chosen for
// another, nobody is told of one, and nothing is taken from the budget.
func TestNoRetryWithoutTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		all := serveEach(n, new(runLog), hang, hang)
		bus := n.Bus(&scamp.Options{Balancer: inOrder(all), Limits: scamp.Limits{RPCTimeout: 20 * time.Second}})
		retried := 0
		ctx := scamp.WithTrace(t.Context(), &scamp.Trace{Retried: func(int, error) { retried++ }})
		for range 12 { // more than the budget of the start
			began := time.Now()
			_, err := bus.Call(ctx, &scamp.Request{Action: "Sample.do", Idempotent: true})
			ce, _ := errors.AsType[*scamp.CallError](err)
			if ce == nil || !errors.Is(err, scamp.ErrTimeout) || ce.Ran != scamp.RanMaybe || ce.Attempts != 1 || time.Since(began).Round(time.Second) != 20*time.Second {
				t.Errorf("%v (%+v) after %v, want the timeout of the one attempt after 20 s", err, ce, time.Since(began))
			}
		}
		if over := bus.Stats()["retry_over_budget"]; retried > 0 || over > 0 {
			t.Errorf("told of %d retries, %d over the budget, want none", retried, over)
		}
	})
}
