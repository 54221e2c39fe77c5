package scamp_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A sector or version beside an action that names another is refused, by callers and by
// services; defaults of With give way to what the action says.
func TestActionsDoNotContradict(t *testing.T) {
	n := scamptest.New(t)
	n.Serve("sample", func(s *scamp.Service) {
		s.Handle("web:Sample.look~2", ok, nil)
		s.Handle("web:Sample.see~2", ok, &scamp.ActionOptions{Sector: "WEB", Version: 2})
	})
	bus := n.Bus(nil)
	for _, tt := range []struct {
		c    scamp.Caller
		req  scamp.Request
		want string
	}{
		{bus, scamp.Request{Action: "web:Sample.look~2"}, ""},
		{bus, scamp.Request{Action: "web:Sample.look~2", Sector: "Web", Version: 2}, ""},
		{bus, scamp.Request{Action: "Sample.look", Sector: "web", Version: 2}, ""},
		{bus, scamp.Request{Action: "web:Sample.look~2", Sector: "main"}, `sector "main" beside it`},
		{bus, scamp.Request{Action: "web:Sample.look~2", Version: 1}, "version 1 beside it"},
		{bus.With(scamp.Request{Sector: "main", Version: 1}), scamp.Request{Action: "web:Sample.look~2"}, ""},
		{bus.With(scamp.Request{Sector: "web", Version: 2}), scamp.Request{Action: "Sample.look"}, ""},
		{bus.With(scamp.Request{Sector: "web"}), scamp.Request{Action: "Sample.look~2"}, ""},
	} {
		reply, err := tt.c.Call(t.Context(), &tt.req)
		if err == nil {
			reply.Body.Close()
		}
		if (err == nil) != (tt.want == "") || !strings.Contains(fmt.Sprint(err), tt.want) && err != nil {
			t.Errorf("call %s, sector %q, version %d: %v, want %q", tt.req.Action, tt.req.Sector, tt.req.Version, err, tt.want)
		}
	}
	for want, opts := range map[string]*scamp.ActionOptions{`sector "main" beside it`: {Sector: "main"}, "version 3 beside it": {Version: 3}} {
		svc, err := bus.NewService("other", &scamp.ServiceOptions{KeyPair: n.KeyPair()})
		if err != nil {
			t.Fatal(err)
		}
		svc.Handle("web:Other.look~2", ok, opts)
		if err := svc.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Serve of web:Other.look~2 with %+v: %v, want %q", opts, err, want)
		}
	}
}

// The access log names whom a ticket let in, wherever it stands; nobody else.
func TestAccessLogNamesTheUser(t *testing.T) {
	n := scamptest.New(t)
	var log syncBuffer
	n.ServeWith("sample", &scamp.ServiceOptions{RequireTickets: true, AuthzTable: scamp.AuthzTableOff}, func(s *scamp.Service) {
		s.Use(scamp.AccessLog(slog.New(slog.NewTextHandler(&log, nil))))
		s.Handle("Sample.read", ok, nil)
		s.Handle("Sample.free", ok, &scamp.ActionOptions{Flags: []string{"noauth"}})
	})
	ctx := scamp.WithTicket(context.Background(), n.Ticket(scamp.TicketClaims{User: 7, Client: 70}))
	for action, want := range map[string]bool{"Sample.read": true, "Sample.free": false} {
		log.Reset()
		reply, err := n.Bus(nil).Call(ctx, &scamp.Request{Action: action})
		if err != nil {
			t.Fatal(err)
		}
		reply.Body.Close()
		if got := strings.Contains(log.String(), "user=7 client=70"); got != want {
			t.Errorf("%s: the log names the user: %v, want %v: %s", action, got, want, &log)
		}
	}
}
