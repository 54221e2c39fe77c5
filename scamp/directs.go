package scamp

import (
	"fmt"
	"time"
)

// now is the clock of direct calls.
func (s *intake) now() time.Duration { return time.Since(s.made) }

// enter gives a direct call a place, if there is one at once. What came before it does not
// wait longer for that.
func (s *intake) enter(d *direct) bool {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != "" || s.waiting > 0 || s.running >= s.limits.MaxConcurrency || int(s.directs.Load()) >= s.limits.Mux.MaxHandlers {
		return false
	}
	s.running++
	s.started++
	s.inHand++
	s.directs.Add(1)
	if d.next = s.inside; d.next != nil {
		d.next.prev = d
	}
	s.inside = d
	d.limit = now + s.timeFor(d.action)
	s.watchLocked(d.limit, now)
	return true
}

// began is when the call did, on the clock of s.
func (d *direct) began() time.Duration { return d.limit - d.s.timeFor(d.action) }

// exit gives the place of a direct call to a request that waits.
func (s *intake) exit(d *direct) {
	s.mu.Lock()
	if d.prev != nil {
		d.prev.next = d.next
	} else {
		s.inside = d.next
	}
	if d.next != nil {
		d.next.prev = d.prev
	}
	d.prev, d.next = nil, nil
	s.directs.Add(-1)
	s.ended++
	s.doneLocked(1)
	s.passLocked()
	help := s.helpLocked()
	s.mu.Unlock()
	help.wake()
}

// watchLocked has the direct calls looked at then. One timer serves all: most end long
// before it fires.
func (s *intake) watchLocked(at, now time.Duration) {
	if s.watched > 0 && s.watched <= at {
		return
	}
	s.watched = at
	if s.watch == nil {
		s.watch = time.AfterFunc(at-now, s.sweep) // stopped by lose
	} else {
		s.watch.Reset(at - now)
	}
}

// sweep ends the direct calls whose time is over. It does so under the lock: one that is
// out of the list may be another call already.
func (s *intake) sweep() {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched = 0
	for d := s.inside; d != nil; d = d.next {
		switch {
		case !d.open():
		case d.limit <= now:
			if d.cut(errServiceTime, false) {
				s.log.count("worker_timeout")
			}
		default:
			s.watchLocked(d.limit, now)
		}
	}
}

// lose ends the direct calls as the end of a connection would.
func (s *intake) lose(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse == "" { // Close is before Serve, which says the same
		s.refuse = "shutting down"
	}
	if s.watch != nil {
		s.watch.Stop()
		s.watched = 0
	}
	for d := s.inside; d != nil; d = d.next {
		d.cut(fmt.Errorf("%w: %w", ErrLost, why), true)
	}
}
