package mux

import (
	"fmt"
	"time"

	"github.com/scampbus/scamp-go/packet"
)

// A tail is a message that has ended with more than MinWindow octets in flight.
// The protocol is done with it, but at the peer its octets fill the budget until
// they are read, so they count here until they are acknowledged: else messages that
// end in quick succession would violate what the peer may enforce (PROTOCOL 3.7).
type tail struct{ sent, acked int64 }

// overdraft is how many octets in flight are beyond MinWindow.
func overdraft(inflight int64) int { return max(int(inflight)-MinWindow, 0) }

// heardExt takes what a peer that knows extensions allows (PROTOCOL 3.7).
func (c *Conn) heardExt(e packet.Ext) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peerExt = true
	c.cancel = c.cancel || e.Cancel
	if e.Win == 0 || c.heardWin {
		return // what was announced once holds
	}
	c.heardWin = true
	c.peerWin = max(c.peerWin, int(min(e.Win, int64(c.limits.MaxWindow))))
	c.flight = c.probe.flight(c.peerWin)
	// What a peer of ours takes it most likely also sends. An ACK costs both ends much
	// more than the octets it counts, so a quarter of what it may have in flight at least
	// (minFlight) shares one.
	c.ackAt.Store(min(max(MinWindow/2, min(e.Win, int64(c.window))/4), minFlight/4))
	for _, o := range c.out {
		c.scheduleLocked(o)
	}
	if c.workLocked(true) {
		c.link.writer.signal()
	}
}

// Greet announces our window to a peer that knows extensions and has not heard it yet.
// That goes with the first HEADER, and a service has none to send before the reply, so
// the first long request on a distant connection would be slow from end to end. A cancel
// of what is not pending carries it and means nothing else (PROTOCOL 3.7). It does not
// wait.
func (c *Conn) Greet() {
	c.mu.Lock()
	first := c.cancel && c.nextOut == 0 // else Prepare would only refuse it
	c.mu.Unlock()
	if first && c.window > MinWindow && !c.opts.NoExt {
		c.Send(&packet.Header{Type: packet.TypeCancel, ID: packet.NumberID(1)}, Body{Soon: true}, greeting{c})
	}
}

// A greeting is sent as the first message or not at all.
type greeting struct{ c *Conn }

func (g greeting) Prepare(*packet.Header) bool { return g.c.nextOut == 0 }

// acknowledged handles ACK: the table of PROTOCOL 4.4.
func (c *Conn) acknowledged(p packet.Packet) error {
	n, bad := packet.ParseAck(p.Body)
	count := int64(n)
	c.mu.Lock()
	o := c.out[p.MsgNo]
	if o == nil {
		// Ended, or never begun: ignored, whatever the body.
		if t, ok := c.tails[p.MsgNo]; ok && bad == nil && t.acked < count && count <= t.sent {
			c.tailLocked(p.MsgNo, t, count)
		}
		c.mu.Unlock()
		return nil
	}
	acked, sent := o.acked, o.sent
	o.acks++
	flood := o.acks > c.limits.MaxExtraAcks+4*o.packets
	if bad == nil && acked < count && count <= sent {
		o.moved.Store(c.in.stamp.Load())
		c.moveLocked(o, sent, count)
		if c.probe.acked(o, time.Duration(c.in.stamp.Load())) {
			c.flight = c.probe.flight(c.peerWin)
		}
		c.scheduleLocked(o)
		if c.workLocked(true) {
			c.link.writer.signal() // the writer goroutine encrypts, the reader goes on reading
		}
	}
	c.mu.Unlock()
	switch {
	case bad != nil:
		c.count.Add(AckRefused)
		return fmt.Errorf("mux: packet ACK %d: %w", p.MsgNo, bad)
	case count < acked || count > sent:
		c.count.Add(AckRefused)
		return broken(p, fmt.Sprintf("count %d: want %d to %d", count, acked, sent))
	case flood:
		c.count.Add(AckFlood)
		return broken(p, "want no flood of ACKs")
	case count == acked:
		c.odd(AckRepeated, fmt.Sprintf("ACK %d repeats the count %d", p.MsgNo, count))
	}
	return nil
}

// A probe measures how long it takes at least until octets are acknowledged. What is
// in flight beyond what the path holds in that time makes nothing faster: it stands in
// the buffers of the system, and every small message behind it waits.
type probe struct {
	o    *Outbound     // whose octets are timed, nil if none are
	mark int64         // its count then
	at   time.Duration // when they were sent
	rtt  time.Duration // the least time measured, zero if none
}

const (
	pathRate  = 1250          // octets in a microsecond that a path may carry: 10 Gbit/s
	minFlight = 4 * MinWindow // enough for a loopback, where times are short and uneven
)

// sent starts a measurement unless one is under way.
func (p *probe) sent(o *Outbound, now time.Duration) {
	if p.o == nil {
		p.o, p.mark, p.at = o, o.sent, now
	}
}

// acked ends a measurement and says whether it made a difference.
func (p *probe) acked(o *Outbound, now time.Duration) bool {
	if p.o != o || o.acked < p.mark {
		return false
	}
	p.o = nil
	took := max(now-p.at, time.Microsecond)
	if p.rtt > 0 && took >= p.rtt {
		return false
	}
	p.rtt = took
	return true
}

// ended gives up the measurement of a message that gets no more ACKs.
func (p *probe) ended(o *Outbound) {
	if p.o == o {
		p.o = nil
	}
}

// flight is how many octets of a window are worth using.
func (p *probe) flight(window int) int {
	if p.rtt == 0 || p.rtt >= time.Second {
		return window
	}
	return min(window, max(minFlight, int(p.rtt/time.Microsecond)*pathRate))
}

// moveLocked changes what of o is in flight and the credit it takes.
func (c *Conn) moveLocked(o *Outbound, sent, acked int64) {
	c.credit += overdraft(sent-acked) - overdraft(o.sent-o.acked)
	o.sent, o.acked = sent, acked
}

// retireLocked ends the accounting of a message that has ended.
func (c *Conn) retireLocked(o *Outbound) {
	c.probe.ended(o)
	t := tail{o.sent, o.acked}
	over := overdraft(t.sent - t.acked)
	if over == 0 {
		return
	}
	if len(c.tails) >= c.limits.MaxOpenMessages {
		c.credit -= over // a peer that acknowledges nothing must not make us grow
		return
	}
	if c.tails == nil {
		c.tails = make(map[uint64]tail)
	}
	c.tails[o.no] = t
}

// tailLocked takes an ACK of a message that has ended.
func (c *Conn) tailLocked(no uint64, t tail, count int64) {
	over := overdraft(t.sent - count)
	c.credit += over - overdraft(t.sent-t.acked)
	t.acked = count
	c.tails[no] = t
	if over == 0 {
		delete(c.tails, no)
	}
	if c.workLocked(true) {
		c.link.writer.signal()
	}
}
