package scamp_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/scamp"
)

// A request that may run more than once is sent again when an instance takes too long,
// to another one if there is one.
func ExampleRetryOptions() {
	var asked atomic.Int32
	bus, stop := exampleBus(func(svc *scamp.Service) {
		svc.Handle("Price.get", func(ctx context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
			if asked.Add(1) == 1 {
				select { // it hangs, today
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
			}
			return rep.SetJSON(17)
		}, nil)
	})
	defer stop()

	price, reply, err := scamp.CallWith[int](context.Background(), bus, &scamp.Request{
		Action:     "Price.get",
		Idempotent: true,
		Retry:      &scamp.RetryOptions{Attempts: 3, AttemptTimeout: 100 * time.Millisecond},
	}, struct{}{})
	fmt.Println(price, reply != nil, err)
	// Output: 17 true <nil>
}

// A Balancer chooses among the instances that may take a request, for the bus
// (Options.Balancer) or for one call. A Filter leaves some of them out.
func ExampleRouteOptions() {
	bus, stop := exampleBus(func(svc *scamp.Service) {
		scamp.HandleJSON(svc, "Basket.add", func(_ context.Context, item string) (string, error) { return "added " + item, nil }, nil)
	})
	defer stop()

	sticky := scamp.Sticky(func(req *scamp.Request) string { return string(req.Terminal) }) // a terminal keeps its instance
	baskets := bus.With(scamp.Request{Terminal: "t7", Route: &scamp.RouteOptions{Balancer: scamp.SameHostFirst(sticky)}})
	fmt.Println(scamp.Call[string](context.Background(), baskets, "Basket.add", "lamp"))
	// Output: added lamp <nil>
}

// Middleware is around every handler: it sees what tickets and callers files let through,
// and how it ends.
func ExampleService_Use() {
	timed := func(next scamp.Handler) scamp.Handler {
		return func(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
			began := time.Now()
			err := next(ctx, req, rep)
			fmt.Println(req.Action, err, time.Since(began) < time.Minute)
			return err
		}
	}
	bus, stop := exampleBus(func(svc *scamp.Service) {
		// scamp.AccessLog writes such a line into a log, scamp.Recover makes errors of panics.
		svc.Use(timed)
		scamp.HandleJSON(svc, "Greeter.hello", func(_ context.Context, name string) (string, error) { return "hello " + name, nil }, nil)
	})
	defer stop()

	fmt.Println(scamp.Call[string](context.Background(), bus, "Greeter.hello", "world"))
	// Output:
	// Greeter.hello <nil> true
	// hello world <nil>
}
