package scamp_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
)

// TestConnectionsAreBounded has the limits of connections, at the value, above it and
// below it again, and the handshakes of THREATS L5.
func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, limits := range map[string]scamp.Limits{"MaxConns": {MaxConns: 3}, "MaxConnsPerAddr": {MaxConnsPerAddr: 3}} {
			l := newLimited(t, limits)
			var wires []*wire
			for range 3 {
				wires = append(wires, callWire(t, l.n, l.Addr()))
			}
			raw, err := l.n.Dial(t.Context(), "tcp", l.Addr())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := raw.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("%s: connection beyond the limit: %v, want it closed", name, err)
			}
			raw.Close()
			l.count(t, "conn_refused", 1)
			wires[0].c.Close()
			synctest.Wait()
			again := callWire(t, l.n, l.Addr())
			for _, w := range append(wires[1:], again) {
				w.quiet()
			}
		}
	})
}

func TestSilentHandshakesGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, scamp.Limits{})
		var silent []net.Conn
		var all sync.WaitGroup
		var mu sync.Mutex
		for range 300 {
			all.Go(func() { // ends when the connection is accepted
				c, err := l.n.Dial(t.Context(), "tcp", l.Addr())
				if err == nil {
					mu.Lock()
					silent = append(silent, c)
					mu.Unlock()
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		for range 100 {
			all.Go(func() {
				c, err := scamp.Dial(t.Context(), l.Addr(), scamp.Identity{Certificate: l.pair.Certificate}, &scamp.Options{Dial: l.n.Dial})
				if err != nil {
					t.Errorf("good caller among 300 silent ones: %v after %v", err, time.Since(began))
					return
				}
				if o := <-inBackground(t.Context(), c, echoReq("x")); o.body != "x" {
					t.Errorf("good caller among 300 silent ones: %v", o.err)
				}
				c.Close()
			})
		}
		all.Wait()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the last good caller was served after %v, want 10s at most", took)
		}
		stats := l.bus.Stats()
		if stats["handshake_evicted"] == 0 || stats["conn_refused"] != 0 {
			t.Errorf("handshake_evicted is %d, conn_refused %d, want some and none", stats["handshake_evicted"], stats["conn_refused"])
		}
		for _, c := range silent {
			c.Close()
		}
	})
}

// TestFloodsOfOddMessages has THREATS P18: what makes no sense leaves nothing behind.
func TestFloodsOfOddMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, scamp.Limits{})
		w := callWire(t, l.n, l.Addr())
		no := 0
		for _, header := range []string{
			`{"type":"notify"}`, `{"type":"event"}`, `{"type":"banana"}`, `{"type":"cancel","request_id":5}`,
			`{"type":"request","action":"Sample.echo"}`, `{"type":"subscribe"}`, `{"type":"cancel"}`,
		} {
			for range 2000 {
				w.send(msg(no, header, ""))
				no++
			}
			w.quiet()
		}
		w.send(msg(no, ask("Sample.echo", 1), "x"))
		if m := w.message(); m.no != 0 || m.body != "x" {
			t.Errorf("after 14,000 messages that make no sense: %s with %q, want the first reply", m.json, m.body)
		}
		l.count(t, "message_ignored", 8000)
	})
}
