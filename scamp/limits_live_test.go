package scamp_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// limited is a service with limits of its own; each request to Sample.work runs until
// release is closed, whatever becomes of its context, and is counted.
type limited struct {
	*scamp.Service
	bus     *scamp.Bus
	n       *scamptest.Network
	pair    *scamp.KeyPair
	release chan struct{}
	running atomic.Int32
	most    atomic.Int32
	ran     atomic.Int32

	mu     sync.Mutex
	echoed []string // bodies, in the order in which their handlers ran
}

func newLimited(t *testing.T, limits scamp.Limits) *limited {
	t.Helper()
	l := &limited{n: scamptest.New(t), release: make(chan struct{})}
	l.pair = l.n.KeyPair()
	l.n.Allow(l.pair, "main:ALL")
	l.bus = l.n.Bus(&scamp.Options{Limits: limits})
	svc, err := l.bus.NewService("sample", &scamp.ServiceOptions{KeyPair: l.pair, Listen: []string{"127.0.0.1:0"}, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	l.Service = svc
	svc.Handle("Sample.work", l.work, &scamp.ActionOptions{Timeout: time.Hour})
	svc.Handle("Sample.echo", l.echo, nil)
	stop := serve(t, svc)
	t.Cleanup(func() { l.free(); stop() })
	return l
}

func (l *limited) work(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
	l.ran.Add(1)
	now := l.running.Add(1)
	for most := l.most.Load(); now > most && !l.most.CompareAndSwap(most, now); most = l.most.Load() {
	}
	<-l.release
	l.running.Add(-1)
	return nil
}

// echo answers with the body, and notes its turn.
func (l *limited) echo(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
	l.mu.Lock()
	l.echoed = append(l.echoed, string(req.Data))
	l.mu.Unlock()
	return echo(ctx, req, rep)
}

// free lets all handlers return.
func (l *limited) free() {
	select {
	case <-l.release:
	default:
		close(l.release)
	}
}

func (l *limited) count(t *testing.T, name string, want uint64) {
	t.Helper()
	if n := l.bus.Stats()[name]; n != want {
		t.Errorf("%s is %d, want %d", name, n, want)
	}
}

// TestWorkIsBounded has the attacks of THREATS that would make a service do more than
// its limits allow.
func TestWorkIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"P6_headers_alone", headersAlone},
		{"P7_rapid_reset", rapidReset},
		{"P8_good_request_then_garbage", goodThenGarbage},
		{"P20_many_connections_many_requests", manyOfBoth},
		{"P21_unread_octets_of_requests_that_wait", unreadWaiting},
		{"two_services_share_the_places_of_a_bus", twoServices},
		{"turns_between_connections", turns},
	} {
		t.Run(tt.name, func(t *testing.T) { synctest.Test(t, tt.run) })
	}
}

// The reader goes on reading, and others are served, while handlers wait (invariant 5).
func headersAlone(t *testing.T) {
	l := newLimited(t, scamp.Limits{})
	w := callWire(t, l.n, l.Addr())
	for i := range 4096 {
		w.send(pk("HEADER", i, ask("Sample.work", i+1)))
	}
	synctest.Wait()
	if n := l.running.Load(); n != 256 {
		t.Errorf("%d handlers run for one connection, want 256", n)
	}
	l.count(t, "handlers_queued", 4096-256)
	// Another caller is served meanwhile.
	other := callWire(t, l.n, l.Addr())
	other.send(msg(0, ask("Sample.echo", 1), "x"))
	if m := other.message(); m.body != "x" {
		t.Errorf("another caller: %s with %q, want x", m.json, m.body)
	}
	w.quiet()
	w.send(pk("HEADER", 4096, ask("Sample.work", 4097)))
	w.over()
	l.count(t, "open_messages_exceeded", 1)
	l.free()
	synctest.Wait()
	if n := l.ran.Load(); n != 256 {
		t.Errorf("%d handlers ran, want 256: nobody waits for the others any more", n)
	}
}

// What was reset goes on counting until its handler has returned (invariant 6).
func rapidReset(t *testing.T) {
	l := newLimited(t, scamp.Limits{MaxQueue: 100})
	w := callWire(t, l.n, l.Addr())
	for i := range 1000 {
		w.send(msg(2*i, ask("Sample.work", i+1), ""))
		synctest.Wait() // else its handler may never begin
		w.send(msg(2*i+1, fmt.Sprintf(`{"request_id":%d,"type":"cancel"}`, i+1), ""))
	}
	synctest.Wait()
	if n := l.most.Load(); n != 256 {
		t.Errorf("%d handlers ran at once, want 256", n)
	}
	w.arrived()
	w.quiet()
	l.free()
	synctest.Wait()
	if n := l.running.Load(); n != 0 {
		t.Errorf("%d handlers still run", n)
	}
	// The same with TXERR.
	l = newLimited(t, scamp.Limits{MaxQueue: 100})
	w = callWire(t, l.n, l.Addr())
	for i := range 1000 {
		w.send(pk("HEADER", i, ask("Sample.work", i+1)))
		if i%2 == 0 {
			synctest.Wait() // the handler runs before it is cut
		}
		w.send(pk("TXERR", i, "no"))
	}
	synctest.Wait()
	if n := l.most.Load(); n != 256 {
		t.Errorf("%d handlers ran at once, want 256", n)
	}
	w.arrived()
	w.quiet()
}

func goodThenGarbage(t *testing.T) {
	l := newLimited(t, scamp.Limits{MaxConcurrency: 10, MaxQueue: 5})
	for range 50 {
		w := callWire(t, l.n, l.Addr())
		w.send(msg(0, ask("Sample.work", 1), ""))
		synctest.Wait()
		w.send("DATA 7 1\r\nxEND\r\n")
		w.over()
	}
	synctest.Wait()
	if n := l.most.Load(); n != 10 {
		t.Errorf("%d handlers ran at once across 50 connections, want 10", n)
	}
	l.count(t, "sequence_broken", 50)
	w := callWire(t, l.n, l.Addr())
	w.send(msg(0, ask("Sample.echo", 1), "x"))
	synctest.Wait()
	l.free()
	if m := w.message(); m.body != "x" {
		t.Errorf("when they have returned: %s, want the next request served", m.json)
	}
}

func manyOfBoth(t *testing.T) {
	l := newLimited(t, scamp.Limits{MaxConcurrency: 64, MaxQueue: 128})
	var wires []*wire
	for range 16 {
		w := callWire(t, l.n, l.Addr())
		wires = append(wires, w)
		for i := range 32 {
			w.send(msg(i, ask("Sample.work", i+1), ""))
		}
	}
	synctest.Wait()
	if n := l.running.Load(); n != 64 {
		t.Errorf("%d handlers run, want 64", n)
	}
	l.count(t, "handlers_queued", 128)
	l.count(t, "queue_full", 16*32-64-128)
	l.free()
	served, refused := 0, 0
	for _, w := range wires {
		for range 32 {
			switch m := w.message(); {
			case m.header.DispatchFailure():
				refused++
			case m.header.ErrorCode == "":
				served++
			default:
				t.Errorf("reply %s, want it served or refused", m.json)
			}
		}
		w.quiet()
	}
	if served != 192 || refused != 320 || l.ran.Load() != 192 {
		t.Errorf("%d served, %d refused, %d ran, want 192, 320 and 192", served, refused, l.ran.Load())
	}
}

func unreadWaiting(t *testing.T) {
	var limits scamp.Limits
	limits.Mux.MaxBuffered = 1 << 20
	limits.MaxConcurrency = 1
	l := newLimited(t, limits)
	w := callWire(t, l.n, l.Addr())
	w.send(msg(0, ask("Sample.work", 1), ""))
	// 40 requests that wait, each with a window of octets: 2.5 MiB.
	for i := 1; i <= 40; i++ {
		w.send(pk("HEADER", i, ask("Sample.echo", i+1)))
	}
	for i := 1; i <= 40; i++ {
		w.send(strings.Repeat(pk("DATA", i, strings.Repeat("x", 16384)), 4))
	}
	synctest.Wait()
	refused := l.bus.Stats()["buffered_refused"]
	if refused < 23 || refused > 26 {
		t.Errorf("%d of 40 requests refused over 1 MiB, want what does not fit: 24", refused)
	}
	for range refused {
		// Newest first: those that came first keep their place.
		if m := w.message(); !m.header.DispatchFailure() || m.no > int(refused) {
			t.Errorf("reply %d: %s, want dispatch_failure", m.no, m.json)
		}
	}
	w.quiet()
	w.acks.Store(true)
	for i := 1; i <= 40; i++ {
		w.send(pk("EOF", i, ""))
	}
	l.free()
	var first bool
	for range 41 - int(refused) {
		m := w.message()
		if m.header.ErrorCode != "" {
			t.Errorf("reply %s, want those that kept their place served", m.json)
		}
		first = first || m.header.ID.String() == "2"
	}
	if !first {
		t.Error("the oldest that waited was refused, want the newest")
	}
}

func twoServices(t *testing.T) {
	l := newLimited(t, scamp.Limits{MaxConcurrency: 3, MaxQueue: 2})
	other, err := l.bus.NewService("other", &scamp.ServiceOptions{KeyPair: l.pair, Listen: []string{"127.0.0.1:0"}, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	other.Handle("Sample.work", l.work, nil)
	stop := serve(t, other)
	a, b := callWire(t, l.n, l.Addr()), callWire(t, l.n, other.Addr())
	for i := range 4 {
		a.send(msg(i, ask("Sample.work", i+1), ""))
		synctest.Wait()
		b.send(msg(i, ask("Sample.work", i+1), ""))
		synctest.Wait()
	}
	if n := l.running.Load(); n != 3 {
		t.Errorf("%d handlers run for two services, want 3", n)
	}
	l.count(t, "handlers_queued", 2)
	l.count(t, "queue_full", 3)
	// One of them stops: it has its own requests to wait for, not the other's.
	done := make(chan error, 1)
	go func() { done <- stop() }() // ends with Serve
	synctest.Wait()
	l.free()
	if err := <-done; err != nil {
		t.Errorf("Serve of one of two services: %v", err)
	}
	for range 4 {
		a.message()
	}
	a.quiet()
}

func turns(t *testing.T) {
	l := newLimited(t, scamp.Limits{MaxConcurrency: 1})
	greedy, modest := callWire(t, l.n, l.Addr()), callWire(t, l.n, l.Addr())
	greedy.send(msg(0, ask("Sample.work", 1), ""))
	synctest.Wait()
	for i := 1; i <= 50; i++ {
		greedy.send(msg(i, ask("Sample.echo", i+1), "greedy"))
	}
	synctest.Wait()
	modest.send(msg(0, ask("Sample.echo", 1), "modest"))
	synctest.Wait()
	l.free()
	for range 51 {
		greedy.message()
	}
	modest.message()
	// In the order of the handlers: that of the replies says how those who read them take turns.
	if place := slices.Index(l.echoed, "modest"); place < 0 || place > 1 {
		t.Errorf("the request of the modest caller was served after %d of the greedy one's 50, want its turn after one at most", place)
	}
}
