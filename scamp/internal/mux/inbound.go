package mux

import (
	"errors"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/packet"
)

// TXERR is how a message ends whose sender gave up: what arrived of its body must
// not be used as complete (PROTOCOL 4.1).
type TXERR struct {
	Text string // from the network
}

func (e *TXERR) Error() string { return "the sender gave up: " + e.Text }

var (
	// ErrTooBig is returned by Bytes for a body longer than its limit.
	ErrTooBig = errors.New("mux: body too big")
	// ErrHeld is returned by Collect for a body that it was not to hold.
	ErrHeld = errors.New("mux: too much is held")
	// ErrDiscarded is what a body gives after Discard.
	ErrDiscarded = errors.New("mux: the body was discarded")
)

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
	flow       *flow
	dumb       bool // its sender is known to ignore the window (PROTOCOL 4.5)

	// Owned by the reader's goroutine until it is handed up.
	offered bool // given to Accept; the reader's also then
	listed  bool // the reader may look at it again: it is never recycled
	whole   bool // complete, and well, when it was; never changed then

	mu         sync.Mutex // protects what follows once it was handed up
	cond       sync.Cond  // there is something to read, or the end
	head, tail *chunk
	unread     int   // octets that have arrived and were not taken
	ended      bool  // nothing comes after the chunks
	err        error // why it ended; nil is EOF
	discard    bool  // everything is thrown away as it arrives
	own        chunk // over room; for the first octets, if they are few
	room       [128]byte
	acking     int64 // octets taken when an ACK was last asked for
	moved      int64 // when a packet last arrived, on the clock of Conn.Now
}

// Messages that were used up, for others to be made of. Nobody waits on one.
var inbounds = sync.Pool{New: func() any {
	m := new(Inbound)
	m.cond.L = &m.mu
	return m
}}

func newInbound(c *Conn) *Inbound {
	m := inbounds.Get().(*Inbound)
	m.c = c
	return m
}

// Recycle gives up a message whose whole body was there when it was handed up. Nobody
// may use it any more. Others are left to the garbage collector, and so are those whose
// packets were mixed with those of others: the reader may still have them.
func (m *Inbound) Recycle() {
	if !m.whole || m.listed {
		return
	}
	if m.head != nil {
		m.Discard()
	}
	m.Header, m.HeaderSize = packet.Header{}, 0
	m.own = chunk{}
	m.c, m.flow, m.dumb, m.offered, m.whole = nil, nil, false, false, false
	m.ended, m.err, m.discard, m.acking, m.moved = false, nil, false, 0, 0
	inbounds.Put(m)
}

// Conn is the connection the message came on.
func (m *Inbound) Conn() *Conn { return m.c }

// No is the message's number.
func (m *Inbound) No() uint64 { return m.flow.no }

// Progress is when the last packet of the message arrived, on the clock of Conn.Now.
func (m *Inbound) Progress() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Duration(m.moved)
}

// Unread is how many octets of the body have arrived and were not taken yet.
func (m *Inbound) Unread() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.unread
}

// Whole says whether the whole body had arrived when the message was handed up, as
// that of most does.
func (m *Inbound) Whole() bool { return m.whole }

// Complete says whether the whole body has arrived.
func (m *Inbound) Complete() bool {
	if m.whole {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ended && m.err == nil
}

// add takes the body of a DATA packet. It is false when the octets are thrown
// away instead. Only the reader calls it.
func (m *Inbound) add(b []byte, now int64) bool {
	if m.offered {
		m.mu.Lock()
		defer m.mu.Unlock()
	}
	m.moved = now
	if m.discard {
		return false
	}
	if m.violatesLocked(len(b)) {
		m.c.count.Add(WindowViolated)
		m.clearLocked(ErrWindow)
		return false
	}
	m.setUnreadLocked(m.unread + len(b))
	m.appendLocked(b)
	m.cond.Signal()
	return true
}

// onePacket is what one packet may add to a window: some look at theirs only after
// each packet, and the window of others is that much larger (PROTOCOL 4.5).
const onePacket = 131072

// violatesLocked says whether n more octets are more than the sender may have
// unread here (PROTOCOL 3.7, 4.5).
func (m *Inbound) violatesLocked(n int) bool {
	c, unread := m.c, m.unread+n
	limit := MinWindow + onePacket
	windowed := c.in.ext && !c.opts.NoExt
	if windowed {
		limit = c.window + onePacket
	}
	if m.dumb && c.unread.Load() < int64(c.limits.MaxBuffered) {
		limit = max(limit, c.limits.MaxUnreadMessage)
	}
	if unread > limit {
		return true
	}
	more := excess(unread) - excess(m.unread)
	return windowed && more > 0 && c.excess.Load()+more > int64(c.window)
}

// excess is how many of the unread octets of a message are there only because its
// sender knows a window larger than MinWindow.
func excess(unread int) int64 { return int64(max(unread-MinWindow-onePacket, 0)) }

// setUnreadLocked changes the count of unread octets, here and for the connection.
func (m *Inbound) setUnreadLocked(n int) {
	m.c.tally(int64(n - m.unread))
	if e := excess(n) - excess(m.unread); e != 0 {
		m.c.excess.Add(e)
	}
	m.unread = n
}

func (m *Inbound) appendLocked(b []byte) {
	if t := m.tail; t != nil {
		n := copy(t.buf[t.w:], b)
		t.w += n
		if b = b[n:]; len(b) == 0 {
			return
		}
	}
	k := m.chunkLocked(len(b))
	k.w = copy(k.buf, b)
	if m.tail == nil {
		m.head = k
	} else {
		m.tail.next = k
	}
	m.tail = k
}

// chunkLocked returns a chunk for at least n octets.
func (m *Inbound) chunkLocked(n int) *chunk {
	if m.own.buf == nil && n <= len(m.room) {
		m.own.buf = m.room[:] // once: somebody may still look at it later
		return &m.own
	}
	if m.tail != nil {
		n = max(n, 4<<10) // more is likely to follow
	}
	return getChunk(n)
}

func (m *Inbound) popLocked() *chunk {
	k := m.head
	m.head, k.next = k.next, nil
	if m.head == nil {
		m.tail = nil
	}
	return k
}

func (m *Inbound) pushFrontLocked(k *chunk) {
	k.next = m.head
	m.head = k
	if m.tail == nil {
		m.tail = k
	}
}

// end is called once, by the reader: EOF, TXERR or the end of the connection.
func (m *Inbound) end(err error, now int64) {
	if !m.offered {
		m.moved = now
		if !m.ended {
			m.ended, m.err, m.whole = true, err, err == nil
		}
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.moved = now
	if !m.ended {
		m.ended, m.err = true, err
	}
	m.cond.Broadcast()
}
