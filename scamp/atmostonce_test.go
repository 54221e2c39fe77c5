package scamp_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

// A handler that returns the error of a call of its own which was refused answers with the
// code of it (PROTOCOL 5.3), and with a text that names that call: nobody takes it for a
// refusal of the action that was called. An action's own text goes out bare.
func TestPassedOnRefusalNamesTheCall(t *testing.T) {
	n := scamptest.New(t)
	deny := &scamp.RemoteError{Code: scamp.CodeAuthz, Text: "not for you"}
	n.ServeWith("stock", &scamp.ServiceOptions{AuthzTable: scamp.AuthzTableOff}, func(s *scamp.Service) {
		ok := func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { return nil }
		s.Handle("Stock.left", ok, &scamp.ActionOptions{Privileges: []int64{5}})
		s.Handle("Stock.mine", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { return deny }, nil)
		s.Handle("Stock.out", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
			return &scamp.RemoteError{Code: "x_out", Text: "out of stock"}
		}, nil)
	})
	var bus *scamp.Bus // of the front
	pass := func(action string, ticket scamp.Ticket, wrap string) func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
		return func(ctx context.Context, _ *scamp.Request, w *scamp.ReplyWriter) error {
			_, err := bus.Call(ctx, &scamp.Request{Action: action, Ticket: ticket})
			if wrap != "" {
				err = fmt.Errorf("%s: %w", wrap, err)
			}
			return err
		}
	}
	none := n.Ticket(scamp.TicketClaims{User: 1, Client: 2})
	n.Serve("front", func(s *scamp.Service) {
		s.Handle("Front.anonymous", pass("Stock.left", "", ""), nil)
		s.Handle("Front.denied", pass("Stock.left", none, ""), nil)
		s.Handle("Front.wrapped", pass("Stock.left", none, "look at the stock"), nil)
		s.Handle("Front.handler", pass("Stock.mine", "", ""), nil)
		s.Handle("Front.answer", pass("Stock.out", "", "look at the stock"), nil)
		s.Handle("Front.own", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { return deny }, nil)
	})
	bus = n.Bus(nil)
	for _, tt := range []struct {
		action, code, text string
		another            bool // the advice says that another call was refused
	}{
		{"Front.anonymous", "authn", "scamp: call main:Stock.left~1 at stock:", true},
		{"Front.denied", "authz", "scamp: call main:Stock.left~1 at stock:", true},
		{"Front.wrapped", "authz", "look at the stock: scamp: call main:Stock.left~1 at stock:", true},
		{"Front.handler", "authz", "scamp: call main:Stock.mine~1 at stock:", true},
		{"Front.answer", "x_out", "out of stock", false},
		{"Front.own", "authz", "not for you", false},
	} {
		_, err := n.Bus(nil).Call(t.Context(), &scamp.Request{Action: tt.action})
		var ce *scamp.CallError
		var re *scamp.RemoteError
		if !errors.As(err, &ce) || !errors.As(err, &re) {
			t.Fatalf("%s: %v, want a CallError with a RemoteError", tt.action, err)
		}
		if re.Code != tt.code || !strings.HasPrefix(re.Text, tt.text) || ce.Ran != scamp.RanYes || errors.Is(err, scamp.ErrRefused) {
			t.Errorf("%s: %s %q, ran %v: want %s with %q, ran, and no ErrRefused", tt.action, re.Code, re.Text, ce.Ran, tt.code, tt.text)
		}
		if tt.another != strings.Contains(ce.Advice, "one that the service made") {
			t.Errorf("%s: advice %q: want it to tell of another call: %v", tt.action, ce.Advice, tt.another)
		}
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
