package scamp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// callCode calls an action and returns the code that answered, "ok" for none.
func callCode(t *testing.T, c scamp.Caller, action string, ticket scamp.Ticket) (code, text string) {
	t.Helper()
	reply, err := c.Call(t.Context(), &scamp.Request{Action: action, Ticket: ticket})
	if err == nil {
		reply.Body.Close()
		return "ok", ""
	}
	var re *scamp.RemoteError
	if !errors.As(err, &re) {
		t.Fatalf("call %s: %v, want an answer of the service", action, err)
	}
	if ticket != "" && strings.Contains(err.Error(), string(ticket)) {
		t.Errorf("call %s: error %q shows the ticket", action, err)
	}
	return re.Code, re.Text
}

func ok(context.Context, *scamp.Request, *scamp.ReplyWriter) error { return nil }

// THREATS T7, PROTOCOL 10.4: none or invalid is authn; a privilege that is missing, and
// an action that the table does not list, is authz.
func TestAccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Serve("auth", func(s *scamp.Service) {
			s.Handle("Auth.getAuthzTable", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
				return rep.SetBytes([]byte(`{"sample.read":["1"],"sample.write":[1,"2"],"sample.open":[],"sample.null":null,
					"sample.null_in":[1,null],"sample.word":["x"],"sample.number":7,"sample.minus":[-1],"sample.half":[1.5],"sample.object":[{}],
					"_NAMES":[null,"see things","change things"],"_other":17}`))
			}, &scamp.ActionOptions{Flags: []string{"noauth"}})
		})
		n.ServeWith("sample", &scamp.ServiceOptions{RequireTickets: true}, func(s *scamp.Service) {
			for _, name := range []string{"read", "write", "open", "null", "null_in", "word", "number", "minus", "half", "object", "unlisted"} {
				s.Handle("Sample."+name, ok, nil)
			}
			s.Handle("Sample.free", ok, &scamp.ActionOptions{Flags: []string{"noauth"}})
			s.Handle("web:Page.render", ok, nil)
			s.Handle("web:Page.edit", ok, &scamp.ActionOptions{Privileges: []int64{7, 8}})
		})
		n.Serve("lax", func(s *scamp.Service) {
			s.Handle("Lax.open", ok, nil)
			s.Handle("Lax.strict", ok, &scamp.ActionOptions{Privileges: []int64{9}})
		})
		bus := n.Bus(nil)
		none := n.Ticket(scamp.TicketClaims{User: 1, Client: 2, Short: true})
		one := n.Ticket(scamp.TicketClaims{User: 1, Client: 2, Privileges: []int64{1}})
		both := n.Ticket(scamp.TicketClaims{User: 1, Client: 2, Privileges: []int64{2, 1}})
		page := n.Ticket(scamp.TicketClaims{User: 1, Client: 2, Privileges: []int64{7, 8, 9}})
		over := n.Ticket(scamp.TicketClaims{User: 1, Client: 2, Start: time.Now().Unix() - 10, Length: 10})
		for _, tt := range []struct {
			action     string
			ticket     scamp.Ticket
			code, text string
		}{
			{"Sample.read", "", "authn", "no ticket"},
			{"Sample.read", "1,2,3", "authn", "ticket: "},
			{"Sample.read", over, "authn", "expired"},
			{"Sample.read", none, "authz", "lacks privilege see things (1)"},
			{"Sample.read", one, "ok", ""},
			{"Sample.write", one, "authz", "lacks privilege change things (2)"},
			{"Sample.write", both, "ok", ""},
			{"Sample.open", none, "ok", ""},
			{"Sample.open", "", "authn", ""},
			{"Sample.free", "", "ok", ""},
			{"Sample.unlisted", both, "authz", "unconfigured action sample.unlisted"},
			{"Sample.null", both, "authz", "unconfigured"},
			{"Sample.null_in", both, "authz", "unconfigured"},
			{"Sample.word", both, "authz", "unconfigured"},
			{"Sample.number", both, "authz", "unconfigured"},
			{"Sample.minus", both, "authz", "unconfigured"},
			{"Sample.half", both, "authz", "unconfigured"},
			{"Sample.object", both, "authz", "unconfigured"},
			{"web:Page.render", none, "ok", ""}, // the table is for main
			{"web:Page.render", "", "authn", ""},
			{"web:Page.edit", both, "authz", "lacks privilege 7"},
			{"web:Page.edit", page, "ok", ""},
			{"Lax.open", "", "ok", ""},
			{"Lax.open", "nonsense", "ok", ""}, // nobody looks at it
			{"Lax.strict", "", "authn", ""},
			{"Lax.strict", one, "authz", "lacks privilege 9"},
			{"Lax.strict", page, "ok", ""},
		} {
			code, text := callCode(t, bus, tt.action, tt.ticket)
			if code != tt.code || !strings.Contains(text, tt.text) {
				t.Errorf("%s: %s %q, want %s with %q", tt.action, code, text, tt.code, tt.text)
			}
		}
	})
}

// PROTOCOL 10.3: the effective ticket is ticket; the real one identifying_token, if it
// verifies.
func TestPrincipal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Serve("sample", func(s *scamp.Service) {
			s.Handle("Sample.who", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
				p, err := req.Principal()
				if err != nil {
					return err
				}
				return rep.SetJSON(fmt.Sprintf("%d %d %d %s", p.Effective.User, p.Real.User, p.Client, p.Terminal))
			}, nil)
		})
		bus := n.Bus(nil)
		user := n.Ticket(scamp.TicketClaims{User: 1, Client: 10})
		real := n.Ticket(scamp.TicketClaims{User: 2, Client: 20})
		nobody := n.Ticket(scamp.TicketClaims{User: 3})
		for _, tt := range []struct {
			req  scamp.Request
			want string
		}{
			{scamp.Request{Ticket: user}, `"1 1 10 "`},
			{scamp.Request{Ticket: user, IdentifyingToken: real}, `"1 2 20 "`},
			{scamp.Request{Ticket: user, IdentifyingToken: "junk", ClientID: 5}, `"1 1 10 "`},
			{scamp.Request{Ticket: nobody, ClientID: 5, Terminal: "t7"}, `"3 3 5 t7"`},
			{scamp.Request{Ticket: user, IdentifyingToken: nobody, ClientID: 5}, `"1 3 5 "`},
			{scamp.Request{}, "authn: no ticket, and this wants one"},
			{scamp.Request{Ticket: "junk", IdentifyingToken: real}, "authn: ticket: no comma in it: want fields and a signature"},
		} {
			tt.req.Action = "Sample.who"
			got := ""
			reply, err := bus.Call(t.Context(), &tt.req)
			if err == nil {
				body, _ := reply.Bytes(0)
				got = string(body)
			} else if re, is := errors.AsType[*scamp.RemoteError](err); is {
				got = re.Error()
			}
			if got != tt.want {
				t.Errorf("Principal of %v, %v: %s (%v), want %s", tt.req.Ticket, tt.req.IdentifyingToken, got, err, tt.want)
			}
		}
	})
}

// PROTOCOL 10.4: the table counts for 300 s, when it cannot be had anew for 300 s more,
// and then every action that needs it answers internal.
func TestAccessTableAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		var asked atomic.Int32
		serve := func(table string) *scamptest.Service {
			return n.Serve("auth", func(s *scamp.Service) {
				s.Handle("Auth.getAuthzTable", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
					asked.Add(1)
					return rep.SetBytes([]byte(table))
				}, nil)
			})
		}
		auth := serve(`{"sample.read":[1]}`)
		n.ServeWith("sample", &scamp.ServiceOptions{RequireTickets: true}, func(s *scamp.Service) { s.Handle("Sample.read", ok, nil) })
		bus := n.Bus(nil)
		ticket := n.Ticket(scamp.TicketClaims{Start: time.Now().Unix(), Length: 1 << 20, Privileges: []int64{1}})
		expect := func(when, want string, calls int32) {
			t.Helper()
			if code, text := callCode(t, bus, "Sample.read", ticket); code != want {
				t.Errorf("%s: %s %q, want %s", when, code, text, want)
			}
			synctest.Wait()
			if got := asked.Load(); got != calls {
				t.Errorf("%s: the table was asked for %d times, want %d", when, got, calls)
			}
		}
		for range 20 {
			expect("at first", "ok", 1)
		}
		time.Sleep(299 * time.Second)
		expect("after 299 s", "ok", 1)
		auth.Stop()
		time.Sleep(2 * time.Second)
		expect("after 301 s, nobody there", "ok", 1)
		time.Sleep(290 * time.Second)
		expect("after 591 s, nobody there", "ok", 1)
		time.Sleep(60 * time.Second)
		expect("after 651 s, nobody there", "internal", 1)
		auth = serve(`{"sample.read":[2]}`)
		time.Sleep(20 * time.Second)
		expect("with another table", "authz", 2)
		auth.Stop()
		serve(`[]`)
		time.Sleep(601 * time.Second)
		expect("with nonsense", "internal", 3)
	})
}

// THREATS T5: bad tickets are looked at so often a second, whatever is shown; known and
// good ones always.
func TestTicketFailuresAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		svc := n.ServeWith("sample", &scamp.ServiceOptions{RequireTickets: true, AuthzTable: scamp.AuthzTableOff}, func(s *scamp.Service) {
			s.Handle("Sample.read", ok, nil)
		})
		bus, other := n.Bus(nil), n.Bus(nil)
		good := n.Ticket(scamp.TicketClaims{User: 1})
		callCode(t, bus, "Sample.read", good)
		codes := make(map[string]int)
		for i := range 500 {
			code, _ := callCode(t, bus, "Sample.read", scamp.Ticket(fmt.Sprintf("1,%d,1,1,1,AAAA", i)))
			codes[code]++
		}
		if codes["authn"] != 50 || codes["ratelimit"] != 450 {
			t.Errorf("500 bad tickets in a second: %v, want 50 authn and 450 ratelimit", codes)
		}
		if got := svc.Bus.Stats()["ticket_limited"]; got != 450 {
			t.Errorf("counter ticket_limited is %d, want 450", got)
		}
		for range 100 { // what is known costs nothing
			if code, text := callCode(t, bus, "Sample.read", good); code != "ok" {
				t.Fatalf("a good ticket that is known: %s %q", code, text)
			}
			if code, _ := callCode(t, bus, "Sample.read", "1,0,1,1,1,AAAA"); code != "authn" {
				t.Fatalf("a bad ticket that is known: %s, want authn", code)
			}
		}
		if code, text := callCode(t, other, "Sample.read", n.Ticket(scamp.TicketClaims{User: 2})); code != "ok" {
			t.Errorf("another connection: %s %q, want ok", code, text)
		}
		time.Sleep(time.Second)
		for i := range 200 { // a gateway with many users is not limited
			if code, text := callCode(t, bus, "Sample.read", n.Ticket(scamp.TicketClaims{User: int64(i)})); code != "ok" {
				t.Fatalf("good ticket %d: %s %q", i, code, text)
			}
		}
	})
}

// A ticket ends while it is remembered as a good one, and begins while it is not.
func TestKnownTicketEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.ServeWith("sample", &scamp.ServiceOptions{RequireTickets: true, AuthzTable: scamp.AuthzTableOff}, func(s *scamp.Service) {
			s.Handle("Sample.read", ok, nil)
		})
		bus := n.Bus(nil)
		ticket := n.Ticket(scamp.TicketClaims{Start: time.Now().Unix() + 10, Length: 10})
		for _, want := range []string{"authn", "ok", "authn"} {
			for range 2 {
				if code, text := callCode(t, bus, "Sample.read", ticket); code != want {
					t.Errorf("at %v: %s %q, want %s", time.Now(), code, text, want)
				}
			}
			time.Sleep(10 * time.Second)
		}
	})
}

// THREATS T6: the file with the keys is read anew when it changes, the last good one
// counts, and without any a service says so at start.
func TestTicketKeyFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ticket.pub")
	var lines bytes.Buffer
	log := slog.New(slog.NewTextHandler(&lines, nil))
	listen := func(_, _ string) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }
	n := scamptest.New(t)
	bus, err := scamp.Open(&scamp.Config{BusAddress: []string{"127.0.0.1"}, TicketVerifyKey: path},
		&scamp.Options{Log: log, Listen: listen, Carriers: []discovery.Carrier{n.Segment().Join()}})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	pair := n.KeyPair()
	svc, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}, RequireTickets: true, AuthzTable: scamp.AuthzTableOff, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	svc.Handle("Sample.read", ok, nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- svc.Serve(ctx) }() // ends with ctx
	defer func() { cancel(); <-ended }()
	<-svc.Ready()
	client, err := scamp.Dial(t.Context(), svc.Addr(), scamp.Identity{Certificate: pair.Certificate}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	key, _ := ticketKey(t)
	ticket := signTicket(t, key, fmt.Sprintf("1,42,100,%d,3600,1", time.Now().Unix()-5))
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(path+".new", text, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	becomes := func(when, want string) {
		t.Helper()
		if !scamptest.Eventually(func() bool { code, _ := callCode(t, client, "Sample.read", ticket); return code == want }) {
			t.Errorf("%s: never %s", when, want)
		}
	}
	becomes("without a file", "authn")
	write(fixtures.Bytes("keys/ticket.pub.pem"))
	becomes("with the key", "ok")
	write([]byte("half a fi"))
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 50 { // it is looked at each second
		<-tick.C
		if code, text := callCode(t, client, "Sample.read", ticket); code != "ok" {
			t.Fatalf("with a broken file: %s %q, want the last good key to count", code, text)
		}
	}
	der := fixtures.Bytes("keys/ticket.pub.pem")
	other, err := scamp.GenerateKeyPair("other", 2048)
	if err != nil {
		t.Fatal(err)
	}
	write(publicPEM(t, other))
	becomes("with another key", "authn")
	write(append(publicPEM(t, other), der...))
	becomes("with both", "ok")
	cancel()
	<-ended
	ended <- nil
	bus.Close()
	for _, want := range []string{"no ticket is valid here", "stays in force"} {
		if !strings.Contains(lines.String(), want) {
			t.Errorf("log %s: want a line with %q", lines.String(), want)
		}
	}
}

// Middleware sees what passes, in order, and only what tickets let through.
func TestMiddleware(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		var lines bytes.Buffer
		var seen []string
		note := func(name string) scamp.Middleware {
			return func(next scamp.Handler) scamp.Handler {
				return func(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
					seen = append(seen, name)
					return next(ctx, req, rep)
				}
			}
		}
		n.Serve("sample", func(s *scamp.Service) {
			s.Use(note("outer"), scamp.AccessLog(slog.New(slog.NewJSONHandler(&lines, nil))))
			s.Handle("Sample.read", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
				return rep.SetBytes([]byte("12345"))
			}, nil)
			s.Handle("Sample.write", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
				_, err := rep.Write([]byte("1234567"))
				return err
			}, nil)
			s.Handle("Sample.secret", ok, &scamp.ActionOptions{Privileges: []int64{1}})
			s.Handle("Sample.panic", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { panic("boom") }, nil)
			s.Use(note("inner"), scamp.Recover(func(_ context.Context, req *scamp.Request, v any, stack []byte) error {
				if req.Action != "Sample.panic" || v != "boom" || !bytes.Contains(stack, []byte("TestMiddleware")) {
					t.Errorf("Recover was told %q, %v and a stack of %d octets", req.Action, v, len(stack))
				}
				return &scamp.RemoteError{Code: "x_boom"}
			}))
		})
		bus := n.Bus(nil)
		ticket := n.Ticket(scamp.TicketClaims{User: 1})
		for _, tt := range []struct{ action, code string }{{"Sample.read", "ok"}, {"Sample.write", "ok"}, {"Sample.secret", "authz"}, {"Sample.panic", "x_boom"}} {
			seen = nil
			code, _ := callCode(t, bus, tt.action, ticket)
			synctest.Wait()
			want := "[outer inner]"
			if tt.action == "Sample.secret" {
				want = "[]"
			}
			if code != tt.code || fmt.Sprint(seen) != want {
				t.Errorf("%s: %s through %v, want %s through %s", tt.action, code, seen, tt.code, want)
			}
		}
		type line struct {
			Action, Code, Level string
			Octets              int
		}
		var got []line
		for text := range strings.Lines(lines.String()) {
			var l line
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Fatal(err)
			}
			got = append(got, l)
		}
		if want := fmt.Sprint([]line{{"main:Sample.read", "", "INFO", 5}, {"main:Sample.write", "", "INFO", 7}, {"main:Sample.panic", "x_boom", "WARN", 0}}); fmt.Sprint(got) != want {
			t.Errorf("access log says %v, want %v", got, want)
		}
		if strings.Contains(lines.String(), string(ticket)[:20]) {
			t.Errorf("access log shows the ticket: %s", lines.String())
		}
	})
}
