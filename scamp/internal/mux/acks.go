package mux

import (
	"fmt"

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
	for _, o := range c.out {
		c.scheduleLocked(o)
	}
	if c.workLocked(true) {
		c.link.signal()
	}
}

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
		c.scheduleLocked(o)
		if c.workLocked(true) {
			c.link.signal() // the writer goroutine encrypts, the reader goes on reading
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

// moveLocked changes what of o is in flight and the credit it takes.
func (c *Conn) moveLocked(o *Outbound, sent, acked int64) {
	c.credit += overdraft(sent-acked) - overdraft(o.sent-o.acked)
	o.sent, o.acked = sent, acked
}

// retireLocked ends the accounting of a message that has ended.
func (c *Conn) retireLocked(o *Outbound) {
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
		c.link.signal()
	}
}
