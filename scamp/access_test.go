package scamp_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// callCode calls an action and returns the code that answered, "ok" for none.
func callCode(t *testing.T, c scamp.Caller, action string, ticket scamp.Ticket) (code, text string) {
	t.Helper()
	reply, err := c.Call(t.Context(), &scamp.Request{Action: action, Ticket: ticket})
	if err == nil {
		if _, err := reply.Bytes(0); err != nil {
			t.Fatal(err)
		}
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
func checkAccess(t *testing.T) {
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
			{"Sample.read", none, "authz", "lacks privilege see things (1), as main:Auth.getAuthzTable~1 says"},
			{"Sample.read", one, "ok", ""},
			{"Sample.write", one, "authz", "lacks privilege change things (2), as main:Auth.getAuthzTable~1 says"},
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
			if tt.code != "authz" {
				continue
			}
			// The advice names who asked for the privilege, and nobody else.
			_, err := bus.Call(t.Context(), &scamp.Request{Action: tt.action, Ticket: tt.ticket})
			want, not := "what main:Auth.getAuthzTable~1 answers", "ActionOptions.Privileges"
			if tt.text == "lacks privilege 7" || tt.text == "lacks privilege 9" {
				want, not = not, "Auth.getAuthzTable"
			}
			if ce, ok := errors.AsType[*scamp.CallError](err); !ok || !strings.Contains(ce.Advice, want) || strings.Contains(ce.Advice, not) {
				t.Errorf("%s: %v: want advice with %q, without %q", tt.action, err, want, not)
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
				return rep.SetJSON(fmt.Sprintf("%d %d %d %s", p.Effective.User, p.Real.User, p.Client, string(p.Terminal)))
			}, nil)
			s.Handle("Sample.free", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
				p, err := req.Principal()
				real := int64(-1)
				if p.Real != nil {
					real = p.Real.User
				}
				return rep.SetJSON(fmt.Sprintf("%v %d %d %s: %v", p.Effective != nil, real, p.Client, string(p.Terminal), err))
			}, &scamp.ActionOptions{Flags: []string{"noauth"}})
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
			{scamp.Request{Ticket: user, IdentifyingToken: " "}, `"1 1 10 "`},
			{scamp.Request{Action: "Sample.free", ClientID: 5, Terminal: "t7"}, `"false -1 5 t7: authn: no ticket, and this wants one"`},
			{scamp.Request{Action: "Sample.free", IdentifyingToken: real, ClientID: 5}, `"false 2 20 : authn: no ticket, and this wants one"`},
			{scamp.Request{Action: "Sample.free", IdentifyingToken: "junk", ClientID: 5}, `"false -1 5 : authn: no ticket, and this wants one"`},
			{scamp.Request{Action: "Sample.free", Ticket: user, IdentifyingToken: real}, `"true 2 20 : \u003cnil\u003e"`},
		} {
			if tt.req.Action == "" {
				tt.req.Action = "Sample.who"
			}
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

// While too many bad tickets came nobody looks at another, so nobody knows whether an
// identifying token is good: that request is refused, and not taken for one of whom its
// ticket names.
func TestPrincipalWhileTicketsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Serve("sample", func(s *scamp.Service) {
			s.Handle("Sample.who", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
				p, err := req.Principal()
				if err != nil && p.Real != nil {
					t.Errorf("Principal: Real is user %d beside %v, want nobody", p.Real.User, err)
				}
				return err
			}, nil)
		})
		bus := n.Bus(nil)
		user, real := n.Ticket(scamp.TicketClaims{User: 1}), n.Ticket(scamp.TicketClaims{User: 2})
		who := func(ticket, token scamp.Ticket) string {
			reply, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.who", Ticket: ticket, IdentifyingToken: token})
			if err == nil {
				reply.Body.Close()
				return "ok"
			}
			re, _ := errors.AsType[*scamp.RemoteError](err)
			return re.Code
		}
		for i := range 50 {
			if got := who(user, scamp.Ticket(fmt.Sprintf("1,%d,1,1,1,AAAA", i))); got != "ok" {
				t.Fatalf("bad token %d: %s, want ok", i, got)
			}
		}
		for _, tt := range []struct {
			ticket, token scamp.Ticket
			after         time.Duration
			want          string
		}{
			{user, real, 0, "ratelimit"},
			{real, user, 0, "ratelimit"},
			{user, user, 0, "ok"}, // it is known
			{user, real, time.Second, "ok"},
		} {
			<-time.After(tt.after)
			if got := who(tt.ticket, tt.token); got != tt.want {
				t.Errorf("after 50 bad tokens and %v: %s, want %s", tt.after, got, tt.want)
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

// PROTOCOL 10.4: a table that is older than 300 s judges only while no newer one can be had.
// Who asks then waits for that, and not for an Auth that does not answer.
func TestAccessTableIsRenewedBeforeItJudges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		var table atomic.Value
		table.Store(`{"sample.read":[1]}`)
		auth := n.Serve("auth", func(s *scamp.Service) {
			s.Handle("Auth.getAuthzTable", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
				return rep.SetBytes([]byte(table.Load().(string)))
			}, nil)
		})
		n.ServeWith("sample", &scamp.ServiceOptions{RequireTickets: true}, func(s *scamp.Service) { s.Handle("Sample.read", ok, nil) })
		bus := n.Bus(nil)
		ticket := n.Ticket(scamp.TicketClaims{Start: time.Now().Unix(), Length: 1 << 20, Privileges: []int64{1}})
		expect := func(when, want string, most time.Duration) {
			t.Helper()
			began := time.Now()
			if code, text := callCode(t, bus, "Sample.read", ticket); code != want {
				t.Errorf("%s: %s %q, want %s", when, code, text, want)
			}
			if took := time.Since(began); took > most {
				t.Errorf("%s: it took %v, want at most %v", when, took, most)
			}
		}
		const soon = 100 * time.Millisecond
		expect("at first", "ok", soon)
		table.Store(`{"sample.read":[2]}`)
		time.Sleep(290 * time.Second)
		expect("after 290 s", "ok", soon) // the table counts for so long
		time.Sleep(300 * time.Second)
		expect("after 590 s, with the right taken away", "authz", soon)
		table.Store(`{"sample.read":[1]}`)
		time.Sleep(301 * time.Second)
		expect("with the right given back", "ok", soon)
		resume := n.Pause(auth)
		defer resume()
		time.Sleep(301 * time.Second)
		expect("when Auth hangs", "ok", time.Second)
		time.Sleep(time.Second)
		expect("while it does", "ok", soon)
		time.Sleep(300 * time.Second)
		expect("when it has hung for too long", "internal", 75*time.Second)
	})
}

// What a service's tickets and its authorization table refuse is counted, and the error
// says what would cure it. No instance is avoided for that; nothing ran. Another one is
// asked only while the table cannot be had, and once (PROTOCOL 11.6).
func TestAccessRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		var services []*scamptest.Service
		for range 2 {
			services = append(services, n.ServeWith("sample", &scamp.ServiceOptions{RequireTickets: true}, func(s *scamp.Service) {
				s.Handle("Sample.read", ok, nil)
				s.Handle("Sample.free", ok, &scamp.ActionOptions{Flags: []string{"noauth"}})
				s.Handle("Sample.strict", ok, &scamp.ActionOptions{Privileges: []int64{9}})
				s.Handle("web:Sample.broken", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
					return &scamp.RemoteError{Code: scamp.CodeInternal, Text: "the disk is full"}
				}, nil)
			}))
		}
		bus := n.Bus(nil)
		good := n.Ticket(scamp.TicketClaims{User: 1})
		unsigned := good[:len(good)-8] + "AAAAAAAA"
		for _, tt := range []struct {
			action         string
			ticket         scamp.Ticket
			code, counters string
			ran            scamp.Ran
			advice         string
		}{
			{"Sample.read", "", "authn", "ticket_refused", scamp.RanNo, "WithTicket"},
			{"Sample.read", "junk", "authn", "ticket_malformed", scamp.RanNo, "--ticket-file"},
			{"Sample.read", unsigned, "authn", "ticket_refused", scamp.RanNo, "scamp ticket verify"},
			{"Sample.read", n.Ticket(scamp.TicketClaims{Start: 1, Length: 1}), "authn", "ticket_refused", scamp.RanNo, "valid now"},
			{"Sample.strict", good, "authz", "authz_refused", scamp.RanNo, "grants the privilege"},
			{"Sample.read", good, "internal", "authz_refused authz_table_failed", scamp.RanNo, "main:Auth.getAuthzTable~1"},
			{"web:Sample.broken", good, "internal", "", scamp.RanYes, ""},
			{"Sample.free", "", "ok", "", scamp.RanMaybe, ""},
		} {
			before := totals(services)
			reply, err := bus.Call(t.Context(), &scamp.Request{Action: tt.action, Ticket: tt.ticket})
			synctest.Wait()
			if moved := risen(before, totals(services)); moved != tt.counters {
				t.Errorf("%s with ticket %v moved %q, want %q", tt.action, tt.ticket, moved, tt.counters)
			}
			ce, failed := errors.AsType[*scamp.CallError](err)
			if !failed {
				if tt.code != "ok" {
					t.Errorf("%s with ticket %v: %v, %v, want %s", tt.action, tt.ticket, reply, err, tt.code)
				}
				continue
			}
			attempts := 1
			if tt.code == "internal" && tt.ran == scamp.RanNo {
				attempts = 2
			}
			re, _ := errors.AsType[*scamp.RemoteError](err)
			if re == nil || re.Code != tt.code || ce.Ran != tt.ran || ce.Attempts != attempts {
				t.Errorf("%s with ticket %v: %v, ran %v, attempts %d, want %s, ran %v, %d", tt.action, tt.ticket, err, ce.Ran, ce.Attempts, tt.code, tt.ran, attempts)
			}
			if !strings.Contains(ce.Advice, tt.advice) || tt.advice == "" && ce.Advice != "" {
				t.Errorf("%s with ticket %v: advice %q, want one with %q", tt.action, tt.ticket, ce.Advice, tt.advice)
			}
		}
		if got := bus.Stats()["instance_avoided"]; got != 0 {
			t.Errorf("instance_avoided is %d, want 0: what is wrong is the same at all of them", got)
		}
	})
}

// totals are the counters of all services together.
func totals(services []*scamptest.Service) map[string]uint64 {
	all := make(map[string]uint64)
	for _, s := range services {
		for name, n := range s.Bus.Stats() {
			all[name] += n
		}
	}
	return all
}

// risen names the counters of refused requests that rose, in order.
func risen(before, after map[string]uint64) string {
	var names []string
	for _, name := range []string{"authz_refused", "authz_table_failed", "ticket_limited", "ticket_malformed", "ticket_refused"} {
		if after[name] > before[name] {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// Options that would protect nothing although they look so are mistakes.
func TestAuthzTableOptions(t *testing.T) {
	n := scamptest.New(t)
	for _, tt := range []struct {
		opts scamp.ServiceOptions
		want string
	}{
		{scamp.ServiceOptions{AuthzTable: 9, RequireTickets: true}, "want one of the constants"},
		{scamp.ServiceOptions{AuthzTable: -1, RequireTickets: true}, "want one of the constants"},
		{scamp.ServiceOptions{AuthzTable: scamp.AuthzTableAll}, "want RequireTickets"},
	} {
		tt.opts.KeyPair = n.KeyPair()
		svc, err := n.Bus(nil).NewService("sample", &tt.opts)
		if err != nil {
			t.Fatal(err)
		}
		svc.Handle("Sample.read", ok, nil)
		if err := svc.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Serve with table %d, tickets required %v: %v, want an error with %q", tt.opts.AuthzTable, tt.opts.RequireTickets, err, tt.want)
		}
	}
}
