package scamp_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A wire is one end of a TLS connection as octets: a peer of any make, good or bad.
// It reads all the time, so that the other end never waits for it.
type wire struct {
	t testing.TB
	c *tls.Conn

	acks  atomic.Bool   // acknowledge all octets as they arrive
	mute  atomic.Bool   // do not answer PING
	stay  atomic.Bool   // do not close when the other end does
	more  chan struct{} // capacity 1: what follows has changed
	mu    sync.Mutex
	got   []packet.Packet
	acked map[uint64]int // of our messages
	heads int            // HEADERs that have arrived
	data  map[uint64]int // octets of DATA that have arrived, by message
	raw   int            // octets read after the handshake
	err   error

	// Of the test's goroutine.
	ping uint64
	open map[uint64]*heard // messages that message is in the middle of
}

// newWire reads what arrives on c until that ends, with the test at the latest.
func newWire(t testing.TB, c *tls.Conn) *wire {
	w := &wire{t: t, c: c, more: make(chan struct{}, 1), acked: make(map[uint64]int), data: make(map[uint64]int), open: make(map[uint64]*heard)}
	done := make(chan struct{})
	go func() { w.read(); close(done) }() // ends with the connection
	t.Cleanup(func() { c.NetConn().Close(); <-done })
	return w
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.c.Read(p)
	w.mu.Lock()
	w.raw += n
	w.mu.Unlock()
	return n, err
}

func (w *wire) read() {
	r := packet.NewReader(w, packet.Limits{})
	for {
		p, err := r.Next()
		p.Body = bytes.Clone(p.Body)
		w.mu.Lock()
		if w.err = err; err == nil {
			w.got = append(w.got, p)
			switch p.Kind {
			case packet.KindACK:
				w.acked[p.MsgNo], _ = strconv.Atoi(string(p.Body))
			case packet.KindHeader:
				w.heads++
			case packet.KindData:
				w.data[p.MsgNo] += len(p.Body)
			}
		}
		total := w.data[p.MsgNo]
		w.mu.Unlock()
		switch {
		case p.Kind == packet.KindData && w.acks.Load():
			w.send(pk("ACK", int(p.MsgNo), strconv.Itoa(total)))
		case p.Kind == packet.KindPING && !w.mute.Load():
			w.send(pk("PONG", int(p.MsgNo), ""))
		}
		select {
		case w.more <- struct{}{}:
		default:
		}
		if err != nil {
			if !w.stay.Load() {
				w.c.Close() // as all peers do
			}
			return
		}
	}
}

// send writes octets as they are. The connection may have ended.
func (w *wire) send(octets ...string) {
	w.t.Helper()
	io.WriteString(w.c, strings.Join(octets, ""))
}

// pop returns the next packet that has arrived, waiting for one; ok is false when the
// connection ended instead.
func (w *wire) pop() (p packet.Packet, ok bool) {
	w.t.Helper()
	return w.popWithin(time.After(20 * time.Second))
}

func (w *wire) popWithin(limit <-chan time.Time) (p packet.Packet, ok bool) {
	w.t.Helper()
	w.awaitWithin(limit, "a packet", func() bool {
		if len(w.got) > 0 {
			p, w.got, ok = w.got[0], w.got[1:], true
		}
		return ok || w.err != nil
	})
	return p, ok
}

// await waits until cond, which is asked under the lock, holds.
func (w *wire) await(what string, cond func() bool) {
	w.t.Helper()
	w.awaitWithin(time.After(20*time.Second), what, cond)
}

func (w *wire) awaitWithin(limit <-chan time.Time, what string, cond func() bool) {
	w.t.Helper()
	for {
		w.mu.Lock()
		done := cond()
		w.mu.Unlock()
		if done {
			return
		}
		select {
		case <-w.more:
		case <-limit:
			w.t.Fatalf("%s does not come", what)
		}
	}
}

// awaitAck waits until n octets of our message are acknowledged.
func (w *wire) awaitAck(no, n int) {
	w.t.Helper()
	w.await(fmt.Sprintf("an ACK for %d octets of message %d", n, no), func() bool {
		return w.acked[uint64(no)] >= n || w.err != nil
	})
}

// next is pop for a connection that must live.
func (w *wire) next() packet.Packet {
	w.t.Helper()
	p, ok := w.pop()
	if !ok {
		w.t.Fatalf("the connection ended (%v), want a packet", w.err)
	}
	return p
}

// arrived is every packet that is there now, as octets.
func (w *wire) arrived() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []byte
	for _, p := range w.got {
		all = p.AppendTo(all)
	}
	w.got = nil
	return string(all)
}

// octets is how many octets were ever read.
func (w *wire) octets() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.raw
}

// expect takes as many packets as want has, and compares.
func (w *wire) expect(want ...string) {
	w.t.Helper()
	var got []string
	for range want {
		got = append(got, string(w.next().AppendTo(nil)))
	}
	if g, m := strings.Join(got, ""), strings.Join(want, ""); g != m {
		w.t.Errorf("arrived: %q\nwant:    %q", g, m)
	}
}

// A heard is one message from the other end.
type heard struct {
	no     int
	header packet.Header
	json   string // the header as it came
	body   string
	txerr  string // how it ended, if badly
	whole  bool   // it ended well
}

// message takes packets until a message has ended, and returns that. ACKs and what
// belongs to other messages may come between.
func (w *wire) message() heard {
	w.t.Helper()
	limit := time.After(time.Hour) // in a bubble PINGs would keep it waiting for ever
	for {
		select {
		case <-limit:
			w.t.Fatal("no message ends")
		default:
		}
		p := w.next()
		m := w.open[p.MsgNo]
		switch {
		case p.Kind == packet.KindACK, p.Kind == packet.KindPING, p.Kind == packet.KindPONG:
			continue
		case p.Kind == packet.KindHeader && m == nil:
			m = &heard{no: int(p.MsgNo), json: string(p.Body)}
			if err := packet.NewHeaderReader(packet.Limits{}).Parse(p.Body, &m.header); err != nil {
				w.t.Fatalf("header %q: %v", p.Body, err)
			}
			w.open[p.MsgNo] = m
			continue
		case m == nil:
			w.t.Fatalf("arrived: %s %d %q, want it for a message that is open", p.Kind, p.MsgNo, p.Body)
		case p.Kind == packet.KindData:
			m.body += string(p.Body)
			continue
		case p.Kind == packet.KindEOF:
			m.whole = true
		case p.Kind == packet.KindTXERR:
			m.txerr = string(p.Body)
		default:
			w.t.Fatalf("arrived: %s %d %q, want a packet of a message", p.Kind, p.MsgNo, p.Body)
		}
		delete(w.open, p.MsgNo)
		return *m
	}
}

// begun takes packets until a HEADER has arrived. Only ACKs may come before it.
func (w *wire) begun() heard {
	w.t.Helper()
	for {
		switch p := w.next(); p.Kind {
		case packet.KindACK, packet.KindPING:
		case packet.KindHeader:
			m := heard{no: int(p.MsgNo), json: string(p.Body)}
			if err := packet.NewHeaderReader(packet.Limits{}).Parse(p.Body, &m.header); err != nil {
				w.t.Fatalf("header %q: %v", p.Body, err)
			}
			w.open[p.MsgNo] = &m
			return m
		default:
			w.t.Fatalf("arrived: %s %d %q, want a HEADER", p.Kind, p.MsgNo, p.Body)
		}
	}
}

// quiet fails the test if anything but ACKs has arrived, or arrives before a PONG, or
// the connection does not live.
func (w *wire) quiet() {
	w.t.Helper()
	w.ping++
	w.send(fmt.Sprintf("PING %d 0\r\nEND\r\n", w.ping))
	for {
		switch p := w.next(); {
		case p.Kind == packet.KindPONG && p.MsgNo == w.ping:
			return
		case p.Kind != packet.KindACK && p.Kind != packet.KindPING && p.Kind != packet.KindPONG:
			w.t.Fatalf("arrived: %s %d %q, want nothing", p.Kind, p.MsgNo, p.Body)
		}
	}
}

// over waits for the connection to end and returns what arrived before that.
func (w *wire) over() string {
	w.t.Helper()
	var all []byte
	for {
		p, ok := w.pop()
		if !ok {
			return string(all)
		}
		all = p.AppendTo(all)
	}
}

// pk is one packet as octets.
func pk(kind string, no int, body string) string {
	return fmt.Sprintf("%s %d %d\r\n%sEND\r\n", kind, no, len(body), body)
}

// msg is a whole message as octets, in chunks of at most 16384.
func msg(no int, header, body string) string {
	s := pk("HEADER", no, header)
	for len(body) > 0 {
		n := min(len(body), 16384)
		s += pk("DATA", no, body[:n])
		body = body[n:]
	}
	return s + pk("EOF", no, "")
}

// sample is the key pair of the fixtures.
func sample(t testing.TB) *scamp.KeyPair {
	t.Helper()
	k, err := scamp.ParseKeyPair(fixtures.Bytes("keys/sample.crt.pem"), fixtures.Bytes("keys/sample.key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// call connects to a service of the network as an anonymous caller.
func callWire(t testing.TB, n *scamptest.Network, addr string) *wire {
	t.Helper()
	c, err := n.Dial(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return clientWire(t, c, nil)
}

// clientWire is the client's side of TLS over c.
func clientWire(t testing.TB, c net.Conn, cfg *tls.Config) *wire {
	t.Helper()
	if cfg == nil {
		cfg = new(tls.Config)
	}
	cfg.InsecureSkipVerify = true
	tc := tls.Client(c, cfg)
	if err := tc.HandshakeContext(t.Context()); err != nil {
		c.Close()
		t.Fatal(err)
	}
	return newWire(t, tc)
}
