package mux

import "time"

// Tiny writes, as of somebody who prints line by line, each make a DATA packet of
// their own, and a lasting flood of tiny packets ends a connection (THREATS P13). So a
// message may send gatherBurst of them at once and then one each gatherTime; what is
// written faster is gathered and goes together. That stays well below the 10,000
// tiny packets in 5 s that are a flood.
const (
	gatherOctets = tinyOctets // shorter writes are tiny
	gatherBurst  = 500
	gatherTime   = 625 * time.Microsecond
	gatherMost   = 4096 // octets, then they are sent in any case
)

// gatherLocked takes a tiny write into what is sent together, or says that it is to be
// sent by itself.
func (o *Outbound) gatherLocked(p []byte) bool {
	c := o.c
	if len(o.small) == 0 {
		now := c.Now()
		earned := (now - o.paid) / gatherTime
		o.spent = max(o.spent-int(min(earned, gatherBurst)), 0)
		o.paid += earned * gatherTime
		if o.spent < gatherBurst || !o.started {
			o.spent++
			return false
		}
		c.gatherSoonLocked(o)
	}
	if len(o.small)+len(p) > gatherMost {
		return false
	}
	o.small = append(o.small, p...)
	return true
}

// gatherSoonLocked has what o has gathered sent in a while.
func (c *Conn) gatherSoonLocked(o *Outbound) {
	c.gathering = append(c.gathering, o)
	switch {
	case len(c.gathering) > 1:
		// The timer runs already.
	case c.gather == nil:
		c.gather = time.AfterFunc(gatherTime, c.gathered) // stopped by fail
	default:
		c.gather.Reset(gatherTime)
	}
}

// ungatherLocked makes what was gathered the octets to send next.
func (o *Outbound) ungatherLocked() {
	if len(o.small) > 0 && len(o.data) == 0 && !o.ended && !o.aborted {
		o.data, o.small = o.small, nil
	}
}

// gathered sends what was gathered, a while after the first of it was written.
func (c *Conn) gathered() {
	c.mu.Lock()
	for _, o := range c.gathering {
		o.ungatherLocked()
		c.scheduleLocked(o)
	}
	c.gathering = nil
	c.mu.Unlock()
	c.pump(callerRounds)
}
