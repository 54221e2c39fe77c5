package mux_test

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// An auditor reads along on one end of a connection and checks what that end
// writes: the invariants of the package that show on the wire. It parses by itself,
// in the plainest way there is.
type auditor struct {
	t     testing.TB
	name  string
	asks  bool // the end may send PING
	ahead int  // octets seen that the network did not take and that will come again; of the goroutine that writes

	mu  sync.Mutex
	out direction // written by the end
	in  direction // read by it
	win int64     // what the peer has announced, 0 before
}

// A direction is one stream of packets as far as it has come.
type direction struct {
	buf  []byte
	next uint64
	msgs map[uint64]*audited
	over bool // something was wrong: nothing counts from there on
}

// audited is one message of a direction.
type audited struct {
	octets, acked int64
	ended         bool
}

// An auditedConn has an auditor read along. It hides what else the net.Conn can do.
type auditedConn struct {
	net.Conn
	a *auditor
}

func (c auditedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.a.feed(&c.a.in, p[:n], c.a.received)
	return n, err
}

func (c auditedConn) Write(p []byte) (int, error) {
	c.a.feed(&c.a.out, p[c.a.ahead:], c.a.sent) // first: the peer may answer at once
	n, err := c.Conn.Write(p)
	c.a.ahead = len(p) - n
	return n, err
}

// audit returns a side over conn whose packets are checked.
func audit(t testing.TB, name string, conn net.Conn) side {
	a := &auditor{t: t, name: name}
	a.out.msgs, a.in.msgs = map[uint64]*audited{}, map[uint64]*audited{}
	return bare(auditedConn{conn, a})
}

// auditedPipe is a network whose both ends are audited.
var auditedPipe = network{"audited pipe", func(t testing.TB) (side, side) {
	a, b := net.Pipe()
	return audit(t, "client", a), audit(t, "server", b)
}}

func (a *auditor) feed(d *direction, p []byte, take func(kind string, no uint64, body []byte) string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	d.buf = append(d.buf, p...)
	for !d.over {
		line, rest, ok := bytes.Cut(d.buf, []byte("\r\n"))
		if !ok {
			return
		}
		kind, no, size, why := parseLine(string(line))
		if why == "" && len(rest) < size+5 {
			return
		}
		if why == "" && string(rest[size:size+5]) != "END\r\n" {
			why = fmt.Sprintf("trailer %q", rest[size:size+5])
		}
		if why == "" {
			why = take(kind, no, rest[:size])
			d.buf = rest[size+5:]
		}
		if why != "" {
			d.over = true
			if d == &a.out {
				a.t.Errorf("%s wrote %q: %s", a.name, line, why)
			}
		}
	}
}

func parseLine(line string) (kind string, no uint64, size int, why string) {
	fields := strings.Split(line, " ")
	if len(fields) != 3 || len(line)+2 > 40 {
		return "", 0, 0, "want three fields in at most 40 octets"
	}
	no, err1 := strconv.ParseUint(fields[1], 10, 63)
	n, err2 := strconv.ParseUint(fields[2], 10, 32)
	if err1 != nil || err2 != nil || fmt.Sprintf("%d %d", no, n) != fields[1]+" "+fields[2] || n > 131072 {
		return "", 0, 0, "want numbers within their limits"
	}
	return fields[0], no, int(n), ""
}

// sent checks a packet that the end writes.
func (a *auditor) sent(kind string, no uint64, body []byte) string {
	m := a.out.msgs[no]
	switch kind {
	case "HEADER":
		if no != a.out.next {
			return fmt.Sprintf("want number %d (invariant 1)", a.out.next)
		}
		if len(body) > 32768 {
			return "want at most 32768 octets"
		}
		a.out.next++
		a.out.msgs[no] = &audited{}
	case "DATA", "EOF", "TXERR":
		if m == nil || m.ended {
			return "want a message that is open (invariant 6)"
		}
		if kind == "DATA" {
			m.octets += int64(len(body))
			return a.window(m, len(body))
		}
		m.ended = true
		delete(a.out.msgs, no)
		if kind == "TXERR" && (len(body) == 0 || string(body) == "0") || kind == "EOF" && len(body) > 0 {
			return fmt.Sprintf("body %q (invariant 6)", body)
		}
	case "ACK":
		return a.ack(a.in.msgs[no], body)
	case "PONG":
	case "PING":
		if !a.asks {
			return "want none without a heartbeat"
		}
	default:
		return "want no such packet"
	}
	return ""
}

// window checks invariant 3, and that no DATA is empty.
func (a *auditor) window(m *audited, n int) string {
	if n == 0 {
		return "empty (invariant 6)"
	}
	win := max(a.win, mux.MinWindow)
	if flight := m.octets - m.acked; flight > win {
		return fmt.Sprintf("%d octets in flight, want at most %d (invariant 3)", flight, win)
	}
	over := int64(0)
	for _, o := range a.out.msgs {
		over += max(o.octets-o.acked-mux.MinWindow, 0)
	}
	if over > win {
		return fmt.Sprintf("%d octets beyond the least window, want at most %d (invariant 3)", over, win)
	}
	return ""
}

// ack checks invariant 4.
func (a *auditor) ack(m *audited, body []byte) string {
	n, err := strconv.ParseInt(string(body), 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != string(body) {
		return fmt.Sprintf("count %q", body)
	}
	if m == nil || n <= m.acked || n > m.octets {
		return fmt.Sprintf("count %d after %+v, want one that rises and was received (invariant 4)", n, m)
	}
	m.acked = n
	return ""
}

// received follows what the peer writes.
func (a *auditor) received(kind string, no uint64, body []byte) string {
	switch m := a.in.msgs[no]; kind {
	case "HEADER":
		a.in.msgs[no] = &audited{}
		var h packet.Header
		if packet.NewHeaderReader(packet.Limits{}).Parse(body, &h) == nil && a.win == 0 {
			a.win = h.Ext.Win
		}
	case "DATA":
		if m != nil {
			m.octets += int64(len(body))
		}
	case "EOF", "TXERR":
		if m != nil {
			m.ended = true
		}
	case "ACK":
		if o := a.out.msgs[no]; o != nil {
			n, _ := strconv.ParseInt(string(body), 10, 64)
			o.acked = max(o.acked, min(n, o.octets))
		}
	}
	return ""
}
