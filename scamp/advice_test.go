package scamp_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// However a call fails, but for what the action itself answers, its error says what to do:
// what its ladder says of the rung that failed. TestWhy has the ways to fail before
// anything is sent.
func TestEveryFailureHasAdvice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Limits.MaxConcurrency, n.Limits.MaxQueue = 1, 1
		slow := func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error {
			<-ctx.Done()
			return ctx.Err()
		}
		s := n.Serve("sample", func(s *scamp.Service) {
			s.Handle("Sample.slow", slow, nil)
			s.Handle("Sample.short", slow, &scamp.ActionOptions{Timeout: time.Second})
			s.Handle("Sample.no", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { return errors.New("no") }, nil)
			s.Handle("Sample.text", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
				return rep.SetBytes([]byte("{text"))
			}, nil)
			s.Handle("Sample.cut", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
				rep.Write([]byte("{"))
				return errors.New("cut")
			}, nil)
		})
		n.ServeWith("guarded", &scamp.ServiceOptions{RequireTickets: true, AuthzTable: scamp.AuthzTableOff}, func(s *scamp.Service) { s.Handle("Guarded.read", ok, nil) })
		bus := n.Bus(&scamp.Options{Limits: n.Limits})
		hung := n.Bus(&scamp.Options{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }})
		hasty := n.Bus(&scamp.Options{Limits: scamp.Limits{RPCTimeout: time.Second}})
		closed := n.Bus(nil)
		closed.Close()
		call := func(ctx context.Context, b *scamp.Bus, req *scamp.Request) error {
			var g greeting
			reply, err := b.Call(ctx, req)
			if err == nil {
				err = reply.JSON(&g)
			}
			return err
		}
		within := func(b *scamp.Bus, action string) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return call(ctx, b, &scamp.Request{Action: action})
		}
		for _, tt := range []struct {
			name, want string // in the advice
			is         error
			call       func() error
		}{
			{"everybody left out", "change the Filter", scamp.ErrNotFound, func() error {
				return call(t.Context(), bus, &scamp.Request{Action: "Sample.no", Route: &scamp.RouteOptions{Filter: func(discovery.Route) bool { return false }}})
			}},
			{"deadline", "give the call more time", scamp.ErrTimeout, func() error { return within(bus, "Sample.slow") }},
			{"deadline while connecting", "firewall", scamp.ErrTimeout, func() error { return within(hung, "Sample.slow") }},
			{"no progress", "rpc.timeout", scamp.ErrTimeout, func() error { return call(t.Context(), hasty, &scamp.Request{Action: "Sample.slow"}) }},
			{"time of one attempt", "AttemptTimeout", scamp.ErrTimeout, func() error {
				ctx, cancel := context.WithCancel(t.Context())
				var seen error
				retried := &scamp.Trace{Retried: func(_ int, err error) { seen = err; cancel() }}
				call(scamp.WithTrace(ctx, retried), bus, &scamp.Request{Action: "Sample.slow", Idempotent: true, Retry: &scamp.RetryOptions{AttemptTimeout: time.Second}})
				return seen
			}},
			{"time of the handler", "ActionOptions.Timeout", scamp.ErrTimeout, func() error { return call(t.Context(), bus, &scamp.Request{Action: "Sample.short"}) }},
			{"cancelled", "gave the call up", context.Canceled, func() error {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				return call(ctx, bus, &scamp.Request{Action: "Sample.slow"})
			}},
			{"stream closed", "gave the call up", nil, func() error {
				st, err := bus.Stream(t.Context(), &scamp.Request{Action: "Sample.slow"})
				if err != nil {
					return err
				}
				st.Close()
				_, err = st.Reply()
				return err
			}},
			{"lost", "scamp show IDENT", scamp.ErrLost, func() error {
				time.AfterFunc(time.Second, func() { n.Cut(s) })
				return call(t.Context(), bus, &scamp.Request{Action: "Sample.slow"})
			}},
			{"queue full", "MaxQueue", scamp.ErrRefused, func() error {
				ctx, cancel := context.WithCancel(t.Context())
				defer synctest.Wait()
				defer cancel()
				for range 2 {
					inBackground(ctx, bus, &scamp.Request{Action: "Sample.slow"})
				}
				synctest.Wait()
				return call(t.Context(), bus, &scamp.Request{Action: "Sample.no"})
			}},
			{"no ticket", "WithTicket", scamp.ErrDenied, func() error { return call(t.Context(), bus, &scamp.Request{Action: "Guarded.read"}) }},
			{"reply ended by TXERR", "log of the service", scamp.ErrBroken, func() error { return call(t.Context(), bus, &scamp.Request{Action: "Sample.cut"}) }},
			{"no JSON", "scamp call shows", scamp.ErrBadReply, func() error { return call(t.Context(), bus, &scamp.Request{Action: "Sample.text"}) }},
			{"reply too long", "read Body as a stream", nil, func() error {
				reply, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.text"})
				if err == nil {
					_, err = reply.Bytes(1)
				}
				return err
			}},
			{"body of the program", "GetBody", io.ErrNoProgress, func() error {
				return call(t.Context(), bus, &scamp.Request{Action: "Sample.no", GetBody: func() (io.Reader, error) { return nil, io.ErrNoProgress }})
			}},
			{"closed bus", "make another one", scamp.ErrClosed, func() error { return call(t.Context(), closed, &scamp.Request{Action: "Sample.no"}) }},
		} {
			err := tt.call()
			ce, ok := errors.AsType[*scamp.CallError](err)
			if !ok || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%s: error %v, want a CallError that is %v", tt.name, err, tt.is)
				continue
			}
			if !strings.Contains(ce.Advice, tt.want) {
				t.Errorf("%s: %v: advice %q, want one with %q", tt.name, err, ce.Advice, tt.want)
			}
			if failed, _ := ce.Ladder().Failed(); failed.Fix != ce.Advice {
				t.Errorf("%s: advice %q, but the ladder says %q", tt.name, ce.Advice, failed.Fix)
			}
		}
	})
}
