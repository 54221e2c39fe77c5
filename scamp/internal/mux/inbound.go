package mux

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/packet"
)

// TXERR is how a message ends whose sender gave up: what arrived of its body must
// not be used as complete (PROTOCOL 4.1).
type TXERR struct {
	Text string // from the network
}

func (e *TXERR) Error() string { return "the sender gave up: " + e.Text }

// ErrTooBig is returned by Bytes for a body longer than its limit.
var ErrTooBig = errors.New("mux: body too big")

// An Inbound is a message from the peer: a header and a stream of octets.
//
//	        HEADER           EOF
//	(none) --------> open ---------> done
//	                  |   TXERR, connection lost, window ignored
//	                  +------------> failed
//
// One goroutine at a time reads it; Discard, Fail and Progress may be called by any.
// Whoever has been given it must read it to its end or call Discard, or its octets
// are held until the connection ends.
type Inbound struct {
	// Set before it is handed up, never changed.
	Header     packet.Header
	HeaderSize int // octets of the HEADER body
	c          *Conn
	no         uint64
	dumb       bool // its sender is known to ignore the window (PROTOCOL 4.5)

	// Owned by the reader's goroutine.
	offered bool
	lazy    bool // in reader.lazy
	empties int

	ackQueued bool         // under ackList.mu
	consumed  atomic.Int64 // octets taken or thrown away: what may be acknowledged
	acked     atomic.Int64 // octets acknowledged; written under Conn.mu

	mu         sync.Mutex // protects what follows
	cond       sync.Cond  // there is something to read, or the end
	head, tail *chunk
	unread     int   // octets in the chunks
	received   int64 // octets that have arrived
	ended      bool  // nothing comes after the chunks
	err        error // why it ended; nil is EOF
	over       bool  // EOF or TXERR has arrived, or the connection is gone
	discard    bool  // everything is thrown away as it arrives
	moved      int64 // when octets last arrived, on the clock of Conn.Now
}

// Conn is the connection the message came on.
func (m *Inbound) Conn() *Conn { return m.c }

// No is the message's number.
func (m *Inbound) No() uint64 { return m.no }

// Progress is when the last packet of the message arrived, on the clock of Conn.Now.
func (m *Inbound) Progress() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Duration(m.moved)
}

// Unread is how many octets of the body have arrived and were not read yet.
func (m *Inbound) Unread() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.unread
}

// add takes the body of a DATA packet. It says whether it took the octets out of
// the stream itself, so that they are to be acknowledged.
func (m *Inbound) add(b []byte, now int64) (taken bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.received += int64(len(b))
	m.moved = now
	if m.discard {
		m.consumed.Add(int64(len(b)))
		return true
	}
	if m.unread+len(b) > m.limitLocked() {
		m.c.count.Add(WindowViolated)
		m.dropLocked(ErrWindow)
		return true
	}
	m.unread += len(b)
	m.c.unread.Add(int64(len(b)))
	m.appendLocked(b)
	m.cond.Signal()
	return false
}

// limitLocked is how many unread octets of this message are tolerated: its window
// and what one packet adds (PROTOCOL 4.5).
func (m *Inbound) limitLocked() int {
	const onePacket = 131072
	limit := MinWindow + onePacket
	if m.c.in.ext {
		limit = m.c.window + onePacket
	}
	if m.dumb && m.c.unread.Load() < int64(m.c.limits.MaxBuffered) {
		limit = max(limit, m.c.limits.MaxUnreadMessage)
	}
	return limit
}

func (m *Inbound) appendLocked(b []byte) {
	if t := m.tail; t != nil {
		n := copy(t.buf[t.w:], b)
		t.w += n
		if b = b[n:]; len(b) == 0 {
			return
		}
	}
	size := len(b)
	if m.tail != nil {
		size = max(size, 4<<10) // more is likely to follow
	}
	k := getChunk(size)
	k.w = copy(k.buf, b)
	if m.tail == nil {
		m.head = k
	} else {
		m.tail.next = k
	}
	m.tail = k
}

// end is called once, by the reader: EOF, TXERR or the end of the connection.
func (m *Inbound) end(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.moved = m.c.in.stamp.Load()
	m.over = true
	if !m.ended {
		m.ended, m.err = true, err
	}
	m.cond.Broadcast()
}

// Read reads octets of the body. It waits until there are some; at the end it
// returns io.EOF, or why the message ended before its end.
func (m *Inbound) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := m.wait(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	n := 0
	for n < len(p) && m.head != nil {
		k := m.head
		got := copy(p[n:], k.buf[k.r:k.w])
		k.r += got
		n += got
		if k.r == k.w {
			m.freeHeadLocked()
		}
	}
	m.unread -= n
	m.mu.Unlock()
	if n == 0 {
		return m.Read(p) // discarded meanwhile: the end is there to be seen
	}
	m.took(n)
	return n, nil
}

// WriteTo writes the body to w, chunk by chunk as it arrives, without a copy.
func (m *Inbound) WriteTo(w io.Writer) (total int64, err error) {
	for {
		switch err := m.wait(); {
		case err == io.EOF:
			return total, nil
		case err != nil:
			return total, err
		}
		m.mu.Lock()
		k := m.head
		if k != nil {
			// Out of the list, so that the reader does not append to it.
			m.head = k.next
			if m.head == nil {
				m.tail = nil
			}
			m.unread -= k.w - k.r
		}
		m.mu.Unlock()
		if k == nil {
			continue
		}
		size := k.w - k.r
		n, err := w.Write(k.buf[k.r:k.w])
		putChunk(k)
		m.took(size)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
}

// Bytes reads the rest of the body into one slice that belongs to the caller. A
// body of more than limit octets is discarded, and the error is ErrTooBig.
func (m *Inbound) Bytes(limit int) ([]byte, error) {
	var body []byte
	for {
		switch err := m.wait(); {
		case err == io.EOF:
			return body, nil
		case err != nil:
			return nil, err
		}
		m.mu.Lock()
		n := m.unread
		if len(body)+n > limit {
			m.mu.Unlock()
			m.Discard()
			return nil, ErrTooBig
		}
		if body == nil && m.ended {
			body = make([]byte, 0, n) // all of it is there
		}
		for k := m.head; k != nil; k = m.head {
			body = append(body, k.buf[k.r:k.w]...)
			m.freeHeadLocked()
		}
		m.unread = 0
		m.mu.Unlock()
		m.took(n)
	}
}

// wait returns nil when there is something to read, and the end otherwise. Before
// it waits everything taken so far is acknowledged: the sender may be waiting for
// just that (PROTOCOL 4.4).
func (m *Inbound) wait() error {
	m.mu.Lock()
	for m.head == nil && !m.ended {
		m.mu.Unlock()
		if m.ackDue(1) {
			m.c.pump(callerRounds)
		}
		m.mu.Lock()
		if m.head == nil && !m.ended {
			m.cond.Wait()
		}
	}
	defer m.mu.Unlock()
	if m.head != nil {
		return nil
	}
	if m.err != nil {
		return m.err
	}
	return io.EOF
}

// took notes that n octets left the message and acknowledges them when half a
// window has been taken.
func (m *Inbound) took(n int) {
	m.consumed.Add(int64(n))
	m.c.unread.Add(-int64(n))
	if m.ackDue(MinWindow / 2) {
		m.c.pump(callerRounds)
	}
}

// ackDue queues an ACK when at least n octets are to be acknowledged. A complete
// message of at most half a window needs none.
func (m *Inbound) ackDue(n int64) bool {
	if m.consumed.Load()-m.acked.Load() < n {
		return false
	}
	m.mu.Lock()
	silent := m.over && (m.err != nil || m.received <= MinWindow/2)
	m.mu.Unlock()
	if silent {
		return false
	}
	m.c.acks.add(m)
	return true
}

// Complete says whether the whole body has arrived.
func (m *Inbound) Complete() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ended && m.err == nil
}

// Discard throws the rest of the body away, also what has yet to come, and
// acknowledges it, so that the sender can finish (PROTOCOL 3.5).
func (m *Inbound) Discard() { m.drop(nil) }

// Fail is Discard, and whoever reads gets err. It does nothing to a message that
// was read to its end.
func (m *Inbound) Fail(err error) { m.drop(err) }

func (m *Inbound) drop(err error) {
	m.mu.Lock()
	m.dropLocked(err)
	m.mu.Unlock()
	if m.ackDue(1) {
		m.c.pump(callerRounds)
	}
}

func (m *Inbound) dropLocked(err error) {
	n := m.unread
	for m.head != nil {
		m.freeHeadLocked()
	}
	m.unread = 0
	m.discard = true
	m.consumed.Add(int64(n))
	m.c.unread.Add(-int64(n))
	if err == nil {
		err = errDiscarded
	}
	if !m.ended || m.err == nil && n > 0 {
		m.ended, m.err = true, err
	}
	m.cond.Broadcast()
}

var errDiscarded = errors.New("mux: the body was discarded")

func (m *Inbound) freeHeadLocked() {
	k := m.head
	m.head = k.next
	if m.head == nil {
		m.tail = nil
	}
	putChunk(k)
}
