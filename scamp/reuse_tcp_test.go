package scamp_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// Over TCP most messages are there as a whole when they are handed up, and are used
// again; over the pipes of scamptest few are. These tests are for the former.

// The body of an error reply is nobody's: it must not count as held for ever.
func TestErrorRepliesAreNotHeld(t *testing.T) {
	f := newFar(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conns := make(chan *wire, 1)
	go func() { // ends with the handshake
		raw, err := l.Accept()
		if err != nil {
			return
		}
		c := tls.Server(raw, f.cfg)
		c.Handshake()
		conns <- newWire(t, c)
	}()
	c, err := scamp.Dial(t.Context(), l.Addr().String(), scamp.Identity{Certificate: f.pair.Certificate}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := <-conns
	before := scamp.HeldBy(c)
	for i := range 50 {
		done := inBackground(t.Context(), c, &scamp.Request{Action: "Sample.echo", Data: []byte("x")})
		w.message()
		w.send(msg(i, fmt.Sprintf(`{"error":"no","error_code":"lab","request_id":%d,"type":"reply"}`, i+1), strings.Repeat("x", 10000)))
		if o := <-done; o.err == nil {
			t.Fatal("an error reply is no error")
		}
	}
	for i := 0; scamp.HeldBy(c) != before && i < 100; i++ {
		time.Sleep(10 * time.Millisecond) // what came late is counted a moment later
	}
	if held := scamp.HeldBy(c); held != before {
		t.Errorf("%d octets are held after 50 error replies of 10000 octets, want the %d of before", held, before)
	}
}

// tcpService serves over TCP and returns a client of it.
func tcpService(t *testing.T, limits scamp.Limits, register func(*scamp.Service)) (*scamp.Bus, *scamp.Client) {
	t.Helper()
	n := scamptest.New(t)
	pair := n.KeyPair()
	bus := n.Bus(&scamp.Options{Listen: net.Listen, Limits: limits})
	svc, err := bus.NewService("lab", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	register(svc)
	serve(t, svc)
	c, err := scamp.Dial(t.Context(), svc.Addr(), scamp.Identity{Certificate: pair.Certificate}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return bus, c
}

// A request whose body was longer than the service collects, and that its handler never
// read, is not another's when its handler has kept it.
func TestKeptBodyIsNoOther(t *testing.T) {
	var mu sync.Mutex
	var kept []*scamp.Request
	entered, leave := make(chan struct{}), make(chan struct{})
	bus, c := tcpService(t, scamp.Limits{MaxBody: 1000}, func(s *scamp.Service) {
		s.Handle("Lab.keep", func(_ context.Context, req *scamp.Request, _ *scamp.ReplyWriter) error {
			mu.Lock()
			defer mu.Unlock()
			kept = append(kept, req)
			return nil
		}, nil)
		s.Handle("Lab.victim", func(_ context.Context, req *scamp.Request, _ *scamp.ReplyWriter) error {
			entered <- struct{}{}
			<-leave
			_, err := io.Copy(io.Discard, req.Body)
			return err
		}, nil)
	})
	for range 30 {
		rep, err := c.Call(t.Context(), &scamp.Request{Action: "Lab.keep", Data: make([]byte, 2000)})
		if err != nil {
			t.Fatal(err)
		}
		rep.Bytes(0)
	}
	for i := 0; len(scamp.TablesOf(bus)) > 0 && i < 1000; i++ {
		time.Sleep(10 * time.Millisecond) // the reply is out before the body is thrown away
	}
	var victims []<-chan outcome
	for range 20 {
		victims = append(victims, inBackground(t.Context(), c, &scamp.Request{Action: "Lab.victim", Data: []byte(strings.Repeat("secret ", 300))}))
		<-entered
	}
	for _, req := range kept {
		b := make([]byte, 30)
		if n, err := req.Body.Read(b); n > 0 || err == nil {
			t.Errorf("a request kept after its handler had returned: read %q, %v; want an error", b[:n], err)
		}
	}
	close(leave)
	for _, v := range victims {
		<-v
	}
}

// A body that arrived in one piece counts as held until its handler returns (PROTOCOL 4.5
// rule 4).
func TestBodiesInOnePieceAreHeld(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	bus, c := tcpService(t, scamp.Limits{}, func(s *scamp.Service) {
		s.Handle("Lab.hold", func(_ context.Context, req *scamp.Request, _ *scamp.ReplyWriter) error {
			entered <- struct{}{}
			<-leave
			return nil
		}, nil)
	})
	rep, err := c.Call(t.Context(), &scamp.Request{Action: "Lab.none"}) // the windows are told
	if err == nil {
		rep.Body.Close()
	}
	before := scamp.HeldByBus(bus)
	const size, n = 60000, 3
	var calls []<-chan outcome
	for range n {
		calls = append(calls, inBackground(t.Context(), c, &scamp.Request{Action: "Lab.hold", Data: make([]byte, size)}))
		<-entered
	}
	const unit = 16 << 10 // what is unread counts in such steps, and not all may have come
	held := func() int64 { return scamp.HeldByBus(bus) - before }
	for i := 0; held() < n*size-unit && i < 200; i++ {
		time.Sleep(10 * time.Millisecond)
	}
	if held() < n*size-unit {
		t.Errorf("%d handlers with %d octets each hold %d, want at least %d", n, size, held(), n*size-unit)
	}
	close(leave)
	for _, call := range calls {
		<-call
	}
}
