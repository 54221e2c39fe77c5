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

// A handler can know why its context has ended, also from one that it made of it.
func TestCauseOfAHandlersEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(n *scamptest.Network, s *scamptest.Service, cancel func())
		want func(error) bool
	}{
		{"the caller cancels", func(_ *scamptest.Network, _ *scamptest.Service, cancel func()) { cancel() }, func(err error) bool {
			return strings.Contains(err.Error(), "cancelled")
		}},
		{"its time is over", func(*scamptest.Network, *scamptest.Service, func()) { <-time.After(3 * time.Second) }, func(err error) bool {
			return errors.Is(err, scamp.ErrTimeout)
		}},
		{"the connection is lost", func(n *scamptest.Network, s *scamptest.Service, _ func()) { n.Cut(s) }, func(err error) bool {
			return errors.Is(err, scamp.ErrLost)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scamptest.New(t)
				began, causes := make(chan error, 1), make(chan error, 2)
				s := n.Serve("sample", func(s *scamp.Service) {
					s.Handle("Sample.ok", ok, nil)
					s.Handle("Sample.work", func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error {
						made, cancel := context.WithCancel(ctx)
						defer cancel()
						began <- scamp.Cause(made)
						<-made.Done()
						causes <- scamp.Cause(ctx)
						causes <- scamp.Cause(made)
						return nil
					}, &scamp.ActionOptions{Timeout: 2 * time.Second})
				})
				bus := n.Bus(nil)
				if code, _ := callCode(t, bus, "Sample.ok", ""); code != "ok" { // so that the bus knows a peer that understands cancel
					t.Fatal(code)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := inBackground(ctx, bus, &scamp.Request{Action: "Sample.work"})
				if err := <-began; err != nil {
					t.Errorf("the cause before its end: %v, want none", err)
				}
				synctest.Wait()
				tt.end(n, s, cancel)
				<-done
				for range 2 {
					if err := <-causes; err == nil || !tt.want(err) {
						t.Errorf("cause %v", err)
					}
				}
			})
		})
	}
	mine := errors.New("mine")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(mine)
	if err := scamp.Cause(ctx); err != mine {
		t.Errorf("the cause of a context of no handler: %v, want its own", err)
	}
}

// A context made from a handler's that ended by itself says its own cause, also when the
// handler has returned.
func TestCauseOfAContextThatEndedByItself(t *testing.T) {
	mine := errors.New("my own")
	causes := make(chan error, 3)
	bus := ownBus(t, &scamp.Config{}, "own", func(s *scamp.Service) {
		scamp.HandleJSON(s, "A.do", func(ctx context.Context, n int) (int, error) {
			apart, stop := context.WithTimeoutCause(context.WithoutCancel(ctx), 50*time.Millisecond, mine)
			made, cancel := context.WithCancelCause(ctx)
			cancel(mine)
			causes <- scamp.Cause(made)
			go func() { // ends with that time
				defer stop()
				<-apart.Done()
				causes <- scamp.Cause(made)
				causes <- scamp.Cause(apart)
			}()
			return n, nil
		}, nil)
	})
	if _, err := scamp.Call[int](context.Background(), bus, "A.do", 1); err != nil {
		t.Fatal(err)
	}
	for _, of := range []string{"cancelled in the handler", "the same behind it", "without its cancel, behind it"} {
		if err := <-causes; err != mine {
			t.Errorf("%s: the cause is %v, want %v", of, err, mine)
		}
	}
}
