package mux

import (
	"fmt"
	"runtime"
	"time"

	"github.com/scampbus/scamp-go/packet"
)

// How many batches one goroutine writes, for itself and others, before it leaves
// the rest to the writer goroutine.
const (
	callerRounds = 4
	readerRounds = 1
	writerRounds = 64
)

// While more octets than this wait to reach the network, no DATA of streams is
// made: small messages overtake what is queued here, not what is in the link.
const bulkQueue = 64 << 10

// A body of at most so many octets goes along with its HEADER even then.
const smallBody = 1024

// write is the writer goroutine: it writes what did not fit at once, then what
// was queued meanwhile. It ends when the connection has ended, cannot be written or
// rests.
func (c *Conn) write() {
	for !c.link.writer.leave() {
		select {
		case <-c.link.writer.wake:
		case <-c.done:
			return
		}
		waiting := c.link.queued()
		if err := c.link.drain(); err != nil {
			c.unwritable(err)
			return
		}
		if waiting > 0 {
			c.lastIO.Store(int64(c.Now()))
		}
		c.pump(writerRounds)
	}
}

// othersLocked says whether other goroutines are likely to send a message soon:
// calls are under way beside the one that a message is about to be sent for. Those
// who made them answer replies with the next request, and handlers requests.
func (c *Conn) othersLocked() bool {
	calls := c.sent + int64(c.heads.n) - c.arrived.Load()
	return calls > 0 || calls < -1
}

// isCall says whether a message is one of the two that make a call.
func isCall(t packet.Type) bool { return t <= packet.TypeReply }

// pumpTogether is pump for a message that others are likely to follow: one of those
// who send lets all that can run run first, and then writes for all.
func (c *Conn) pumpTogether() {
	if c.yields.CompareAndSwap(false, true) {
		c.pace.yield(c)
		c.yields.Store(false) // from here on somebody else has to
		c.pump(callerRounds)
	}
}

// A pace keeps those who send from letting others run when that takes long, because
// others compute: each of them may have its ten milliseconds first. After a yield that
// took long there is none for a while, and for twice as long after each that follows.
// It is owned by whoever has set Conn.yields.
type pace struct {
	until time.Duration // no yield before, on the clock of Conn.Now
	pause time.Duration // after the last one, zero if that was quick
}

const (
	slowYield = 5 * time.Millisecond
	minPause  = 100 * time.Millisecond
	maxPause  = time.Minute
)

func (p *pace) yield(c *Conn) {
	before := c.Now()
	if before < p.until {
		return
	}
	runtime.Gosched()
	after := c.Now()
	if after-before < slowYield {
		p.pause = 0
		return
	}
	p.pause = min(max(2*p.pause, minPause), maxPause)
	p.until = after + p.pause
}

// pump moves packets from the queues to the link until there is nothing to send,
// the link is full or the rounds are used up; what is left then is the writer
// goroutine's. One goroutine pumps at a time: others leave their work in the
// queues, where the one that pumps finds it. It never waits.
func (c *Conn) pump(rounds int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pumping {
		return
	}
	c.pumping = true
	c.waiting = c.link.queued()
	var batch *buffer
	for ; rounds > 0 && c.workLocked(c.waiting < bulkQueue); rounds-- {
		if c.waiting >= c.limits.MaxWriteQueue {
			c.count.Add(WriteBlocked)
			break
		}
		c.round = c.Now()
		batch = c.fillLocked(batch, c.waiting < bulkQueue)
		ended := c.ended
		c.ended = nil
		if len(batch.b) == 0 && ended == nil {
			continue
		}
		c.lastIO.Store(int64(c.round)) // before the lock opens: what is written makes us busy
		waiting := c.waiting
		c.mu.Unlock()
		if len(batch.b) > 0 {
			c.link.cork()
			_, err := c.rw.Write(batch.b)
			c.failpoint("afterReplyBeforeFlush", batch.b)
			waiting = c.link.flush()
			c.failpoint("afterHeaderWrite", batch.b)
			if err != nil {
				c.unwritable(err)
			}
		}
		tellAll(ended)
		c.mu.Lock()
		c.waiting = waiting
	}
	c.pumping = false
	if batch != nil {
		putBuffer(batch)
	}
	// Work that came while we pumped, or that we leave behind, has nobody else. The
	// writer goroutine drains the link before it looks, so this does not spin.
	if c.workLocked(true) {
		c.link.writer.signal()
	} else if c.drained != nil && c.link.queued() == 0 {
		c.silent = true
		close(c.drained)
		c.drained = nil
	}
}

// workLocked says whether fillLocked would find something to send.
func (c *Conn) workLocked(bulk bool) bool {
	switch {
	case c.err != nil:
		return false
	case c.ended != nil:
		return true
	case c.silent:
		return false
	case c.made != nil || c.heads.n > 0 || c.pong || c.ping || !c.acks.empty():
		return true
	}
	return bulk && (c.ready.n > 0 || c.wide.n > 0 && c.credit < c.flight)
}

// fitsLocked says whether a message may be made at once, and gives made room for it.
// Otherwise it waits in heads, where it can still be taken back.
func (c *Conn) fitsLocked() bool {
	if c.heads.n > 0 || c.silent || c.waiting >= c.limits.MaxWriteQueue {
		return false
	}
	if c.made == nil {
		c.made = getBuffer()
	}
	return len(c.made.b) < batchSize
}

// fillLocked makes a batch of what is to be sent next: PONG and ACKs, the messages that
// were made already, then HEADERs with the bodies that go with them, then one
// chunk for each stream in turn (invariant 7). It takes the last batch, nil at first.
func (c *Conn) fillLocked(batch *buffer, bulk bool) *buffer {
	if batch == nil {
		batch = getBuffer()
	}
	batch.b = batch.b[:0]
	if c.silent {
		return batch
	}
	batch.b = c.controlLocked(batch.b)
	switch {
	case c.made == nil:
	case len(batch.b) == 0:
		putBuffer(batch)
		batch, c.made = c.made, nil
	default: // seldom: ACK and PONG overtake the DATA in it
		batch.b = append(batch.b, c.made.b...)
		putBuffer(c.made)
		c.made = nil
	}
	batch.b = c.messagesLocked(batch.b, bulk)
	c.handed = c.nextOut
	return batch
}

// controlLocked appends PONG, PING and ACKs.
func (c *Conn) controlLocked(b []byte) []byte {
	if c.pong {
		c.pong = false
		b = packet.Packet{Kind: packet.KindPONG, MsgNo: c.pongNo}.AppendTo(b)
	}
	if c.ping {
		c.ping = false
		b = packet.Packet{Kind: packet.KindPING}.AppendTo(b)
	}
	return c.acks.appendTo(b)
}

// messagesLocked appends HEADERs that waited, with the bodies that go with them, and
// chunks of streams.
func (c *Conn) messagesLocked(b []byte, bulk bool) []byte {
	for c.heads.n > 0 && len(b) < batchSize {
		o := c.heads.pop()
		h := o.header
		o.header = nil // its ticket must not stay for as long as a stream lives
		b = c.appendHeaderLocked(b, o, h, bulk)
	}
	// One chunk in any case, or a flood of messages would starve the streams.
	for once := true; bulk && (once || len(b) < batchSize); once = false {
		o := c.ready.pop()
		if o == nil && c.credit < c.flight {
			o = c.wide.pop()
		}
		if o == nil {
			break
		}
		b = c.appendDataLocked(b, o)
	}
	return b
}

// appendHeaderLocked opens a message: from here on it may have arrived.
func (c *Conn) appendHeaderLocked(b []byte, o *Outbound, given *packet.Header, bulk bool) []byte {
	h := &c.scratch // so that what Prepare sees needs no memory of its own
	*h = *given
	defer func() { *h = packet.Header{} }() // a ticket must not stay
	if o.prepare != nil && !o.prepare.Prepare(h) {
		o.finishLocked(ErrClosed)
		return b
	}
	switch {
	case c.opts.NoExt:
		h.Ext = packet.Ext{}
	case c.nextOut == 0:
		h.Ext.V, h.Ext.Win, h.Ext.Cancel = 1, int64(c.window), true
	}
	mark := len(b)
	b = h.AppendTo(b)
	size := len(b) - mark
	if size > c.maxHeader {
		o.finishLocked(c.headerTooBig(size))
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
	if isCall(h.Type) {
		c.sent++
	}
	if o.eof && c.atOnceLocked(o, bulk) {
		for len(o.data) > 0 {
			b = c.appendChunkLocked(b, o, min(len(o.data), c.limits.ChunkSize))
		}
		return c.appendEndLocked(b, o)
	}
	c.out[o.no] = o
	c.scheduleLocked(o)
	return b
}

// atOnceLocked says whether the whole message goes out with its HEADER. A unit
// does whatever our own limits say: every peer has a window for it.
func (c *Conn) atOnceLocked(o *Outbound, bulk bool) bool {
	most := min(c.limits.ChunkSize, c.peerWin, MinWindow)
	if !bulk {
		most = min(most, smallBody)
	}
	if o.unit {
		most = MinWindow
	}
	return len(o.data) <= most
}

func (c *Conn) headerTooBig(size int) error {
	c.count.Add(HeaderTooBig)
	return fmt.Errorf("%w: %d octets, want at most %d", ErrHeaderTooBig, size, c.maxHeader)
}

// scheduleLocked puts a message that has something to send, and may, in the queue
// where that is seen.
func (c *Conn) scheduleLocked(o *Outbound) {
	if !o.started || o.ended {
		return
	}
	o.leave()
	inflight := int(o.sent - o.acked)
	switch {
	case o.aborted || len(o.data) == 0 && o.eof:
		c.ready.push(o)
	case len(o.data) == 0:
		// Write or CloseSend come back.
	case inflight < min(c.flight, MinWindow):
		c.ready.push(o)
	case inflight < c.flight:
		c.wide.push(o)
		if c.credit >= c.flight {
			c.count.Add(WindowWaits)
		}
	default:
		c.count.Add(WindowWaits) // until its ACK comes
	}
}

// roomLocked is how many octets of o may be sent now (PROTOCOL 3.7, 4.3).
func (c *Conn) roomLocked(o *Outbound) int {
	inflight := int(o.sent - o.acked)
	room := c.flight - inflight
	// What lies beyond MinWindow comes from the budget of the connection.
	budget := max(MinWindow-inflight, 0) + max(c.flight-c.credit, 0)
	return max(min(room, budget), 0)
}

// appendDataLocked appends one chunk of a stream, its end, or both.
func (c *Conn) appendDataLocked(b []byte, o *Outbound) []byte {
	if n := min(c.limits.ChunkSize, len(o.data), c.roomLocked(o)); n > 0 {
		b = c.appendChunkLocked(b, o, n)
	}
	if o.aborted || o.eof && len(o.data) == 0 {
		delete(c.out, o.no)
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
	o.pushed = c.round
	c.moveLocked(o, o.sent+int64(n), o.acked)
	c.probe.sent(o, o.pushed)
	if len(o.data) == 0 {
		o.data = nil
		o.wakeLocked()
	}
	return b
}

func (c *Conn) appendEndLocked(b []byte, o *Outbound) []byte {
	c.crossed = c.crossed || o.no != c.over
	c.over++
	p := packet.Packet{Kind: packet.KindEOF, MsgNo: o.no}
	var err error
	if o.aborted {
		p.Kind, p.Body, err = packet.KindTXERR, []byte(o.abortText), ErrAborted
	}
	c.retireLocked(o)
	o.finishLocked(err)
	return p.AppendTo(b)
}
