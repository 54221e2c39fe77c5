package scamp_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// Serve ends when its bus does: nobody hears of a service that has none. Handlers end
// with it, and one that does not is told of.
func TestServeEndsWithItsBus(t *testing.T) {
	for _, tt := range []struct {
		name     string
		stubborn bool
		within   time.Duration
	}{
		{"handler that notices", false, time.Second},
		{"handler that does not", true, 3 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scamptest.New(t)
				began, free := make(chan struct{}), make(chan struct{})
				defer close(free)
				drained := false
				hooks := scamp.ServiceHooks{Draining: func() { drained = true }, Drained: func() { drained = true }}
				pair := n.KeyPair()
				n.Allow(pair, "main:ALL")
				bus, caller := n.Bus(nil), n.Bus(nil)
				s, err := bus.NewService("sample", &scamp.ServiceOptions{Hooks: hooks, KeyPair: pair, Listen: []string{"127.0.0.1:0"}})
				if err != nil {
					t.Fatal(err)
				}
				s.Handle("Sample.work", func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error {
					close(began)
					<-ctx.Done()
					if tt.stubborn {
						<-free
					}
					return nil
				}, nil)
				left := make(chan error, 1)
				go func() { left <- s.Serve(t.Context()) }()
				<-s.Ready()
				failed := make(chan error, 1)
				go func() {
					_, err := caller.Call(t.Context(), &scamp.Request{Action: "Sample.work"})
					failed <- err
				}()
				<-began
				bus.Close()
				if err := <-failed; !errors.Is(err, scamp.ErrLost) {
					t.Errorf("the call in hand: %v, want that its connection was lost", err)
				}
				select {
				case err := <-left:
					if !errors.Is(err, scamp.ErrClosed) {
						t.Errorf("Serve returned %v, want ErrClosed", err)
					}
					if told := strings.Contains(err.Error(), "requests in hand"); told != tt.stubborn {
						t.Errorf("Serve returned %v, which tells of handlers that go on: %v, want %v", err, told, tt.stubborn)
					}
				case <-time.After(tt.within):
					t.Errorf("Serve goes on %v after its bus was closed", tt.within)
				}
				if drained {
					t.Error("a service without a bus was told that it drains")
				}
			})
		})
	}
}

// Handlers hear that their bus was closed, however they were called, and not that their
// service was told to stop.
func TestHandlersHearThatTheBusWasClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		pair := n.KeyPair()
		n.Allow(pair, "main:ALL")
		bus, caller := n.Bus(nil), n.Bus(nil)
		s, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}})
		if err != nil {
			t.Fatal(err)
		}
		causes := make(map[string]chan error)
		hold := func(ctx context.Context, how string) error {
			<-ctx.Done()
			causes[how] <- scamp.Cause(ctx)
			return ctx.Err()
		}
		for _, how := range []string{"Sample.tls", "Sample.pipe", "Sample.typed"} {
			causes[how] = make(chan error, 1)
			if how == "Sample.typed" {
				scamp.HandleJSON(s, how, func(ctx context.Context, i int) (int, error) { return i, hold(ctx, how) }, nil)
				continue
			}
			s.Handle(how, func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error { return hold(ctx, how) }, nil)
		}
		left := make(chan error, 1)
		go func() { left <- s.Serve(t.Context()) }() // ends with the bus
		<-s.Ready()
		n.Await(bus, "Sample.typed", 1)
		n.Await(caller, "Sample.tls", 1)
		all := []<-chan outcome{
			inBackground(t.Context(), caller, &scamp.Request{Action: "Sample.tls"}),
			inBackground(t.Context(), bus, &scamp.Request{Action: "Sample.pipe"}),
		}
		typed := make(chan error, 1)
		go func() { // ends with the call
			_, err := scamp.Call[int](t.Context(), bus, "Sample.typed", 1)
			typed <- err
		}()
		synctest.Wait()
		bus.Close()
		for how, cause := range causes {
			if err := <-cause; !errors.Is(err, scamp.ErrLost) || !errors.Is(err, scamp.ErrClosed) || errors.Is(err, scamp.ErrStopped) {
				t.Errorf("%s: cause %v, want ErrLost and ErrClosed, not ErrStopped", how, err)
			}
		}
		for _, o := range all {
			<-o
		}
		<-typed
		if err := <-left; !errors.Is(err, scamp.ErrClosed) {
			t.Errorf("Serve returned %v, want ErrClosed", err)
		}
	})
}

// A service of a bus that is closed is not served at all.
func TestServeOfClosedBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		bus := n.Bus(nil)
		s, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: n.KeyPair()})
		if err != nil {
			t.Fatal(err)
		}
		s.Handle("Sample.ok", ok, nil)
		bus.Close()
		if err := s.Serve(t.Context()); !errors.Is(err, scamp.ErrClosed) {
			t.Errorf("Serve on a closed bus: %v, want ErrClosed", err)
		}
		select {
		case <-s.Ready():
			t.Error("it says that it is ready")
		default:
		}
	})
}
