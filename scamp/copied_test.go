package scamp_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// What the options of a service, an action and a Subscription hold is the program's again
// when the call that takes them has returned.
func TestOptionsAreCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		pair := n.KeyPair()
		n.Allow(pair, "main:ALL")
		listen, envelopes := []string{"127.0.0.1:0"}, []string{"json"}
		opts := &scamp.ServiceOptions{KeyPair: pair, Listen: listen, Envelopes: envelopes, Grace: -1, Interval: time.Second}
		svc, err := n.Bus(nil).NewService("sample", opts)
		if err != nil {
			t.Fatal(err)
		}
		listen[0], envelopes[0] = "nowhere:1", "spoiled"
		own, flags, privileges := []string{"json", "text"}, []string{scamp.FlagRead}, []int64{1}
		svc.Handle("Sample.plain", ok, nil)
		svc.Handle("Sample.own", ok, &scamp.ActionOptions{Envelopes: own, Flags: flags})
		svc.Handle("Sample.guarded", ok, &scamp.ActionOptions{Privileges: privileges})
		own[0], flags[0], privileges[0] = "spoiled", "spoiled", 99
		serve(t, svc)
		bus := n.Bus(nil)
		call := func(req scamp.Request) {
			t.Helper()
			own[0], own[1], envelopes[0], privileges[0] = "again", "again", "again", 100 // while it serves
			r, err := bus.Call(t.Context(), &req)
			if err != nil {
				t.Fatalf("%s: %v, want that it is served as its options said", req.Action, err)
			}
			r.Body.Close()
		}
		call(scamp.Request{Action: "Sample.plain"})
		call(scamp.Request{Action: "Sample.own"})
		call(scamp.Request{Action: "Sample.own", Envelope: "text"})
		call(scamp.Request{Action: "Sample.guarded", Ticket: n.Ticket(scamp.TicketClaims{User: 1, Client: 2, Privileges: []int64{1}})})

		route := &scamp.RouteOptions{}
		codes := []string{"a"}
		sub, err := bus.Subscribe(&scamp.Request{Action: "Sample.plain", Route: route}, codes...)
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
		codes[0] = "spoiled"
		route.Filter = func(discovery.Route) bool { return false }
		if err := sub.Ready(t.Context()); err != nil {
			t.Errorf("a subscription whose Route was changed behind Subscribe: %v", err)
		}
	})
}

// The defaults of With are those that it was given, whatever becomes of their maps and of
// what they point to.
func TestDefaultsAreCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Serve("sample", func(s *scamp.Service) {
			s.Handle("Sample.extra", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
				rep.Extra = req.Extra
				return nil
			}, nil)
		})
		bus := n.Bus(nil)
		value := json.RawMessage(`"one"`)
		d := scamp.Request{Extra: scamp.Extra{"x": value}, Route: &scamp.RouteOptions{}, Retry: &scamp.RetryOptions{}}
		c := bus.With(d)
		copy(value, `"two"`)
		d.Extra["y"] = json.RawMessage("1")
		d.Route.Filter = func(discovery.Route) bool { return false }
		d.Retry.Attempts = -1
		r, err := c.Call(t.Context(), &scamp.Request{Action: "Sample.extra"})
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if len(r.Extra) != 1 || string(r.Extra["x"]) != `"one"` {
			t.Errorf("extra %s, x %s, want x alone, which is %s", r.Extra, r.Extra["x"], `"one"`)
		}
	})
}

// The carriers of a bus are those that Open was given.
func TestCarriersAreCopied(t *testing.T) {
	segment := discovery.NewLoopback()
	defer segment.Close()
	carriers := []discovery.Carrier{segment.Join()}
	bus, err := scamp.Open(nil, &scamp.Options{Carriers: carriers})
	if err != nil {
		t.Fatal(err)
	}
	clear(carriers)
	bus.Close() // closes them
}
