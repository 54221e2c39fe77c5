package scamp_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A handler that passes on the error of a call of its own must not be run again for it:
// nothing ran there, but it did here.
func TestPassedOnErrorRunsOnce(t *testing.T) {
	n := scamptest.New(t)
	var ran atomic.Int32
	n.Serve("front", func(s *scamp.Service) {
		s.Handle("Front.ask", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
			ran.Add(1)
			return &scamp.RemoteError{Code: scamp.CodeTransport, Text: "shutting down", Data: []byte(`{"dispatch_failure":true}`)}
		}, nil)
	})
	_, err := n.Bus(nil).Call(t.Context(), &scamp.Request{Action: "Front.ask"})
	var ce *scamp.CallError
	if !errors.As(err, &ce) || ce.Ran != scamp.RanYes || ran.Load() != 1 {
		t.Errorf("call: %v, and the handler ran %d times; want Ran yes and once", err, ran.Load())
	}
}

func TestEndedContextSendsNothing(t *testing.T) {
	n := scamptest.New(t)
	var ran atomic.Int32
	n.Serve("front", func(s *scamp.Service) {
		s.Handle("Front.ask", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { ran.Add(1); return nil }, nil)
	})
	bus := n.Bus(nil)
	if _, err := bus.Call(t.Context(), &scamp.Request{Action: "Front.ask"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		_, err := bus.Call(ctx, &scamp.Request{Action: "Front.ask"})
		var ce *scamp.CallError
		if !errors.Is(err, context.Canceled) || !errors.As(err, &ce) || ce.Ran != scamp.RanNo {
			t.Fatalf("call with an ended context: %v, want context.Canceled and Ran no", err)
		}
	}
	if got := ran.Load(); got != 1 {
		t.Errorf("the handler ran %d times, want once, before the context ended", got)
	}
}

// The caller's own deadline is the context's error, whoever notices it first.
func TestOwnDeadlineIsTheContexts(t *testing.T) {
	n := scamptest.New(t)
	n.Serve("front", func(s *scamp.Service) {
		s.Handle("Front.wait", func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error {
			<-ctx.Done()
			return ctx.Err()
		}, nil)
	})
	bus := n.Bus(nil)
	for range 30 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err := bus.Call(ctx, &scamp.Request{Action: "Front.wait"})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, scamp.ErrTimeout) {
			t.Fatalf("call with a deadline of 20 ms: %v, want ErrTimeout and context.DeadlineExceeded", err)
		}
	}
}
