package scamp_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// Services that close each connection at once are sent a tenth more, the ten of the start,
// and beyond that as much as was answered before.
func TestLostCallsAreBudgeted(t *testing.T) {
	for _, answered := range []int{0, 50} {
		synctest.Test(t, func(t *testing.T) {
			n := scamptest.New(t)
			var log runLog
			all := make([]*scamptest.Service, 2)
			closing := func(i int) scamp.Handler {
				return func(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
					if len(log.runs) <= answered {
						return good(ctx, req, rep)
					}
					n.Cut(all[i])
					<-ctx.Done()
					return ctx.Err()
				}
			}
			copy(all, serveEach(n, &log, closing(0), closing(1)))
			bus := n.Bus(nil)
			const calls = 400
			for range answered + calls {
				if reply, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.do", Idempotent: true}); err == nil {
					reply.Body.Close()
				}
			}
			synctest.Wait()
			if again := len(log.runs) - answered - calls; again < answered+calls/10 || again > answered+10+(answered+calls)/10 {
				t.Errorf("%d calls that lost their connections behind %d answered were sent %d times more", calls, answered, again)
			}
			if bus.Stats()["retry_over_budget"] == 0 {
				t.Error("counter retry_over_budget did not move")
			}
		})
	}
}

// A retry for which nobody is left costs nothing.
func TestRetryWithNobodyLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		serveEach(n, new(runLog), hang)
		bus := n.Bus(nil)
		for range 30 { // more than the budget of the start
			found := 0
			first := func(discovery.Route) bool { found++; return found == 1 }
			_, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.do", Idempotent: true,
				Route: &scamp.RouteOptions{Filter: first}, Retry: &scamp.RetryOptions{AttemptTimeout: time.Second}})
			if !errors.Is(err, scamp.ErrTimeout) {
				t.Errorf("%v, want the timeout of the attempt", err)
			}
		}
		if over := bus.Stats()["retry_over_budget"]; over > 0 {
			t.Errorf("retry_over_budget is %d, want 0", over)
		}
	})
}
