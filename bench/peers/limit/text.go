package limit

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/bench"
)

// Text is a bare prototype of a text-framed multiplexer of the SCAMP shape: TYPE
// msgno len CRLF body END CRLF packets, JSON headers, DATA chunks, EOF, and an ACK of
// the bytes received, over the same engine as limit-tls-go. It has no API, timeouts
// or error handling worth the name: it bounds what the wire format itself costs.
// limit-text holds a finished small message's ACK back until something else is sent
// (or 2 ms); limit-text-ack flushes ACKs as soon as the input is drained.
type Text struct{ Immediate bool }

const (
	textChunk  = 32 << 10
	textWindow = window
)

// Name implements bench.Adapter.
func (a Text) Name() string {
	if a.Immediate {
		return "limit-text-ack"
	}
	return "limit-text"
}

// Notes implements bench.Adapter.
func (a Text) Notes() string {
	return "bare text-framed prototype (HEADER json, DATA 32 KiB, EOF, ACK), goroutine per request, 256 KiB ACK window"
}

type header struct {
	Action    string `json:"action"`
	RequestID int64  `json:"request_id"`
	Type      string `json:"type"`
}

// parseHeader scans a flat JSON object by hand and falls back on encoding/json.
func parseHeader(b []byte, h *header) error {
	*h = header{}
	i, n := 0, len(b)
	ws := func() {
		for i < n && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
			i++
		}
	}
	str := func() ([]byte, bool) {
		if i >= n || b[i] != '"' {
			return nil, false
		}
		i++
		j := bytes.IndexByte(b[i:], '"')
		if j < 0 || bytes.IndexByte(b[i:i+j], '\\') >= 0 {
			return nil, false
		}
		s := b[i : i+j]
		i += j + 1
		return s, true
	}
	slow := func() error { return json.Unmarshal(b, h) }
	ws()
	if i >= n || b[i] != '{' {
		return slow()
	}
	i++
	for {
		ws()
		if i < n && b[i] == '}' {
			return nil
		}
		k, ok := str()
		if !ok {
			return slow()
		}
		ws()
		if i >= n || b[i] != ':' {
			return slow()
		}
		i++
		ws()
		if i >= n {
			return slow()
		}
		var v []byte
		if b[i] == '"' {
			if v, ok = str(); !ok {
				return slow()
			}
		} else {
			j := i
			for i < n && b[i] != ',' && b[i] != '}' {
				if b[i] == '{' || b[i] == '[' {
					return slow()
				}
				i++
			}
			v = b[j:i]
		}
		switch string(k) {
		case "action":
			h.Action = intern(v)
		case "type":
			h.Type = intern(v)
		case "request_id":
			for _, c := range v {
				if c < '0' || c > '9' {
					return slow()
				}
				h.RequestID = h.RequestID*10 + int64(c-'0')
			}
		}
		ws()
		if i < n && b[i] == ',' {
			i++
			continue
		}
		if i < n && b[i] == '}' {
			return nil
		}
		return slow()
	}
}

func intern(b []byte) string {
	for _, s := range [...]string{"request", "reply", "bench.echo", "bench.up", "bench.down"} {
		if string(b) == s {
			return s
		}
	}
	return string(b)
}

func appendPkt(b []byte, typ string, msgno uint64, body []byte) []byte {
	b = append(b, typ...)
	b = strconv.AppendUint(b, msgno, 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, '\r', '\n')
	b = append(b, body...)
	return append(b, "END\r\n"...)
}

func appendHeader(b []byte, msgno uint64, h *header) []byte {
	var s [256]byte
	j := append(s[:0], `{"action":"`...)
	j = append(j, h.Action...)
	j = append(j, `","envelope":"json","request_id":`...)
	j = strconv.AppendInt(j, h.RequestID, 10)
	j = append(j, `,"client_id":0,"ticket":"","identifying_token":"","type":"`...)
	j = append(j, h.Type...)
	j = append(j, `","version":1}`+"\n"...)
	return appendPkt(b, "HEADER ", msgno, j)
}

type inMsg struct {
	h    header
	body []byte
	w    io.Writer // set: stream instead of collect
	got  int64
	ack  int64 // bytes acknowledged so far
	slot *slot
}

type textConn struct {
	a       Text
	c       net.Conn
	w       *Writer
	nextMsg uint64 // under w's lock
	outMu   sync.Mutex
	outs    map[uint64]*flow
	armed   atomic.Bool
	// onHeader and onEOF are called from the reader.
	onHeader func(m *inMsg) error
	onEOF    func(m *inMsg) error
}

func newTextConn(a Text, c net.Conn) *textConn {
	return &textConn{a: a, c: c, w: NewWriter(c), outs: map[uint64]*flow{}}
}

// sendSmall queues a whole message of at most one chunk.
func (t *textConn) sendSmall(h *header, body []byte, yield bool) error {
	t.w.Lock()
	q := t.w.Queue()
	no := t.nextMsg
	t.nextMsg++
	*q = appendHeader(*q, no, h)
	*q = appendPkt(*q, "DATA ", no, body)
	*q = appendPkt(*q, "EOF ", no, nil)
	return t.w.Flush(yield)
}

// sendStream sends a message of n bytes from r in chunks under the ACK window.
func (t *textConn) sendStream(h *header, r io.Reader, n int64) error {
	o := newFlow()
	t.w.Lock()
	no := t.nextMsg
	t.nextMsg++
	t.outMu.Lock()
	t.outs[no] = o
	t.outMu.Unlock()
	q := t.w.Queue()
	*q = appendHeader(*q, no, h)
	if err := t.w.Flush(false); err != nil {
		return err
	}
	buf := make([]byte, textChunk)
	var sent int64
	for sent < n {
		c := min(n-sent, textChunk)
		if _, err := io.ReadFull(r, buf[:c]); err != nil {
			return err
		}
		if !o.wait(sent, textWindow) {
			return net.ErrClosed
		}
		t.w.LockBulk()
		q := t.w.Queue()
		*q = appendPkt(*q, "DATA ", no, buf[:c])
		if err := t.w.Flush(false); err != nil {
			return err
		}
		sent += c
	}
	t.outMu.Lock()
	delete(t.outs, no)
	t.outMu.Unlock()
	t.w.Lock()
	q = t.w.Queue()
	*q = appendPkt(*q, "EOF ", no, nil)
	return t.w.Flush(false)
}

func (t *textConn) ack(no uint64, m *inMsg, flush bool) {
	var s [20]byte
	t.w.LockNoWait()
	q := t.w.Queue()
	*q = appendPkt(*q, "ACK ", no, strconv.AppendInt(s[:0], m.got, 10))
	m.ack = m.got
	if flush {
		t.w.Flush(false)
		return
	}
	t.w.mu.Unlock()
	if !t.a.Immediate && t.armed.CompareAndSwap(false, true) {
		time.AfterFunc(2*time.Millisecond, func() {
			t.armed.Store(false)
			t.w.LockNoWait()
			if len(t.w.buf) > 0 {
				t.w.Flush(false)
				return
			}
			t.w.mu.Unlock()
		})
	}
}

var errWire = errors.New("bad packet")

func (t *textConn) read() error {
	defer func() {
		t.w.Fail(net.ErrClosed)
		t.outMu.Lock()
		for _, o := range t.outs {
			o.kill()
		}
		t.outMu.Unlock()
	}()
	r := bufio.NewReaderSize(t.c, 16<<10)
	msgs := map[uint64]*inMsg{}
	var scratch []byte
	unflushed := false
	for {
		if unflushed && r.Buffered() == 0 {
			t.w.LockNoWait()
			if len(t.w.buf) > 0 {
				if err := t.w.Flush(false); err != nil {
					return err
				}
			} else {
				t.w.mu.Unlock()
			}
			unflushed = false
		}
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) < 8 || line[len(line)-2] != '\r' {
			return errWire
		}
		typ := line[0]
		second := line[1]
		i := bytes.IndexByte(line, ' ')
		if i < 0 {
			return errWire
		}
		var no uint64
		for i++; i < len(line) && line[i] >= '0' && line[i] <= '9'; i++ {
			no = no*10 + uint64(line[i]-'0')
		}
		n := 0
		for i++; i < len(line) && line[i] >= '0' && line[i] <= '9'; i++ {
			n = n*10 + int(line[i]-'0')
		}
		if i != len(line)-2 || n > 1<<20 {
			return errWire
		}
		var body []byte
		m := msgs[no]
		if typ == 'D' {
			if m == nil {
				return errWire
			}
			if m.w != nil { // stream
				if _, err := copyN(m.w, r, n); err != nil {
					return err
				}
			} else {
				k := len(m.body)
				if cap(m.body)-k < n {
					m.body = append(make([]byte, 0, k+n), m.body...)
				}
				m.body = m.body[:k+n]
				if _, err := io.ReadFull(r, m.body[k:]); err != nil {
					return err
				}
			}
			m.got += int64(n)
		} else {
			if cap(scratch) < n {
				scratch = make([]byte, n+256)
			}
			body = scratch[:n]
			if _, err := io.ReadFull(r, body); err != nil {
				return err
			}
		}
		tr, err := r.Peek(5)
		if err != nil {
			return err
		}
		if string(tr) != "END\r\n" {
			return errWire
		}
		r.Discard(5)
		switch {
		case typ == 'H':
			m := &inMsg{}
			if err := parseHeader(body, &m.h); err != nil {
				return err
			}
			msgs[no] = m
			if err := t.onHeader(m); err != nil {
				return err
			}
		case typ == 'D':
			if m.got-m.ack >= textWindow/4 {
				t.ack(no, m, true)
			}
		case typ == 'E' && second == 'O':
			if m == nil {
				return errWire
			}
			delete(msgs, no)
			if m.ack < m.got {
				t.ack(no, m, false)
				unflushed = t.a.Immediate
			}
			if err := t.onEOF(m); err != nil {
				return err
			}
		case typ == 'A':
			v, err := strconv.ParseInt(string(body), 10, 64)
			if err != nil {
				return err
			}
			t.outMu.Lock()
			o := t.outs[no]
			t.outMu.Unlock()
			if o != nil {
				o.ack(v)
			}
		default:
			return errWire
		}
	}
}

type textServer struct{ l net.Listener }

func (s *textServer) Addr() string { return s.l.Addr().String() }
func (s *textServer) Close() error { return s.l.Close() }

// Serve implements bench.Adapter.
func (a Text) Serve(env *bench.Env) (bench.Server, error) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", env.ServerTLS())
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				t := newTextConn(a, c)
				t.onHeader = func(m *inMsg) error {
					if m.h.Action == "bench.up" {
						m.w = io.Discard
					}
					return nil
				}
				t.onEOF = func(m *inMsg) error {
					go func() {
						h := header{RequestID: m.h.RequestID, Type: "reply"}
						switch m.h.Action {
						case "bench.echo":
							t.sendSmall(&h, bench.Handle(m.body), true)
						case "bench.up":
							t.sendSmall(&h, bench.I64(m.got), false)
						case "bench.down":
							t.sendStream(&h, &patternSrc{}, bench.GetI64(m.body))
						}
					}()
					return nil
				}
				t.read()
			}()
		}
	}()
	return &textServer{l}, nil
}

type textClient struct {
	t  *textConn
	cl client // slot bookkeeping only
}

// Connect implements bench.Adapter.
func (a Text) Connect(ctx context.Context, addr string, env *bench.Env) (bench.Client, error) {
	d := tls.Dialer{Config: env.ClientTLS()}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	x := &textClient{t: newTextConn(a, c)}
	x.t.onHeader = func(m *inMsg) error {
		x.cl.mu.Lock()
		defer x.cl.mu.Unlock()
		if m.h.RequestID < 0 || int(m.h.RequestID) >= len(x.cl.slots) {
			return errWire
		}
		m.slot = x.cl.slots[m.h.RequestID]
		m.w = m.slot.w
		m.body = m.slot.dst[:0]
		return nil
	}
	x.t.onEOF = func(m *inMsg) error {
		m.slot.dst, m.slot.n = m.body, m.got
		m.slot.done <- struct{}{}
		return nil
	}
	go func() {
		err := x.t.read()
		x.cl.mu.Lock()
		x.cl.err.Store(&err)
		for _, s := range x.cl.slots {
			select {
			case s.done <- struct{}{}:
			default:
			}
		}
		x.cl.mu.Unlock()
	}()
	return x, nil
}

func (c *textClient) wait(id uint32, s *slot) ([]byte, int64, error) {
	<-s.done
	if e := c.cl.err.Load(); e != nil {
		return nil, 0, *e
	}
	out, n := s.dst, s.n
	c.cl.put(id)
	return out, n, nil
}

func (c *textClient) call(action string, req, dst []byte, w io.Writer) ([]byte, int64, error) {
	id, s, err := c.cl.get(dst, w)
	if err != nil {
		return nil, 0, err
	}
	yield := c.t.w.inFlight.Add(1) > 1
	h := header{Action: action, RequestID: int64(id), Type: "request"}
	if err := c.t.sendSmall(&h, req, yield); err != nil {
		return nil, 0, err
	}
	out, n, err := c.wait(id, s)
	c.t.w.inFlight.Add(-1)
	return out, n, err
}

// Unary implements bench.Client.
func (c *textClient) Unary(_ context.Context, req, dst []byte) ([]byte, error) {
	out, _, err := c.call("bench.echo", req, dst, nil)
	return out, err
}

// BulkUp implements bench.Client.
func (c *textClient) BulkUp(_ context.Context, r io.Reader, n int64) (int64, error) {
	id, s, err := c.cl.get(nil, nil)
	if err != nil {
		return 0, err
	}
	if err := c.t.sendStream(&header{Action: "bench.up", RequestID: int64(id), Type: "request"}, r, n); err != nil {
		return 0, err
	}
	out, _, err := c.wait(id, s)
	return bench.GetI64(out), err
}

// BulkDown implements bench.Client.
func (c *textClient) BulkDown(_ context.Context, n int64, w io.Writer) (int64, error) {
	_, got, err := c.call("bench.down", bench.I64(n), nil, w)
	return got, err
}

func (c *textClient) Close() error { return c.t.c.Close() }
