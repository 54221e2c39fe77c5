package scamp_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// listen serves a service whose notifications notified hears.
func listen(n *scamptest.Network, o *scamp.ServiceOptions, notified func(context.Context, *scamp.Notification)) *scamptest.Service {
	o.Notified = notified
	return n.ServeWith("sample", o, func(s *scamp.Service) { s.Handle("Sample.echo", echo, nil) })
}

func notify(t *testing.T, bus *scamp.Bus, what string) {
	t.Helper()
	if err := bus.Notify(t.Context(), &scamp.Request{Action: "Sample.echo"}, what); err != nil {
		t.Fatal(err)
	}
}

// Handlers of notifications have their places among MaxConcurrency, in turn with those of
// requests, and their time.
func TestNotifiedHasItsPlaceAndTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Limits.MaxConcurrency, n.Limits.WorkerTimeout = 2, 10*time.Second
		var running, most, heard atomic.Int32
		svc := listen(n, new(scamp.ServiceOptions), func(ctx context.Context, m *scamp.Notification) {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			<-ctx.Done()
			if ctx.Err() == context.DeadlineExceeded && errors.Is(scamp.Cause(ctx), scamp.ErrTimeout) {
				heard.Add(1)
			}
		})
		for range 10 {
			notify(t, n.Bus(nil), "x")
		}
		synctest.Wait()
		began := time.Now()
		if _, err := n.Bus(nil).Call(t.Context(), &scamp.Request{Action: "Sample.echo"}); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("a request behind ten notifications took %v, want it to have one of the first places that are free", took)
		}
		time.Sleep(time.Minute)
		if most.Load() != 2 || heard.Load() != 10 || svc.Bus.Stats()["worker_timeout"] != 10 {
			t.Errorf("%d handlers at once, %d whose time was over, worker_timeout is %d, want 2, 10 and 10", most.Load(), heard.Load(), svc.Bus.Stats()["worker_timeout"])
		}
		if running, waiting, inHand := scamp.WorkOf(svc.Service); running+waiting+inHand != 0 {
			t.Errorf("at the end %d run, %d wait, %d are in hand", running, waiting, inHand)
		}
	})
}

// A notification that does not end is dropped when its handler's time would be over: else it
// would be in hand for ever, and hold up what follows on its connection, and the drain.
func TestNotificationThatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		heard := make(chan string, 1)
		svc := listen(n, new(scamp.ServiceOptions), func(_ context.Context, m *scamp.Notification) { heard <- string(m.Data) })
		w := callWire(t, n, svc.Addr())
		began := time.Now()
		w.send(pk("HEADER", 0, `{"type":"notify"}`) + pk("DATA", 0, "no end"))
		synctest.Wait() // what is whole goes before what is not
		w.send(msg(1, `{"type":"notify"}`, "next"))
		select {
		case got := <-heard:
			if got != "next" || time.Since(began) != time.Minute {
				t.Errorf("heard %q after %v, want the next one after worker.timeout", got, time.Since(began))
			}
		case <-time.After(100 * time.Second): // before the connection ends, which is silent
			t.Errorf("nothing is heard for %v behind a notification that does not end", time.Since(began))
		}
		synctest.Wait()
		if got := svc.Bus.Stats()["notify_dropped"]; got != 1 {
			t.Errorf("notify_dropped is %d, want 1", got)
		}
		w.send(pk("DATA", 0, "more") + pk("EOF", 0, "")) // of what nobody waits for
		began = time.Now()
		if err := svc.Stop(); err != nil || time.Since(began) > 3*time.Second {
			t.Errorf("Stop: %v after %v, want nothing that it waits for", err, time.Since(began))
		}
	})
}

// Serve waits for notifications as for requests, and tells of a handler that stays; what
// waits when its connection ends is counted.
func TestServeWaitsForNotifications(t *testing.T) {
	for _, tt := range []struct {
		name     string
		takes    time.Duration // the handler of each, whatever its context
		after    time.Duration // when Serve returns at the latest
		finished int32
		dropped  uint64
	}{
		{"short", 3 * time.Second, 16 * time.Second, 5, 0},
		{"longer than the drain", time.Hour, 25 * time.Second, 0, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scamptest.New(t)
				var finished atomic.Int32
				var drained atomic.Bool
				svc := listen(n, &scamp.ServiceOptions{Drain: 20 * time.Second, Hooks: scamp.ServiceHooks{Drained: func() { drained.Store(true) }}},
					func(context.Context, *scamp.Notification) { time.Sleep(tt.takes); finished.Add(1) })
				bus := n.Bus(nil)
				for range 5 {
					notify(t, bus, "x")
				}
				synctest.Wait()
				began := time.Now()
				err := svc.Stop()
				took, stubborn := time.Since(began), tt.finished == 0
				if took > tt.after || finished.Load() != tt.finished || svc.Bus.Stats()["notify_dropped"] != tt.dropped {
					t.Errorf("Serve took %v to end, %d handlers have returned, notify_dropped is %d; want at most %v, %d and %d",
						took, finished.Load(), svc.Bus.Stats()["notify_dropped"], tt.after, tt.finished, tt.dropped)
				}
				if told := err != nil && strings.Contains(err.Error(), "want handlers that return"); told != stubborn || drained.Load() == stubborn {
					t.Errorf("Serve: %v, Drained ran: %v; want it so only without a handler that stays: %v", err, drained.Load(), stubborn)
				}
				time.Sleep(2 * time.Hour)
				if running, waiting, inHand := scamp.WorkOf(svc.Service); running+waiting+inHand != 0 {
					t.Errorf("at the end %d run, %d wait, %d are in hand", running, waiting, inHand)
				}
			})
		})
	}
}

// A handler that ends its goroutine keeps no place, and the next notification of the
// connection is heard.
func TestNotifiedEndsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Limits.MaxConcurrency = 1
		heard := make(chan string, 2)
		svc := listen(n, new(scamp.ServiceOptions), func(_ context.Context, m *scamp.Notification) {
			if heard <- string(m.Data); string(m.Data) == `"first"` {
				runtime.Goexit()
			}
		})
		bus := n.Bus(nil)
		notify(t, bus, "first")
		notify(t, bus, "second")
		if a, b := <-heard, <-heard; a != `"first"` || b != `"second"` {
			t.Errorf("heard %s and %s, want first and second", a, b)
		}
		synctest.Wait()
		if running, _, inHand := scamp.WorkOf(svc.Service); running+inHand != 0 || svc.Bus.Stats()["handler_panicked"] != 1 {
			t.Errorf("%d run, %d are in hand, handler_panicked is %d, want 0, 0 and 1", running, inHand, svc.Bus.Stats()["handler_panicked"])
		}
	})
}
