package scamp_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

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
	var lines syncBuffer
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

// PROTOCOL 10.2: without auth.ticket_verify_key the default files are looked for again and
// again, so that a key that is installed later, or in a place that goes before, counts
// without a restart. Without a key callers are not charged with that.
func TestDefaultTicketKeyIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		n := scamptest.New(t)
		var log syncBuffer
		pair := n.KeyPair()
		bus, err := scamp.Open(nil, &scamp.Options{Dial: n.Dial, Listen: n.Listen, Carriers: []discovery.Carrier{n.Segment().Join()}, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		defer bus.Close()
		scamp.FindTicketKeyIn(bus, root)
		svc, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}, RequireTickets: true, AuthzTable: scamp.AuthzTableOff, Grace: -1})
		if err != nil {
			t.Fatal(err)
		}
		svc.Handle("Sample.read", ok, nil)
		defer serve(t, svc)()
		client, err := scamp.Dial(t.Context(), svc.Addr(), scamp.Identity{Certificate: pair.Certificate}, &scamp.Options{Dial: n.Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		key, _ := ticketKey(t)
		good := func(user int) scamp.Ticket {
			return signTicket(t, key, fmt.Sprintf("1,%d,100,%d,36000,1", user, time.Now().Unix()))
		}
		other, err := scamp.GenerateKeyPair("other", 2048)
		if err != nil {
			t.Fatal(err)
		}
		put := func(dir string, text []byte) {
			t.Helper()
			if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, dir, "ticket_verify_public_key.pem"), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 100 {
			if code, text := callCode(t, client, "Sample.read", good(i)); code != "authn" || !strings.Contains(text, "no key") {
				t.Fatalf("good ticket %d without a key: %s %q, want authn: it is no fault of the caller", i, code, text)
			}
		}
		if got := bus.Stats()["ticket_refused"]; got != 100 {
			t.Errorf("ticket_refused is %d, want 100", got)
		}
		for _, tt := range []struct {
			when string
			do   func()
			want string
		}{
			{"with the key in the last place", func() { put("etc/GT/auth", fixtures.Bytes("keys/ticket.pub.pem")) }, "ok"},
			{"with another key in the first place", func() { put("etc/scamp/auth", publicPEM(t, other)) }, "authn"},
			{"without the first place", func() { os.RemoveAll(filepath.Join(root, "etc/scamp")) }, "ok"},
			{"without any, the last good one counts", func() { os.RemoveAll(filepath.Join(root, "etc")) }, "ok"},
		} {
			tt.do()
			<-time.After(keyLooked)
			if code, text := callCode(t, client, "Sample.read", good(1000)); code != tt.want {
				t.Errorf("%s: %s %q, want %s", tt.when, code, text, tt.want)
			}
		}
		synctest.Wait()
		if got := bus.Stats()["ticket_key_failed"]; got != 1 || !strings.Contains(log.String(), "its file is gone") {
			t.Errorf("ticket_key_failed is %d, want 1 and a line that says so: %s", got, &log)
		}
	})
}

// keyLooked is longer than it takes until the file with the keys is looked at again.
const keyLooked = 1100 * time.Millisecond

// THREATS T4: that a ticket holds for longer than a day is told once for each, with whom
// it names.
func TestLongTicketIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		var log syncBuffer
		bus := n.Bus(&scamp.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		pair := n.KeyPair()
		svc, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}, Grace: -1, RequireTickets: true, AuthzTable: scamp.AuthzTableOff})
		if err != nil {
			t.Fatal(err)
		}
		svc.Handle("Sample.read", ok, nil)
		serve(t, svc)
		client, err := n.Bus(nil).Dial(t.Context(), svc.Addr(), scamp.Identity{Certificate: pair.Certificate})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		now := time.Now().Unix()
		for _, tt := range []struct {
			claims scamp.TicketClaims
			want   string
			lines  int
			count  uint64
		}{
			{scamp.TicketClaims{Start: now, Length: 24 * 3600}, "ok", 0, 0},
			{scamp.TicketClaims{Start: now + 9, Length: 24*3600 + 1}, "authn", 0, 0},
			{scamp.TicketClaims{User: 7, Client: 70, Start: now, Length: 24*3600 + 1}, "ok", 1, 1},
			{scamp.TicketClaims{User: 7, Client: 70, Start: now, Length: 24*3600 + 1}, "ok", 1, 1}, // known
			{scamp.TicketClaims{User: 8, Client: 80, Start: now, Length: 1 << 62}, "ok", 2, 2},
		} {
			<-time.After(time.Second)
			if code, text := callCode(t, client, "Sample.read", n.Ticket(tt.claims)); code != tt.want {
				t.Errorf("a ticket of %d s: %s %q, want %s", tt.claims.Length, code, text, tt.want)
			}
			synctest.Wait()
			if got := strings.Count(log.String(), "longer than a day"); got != tt.lines {
				t.Errorf("a ticket of %d s: %d lines of the log, want %d: %s", tt.claims.Length, got, tt.lines, &log)
			}
			if got := bus.Stats()["ticket_long"]; got != tt.count {
				t.Errorf("a ticket of %d s: ticket_long is %d, want %d", tt.claims.Length, got, tt.count)
			}
			if who := fmt.Sprintf("user=%d client=%d", tt.claims.User, tt.claims.Client); tt.count > 0 && !strings.Contains(log.String(), who) {
				t.Errorf("log %s: want %s", &log, who)
			}
		}
	})
}

// However many good tickets come at once, none of them is taken for a bad one too many:
// what is being looked at is no failure yet.
func TestGoodTicketsAtOnceAreNotLimited(t *testing.T) {
	n := scamptest.New(t)
	n.Limits = scamp.Limits{MaxTicketFailures: 1}
	n.ServeWith("sample", &scamp.ServiceOptions{RequireTickets: true, AuthzTable: scamp.AuthzTableOff}, func(s *scamp.Service) {
		s.Handle("Sample.read", ok, nil)
	})
	bus := n.Bus(nil)
	tickets := make([]scamp.Ticket, 400)
	for i := range tickets {
		tickets[i] = n.Ticket(scamp.TicketClaims{User: int64(i)})
	}
	var all sync.WaitGroup
	for _, ticket := range tickets {
		all.Go(func() {
			if code, text := callCode(t, bus, "Sample.read", ticket); code != "ok" {
				t.Errorf("a good ticket among others: %s %q", code, text)
			}
		})
	}
	all.Wait()
	if code, _ := callCode(t, bus, "Sample.read", "1,1,1,1,1,AAAA"); code != "authn" {
		t.Errorf("the first bad ticket: %s, want authn", code)
	}
}
