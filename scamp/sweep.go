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
	p.mu.Unlock()
	if over {
		p.conn.Close()
	}
}
