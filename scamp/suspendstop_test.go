package scamp_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A stuckCarrier sends nothing while it is stuck, for as long as its caller waits.
type stuckCarrier struct {
	discovery.Carrier
	stuck atomic.Bool
}

func (c *stuckCarrier) Send(ctx context.Context, iface discovery.Iface, data []byte) error {
	if c.stuck.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return c.Carrier.Send(ctx, iface, data)
}

// A service stops in its time also while somebody waits for its withdrawal to be sent.
func TestStopWhileItIsSuspended(t *testing.T) {
	for _, turn := range []func(*scamp.Service, context.Context) error{(*scamp.Service).Suspend, (*scamp.Service).Resume} {
		synctest.Test(t, func(t *testing.T) {
			n := scamptest.New(t)
			carrier := &stuckCarrier{Carrier: n.Segment().Join()}
			bus := n.Bus(&scamp.Options{Carriers: []discovery.Carrier{carrier}})
			svc, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: n.KeyPair(), Listen: []string{"127.0.0.1:0"}})
			if err != nil {
				t.Fatal(err)
			}
			svc.Handle("Sample.echo", echo, nil)
			stop := serve(t, svc)
			if err := svc.Suspend(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := svc.Resume(t.Context()); err != nil {
				t.Fatal(err)
			}
			carrier.stuck.Store(true)
			<-time.After(6 * time.Second) // the sending of an interval is stuck
			turned, stopped := make(chan error, 1), make(chan error, 1)
			go func() { // ends when the service stops
				svc.Suspend(t.Context())
				turned <- turn(svc, t.Context())
			}()
			synctest.Wait()
			began := time.Now()
			go func() { stopped <- stop() }() // ends with Serve
			select {
			case err := <-stopped:
				if took := time.Since(began); err != nil || took > 6*time.Second {
					t.Errorf("Serve: %v after %v, want it to stop in its time", err, took)
				}
				if err := <-turned; err == nil {
					t.Error("what could not be sent is no error")
				}
			case <-time.After(time.Hour):
				t.Fatal("Serve does not stop")
			}
		})
	}
}

// Nobody waits for a sending of a service whose bus is closed, nor behind another one for
// longer than he wants.
func TestSuspendIsNotStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		carrier := &stuckCarrier{Carrier: n.Segment().Join()}
		bus := n.Bus(&scamp.Options{Carriers: []discovery.Carrier{carrier}})
		svc, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: n.KeyPair(), Listen: []string{"127.0.0.1:0"}})
		if err != nil {
			t.Fatal(err)
		}
		svc.Handle("Sample.echo", echo, nil)
		stop := serve(t, svc)
		carrier.stuck.Store(true)
		<-time.After(6 * time.Second) // the sending of an interval is stuck
		done := make(chan error, 1)
		suspend := func(ctx context.Context) {
			t.Helper()
			go func() { done <- svc.Suspend(ctx) }() // ends with ctx, or the service
		}
		suspend(context.Background())
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := svc.Suspend(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Suspend behind one that is stuck: %v, want its deadline", err)
		}
		bus.Close()
		stop()
		if err := <-done; err == nil {
			t.Error("Suspend that was stuck when the bus was closed: no error")
		}
		suspend(context.Background())
		if err := <-done; err == nil {
			t.Error("Suspend behind the end of the service: no error")
		}
	})
}
