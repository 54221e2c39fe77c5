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
	served := p.servedOutLocked()
	p.mu.Unlock()
	switch {
	case over:
		p.conn.Close()
	case served:
		if goodbye := p.server.part(p); goodbye != nil {
			go p.sayGoodbye(goodbye) // ends after those times, or with the connection; run waits for it
		}
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
	p.ending.Store(true)
	p.servedLocked()
}

// servedLocked has the connection end if that is due. Not here: these are other locks.
func (p *peer) servedLocked() {
	if p.servedOutLocked() {
		p.armLocked(p.conn.Now())
	}
}

// servedOutLocked says whether the connection is to end and has nothing in hand any more.
func (p *peer) servedOutLocked() bool {
	return p.ending.Load() && p.goodbye == nil && p.ended == nil && p.active == 0 && len(p.queue) == 0
}

// part has a connection that is served out take no further request, and returns what is to
// be closed when it has said goodbye; nil if a request came first.
func (s *intake) part(p *peer) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.servedOutLocked() {
		return nil
	}
	p.goodbye = make(chan struct{})
	return p.goodbye
}

// parting says whether part was called: no request is taken any more.
func (p *peer) parting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.goodbye != nil
}

// sayGoodbye ends the connection when nothing comes on it any more.
func (p *peer) sayGoodbye(said chan struct{}) {
	defer close(said)
	p.rest(restWait)
	p.conn.Shutdown(lastReply)
}

// parted waits until goodbye is said, if anybody is about to.
func (p *peer) parted() {
	p.mu.Lock()
	goodbye := p.goodbye
	p.mu.Unlock()
	if goodbye != nil {
		<-goodbye
	}
}
