package mux_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// Headers of a message, as peers of ours and old ones write them.
const (
	oursRequest = `{"action":"Lab.echo","envelope":"json","ext":{"v":1,"win":1048576,"cancel":1},"request_id":1,"sector":"main","type":"request","version":1}`
	jsRequest   = `{"action":"Lab.echo","envelope":"json","request_id":1,"sector":"main","type":"request","version":1}`
	goRequest   = `{"action":"Lab.echo","client_id":0,"envelope":"json","request_id":1,"type":"request","version":1}`
	jsReply     = `{"request_id":1,"type":"reply"}`
)

// A wire is the far side of a Conn, spoken by hand. It works in a bubble of
// synthetic time: take returns when all that could happen has.
type wire struct {
	t    testing.TB
	conn net.Conn

	mu    sync.Mutex
	got   []packet.Packet
	raw   bytes.Buffer
	err   error // why reading ended
	taken int
}

// talk runs a Conn over an in-memory connection and returns its far side.
func talk(t testing.TB, opts mux.Options) (*end, *wire) {
	t.Helper()
	e, w := mute(t, opts)
	w.listen()
	return e, w
}

// mute is talk with a far side that does not read until it is told to listen.
func mute(t testing.TB, opts mux.Options) (*end, *wire) {
	t.Helper()
	near, far := net.Pipe()
	w := &wire{t: t, conn: far}
	t.Cleanup(func() { far.Close() })
	link := mux.NewLink(near)
	return run(t, link, link, opts), w
}

func (w *wire) listen() {
	go func() { // ends when the connection does
		r := packet.NewReader(io.TeeReader(w.conn, &w.raw), packet.Limits{})
		for {
			p, err := r.Next()
			p.Body = bytes.Clone(p.Body)
			w.mu.Lock()
			if err != nil {
				w.err = err
				w.mu.Unlock()
				return
			}
			w.got = append(w.got, p)
			w.mu.Unlock()
		}
	}()
}

// send writes octets to the Conn. Writing to one that has ended fails silently:
// how it ended is what tests look at.
func (w *wire) send(octets string) {
	io.WriteString(w.conn, octets)
}

// sendSplit sends the octets in pieces of n.
func (w *wire) sendSplit(octets string, n int) {
	for len(octets) > 0 {
		w.send(octets[:min(n, len(octets))])
		octets = octets[min(n, len(octets)):]
	}
}

// packets returns the packets that have come since the last call.
func (w *wire) packets() []packet.Packet {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	fresh := w.got[w.taken:]
	w.taken = len(w.got)
	return fresh
}

// take returns the packets that have come since the last call, described.
func (w *wire) take() []string { return describe(w.packets()) }

// wants fails the test unless exactly these packets have come.
func (w *wire) wants(what string, want ...string) {
	w.t.Helper()
	if got := w.take(); !slices.Equal(got, want) {
		w.t.Fatalf("%s: sent %q, want %q", what, got, want)
	}
}

// octets returns everything that was received so far.
func (w *wire) octets() string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.raw.String()
}

// describe writes packets in the words of the events of fixtures/framing.
func describe(all []packet.Packet) []string {
	var events []string
	for _, p := range all {
		event := fmt.Sprintf("%s %d", p.Kind, p.MsgNo)
		switch p.Kind {
		case packet.KindData:
			event += fmt.Sprintf(" %d", len(p.Body))
		case packet.KindTXERR, packet.KindACK:
			event += " " + string(p.Body)
		}
		events = append(events, event)
	}
	return events
}

// fatal says whether the connection has ended, and that it ended as the peer's
// fault.
func fatal(e *end) bool {
	synctest.Wait()
	var proto *mux.ProtocolError
	var pack *packet.Error
	return errors.As(e.Err(), &proto) || errors.As(e.Err(), &pack)
}

// The packets a test sends.

func pack(k packet.Kind, no uint64, body string) string {
	return string(packet.Packet{Kind: k, MsgNo: no, Body: []byte(body)}.AppendTo(nil))
}

func header(no uint64, body string) string { return pack(packet.KindHeader, no, body) }
func data(no uint64, body string) string   { return pack(packet.KindData, no, body) }
func eof(no uint64) string                 { return pack(packet.KindEOF, no, "") }
func txerr(no uint64, text string) string  { return pack(packet.KindTXERR, no, text) }
func ack(no uint64, body any) string       { return pack(packet.KindACK, no, fmt.Sprint(body)) }
func ping(no uint64) string                { return pack(packet.KindPING, no, "") }

// stream returns n octets of body in DATA packets of chunk octets.
func stream(no uint64, n, chunk int) string {
	var b strings.Builder
	for n > 0 {
		k := min(n, chunk)
		b.WriteString(data(no, string(octets(k))))
		n -= k
	}
	return b.String()
}

// A shelf keeps the messages that arrive, for tests to look at.
type shelf struct {
	mu  sync.Mutex
	all []*mux.Inbound
}

func (s *shelf) accept(m *mux.Inbound) {
	s.mu.Lock()
	s.all = append(s.all, m)
	s.mu.Unlock()
}

func (s *shelf) messages() []*mux.Inbound {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

// message returns the one message there is.
func (s *shelf) message(t testing.TB) *mux.Inbound {
	t.Helper()
	all := s.messages()
	if len(all) != 1 {
		t.Fatalf("%d messages accepted, want 1", len(all))
	}
	return all[0]
}

// A readout is what reading a message came to.
type readout struct {
	m    *mux.Inbound
	body []byte
	err  error
}

// A library reads every message to its end, each on a goroutine of its own.
type library struct {
	mu  sync.Mutex
	all []*readout
}

func (l *library) accept(m *mux.Inbound) {
	go func() { // ends when the message does
		body, err := m.Bytes(1 << 30)
		l.mu.Lock()
		l.all = append(l.all, &readout{m, body, err})
		l.mu.Unlock()
	}()
}

func (l *library) readouts() []*readout {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// request is the header of a request of ours, and reply that of a reply.
func request() *packet.Header {
	return &packet.Header{Type: packet.TypeRequest, Action: "Lab.echo", Sector: "main", ID: packet.NumberID(1)}
}

func reply() *packet.Header {
	return &packet.Header{Type: packet.TypeReply, ID: packet.NumberID(1)}
}

// counters returns the counters that have moved.
func counters(s *mux.Counters) map[string]uint64 {
	moved := map[string]uint64{}
	s.Each(func(name string, n uint64) {
		if n > 0 {
			moved[name] = n
		}
	})
	return moved
}

// bubble runs f in synthetic time.
func bubble(t *testing.T, f func(*testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// heap returns the octets in use after a collection.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first moved to the victim cache of a pool is gone now
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
