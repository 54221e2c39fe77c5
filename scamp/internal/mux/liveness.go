package mux

import "time"

// Liveness is what a connection does when nothing happens: it closes when it is
// idle, and asks a peer that is silent while something is open (PROTOCOL 4.6, 4.7).
type liveness struct {
	busy  time.Duration // when the connection was last seen busy, on the clock of Now
	calm  time.Duration // when it may first have been idle after that
	asked time.Duration // when the PING was sent that nothing has answered yet; zero if none
}

// watch starts the timer of liveness. fail stops it.
func (c *Conn) watch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if wait := c.restLocked(); wait > 0 && c.err == nil {
		c.alive = time.AfterFunc(wait, c.look)
	}
}

// restLocked is how long nothing has to be looked at, zero if forever.
func (c *Conn) restLocked() time.Duration {
	if c.opts.Idle <= 0 || c.opts.Heartbeat > 0 && c.opts.Heartbeat < c.opts.Idle {
		return c.opts.Heartbeat
	}
	return c.opts.Idle
}

// look runs when the connection may have been silent for too long.
func (c *Conn) look() {
	busy := c.openIn.Load() > 0 || c.opts.Busy != nil && c.opts.Busy()
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	busy = busy || c.pumping || c.made != nil || len(c.out) > 0 || c.heads.n > 0
	now := c.Now()
	wait := c.restLocked()
	var end error
	if busy {
		c.liveness.busy = now
	} else if c.opts.Idle > 0 {
		if c.liveness.calm < c.liveness.busy {
			c.liveness.calm = c.liveness.busy
			if c.LastIO() < c.liveness.busy {
				c.liveness.calm = now // what kept it busy ended without an octet, nobody knows when
			}
		}
		left := max(c.LastIO(), c.liveness.calm) + c.opts.Idle - now
		if left <= 0 {
			end = ErrIdle
			c.closing, c.silent = true, true // nothing can begin meanwhile
		}
		wait = min(wait, left)
	}
	ask := false
	if c.opts.Heartbeat > 0 && end == nil {
		heard := c.LastRead()
		if heard >= c.liveness.asked {
			c.liveness.asked = 0
		}
		since := max(heard, c.liveness.asked)
		left := since + c.opts.Heartbeat - now
		switch {
		case !busy || !c.mayPingLocked():
			c.liveness.asked = 0
		case left > 0:
			wait = min(wait, left)
		case c.liveness.asked == 0:
			c.liveness.asked, c.ping, ask = now, true, true
		default:
			end = ErrSilent
		}
	}
	if end == nil {
		c.alive.Reset(max(wait, time.Millisecond))
	}
	c.mu.Unlock()
	if !busy {
		c.link.writer.dismiss()
	}
	switch {
	case end == ErrIdle:
		c.count.Add(IdleClosed)
		c.goodbye()
		c.fail(end)
	case end == ErrSilent:
		c.count.Add(PeerSilent)
		c.fail(end)
	case ask:
		c.pump(callerRounds)
	}
}

// PeerPings says that the peer is known to answer a PING, other than by PING or ext of
// its own (PROTOCOL 4.7).
func (c *Conn) PeerPings() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pings = true
}

// MayPing says whether the peer may be sent PING (PROTOCOL 4.7): then the heartbeat ends the
// connection of one that no longer lives.
func (c *Conn) MayPing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opts.Heartbeat > 0 && c.mayPingLocked()
}

func (c *Conn) mayPingLocked() bool { return c.peerExt || c.pings || c.opts.PingAny }

// pinged has a PING answered when the reader has read what is at hand.
func (c *Conn) pinged(no uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pings, c.pong, c.pongNo = true, true, no
}

// Shutdown lets what is queued be written, says goodbye (TLS close_notify, end of
// the TCP stream), reads on until the peer has closed too or wait has passed, and
// ends the connection (PROTOCOL 12.5 step 4). Messages still open are lost.
func (c *Conn) Shutdown(wait time.Duration) {
	defer c.Close()
	limit := time.NewTimer(wait)
	defer limit.Stop()
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	if !c.flushed(limit.C) {
		return
	}
	// From here on pump sends nothing: TLS refuses what comes after its goodbye.
	told := c.goodbye()
	if !c.flushed(limit.C) {
		return
	}
	if c.link.closeWrite() || told {
		select {
		case <-c.done:
		case <-limit.C:
		}
	}
}

// goodbye tells the peer through TLS that nothing follows, as far as that needs no
// waiting. It says whether there is TLS to tell it through.
func (c *Conn) goodbye() bool {
	t, ok := c.rw.(interface{ CloseWrite() error })
	if !ok {
		return false
	}
	t.CloseWrite() // into the link
	c.link.flush()
	return true
}

// flushed waits until nothing is to be written and says whether that came to pass.
func (c *Conn) flushed(limit <-chan time.Time) bool {
	c.mu.Lock()
	if c.drained == nil {
		c.drained = make(chan struct{})
	}
	drained := c.drained
	c.mu.Unlock()
	c.pump(callerRounds)
	select {
	case <-drained:
		return true
	case <-limit:
	case <-c.done:
	}
	return false
}
