package mux

import (
	"errors"
	"io"
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

	errDiscarded = errors.New("mux: the body was discarded")
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

// Read reads octets of the body. It waits until there are some; at the end it
// returns io.EOF, or why the message ended before its end.
func (m *Inbound) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.waitLocked(); err != nil {
		return 0, err
	}
	for n < len(p) && m.head != nil {
		k := m.head
		got := copy(p[n:], k.buf[k.r:k.w])
		k.r += got
		n += got
		if k.r == k.w {
			putChunk(m.popLocked())
		}
	}
	m.tookLocked(n)
	return n, nil
}

// WriteTo writes the body to w, chunk by chunk as it arrives, without a copy. What
// w did not take can still be read.
func (m *Inbound) WriteTo(w io.Writer) (total int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		switch err := m.waitLocked(); {
		case err == io.EOF:
			return total, nil
		case err != nil:
			return total, err
		}
		k := m.popLocked() // so that nobody appends to it
		m.mu.Unlock()
		n, err := w.Write(k.buf[k.r:k.w])
		m.mu.Lock()
		total += int64(n)
		k.r += n
		if m.discard {
			putChunk(k) // what it held was counted when it was discarded
			continue
		}
		if k.r < k.w {
			m.pushFrontLocked(k)
			if err == nil {
				err = io.ErrShortWrite
			}
		} else {
			putChunk(k)
		}
		m.tookLocked(n)
		if err != nil {
			return total, err
		}
	}
}

// Bytes reads the rest of the body into one slice that belongs to the caller. A
// body of more than limit octets is discarded, and the error is ErrTooBig.
func (m *Inbound) Bytes(limit int) (body []byte, err error) {
	return m.Collect(limit, func(int) bool { return true })
}

// Collect is Bytes that asks take before it holds n more octets; take must not block.
// When it says no the body is discarded, and the error is ErrHeld.
func (m *Inbound) Collect(limit int, take func(n int) bool) (body []byte, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		switch err := m.waitLocked(); {
		case err == io.EOF:
			return body, nil
		case err != nil:
			return nil, err
		}
		n := m.unread
		if len(body)+n > limit {
			m.dropLocked(ErrTooBig)
			return nil, ErrTooBig
		}
		if !take(n) {
			m.dropLocked(ErrHeld)
			return nil, ErrHeld
		}
		if body == nil && m.ended {
			body = make([]byte, 0, n) // all of it is there
		}
		for m.head != nil {
			k := m.popLocked()
			body = append(body, k.buf[k.r:k.w]...)
			putChunk(k)
		}
		m.tookLocked(n)
	}
}

// A Held is a body whose octets are still where they arrived.
type Held struct{ k *chunk }

// Hold returns the whole body of a complete message without copying it, if it is in
// one piece and at most limit octets long. It counts as taken. The octets are valid
// until Release.
func (m *Inbound) Hold(limit int) (body []byte, h Held, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.head
	if !m.ended || m.err != nil || m.discard || m.unread > limit || k != m.tail {
		return nil, Held{}, false
	}
	if k == nil {
		return nil, Held{}, true
	}
	m.popLocked()
	body = k.buf[k.r:k.w:k.w]
	m.tookLocked(len(body))
	return body, Held{k}, true
}

// Release gives the octets back. The zero Held holds none.
func (h Held) Release() {
	if h.k != nil {
		putChunk(h.k)
	}
}

// Discard throws the rest of the body away, also what has yet to come, and
// acknowledges it, so that the sender can finish (PROTOCOL 3.5).
func (m *Inbound) Discard() { m.Fail(errDiscarded) }

// Fail is Discard, and whoever reads gets err. It does nothing to a message that
// was read to its end.
func (m *Inbound) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropLocked(err)
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

// waitLocked returns nil when there is something to read, and the end otherwise.
// Before it waits everything taken so far is acknowledged: the sender may be
// waiting for just that (PROTOCOL 4.4).
func (m *Inbound) waitLocked() error {
	for m.head == nil && !m.ended {
		if m.unackedLocked() > 0 {
			m.acking = m.flow.consumed.Load()
			m.c.acks.add(m.flow)
			// A reader that does not wait yet sends it, with all others, before it does.
			if m.c.in.rests.Load() {
				m.pumpLocked()
				continue
			}
		}
		m.cond.Wait()
	}
	switch {
	case m.head != nil:
		return nil
	case m.err != nil:
		return m.err
	}
	return io.EOF
}

// tookLocked notes that n octets left the message for good, and acknowledges them
// when enough have.
func (m *Inbound) tookLocked(n int) {
	if m.discard {
		return // they were counted then
	}
	m.setUnreadLocked(m.unread - n)
	m.flow.consumed.Add(int64(n))
	if m.unackedLocked() >= m.c.ackAt.Load() {
		m.ackLocked()
	}
}

// unackedLocked is how many octets were taken since an ACK was last asked for. Not
// since one was sent: when the peer reads nothing, that may not happen for long.
func (m *Inbound) unackedLocked() int64 {
	if m.flow.quiet.Load() {
		return 0
	}
	return m.flow.consumed.Load() - m.acking
}

// ackLocked has the octets taken so far acknowledged. It opens the lock meanwhile.
func (m *Inbound) ackLocked() {
	m.acking = m.flow.consumed.Load()
	m.c.acks.add(m.flow)
	m.pumpLocked()
}

// pumpLocked has what is queued written. It opens the lock meanwhile.
func (m *Inbound) pumpLocked() {
	m.mu.Unlock()
	m.c.pump(callerRounds)
	m.mu.Lock()
}

// dropLocked throws the body away and acknowledges what was there of it. A sender
// that has finished needs that only to grow its budget again (PROTOCOL 3.7).
func (m *Inbound) dropLocked(err error) {
	if m.discard {
		return
	}
	least := int64(1)
	if m.ended {
		least = MinWindow / 2
	}
	m.clearLocked(err)
	if m.unackedLocked() >= least {
		m.ackLocked()
	}
}

func (m *Inbound) clearLocked(err error) {
	m.discard = true
	m.flow.m.Store(nil) // what comes now the reader only counts
	m.flow.consumed.Add(int64(m.unread))
	if !m.ended || m.err == nil && m.unread > 0 {
		m.ended, m.err = true, err
	}
	m.setUnreadLocked(0)
	for m.head != nil {
		putChunk(m.popLocked())
	}
	m.cond.Broadcast()
}
