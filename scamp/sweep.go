package scamp

import "time"

// armLocked makes the timer fire at the latest then. One timer serves all calls and
// requests of the connection: most end long before it fires.
func (p *peer) armLocked(at time.Duration) {
	if p.ended != nil {
		return
	}
	at = max(at, 1) // zero is for a timer that is not armed
	if p.armed > 0 && p.armed <= at {
		return
	}
	wait := max(at-p.conn.Now(), 0)
	if p.timer == nil {
		p.timer = time.AfterFunc(wait, p.sweep) // stopped by run
	} else {
		p.timer.Reset(wait)
	}
	p.armed = at
}

// sweep ends the calls and requests whose time is over and arms the timer for the
// next.
func (p *peer) sweep() {
	p.mu.Lock()
	p.armed = 0
	calls, requests := p.listLocked()
	p.mu.Unlock()
	now := p.conn.Now()
	next := time.Duration(-1)
	later := func(at time.Duration, ok bool) {
		if ok && (next < 0 || at < next) {
			next = at
		}
	}
	for _, s := range calls {
		later(s.check(now))
		s.drop()
	}
	for _, r := range requests {
		later(r.check(now))
		r.drop()
	}
	p.mu.Lock()
	over := p.retired > 0 && (p.calls == nil || now >= p.retired) || p.alone && p.calls == nil
	later(p.retired, p.retired > 0)
	if next >= 0 && !over {
		p.armLocked(next)
	}
	served := p.ending && p.active == 0 && len(p.queue) == 0
	p.mu.Unlock()
	switch {
	case over:
		p.conn.Close()
	case served:
		p.conn.Shutdown(lastReply)
	}
}

// lastReply is how long the last reply of a connection that is to end may take to be
// written.
const lastReply = time.Second

// endServed ends an accepted connection behind the requests it has in hand. Their time
// bounds that (PROTOCOL 4.9): who sends more of them has more time, and nothing else.
func (p *peer) endServed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ending = true
	p.servedLocked()
}

// servedLocked has the connection end if that is due. Not here: these are other locks.
func (p *peer) servedLocked() {
	if p.ending && p.active == 0 && len(p.queue) == 0 {
		p.armLocked(p.conn.Now())
	}
}
