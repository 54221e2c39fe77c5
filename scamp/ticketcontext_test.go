package scamp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// tellUser answers with the user whom the request's ticket names.
func tellUser(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
	p, err := req.Principal()
	if err != nil {
		return err
	}
	return rep.SetBytes(fmt.Appendf(nil, "%d", p.Effective.User))
}

// userOf returns what tellUser answers, or the code of the error.
func userOf(reply *scamp.Reply, err error) string {
	if re, is := errors.AsType[*scamp.RemoteError](err); is {
		return re.Code
	}
	if err != nil {
		return err.Error()
	}
	b, err := reply.Bytes(0)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// The ticket of the context is that of calls which have none of their own and go through
// nobody who has one: what is said nearest to the call counts.
func TestTicketOfTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		svc := n.Serve("sample", func(s *scamp.Service) { s.Handle("Sample.who", tellUser, nil) })
		bus := n.Bus(nil)
		client, err := bus.Dial(t.Context(), svc.Addr(), scamp.Identity{Certificate: svc.KeyPair.Certificate})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		user := func(i int64) scamp.Ticket { return n.Ticket(scamp.TicketClaims{User: i}) }
		plain := t.Context()
		carrying := scamp.WithTicket(plain, user(1))
		defaults := bus.With(scamp.Request{Ticket: user(2)})
		for _, tt := range []struct {
			what   string
			ctx    context.Context
			caller scamp.Caller
			ticket scamp.Ticket
			want   string
		}{
			{"nothing", plain, bus, "", "authn"},
			{"the context", carrying, bus, "", "1"},
			{"the context, over a Client", carrying, client, "", "1"},
			{"a context within", scamp.WithTicket(carrying, user(4)), bus, "", "4"},
			{"a context within that has none", scamp.WithTicket(carrying, ""), bus, "", "authn"},
			{"defaults over the context", carrying, defaults, "", "2"},
			{"the request over the context", carrying, bus, user(3), "3"},
			{"the request over both", carrying, defaults, user(3), "3"},
		} {
			req := &scamp.Request{Action: "Sample.who", Ticket: tt.ticket, Idempotent: strings.Contains(tt.what, "defaults")}
			if got := userOf(tt.caller.Call(tt.ctx, req)); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.what, got, tt.want)
			}
			if req.Ticket != tt.ticket {
				t.Errorf("%s: the request was changed", tt.what)
			}
		}
		for _, open := range []func(context.Context, *scamp.Request) (*scamp.Stream, error){bus.Stream, client.Stream} {
			s, err := open(carrying, &scamp.Request{Action: "Sample.who"})
			if err != nil {
				t.Fatal(err)
			}
			s.CloseSend()
			if got := userOf(s.Reply()); got != "1" {
				t.Errorf("a Stream with the ticket of the context: %s, want 1", got)
			}
		}
	})
}

// THREATS T4: the ticket of a request goes no further by itself, neither with the context
// of its handler nor with that of who called from the same process.
func TestTicketIsNotForwarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Serve("behind", func(s *scamp.Service) { s.Handle("Behind.who", tellUser, nil) })
		var bus *scamp.Bus
		var forward bool
		front := func(s *scamp.Service) {
			s.Handle("Front.ask", func(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
				if forward {
					ctx = scamp.WithTicket(ctx, req.Ticket)
				}
				_, err := io.WriteString(rep, userOf(bus.Call(ctx, &scamp.Request{Action: "Behind.who"})))
				return err
			}, nil)
		}
		served := n.Serve("front", front)
		for _, bus = range []*scamp.Bus{n.Bus(nil), served.Bus} {
			for _, forward = range []bool{false, true} {
				want := "authn"
				if forward {
					want = "7"
				}
				ctx := scamp.WithTicket(t.Context(), n.Ticket(scamp.TicketClaims{User: 7}))
				if got := userOf(bus.Call(ctx, &scamp.Request{Action: "Front.ask"})); got != want {
					t.Errorf("forwarded %v: the service behind answers %s, want %s", forward, got, want)
				}
			}
		}
	})
}
