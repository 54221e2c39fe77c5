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
