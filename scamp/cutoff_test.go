package scamp_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// TestWhatDrainCutsOff: what a service does not wait for any more is told to its log, to the
// handlers, and to the access log.
func TestWhatDrainCutsOff(t *testing.T) {
	for _, drain := range []time.Duration{20 * time.Second, 5 * time.Second, -1} {
		t.Run(drain.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scamptest.New(t)
				var log, access syncBuffer
				bus := n.Bus(&scamp.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
				causes := make(chan error, 10)
				hold := func(ctx context.Context) error {
					select {
					case <-ctx.Done():
						causes <- scamp.Cause(ctx)
						return ctx.Err()
					case <-time.After(10 * time.Second):
						causes <- nil
						return nil
					}
				}
				opts := &scamp.ServiceOptions{Listen: []string{"127.0.0.1:0"}, KeyPair: n.KeyPair(), Grace: -1, Drain: drain}
				n.Allow(opts.KeyPair, "main:ALL")
				svc, err := bus.NewService("sample", opts)
				if err != nil {
					t.Fatal(err)
				}
				svc.Observe(scamp.AccessLog(slog.New(slog.NewTextHandler(&access, nil))))
				svc.Handle("Sample.first", func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error { return hold(ctx) }, nil)
				svc.Handle("Sample.second", func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error { return hold(ctx) }, nil)
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- svc.Serve(ctx) }() // ends with ctx
				<-svc.Ready()
				caller := n.Bus(nil)
				n.Await(caller, "Sample.first", 1)
				var all []<-chan outcome
				for _, action := range []string{"Sample.first", "Sample.first", "Sample.second"} {
					all = append(all, inBackground(t.Context(), caller, &scamp.Request{Action: action}))
				}
				all = append(all, inBackground(t.Context(), bus, &scamp.Request{Action: "Sample.second"})) // within the process
				synctest.Wait()
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				cut := drain < 10*time.Second
				for range all {
					if cause := <-causes; cut != errors.Is(cause, scamp.ErrStopped) || cut != errors.Is(cause, scamp.ErrLost) {
						t.Errorf("a handler's cause: %v, want ErrStopped and ErrLost: %v", cause, cut)
					}
				}
				for _, o := range all {
					if o := <-o; cut != errors.Is(o.err, scamp.ErrLost) {
						t.Errorf("a call ends with %v, want ErrLost: %v", o.err, cut)
					}
				}
				synctest.Wait() // the last lines are written
				if got := bus.Stats()["requests_cut_off"]; cut && got != 4 || !cut && got != 0 {
					t.Errorf("requests_cut_off is %d, want all 4: %v", got, cut)
				}
				told := strings.Contains(log.String(), "requests are cut off") && strings.Contains(log.String(), "requests=4") &&
					strings.Contains(log.String(), `actions="Sample.first (2), Sample.second (2)"`) && strings.Contains(log.String(), "service.shutdown_drain=")
				if told != cut {
					t.Errorf("log of the service: %s\nwant what was cut off in it: %v", log.String(), cut)
				}
				if got := strings.Count(access.String(), "service stopped"); cut && got != 4 || !cut && got != 0 {
					t.Errorf("access log: %s\nwant the cause in each line: %v", access.String(), cut)
				}
			})
		})
	}
}

// TestWhatDrainCutsOffWithin: so are calls whose values pass as they are, and notifications.
func TestWhatDrainCutsOffWithin(t *testing.T) {
	for _, drain := range []time.Duration{20 * time.Second, 5 * time.Second, -1} {
		t.Run(drain.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scamptest.New(t)
				var log syncBuffer
				bus := n.Bus(&scamp.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
				hold := func(ctx context.Context) error {
					select {
					case <-ctx.Done():
						return scamp.Cause(ctx)
					case <-time.After(10 * time.Second):
						return nil
					}
				}
				opts := &scamp.ServiceOptions{Listen: []string{"127.0.0.1:0"}, KeyPair: n.KeyPair(), Grace: -1, Drain: drain,
					Notified: func(ctx context.Context, _ *scamp.Notification) { hold(ctx) }}
				n.Allow(opts.KeyPair, "main:ALL")
				svc, err := bus.NewService("sample", opts)
				if err != nil {
					t.Fatal(err)
				}
				causes := make(chan error, 2)
				scamp.HandleJSON(svc, "Sample.typed", func(ctx context.Context, i int) (int, error) {
					err := hold(ctx)
					causes <- err
					return i, err
				}, nil)
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- svc.Serve(ctx) }() // ends with ctx
				<-svc.Ready()
				n.Await(bus, "Sample.typed", 1)
				var all []<-chan error
				for range 2 {
					done := make(chan error, 1)
					go func() { // ends with the call
						_, err := scamp.Call[int](t.Context(), bus, "Sample.typed", 1)
						done <- err
					}()
					all = append(all, done)
				}
				caller := n.Bus(nil)
				n.Await(caller, "Sample.typed", 1)
				if err := caller.Notify(t.Context(), &scamp.Request{Action: "Sample.typed"}, 1); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if opened := bus.Stats()["conn_opened"]; opened != 0 {
					t.Errorf("%d connections for calls within the process, want none", opened)
				}
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				cut := drain < 10*time.Second
				for _, done := range all {
					if cause := <-causes; cut != errors.Is(cause, scamp.ErrStopped) || cut != errors.Is(cause, scamp.ErrLost) {
						t.Errorf("a handler's cause: %v, want ErrStopped and ErrLost: %v", cause, cut)
					}
					if err := <-done; cut {
						wantRan(t, "a call that was cut off", err, scamp.RanMaybe, scamp.ErrLost)
					} else if err != nil {
						t.Errorf("a call that was waited for: %v", err)
					}
				}
				synctest.Wait() // the last lines are written
				if got := bus.Stats()["requests_cut_off"]; cut && got != 3 || !cut && got != 0 {
					t.Errorf("requests_cut_off is %d, want all 3: %v", got, cut)
				}
				told := strings.Contains(log.String(), "requests=3") && strings.Contains(log.String(), `actions="Sample.typed (2), events (1)"`)
				if told != cut {
					t.Errorf("log of the service: %s\nwant what was cut off in it: %v", log.String(), cut)
				}
			})
		})
	}
}
