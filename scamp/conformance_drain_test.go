package scamp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// TestConformanceDrain has what PROTOCOL 17 and 12.5 say about stopping.
func TestConformanceDrain(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"87_order_and_times", orderAndTimes},
		{"87_callers_on_their_way_are_refused", callersOnTheirWay},
		{"87_callers_in_their_handshake_are_refused", callersInTheirHandshake},
		{"87_handlers_that_take_too_long", handlersTakeTooLong},
		{"87_a_handler_that_never_returns", handlerNeverReturns},
		{"87_what_waits_is_served", queueIsServed},
		{"87_peers_that_do_not_close_or_acknowledge", deafPeers},
	} {
		t.Run(tt.name, func(t *testing.T) { synctest.Test(t, tt.run) })
	}
	t.Run("87_last_octets_over_tcp", lastOctets)
}

// A peer that is slow to read, and still sends when the service closes, gets all of the
// last reply: a close with octets unread would make the kernel throw it away.
func lastOctets(t *testing.T) {
	n := scamptest.New(t)
	bus := n.Bus(&scamp.Options{Listen: net.Listen})
	svc, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: n.KeyPair(), Listen: []string{"127.0.0.1:0"}, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	svc.Handle("Sample.echo", echo, nil)
	stop := serve(t, svc)
	raw, err := net.Dial("tcp", svc.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	defer c.Close()
	body := strings.Repeat("#", 60000)
	if _, err := io.WriteString(c, msg(0, ask("Sample.echo", 1), body)); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 1) // the reply is under way
	if _, err := io.ReadFull(c, first); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- stop() }() // ends with Serve
	for range 10 {
		<-time.After(30 * time.Millisecond)
		io.WriteString(c, "PING 0 0\r\nEND\r\n")
	}
	rest, err := io.ReadAll(c)
	if err != nil || strings.Count(string(rest), "#") != len(body) || !strings.Contains(string(rest), "EOF 0 0\r\nEND\r\n") {
		t.Errorf("after the service closed: %d octets of the reply, %v, want all 60000, its EOF and a clean end", strings.Count(string(rest), "#"), err)
	}
	c.Close()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// A drained is a service whose stop takes the default times, and whose handlers wait
// until they are released.
type drained struct {
	*scamp.Service
	n       *scamptest.Network
	bus     *scamp.Bus
	stop    func() error
	release chan struct{}
	ran     atomic.Int32
}

func newDrained(t *testing.T, limits scamp.Limits) *drained {
	t.Helper()
	d := &drained{n: scamptest.New(t), release: make(chan struct{})}
	pair := d.n.KeyPair()
	d.n.Allow(pair, "main:ALL")
	d.bus = d.n.Bus(&scamp.Options{Limits: limits})
	svc, err := d.bus.NewService("sample", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	d.Service = svc
	svc.Handle("Sample.work", func(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
		d.ran.Add(1)
		select {
		case <-d.release:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		_, err := io.Copy(rep, req.Body)
		return err
	}, &scamp.ActionOptions{Timeout: time.Hour})
	svc.Handle("Sample.stuck", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
		<-d.release
		return nil
	}, nil)
	d.stop = serve(t, svc)
	return d
}

// stopping stops the service and says when, after now, Serve returned, and what.
func (d *drained) stopping() <-chan stopped {
	began, done := time.Now(), make(chan stopped, 1)
	go func() { // ends with Serve
		err := d.stop()
		done <- stopped{err, time.Since(began)}
	}()
	synctest.Wait()
	return done
}

type stopped struct {
	err   error
	after time.Duration
}

func orderAndTimes(t *testing.T) {
	d := newDrained(t, scamp.Limits{})
	other := d.n.Bus(nil)
	w := callWire(t, d.n, d.Addr())
	w.send(msg(0, ask("Sample.work", 1), "in hand"))
	synctest.Wait()
	done := d.stopping()

	// t = 0: withdrawn, and served on.
	if found := other.Directory().Find(discovery.Query{Action: "Sample.work"}); len(found) != 0 {
		t.Errorf("after the stop began others find %d instances, want none", len(found))
	}
	<-time.After(4900 * time.Millisecond)
	w.send(msg(1, ask("Sample.work", 2), "in the grace time"))
	late := callWire(t, d.n, d.Addr())
	late.send(msg(0, ask("Sample.work", 3), "on a new connection"))
	synctest.Wait()
	if n := d.ran.Load(); n != 3 {
		t.Errorf("%d handlers ran after 4.9 s of grace, want 3", n)
	}
	// t = 5 s: nothing new is taken.
	<-time.After(200 * time.Millisecond)
	if c, err := d.n.Dial(t.Context(), "tcp", d.Addr()); err == nil {
		c.Close()
		t.Error("a connection is accepted after the grace time")
	}
	w.send(msg(2, ask("Sample.work", 4), "too late"))
	if m := w.message(); m.header.ErrorCode != "transport" || m.header.Error != "shutting down" || !m.header.DispatchFailure() || m.header.ID.String() != "4" {
		t.Errorf("request after the grace time: %s, want transport with dispatch_failure", m.json)
	}
	// What is in hand finishes.
	<-time.After(10 * time.Second)
	close(d.release)
	for range 2 {
		if m := w.message(); m.body != "in hand" && m.body != "in the grace time" || m.header.ErrorCode != "" {
			t.Errorf("reply after the stop began: %s with %q, want what was in hand", m.json, m.body)
		}
	}
	if m := late.message(); m.body != "on a new connection" {
		t.Errorf("reply after the stop began: %s with %q, want what was in hand", m.json, m.body)
	}
	// Then each connection says goodbye.
	if w.over(); w.err != io.EOF {
		t.Errorf("end of the connection: %v, want a clean end of TLS", w.err)
	}
	if s := <-done; s.err != nil || s.after != 15100*time.Millisecond {
		t.Errorf("Serve: %v after %v, want nil after 15.1s", s.err, s.after)
	}
}

// A request that crosses the goodbye would be lost. So a connection on which something came
// a moment ago stays a little longer, and what comes on it is refused; not for ever.
func callersOnTheirWay(t *testing.T) {
	d := newDrained(t, scamp.Limits{})
	close(d.release)
	silent := callWire(t, d.n, d.Addr())
	silent.send(msg(0, ask("Sample.work", 1), "x"))
	silent.message()
	w := callWire(t, d.n, d.Addr())
	done := d.stopping()
	ended := make(chan time.Duration, 1)
	began := time.Now()
	go func() { silent.over(); ended <- time.Since(began) }() // ends with the connection
	<-time.After(4900 * time.Millisecond)
	for i := range 5 { // at 4.9 s to 6.5 s
		w.send(msg(i, ask("Sample.work", i+1), "x"))
		if m := w.message(); i > 0 && !m.header.DispatchFailure() || i == 0 && m.body != "x" {
			t.Errorf("request %v after the stop began: %s with %q, want it refused after 5 s of grace", time.Since(began), m.json, m.body)
		}
		<-time.After(400 * time.Millisecond)
	}
	if after := <-ended; after != 5*time.Second {
		t.Errorf("a silent connection ended after %v, want 5 s", after)
	}
	w.send(msg(5, ask("Sample.work", 6), "x"))
	w.message()
	if w.over(); w.err != io.EOF {
		t.Errorf("end of the connection: %v, want a clean end of TLS", w.err)
	}
	if s := <-done; s.err != nil || s.after != 7*time.Second {
		t.Errorf("Serve: %v after %v, want nil 2 s after the grace time", s.err, s.after)
	}
}

// A request may come right behind the handshake, and on a long line it is under way when
// the listener closes. It is refused, or was never sent: nothing is lost that may have run.
func callersInTheirHandshake(t *testing.T) {
	const delay = 50 * time.Millisecond // one way: TCP and TLS take four of them
	n := scamptest.New(t)
	refused := 0
	for early := time.Duration(0); early <= 6*delay; early += delay / 5 {
		ran := false
		svc := n.ServeWith("sample", &scamp.ServiceOptions{Grace: time.Second}, func(s *scamp.Service) {
			s.Handle("Sample.run", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { ran = true; return nil }, nil)
		})
		n.Disturb(svc, scamptest.Line{Delay: delay})
		done := make(chan error, 1)
		go func() { done <- svc.Stop() }() // ends with Serve
		<-time.After(time.Second - early)
		c, err := n.Bus(nil).Dial(t.Context(), svc.Addr(), scamp.Identity{Fingerprint: svc.Fingerprint()})
		if err == nil {
			_, err = c.Call(t.Context(), &scamp.Request{Action: "Sample.run"})
			c.Close()
			if errors.Is(err, scamp.ErrRefused) {
				refused++
			} else if err != nil || !ran {
				t.Errorf("call begun %v before the listener closes: %v, ran %v: want it served or refused", early, err, ran)
			}
		}
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
	if refused == 0 {
		t.Error("no call came behind the handshake, want some")
	}
}

func handlersTakeTooLong(t *testing.T) {
	d := newDrained(t, scamp.Limits{})
	w := callWire(t, d.n, d.Addr())
	w.send(msg(0, ask("Sample.work", 1), ""))
	synctest.Wait()
	done := d.stopping()
	<-time.After(34900 * time.Millisecond)
	if got := w.arrived(); got != "" {
		t.Errorf("before the drain time is over: %q, want nothing", got)
	}
	w.over()
	if s := <-done; s.err != nil || s.after < 35*time.Second || s.after > 36*time.Second {
		t.Errorf("Serve: %v after %v, want nil after 35 to 36 s", s.err, s.after)
	}
}

func handlerNeverReturns(t *testing.T) {
	d := newDrained(t, scamp.Limits{})
	defer close(d.release)
	w := callWire(t, d.n, d.Addr())
	w.send(msg(0, ask("Sample.stuck", 1), ""))
	synctest.Wait()
	s := <-d.stopping()
	if s.err == nil || !strings.Contains(s.err.Error(), "requests in hand 1s after their connections ended: 1") || s.after > 38*time.Second {
		t.Errorf("Serve: %v after %v, want an error that says so, soon after 36 s", s.err, s.after)
	}
}

func queueIsServed(t *testing.T) {
	d := newDrained(t, scamp.Limits{MaxConcurrency: 1})
	w := callWire(t, d.n, d.Addr())
	for i := range 10 {
		w.send(msg(i, ask("Sample.work", i+1), "x"))
	}
	synctest.Wait()
	done := d.stopping()
	<-time.After(6 * time.Second)
	close(d.release)
	for range 10 {
		if m := w.message(); m.body != "x" {
			t.Errorf("request that waited when the stop began: %s, want it served", m.json)
		}
	}
	if s := <-done; s.err != nil || d.ran.Load() != 10 {
		t.Errorf("Serve: %v, %d handlers ran, want nil and 10", s.err, d.ran.Load())
	}

	// What still waits when the drain time is over is told so.
	d = newDrained(t, scamp.Limits{MaxConcurrency: 1})
	w = callWire(t, d.n, d.Addr())
	w.send(msg(0, ask("Sample.work", 1), ""), msg(1, ask("Sample.work", 2), ""))
	synctest.Wait()
	done = d.stopping()
	<-time.After(35 * time.Second)
	if m := w.message(); m.header.ID.String() != "2" || !m.header.DispatchFailure() {
		t.Errorf("request that never had its turn: %s, want id 2 with dispatch_failure", m.json)
	}
	if s := <-done; s.err != nil {
		t.Errorf("Serve: %v, want nil", s.err)
	}
}

func deafPeers(t *testing.T) {
	d := newDrained(t, scamp.Limits{})
	w := callWire(t, d.n, d.Addr())
	w.stay.Store(true)
	w.send(msg(0, ask("Sample.work", 1), strings.Repeat("x", 65536)))
	synctest.Wait()
	close(d.release) // a reply of a whole window, which nobody acknowledges
	if m := w.message(); len(m.body) != 65536 {
		t.Fatalf("reply: %s with %d octets, want 65536", m.json, len(m.body))
	}
	s := <-d.stopping()
	if s.err != nil || s.after != 6*time.Second {
		t.Errorf("Serve with a peer that neither acknowledges nor closes: %v after %v, want nil after 6s", s.err, s.after)
	}
}
