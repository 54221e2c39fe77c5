package mux

import (
	"fmt"
	"sync"

	"github.com/scampbus/scamp-go/packet"
)

// How much one goroutine writes for others before it leaves the rest to the
// writer goroutine, in batches.
const (
	callerRounds = 4
	readerRounds = 1
	maxRounds    = 1 << 30
)

// While more octets than this wait to reach the network, no DATA of streams is
// made: small messages overtake what is queued here, not what is in the link.
const bulkQueue = 64 << 10

// A queue is a ring of messages, first in, first out. It is linked through the
// messages, so that queueing allocates nothing; a message is in one queue at most.
type queue struct {
	head, tail *Outbound
	n          int
}

func (q *queue) push(o *Outbound) {
	if o.queued {
		return
	}
	o.queued, o.next = true, nil
	if q.tail == nil {
		q.head = o
	} else {
		q.tail.next = o
	}
	q.tail = o
	q.n++
}

func (q *queue) pop() *Outbound {
	o := q.head
	if o == nil {
		return nil
	}
	q.head = o.next
	if q.head == nil {
		q.tail = nil
	}
	o.queued, o.next = false, nil
	q.n--
	return o
}

// remove takes o out, wherever it stands.
func (q *queue) remove(o *Outbound) {
	var prev *Outbound
	for p := q.head; p != nil; prev, p = p, p.next {
		if p != o {
			continue
		}
		if prev == nil {
			q.head = p.next
		} else {
			prev.next = p.next
		}
		if q.tail == p {
			q.tail = prev
		}
		p.queued, p.next = false, nil
		q.n--
		return
	}
}

// ackList holds the messages whose counts are to be sent. Counts are cumulative,
// so a message stands here once and the latest count wins (invariant 4). It has a
// lock of its own: readers of bodies must not wait for those who write.
type ackList struct {
	mu   sync.Mutex
	due  []*Inbound
	work []*Inbound // the other half, owned by fill
}

func (a *ackList) add(m *Inbound) {
	a.mu.Lock()
	if !m.ackQueued {
		m.ackQueued = true
		a.due = append(a.due, m)
	}
	a.mu.Unlock()
}

func (a *ackList) take() []*Inbound {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.due, a.work = a.work[:0], a.due
	for _, m := range a.work {
		m.ackQueued = false
	}
	return a.work
}

// write is the writer goroutine: it writes what did not fit at once, then what
// was queued meanwhile. It ends when the connection has ended.
func (c *Conn) write() {
	for {
		select {
		case <-c.link.wake:
		case <-c.done:
			return
		}
		if err := c.link.drain(); err != nil {
			if err == ErrWriteStalled {
				c.count.Add(WriteStalled)
			}
			c.fail(err)
			return
		}
		c.touch()
		c.pump(maxRounds)
	}
}

// pump moves packets from the queues to the link until there is nothing to send,
// the link is full or the rounds are used up; what is left then is the writer
// goroutine's. One goroutine pumps at a time: others leave their work in the
// queues, where the one that pumps finds it. It never waits.
func (c *Conn) pump(rounds int) {
	c.mu.Lock()
	if c.pumping || c.err != nil {
		c.mu.Unlock()
		return
	}
	c.pumping = true
	waiting := c.link.queued()
	var batch []byte
	for round := 0; c.err == nil; round++ {
		if waiting >= c.limits.MaxWriteQueue {
			c.count.Add(WriteBlocked)
			break // the writer goroutine pumps when it has drained the link
		}
		if batch == nil {
			batch = getBuffer()
		}
		batch = c.fillLocked(batch[:0], waiting < bulkQueue)
		if len(batch) == 0 {
			break
		}
		c.mu.Unlock()
		c.link.cork()
		_, err := c.rw.Write(batch)
		waiting = c.link.flush()
		c.touch()
		if err != nil {
			c.fail(err)
		}
		c.mu.Lock()
		if round+1 >= rounds {
			break
		}
	}
	c.pumping = false
	// The link may have been drained since waiting was measured, and whoever did
	// that found us pumping: one signal too many costs nothing, one too few hangs.
	if c.heads.n > 0 || c.ready.n > 0 {
		c.link.signal()
	}
	c.mu.Unlock()
	if batch != nil {
		putBuffer(batch)
	}
}

// fillLocked appends the packets to send next: PONG and ACKs, then HEADERs with
// the bodies that go with them, then one chunk for each stream in turn.
func (c *Conn) fillLocked(b []byte, bulk bool) []byte {
	if c.pongs > 0 {
		c.pongs = 0
		b = packet.Packet{Kind: packet.KindPONG, MsgNo: c.pongNo}.AppendTo(b)
	}
	for _, m := range c.acks.take() {
		if n := m.consumed.Load(); n > m.acked.Load() {
			m.acked.Store(n)
			b = packet.AppendAck(b, m.no, uint64(n))
		}
	}
	for c.heads.n > 0 && len(b) < batchSize {
		b = c.appendHeaderLocked(b, c.heads.pop())
	}
	if !bulk {
		return b
	}
	// One round: a stream that stays ready goes to the end of the ring.
	for n := c.ready.n; n > 0 && len(b) < batchSize; n-- {
		b = c.appendDataLocked(b, c.ready.pop())
	}
	return b
}

// appendHeaderLocked opens a message: from here on it may have arrived.
func (c *Conn) appendHeaderLocked(b []byte, o *Outbound) []byte {
	if o.prepare != nil && !o.prepare.Prepare(&o.header) {
		o.finishLocked(ErrClosed)
		return b
	}
	if c.nextOut == 0 && !c.opts.NoExt {
		o.header.Ext.V, o.header.Ext.Win, o.header.Ext.Cancel = 1, int64(c.window), true
	}
	mark := len(b)
	b = o.header.AppendTo(b)
	size := len(b) - mark
	if size > c.maxHeader {
		o.finishLocked(fmt.Errorf("%w: %d octets, want at most %d", ErrHeaderTooBig, size, c.maxHeader))
		return b[:mark]
	}
	// The line goes before the body, whose length is only known now.
	var line [40]byte
	l := packet.AppendLine(line[:0], packet.KindHeader, c.nextOut, size)
	b = append(b, l...)
	copy(b[mark+len(l):], b[mark:mark+size])
	copy(b[mark:], l)
	b = append(b, packet.Trailer...)
	o.no, o.started = c.nextOut, true
	c.nextOut++
	c.out[o.no] = o
	if o.eof && (len(o.data) <= c.limits.ChunkSize || o.unit) {
		for len(o.data) > 0 && !o.ended {
			b = c.appendChunkLocked(b, o, min(len(o.data), c.limits.ChunkSize))
		}
		return c.appendEndLocked(b, o)
	}
	c.scheduleLocked(o)
	return b
}

// scheduleLocked puts a message that has something to send, and may, in the ring.
func (c *Conn) scheduleLocked(o *Outbound) {
	if !o.started || o.ended || o.queued {
		return
	}
	if o.aborted || (len(o.data) == 0 && o.eof) {
		c.ready.push(o)
		return
	}
	if len(o.data) == 0 {
		return
	}
	if c.roomLocked(o) > 0 {
		c.ready.push(o)
		return
	}
	// Within MinWindow only its own ACKs can help; beyond it also those of others.
	c.starved = c.starved || o.sent-o.acked >= MinWindow && int(o.sent-o.acked) < c.peerWin
	c.count.Add(WindowWaits)
}

// roomLocked is how many octets of o may be sent now (PROTOCOL 3.7, 4.3).
func (c *Conn) roomLocked(o *Outbound) int {
	inflight := int(o.sent - o.acked)
	room := c.peerWin - inflight
	// What lies beyond MinWindow comes from the budget of the connection.
	if free := MinWindow - inflight; room > max(free, 0) {
		room = min(room, max(free, 0)+max(c.peerWin-c.credit, 0))
	}
	return max(room, 0)
}

// appendDataLocked appends one chunk of a stream, its end, or both.
func (c *Conn) appendDataLocked(b []byte, o *Outbound) []byte {
	if o.ended {
		return b
	}
	if n := min(c.limits.ChunkSize, len(o.data), c.roomLocked(o)); n > 0 && !o.aborted {
		b = c.appendChunkLocked(b, o, n)
	}
	if o.aborted || (o.eof && len(o.data) == 0) {
		return c.appendEndLocked(b, o)
	}
	c.scheduleLocked(o)
	return b
}

func (c *Conn) appendChunkLocked(b []byte, o *Outbound, n int) []byte {
	b = packet.AppendLine(b, packet.KindData, o.no, n)
	b = append(b, o.data[:n]...)
	b = append(b, packet.Trailer...)
	o.data = o.data[n:]
	o.packets++
	o.pushed = c.Now()
	c.moveLocked(o, o.sent+int64(n), o.acked)
	if len(o.data) == 0 {
		o.data = nil
		o.wakeLocked()
	}
	return b
}

func (c *Conn) appendEndLocked(b []byte, o *Outbound) []byte {
	p := packet.Packet{Kind: packet.KindEOF, MsgNo: o.no}
	if o.aborted {
		p.Kind, p.Body = packet.KindTXERR, []byte(o.abortText)
	}
	b = p.AppendTo(b)
	delete(c.out, o.no)
	var err error
	if o.aborted {
		err = ErrAborted
	}
	o.finishLocked(err)
	return b
}

// moveLocked changes what of o is in flight and the credit it takes.
func (c *Conn) moveLocked(o *Outbound, sent, acked int64) {
	before := max(int(o.sent-o.acked)-MinWindow, 0)
	o.sent, o.acked = sent, acked
	c.credit += max(int(sent-acked)-MinWindow, 0) - before
}
