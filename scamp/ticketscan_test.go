package scamp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A tellTale is everything that a bus and its users say, and what must not be in it.
type tellTale struct {
	said    syncBuffer
	secrets map[string]string // what each belongs to, by a piece of its signature
}

func (s *tellTale) log() *slog.Logger {
	opts := &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}
	return slog.New(slog.NewMultiHandler(slog.NewTextHandler(&s.said, opts), slog.NewJSONHandler(&s.said, opts)))
}

// say writes a value as programs do that look for a fault.
func (s *tellTale) say(values ...any) {
	for _, v := range values {
		fmt.Fprintf(&s.said, "%v %+v %#v %s %q %x %d\n", v, v, v, v, v, v, v)
		slog.New(slog.NewTextHandler(&s.said, nil)).Error("said", "value", v)
	}
}

// keep makes every piece of a ticket's signature a secret.
func (s *tellTale) keep(what string, t scamp.Ticket) scamp.Ticket {
	const piece = 12
	_, signature, _ := strings.Cut(string(t[max(0, len(t)-345):]), ",")
	signature = signature[strings.LastIndexByte(signature, ',')+1:]
	for i := 0; i+piece <= len(signature); i += piece {
		s.secrets[signature[i:i+piece]] = what
	}
	return t
}

// check finds tickets in what was said.
func (s *tellTale) check(t *testing.T) {
	t.Helper()
	text := s.said.String()
	for secret, what := range s.secrets {
		if i := strings.Index(text, secret); i >= 0 {
			t.Fatalf("%s shows: …%.300q", what, text[max(0, i-200):])
		}
	}
	for _, what := range []string{"panic", "msg=request", "code=general", "authn", "authz", "longer than a day", "[ticket]"} {
		if !strings.Contains(text, what) {
			t.Errorf("nothing was said with %q: the test looks at too little", what)
		}
	}
}

// THREATS T4: no log, no error and no panic shows a ticket, whatever is wrong with it and
// with the request that it comes with (invariant 9).
func TestTicketsAreNeverShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &tellTale{secrets: make(map[string]string)}
		n := scamptest.New(t)
		n.Limits = scamp.Limits{LogRate: 1 << 20, MaxTicketFailures: 40}
		now := time.Now().Unix()
		sign := func(what string, c scamp.TicketClaims) scamp.Ticket { return s.keep(what, n.Ticket(c)) }
		good := sign("a good ticket", scamp.TicketClaims{User: 1, Privileges: []int64{1}})
		other := good[:len(good)-40] + scamp.Ticket(strings.Repeat("Q", 40))
		tickets := []scamp.Ticket{
			good,
			sign("a long ticket", scamp.TicketClaims{User: 2, Start: now, Length: 1 << 30, Privileges: []int64{1}}),
			sign("a ticket of the past", scamp.TicketClaims{User: 3, Start: now - 10, Length: 9}),
			sign("a ticket of the future", scamp.TicketClaims{User: 4, Start: now + 1000, Length: 9}),
			sign("a ticket without rights", scamp.TicketClaims{User: 5}),
			s.keep("a ticket of nobody's", other),
			s.keep("a ticket that is not whole", good[5:]),
			s.keep("two tickets", good+good),
			s.keep("a ticket that is too long", scamp.Ticket(strings.Repeat("1,", 4100))+good),
			s.keep("a ticket of another kind", "2,7,"+good),
			"  " + good + "\n",
		}

		pair := n.KeyPair()
		n.Allow(pair, "main:ALL")
		serving := n.Bus(&scamp.Options{Log: s.log(), Limits: n.Limits})
		svc, err := serving.NewService("sample", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}, Grace: -1, RequireTickets: true, AuthzTable: scamp.AuthzTableOff})
		if err != nil {
			t.Fatal(err)
		}
		svc.Use(scamp.AccessLog(s.log()))
		about := func(req *scamp.Request) string { return fmt.Sprintf("%v %+v %#v", req, *req, req.Ticket) }
		free := &scamp.ActionOptions{Flags: []string{"noauth"}}
		svc.Handle("Sample.read", ok, &scamp.ActionOptions{Privileges: []int64{1}})
		svc.Handle("Sample.error", func(_ context.Context, req *scamp.Request, _ *scamp.ReplyWriter) error {
			s.say(req, *req)
			return fmt.Errorf("cannot serve %s", about(req))
		}, free)
		svc.Handle("Sample.broken", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
			io.WriteString(rep, "begun")
			return fmt.Errorf("cannot go on with %s", about(req))
		}, free)
		svc.Handle("Sample.panic", func(_ context.Context, req *scamp.Request, _ *scamp.ReplyWriter) error { panic(about(req)) }, free)
		svc.Handle("Sample.who", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
			p, err := req.Principal()
			s.say(p, err)
			return err
		}, free)
		serve(t, svc)

		bus := n.Bus(&scamp.Options{Log: s.log(), Limits: n.Limits})
		trace := &scamp.Trace{
			Routed:    func(r discovery.Route) { s.say(r) },
			Connected: func(c scamp.ConnectInfo) { s.say(c.Address) },
			Retried:   func(_ int, cause error) { s.say(cause) },
		}
		ctx := scamp.WithTrace(t.Context(), trace)
		for _, ticket := range tickets {
			s.say(ticket, scamp.WithTicket(ctx, ticket), bus.With(scamp.Request{Ticket: ticket, IdentifyingToken: ticket, Terminal: ticket}))
			for _, action := range []string{"Sample.read", "Sample.error", "Sample.broken", "Sample.panic", "Sample.who", "Sample.nobody", "no action"} {
				req := &scamp.Request{Action: action, Ticket: ticket, IdentifyingToken: ticket, Extra: map[string]json.RawMessage{"x": json.RawMessage(`1`)}}
				reply, err := bus.Call(ctx, req)
				s.say(*req, err)
				if err == nil {
					body, err := reply.Bytes(0)
					s.say(string(body), err)
				}
				if ce, is := err.(*scamp.CallError); is {
					s.say(ce.Ladder(), ce.Advice)
				}
				s.say(bus.Why(scamp.WithTicket(ctx, ticket), req).Rungs)
			}
			_, err := scamp.NewTicketKeys().Verify(ticket, time.Now(), nil)
			s.say(err)
		}

		// Headers that cannot be read, or are odd, with a ticket in each. (Who puts one in
		// the place of the type, or of a header line, finds 128 octets of it in the log,
		// which nobody can use.)
		quoted := func(t scamp.Ticket) string { b, _ := json.Marshal(string(t)); return string(b) }
		g := quoted(good)
		for _, header := range []string{
			ask("Sample.read", 1, "ticket", `[`+g+`]`),
			ask("Sample.read", 1, "ticket", `{"a":`+g+`}`),
			ask("Sample.read", 1, "ticket", g, "version", g),
			ask("Sample.read", 1, "ticket", g, "request_id", g),
			ask("Sample.read", 1, "ticket", g, "client_id", g),
			ask("Sample.read", 1, "action", g),
			ask("Sample.read", 1, "sector", g),
			ask("Sample.read", 1, "envelope", g),
			ask("Sample.read", 1, "ext", g),
			`{"ticket":` + g + `,"ticket":` + g + `}`,
			`{"action":"Sample.read","request_id":1,"type":"request","ticket":` + g,
			`{"ticket":` + g[:len(g)-1] + "\x01\"}",
			`[` + g + `]`,
			g,
			string(good),
		} {
			w := callWire(t, n, svc.Addr())
			w.send(msg(0, header, string(good)))
			<-time.After(time.Second)
		}
		s.check(t)
	})
}
