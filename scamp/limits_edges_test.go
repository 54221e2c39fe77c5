package scamp_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A gated service has handlers that read nothing until they are let go one by one.
type gated struct {
	*scamptest.Service
	n     *scamptest.Network
	leave chan struct{}
	ran   chan string // actions that run, in order
}

func newGated(t *testing.T, limits scamp.Limits) *gated {
	g := &gated{n: scamptest.New(t), leave: make(chan struct{}), ran: make(chan string, 100)}
	g.n.Limits = limits
	g.Service = g.n.Serve("sample", func(s *scamp.Service) {
		s.Handle("Sample.gate", func(_ context.Context, req *scamp.Request, _ *scamp.ReplyWriter) error {
			g.ran <- "gate"
			<-g.leave
			_, err := io.Copy(io.Discard, req.Body)
			return err
		}, &scamp.ActionOptions{Timeout: time.Hour})
	})
	t.Cleanup(func() { close(g.leave) })
	return g
}

// counts fails the test unless the counter has that value and so many handlers have begun.
func (g *gated) counts(t *testing.T, when, counter string, want uint64, ran int) {
	t.Helper()
	synctest.Wait()
	if got := g.Bus.Stats()[counter]; got != want || len(g.ran) != ran {
		t.Errorf("%s: %s is %d and %d handlers have begun, want %d and %d", when, counter, got, len(g.ran), want, ran)
	}
}

// TestLimitsOfWorkAtTheirEdges has the limits of requests at their value, one above it,
// and back below it. Their counters move exactly when they are passed (THREATS 4.3, X6).
func TestLimitsOfWorkAtTheirEdges(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"handlers_of_a_connection", edgeOfHandlers},
		{"handlers_of_a_process", edgeOfConcurrency},
		{"requests_in_queue", edgeOfQueue},
		{"unread_octets_of_a_connection", edgeOfBuffered},
		{"handshakes", edgeOfHandshakes},
		{"replies_to_nothing", edgeOfOddities},
		{"text_in_the_log", edgeOfLogText},
	} {
		t.Run(tt.name, func(t *testing.T) { synctest.Test(t, tt.run) })
	}
}

func edgeOfHandlers(t *testing.T) {
	var limits scamp.Limits
	limits.Mux.MaxHandlers = 3
	g := newGated(t, limits)
	w, other := callWire(t, g.n, g.Addr()), callWire(t, g.n, g.Addr())
	send := func(no int) { w.send(msg(no, ask("Sample.gate", no+1), "")) }
	for no := range 3 {
		send(no)
	}
	g.counts(t, "3 requests on one connection", "handlers_queued", 0, 3)
	send(3)
	g.counts(t, "a fourth", "handlers_queued", 1, 3)
	other.send(msg(0, ask("Sample.gate", 1), ""))
	g.counts(t, "one on another connection", "handlers_queued", 1, 4)
	g.leave <- struct{}{}
	g.leave <- struct{}{}
	g.leave <- struct{}{}
	synctest.Wait() // at least two of the first connection have left
	ran := len(g.ran)
	send(4)
	g.counts(t, "below the limit again", "handlers_queued", 1, ran+1)
}

func edgeOfConcurrency(t *testing.T) {
	g := newGated(t, scamp.Limits{MaxConcurrency: 3})
	var wires []*wire
	for range 3 {
		w := callWire(t, g.n, g.Addr())
		w.send(msg(0, ask("Sample.gate", 1), ""))
		wires = append(wires, w)
	}
	g.counts(t, "3 requests", "handlers_queued", 0, 3)
	wires[0].send(msg(1, ask("Sample.gate", 2), ""))
	g.counts(t, "a fourth", "handlers_queued", 1, 3)
	g.leave <- struct{}{}
	g.counts(t, "one has left", "handlers_queued", 1, 4)
	g.leave <- struct{}{}
	synctest.Wait()
	wires[1].send(msg(1, ask("Sample.gate", 2), ""))
	g.counts(t, "below the limit again", "handlers_queued", 1, 5)
}

func edgeOfQueue(t *testing.T) {
	g := newGated(t, scamp.Limits{MaxConcurrency: 1, MaxQueue: 2})
	w := callWire(t, g.n, g.Addr())
	send := func(no int) { w.send(msg(no, ask("Sample.gate", no+1), "")) }
	for no := range 3 {
		send(no)
	}
	g.counts(t, "one runs and 2 wait", "queue_full", 0, 1)
	send(3)
	g.counts(t, "a third that would wait", "queue_full", 1, 1)
	if m := w.message(); m.header.ID.String() != "4" || !m.header.DispatchFailure() {
		t.Errorf("reply %s, want the last one refused before dispatch", m.json)
	}
	g.leave <- struct{}{}
	synctest.Wait()
	send(4)
	g.counts(t, "below the limit again", "queue_full", 1, 2)
}

func edgeOfBuffered(t *testing.T) {
	var limits scamp.Limits
	limits.Mux.MaxBuffered = 100_000
	g := newGated(t, limits)
	w := callWire(t, g.n, g.Addr())
	w.send(pk("HEADER", 0, ask("Sample.gate", 1)))
	synctest.Wait()
	for left := 100_000; left > 0; left -= 10_000 {
		w.send(pk("DATA", 0, strings.Repeat("x", 10_000)))
	}
	w.send(msg(1, ask("Sample.gate", 2), ""))
	g.counts(t, "100,000 octets unread", "buffered_refused", 0, 2)
	w.send(pk("DATA", 0, "x") + msg(2, ask("Sample.gate", 3), ""))
	g.counts(t, "100,001 octets unread", "buffered_refused", 1, 2)
	if m := w.message(); m.header.ID.String() != "3" || !m.header.DispatchFailure() {
		t.Errorf("reply %s, want the last one refused before dispatch", m.json)
	}
	g.leave <- struct{}{}
	g.leave <- struct{}{} // one of them reads the octets
	synctest.Wait()
	w.send(msg(3, ask("Sample.gate", 4), ""))
	g.counts(t, "when they were read", "buffered_refused", 1, 3)
}

func edgeOfHandshakes(t *testing.T) {
	g := newGated(t, scamp.Limits{MaxHandshakes: 3})
	silent := func() {
		go func() { // ends when it is accepted, or with the network
			if c, err := g.n.Dial(t.Context(), "tcp", g.Addr()); err == nil {
				t.Cleanup(func() { c.Close() })
			}
		}()
	}
	silent()
	silent()
	<-time.After(2 * time.Second)
	g.counts(t, "2 silent callers and nobody else", "handshake_evicted", 0, 0)
	silent() // now nobody could be accepted any more
	g.counts(t, "a third", "handshake_evicted", 1, 0)
	began := time.Now()
	w := callWire(t, g.n, g.Addr())
	w.quiet()
	if took := time.Since(began); took > 0 {
		t.Errorf("a good caller waited %v, want not at all", took)
	}
	g.counts(t, "a good caller, which made them three", "handshake_evicted", 2, 0)
	<-time.After(6 * time.Second) // the silent ones have had their time
}

func edgeOfOddities(t *testing.T) {
	f := newFar(t)
	var limits scamp.Limits
	limits.Mux.MaxOddities = 10
	c, w := f.client(&scamp.Options{Limits: limits})
	no := 0
	odd := func(k int) {
		for range k {
			w.send(msg(no, fmt.Sprintf(`{"request_id":%d,"type":"reply"}`, 1000+no), ""))
			no++
		}
		synctest.Wait()
	}
	odd(9)
	<-time.After(11 * time.Second)
	odd(9)
	w.quiet()
	if got := c.Stats()["reply_unknown"]; got != 18 {
		t.Errorf("reply_unknown is %d, want 18", got)
	}
	odd(1) // the tenth within ten seconds
	w.over()
	if got := c.Stats()["reply_unknown"]; got != 19 {
		t.Errorf("reply_unknown is %d, want 19", got)
	}
	c.Close()
}

func edgeOfLogText(t *testing.T) {
	var log syncBuffer
	n := scamptest.New(t)
	n.Limits.LogText = 30
	bus := n.Bus(&scamp.Options{Limits: n.Limits, Log: slog.New(slog.NewTextHandler(&log, nil))})
	pair := n.KeyPair()
	svc, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	svc.Handle("Sample.echo", echo, nil)
	serve(t, svc)
	w := callWire(t, n, svc.Addr())
	for i, octets := range []int{30, 31, 29} {
		log.Reset()
		w.send(msg(i, fmt.Sprintf(`{"type":%q}`, strings.Repeat("z", octets)), ""))
		w.quiet()
		synctest.Wait()
		whole, cut := strings.Contains(log.String(), strings.Repeat("z", octets)+"\n"), strings.Contains(log.String(), strings.Repeat("z", 30)+"...")
		if whole != (octets <= 30) || cut != (octets > 30) {
			t.Errorf("a type of %d octets with a limit of 30: log %q", octets, log.String())
		}
		<-time.After(2 * time.Second) // the next line of that kind
	}
}

// TestConnectionsComeBackBelowTheLimit counts what an address may have exactly.
func TestConnectionsComeBackBelowTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGated(t, scamp.Limits{MaxConnsPerAddr: 2})
		first, second := callWire(t, g.n, g.Addr()), callWire(t, g.n, g.Addr())
		g.counts(t, "two connections", "conn_refused", 0, 0)
		refused := func() net.Conn {
			c, err := g.n.Dial(t.Context(), "tcp", g.Addr())
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		c := refused()
		g.counts(t, "a third", "conn_refused", 1, 0)
		c.Close()
		first.c.Close()
		synctest.Wait()
		third := callWire(t, g.n, g.Addr())
		third.quiet()
		second.quiet()
		g.counts(t, "one has left and another come", "conn_refused", 1, 0)
	})
}
