package scamp_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// text calls an action of a service and returns its reply.
func text(t *testing.T, c scamp.Caller, action string) string {
	t.Helper()
	reply, err := c.Call(t.Context(), &scamp.Request{Action: action})
	if err != nil {
		t.Errorf("call %s: %v", action, err)
		return ""
	}
	b, err := reply.Bytes(0)
	if err != nil {
		t.Errorf("call %s: %v", action, err)
	}
	return string(b)
}

// announcedBy returns what a bus heard a service announce, "class.name~version flags envelopes".
func announcedBy(bus *scamp.Bus, ident string) (names []string, octets int) {
	for _, e := range bus.Directory().All() {
		if e.Peer.Ident == ident {
			octets = len(discovery.Compress(e.Announcement.Packet()))
			for _, a := range e.Announcement.Actions {
				names = append(names, fmt.Sprintf("%s~%d %v %v", a.FullName(), a.Version, a.Flags, a.Envelopes))
			}
		}
	}
	return names, octets
}

// PROTOCOL 12.3: how many requests are in hand, running or waiting, but for the one that
// asks.
func TestQueueDepth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Limits.MaxConcurrency = 3
		free := make(chan struct{})
		n.Serve("sample", func(s *scamp.Service) {
			s.Handle("Sample.wait", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { <-free; return nil }, nil)
		})
		bus := n.Bus(nil)
		if got := text(t, bus, "sample.queue_depth"); got != `{"queue_depth":0}` {
			t.Errorf("with nothing in hand: %s, want 0", got)
		}
		for range 2 {
			inBackground(t.Context(), bus, &scamp.Request{Action: "Sample.wait"})
		}
		synctest.Wait()
		if got := text(t, bus, "SAMPLE.queue_DEPTH"); got != `{"queue_depth":2}` {
			t.Errorf("with two that run: %s, want 2", got)
		}
		for range 5 {
			inBackground(t.Context(), bus, &scamp.Request{Action: "Sample.wait"})
		}
		synctest.Wait() // one more runs, four wait
		asked := make(chan string, 1)
		go func() { asked <- text(t, bus, "sample.queue_depth") }() // it has to wait for its turn
		for range 5 {
			synctest.Wait()
			free <- struct{}{}
		}
		if got := <-asked; got != `{"queue_depth":2}` {
			t.Errorf("when five of seven have ended: %s, want 2", got)
		}
		close(free)
	})
}

// PROTOCOL 12.3: the actions that are flagged public, with their documentation.
func TestDocumentation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Serve("sample", func(s *scamp.Service) {
			s.Handle("Sample.write~2", ok, &scamp.ActionOptions{Flags: []string{"update", "public"}, Timeout: 30e9, Doc: "<p>Writes é.</p>"})
			s.Handle("Sample.read", ok, &scamp.ActionOptions{Flags: []string{"public"}})
			s.Handle("Sample.hidden", ok, &scamp.ActionOptions{Doc: "secret"})
			scamp.HandleJSON(s, "Other.read", func(context.Context, int) (int, error) { return 0, nil }, &scamp.ActionOptions{Flags: []string{"noauth", "public"}, Doc: "reads"})
		})
		n.Serve("bare", func(s *scamp.Service) { s.Handle("Bare.read", ok, nil) })
		bus := n.Bus(nil)
		var got []string
		for _, r := range bus.Directory().Find(discovery.Query{Action: "_meta.documentation"}) {
			reply, err := bus.Call(t.Context(), &scamp.Request{Action: "_meta.documentation", Route: &scamp.RouteOptions{Ident: r.Ident}})
			if err != nil {
				t.Fatal(err)
			}
			b, _ := reply.Bytes(0)
			got = append(got, string(b))
		}
		slices.Sort(got)
		want := []string{
			`{"actions":[]}`,
			`{"actions":[{"name":"Other.read","version":1,"flags":{"noauth":true,"public":true},"html":"reads"},` +
				`{"name":"Sample.read","version":1,"flags":{"public":true},"html":""},` +
				`{"name":"Sample.write","version":2,"flags":{"public":true,"t30":true,"update":true},"html":"\u003cp\u003eWrites é.\u003c/p\u003e"}]}`,
		}
		if !slices.Equal(got, want) {
			t.Errorf("documentation: %s\nwant %s", got, want)
		}
	})
}

// Which of the built-in actions a service announces, and how much longer that makes what
// it announces: it still is one datagram.
func TestBuiltInsAnnounced(t *testing.T) {
	const depth, docs = "sample.queue_depth~1 [] [json]", "_meta.documentation~1 [noauth] [json]"
	for _, tt := range []struct {
		name, service string
		opts          scamp.ServiceOptions
		own           string
		want          []string
	}{
		{"by default", "sample", scamp.ServiceOptions{}, "Sample.echo", []string{"Sample.echo~1 [] [json]", docs, depth}},
		{"left out", "sample", scamp.ServiceOptions{OmitBuiltIns: true}, "Sample.echo", []string{"Sample.echo~1 [] [json]"}},
		{"a name that is no class", "sam-ple/x", scamp.ServiceOptions{}, "Sample.echo", []string{"Sample.echo~1 [] [json]", docs}},
		{"a class of parts", "web.sample", scamp.ServiceOptions{}, "Sample.echo", []string{"Sample.echo~1 [] [json]", docs, "web." + depth}},
		{"no JSON", "sample", scamp.ServiceOptions{Envelopes: []string{"web"}}, "Sample.echo", []string{"Sample.echo~1 [] [web]", docs, depth}},
		{"JSON and more", "sample", scamp.ServiceOptions{Envelopes: []string{"web", "json"}}, "Sample.echo",
			[]string{"Sample.echo~1 [] [web json]", "_meta.documentation~1 [noauth] [web json]", "sample.queue_depth~1 [] [web json]"}},
		{"one of its own", "sample", scamp.ServiceOptions{}, "Sample.QUEUE_depth", []string{"Sample.QUEUE_depth~1 [] [json]", docs}},
		{"another version", "sample", scamp.ServiceOptions{}, "sample.queue_depth~2", []string{docs, depth, "sample.queue_depth~2 [] [json]"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scamptest.New(t)
				s := n.ServeWith(tt.service, &tt.opts, func(s *scamp.Service) {
					s.Handle(tt.own, func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
						return rep.SetBytes([]byte("own"))
					}, nil)
				})
				bus := n.Bus(nil)
				got, octets := announcedBy(bus, s.Ident())
				slices.Sort(got)
				if !slices.Equal(got, tt.want) {
					t.Errorf("announced: %q, want %q", got, tt.want)
				}
				if most := (discovery.Limits{}).WithDefaults().WarnDatagram; octets > most {
					t.Errorf("announcement of %d octets, want at most %d", octets, most)
				}
				t.Logf("%d octets", octets)
				if tt.name == "one of its own" {
					if got := text(t, bus, "sample.queue_depth"); got != "own" {
						t.Errorf("reply of sample.queue_depth: %q, want that of the service's own handler", got)
					}
				}
			})
		})
	}
}

// Built-in actions are let in as any other: one wants no ticket, by its flag and by its
// class, and middleware sees both.
func TestBuiltInsAreGuarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		var seen []string
		n.ServeWith("sample", &scamp.ServiceOptions{RequireTickets: true, AuthzTable: scamp.AuthzTableOff}, func(s *scamp.Service) {
			s.Handle("Sample.read", ok, nil)
			s.Use(func(next scamp.Handler) scamp.Handler {
				return func(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
					seen = append(seen, req.Action)
					return next(ctx, req, rep)
				}
			})
		})
		bus := n.Bus(nil)
		for _, tt := range []struct {
			action string
			ticket scamp.Ticket
			want   string
		}{
			{"sample.queue_depth", "", "authn"},
			{"sample.queue_depth", n.Ticket(scamp.TicketClaims{User: 1}), "ok"},
			{"_meta.documentation", "", "ok"},
		} {
			if code, why := callCode(t, bus, tt.action, tt.ticket); code != tt.want {
				t.Errorf("%s with ticket %v: %s %q, want %s", tt.action, tt.ticket != "", code, why, tt.want)
			}
		}
		if want := []string{"sample.queue_depth", "_meta.documentation"}; !slices.Equal(seen, want) {
			t.Errorf("middleware saw %q, want %q", seen, want)
		}
	})
}

// Who subscribes to a service of ours need not ask it first: it announces what those do
// that have events (PROTOCOL 14). One without built-in actions is asked.
func TestSubscribersKnowOurServices(t *testing.T) {
	for _, tt := range []struct {
		name string
		omit bool
		want string
	}{
		{"sample", false, "[]"},
		{"sample", true, "[_meta.documentation~1]"},
		{"sam-ple", false, "[_meta.documentation~1]"},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := scamptest.New(t)
			var asked []string
			svc := n.ServeWith(tt.name, &scamp.ServiceOptions{OmitBuiltIns: tt.omit}, func(s *scamp.Service) {
				s.Handle("Sample.echo", echo, nil)
				s.Handle("_meta.documentation", func(_ context.Context, req *scamp.Request, _ *scamp.ReplyWriter) error {
					asked = append(asked, fmt.Sprintf("%s~%d", req.Action, req.Version))
					return nil
				}, nil)
			})
			s := subscribed(t, n.Bus(nil), "a")
			wantReady(t, s)
			publish(t, svc, "a", "x", 1)
			synctest.Wait()
			wantValue(t, s, "a", "x", "1")
			if got := fmt.Sprint(asked); got != tt.want {
				t.Errorf("service %q, built-in actions left out %v: was asked %s, want %s", tt.name, tt.omit, got, tt.want)
			}
		})
	}
}

// Nobody is warned of what nobody asked for.
func TestBuiltInWithoutRule(t *testing.T) {
	n := scamptest.New(t)
	pair := n.KeyPair()
	path := filepath.Join(t.TempDir(), "authorized_services")
	if err := os.WriteFile(path, []byte(pair.Certificate.Fingerprint+" main:Sample.read\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var lines syncBuffer
	bus, err := scamp.Open(&scamp.Config{BusAddress: []string{"127.0.0.1"}, AuthorizedServices: path}, &scamp.Options{
		Log:      slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Listen:   func(_, _ string) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") },
		Carriers: []discovery.Carrier{n.Segment().Join()},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	svc, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	svc.Handle("Sample.read", ok, nil)
	svc.Handle("Sample.write", ok, nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- svc.Serve(ctx) }() // ends with ctx
	<-svc.Ready()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	bus.Close() // the last line is out then
	for _, tt := range []struct {
		level, action string
		want          int
	}{{"WARN", "Sample.write", 1}, {"WARN", "sample.queue_depth", 0}, {"DEBUG", "sample.queue_depth", 1}, {"WARN", "_meta", 0}, {"DEBUG", "_meta", 0}} {
		got := 0
		for line := range strings.Lines(lines.String()) {
			if strings.Contains(line, "level="+tt.level+" ") && strings.Contains(line, "nobody will call") && strings.Contains(line, tt.action) {
				got++
			}
		}
		if got != tt.want {
			t.Errorf("%d lines of level %s about %s, want %d:\n%s", got, tt.level, tt.action, tt.want, &lines)
		}
	}
}
