package scamp_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// TestClosedBus: whatever is asked of a bus behind its Close says so, at once.
func TestClosedBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Serve("sample", func(s *scamp.Service) { s.Handle("Sample.echo", echo, nil) })
		opts := &scamp.ServiceOptions{Listen: []string{"127.0.0.1:0"}, KeyPair: n.KeyPair()}
		used, fresh := n.Bus(nil), n.Bus(nil)
		if _, err := used.Call(t.Context(), echoReq("x")); err != nil {
			t.Fatal(err)
		}
		for name, bus := range map[string]*scamp.Bus{"used": used, "fresh": fresh} {
			svc, err := bus.NewService("other", opts)
			if err != nil {
				t.Fatal(err)
			}
			svc.Handle("Other.echo", echo, nil)
			bus.Close()
			patient := &scamp.RouteOptions{Wait: time.Minute}
			choosy := &scamp.RouteOptions{Wait: time.Minute, Filter: func(discovery.Route) bool { return true }}
			call := func(req scamp.Request) func() error {
				return func() error { _, err := bus.Call(t.Context(), &req); return err }
			}
			for _, tt := range []struct {
				name string
				do   func() error
			}{
				{"NewService", func() error { _, err := bus.NewService("more", opts); return err }},
				{"Serve", func() error { return svc.Serve(t.Context()) }},
				{"Publish", func() error { return svc.Publish("orders", "7", 1) }},
				{"Subscribe", func() error { _, err := bus.Subscribe(&scamp.Request{Action: "Sample.echo"}, "orders"); return err }},
				{"Notify", func() error { return bus.Notify(t.Context(), &scamp.Request{Action: "Sample.echo"}, 1) }},
				{"Notify of what nobody offers", func() error { return bus.Notify(t.Context(), &scamp.Request{Action: "Nobody.has"}, 1) }},
				{"Call", call(scamp.Request{Action: "Sample.echo"})},
				{"Call, idempotent", call(scamp.Request{Action: "Sample.echo", Idempotent: true, Retry: &scamp.RetryOptions{Attempts: 5, Hedge: time.Second}})},
				{"Call of what nobody offers", call(scamp.Request{Action: "Nobody.has"})},
				{"Call that waits", call(scamp.Request{Action: "Nobody.has", Route: patient})},
				{"Call that waits for some", call(scamp.Request{Action: "Nobody.has", Route: choosy})},
				{"Stream", func() error { _, err := bus.Stream(t.Context(), &scamp.Request{Action: "Sample.echo"}); return err }},
				{"typed Call", func() error { _, err := scamp.Call[string](t.Context(), bus, "Sample.echo", "x"); return err }},
			} {
				began := time.Now()
				err := tt.do()
				if !errors.Is(err, scamp.ErrClosed) || !strings.Contains(err.Error(), "bus closed") || time.Since(began) > 0 {
					t.Errorf("%s bus: %s behind Close: %v after %v, want ErrClosed at once", name, tt.name, err, time.Since(began))
				}
				if ce, ok := errors.AsType[*scamp.CallError](err); ok && (ce.Ran != scamp.RanNo || !strings.Contains(ce.Advice, "closed by the program")) {
					t.Errorf("%s bus: %s behind Close: ran %v, advice %q: want ran no, and what was closed", name, tt.name, ce.Ran, ce.Advice)
				}
			}
			if err := bus.Close(); err != nil {
				t.Errorf("%s bus: the second Close: %v", name, err)
			}
		}
	})
}

// A bus that serves what is called has none of it run either.
func TestClosedBusRunsNoHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		ran := false
		svc := n.Serve("sample", func(s *scamp.Service) {
			scamp.HandleJSON(s, "Sample.same", func(_ context.Context, i int) (int, error) { ran = true; return i, nil }, nil)
		})
		svc.Bus.Close()
		for _, ctx := range []context.Context{context.Background(), t.Context()} {
			if _, err := scamp.Call[int](ctx, svc.Bus, "Sample.same", 1); !errors.Is(err, scamp.ErrClosed) || ran {
				t.Errorf("a typed call behind Close: %v, ran %v, want ErrClosed", err, ran)
			}
		}
	})
}

// A call that is under way when what it goes through is closed hears that, and not that
// the service may have ended.
func TestCloseTellsCallsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		svc := n.Serve("sample", func(s *scamp.Service) {
			s.Handle("Sample.hang", func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error {
				<-ctx.Done()
				return ctx.Err()
			}, nil)
		})
		open := func() *scamp.Client {
			c, err := n.Bus(nil).Dial(t.Context(), svc.Addr(), scamp.Identity{Fingerprint: svc.Fingerprint()})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		for name, c := range map[string]interface {
			scamp.Caller
			Close() error
		}{"bus": n.Bus(nil), "client": open()} {
			done := make(chan error, 1)
			go func() { // ends with Close
				_, err := c.Call(context.Background(), &scamp.Request{Action: "Sample.hang", Idempotent: true})
				done <- err
			}()
			synctest.Wait()
			c.Close()
			err := <-done
			var ce *scamp.CallError
			if !errors.As(err, &ce) || !errors.Is(err, scamp.ErrClosed) || !errors.Is(err, scamp.ErrLost) || ce.Ran != scamp.RanMaybe ||
				ce.Attempts != 1 || !strings.Contains(ce.Advice, "closed by the program") {
				t.Errorf("%s: a call under way when it is closed: %v, want ErrLost and ErrClosed of one attempt that may have run", name, err)
			}
		}
	})
}
