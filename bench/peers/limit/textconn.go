package limit

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

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

// read takes packets apart until the connection ends, in one long loop, as the limit
// does.
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
