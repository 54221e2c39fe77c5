package scamp

import (
	"fmt"
	"time"
)

// remaining is the time the caller has left, for the service to know, if he has set a
// deadline. N + 5 s are none: they stop at the reply's HEADER (PROTOCOL 4.9), and a service
// ends whatever has begun when the time it was told has passed (3.7). It enforces N itself.
func (s *Stream) remaining(now time.Duration) (milliseconds int64, ok bool) {
	at, ok := s.ctx.Deadline()
	if !ok {
		return 0, false
	}
	return max(int64((s.p.conn.At(at)-now)/time.Millisecond), 1), true
}

// check ends the call if its time is over, else it says when to look again, on the
// clock of p.conn. It is not known whether a call that ends here ran.
func (s *Stream) check(now time.Duration) (next time.Duration, ok bool) {
	at, ok := s.expiry(now)
	if !ok || at > now {
		return at, ok
	}
	s.p.log.count("rpc_timeout")
	if heard := s.p.conn.LastRead(); heard == 0 || heard < s.began {
		s.p.retire() // nothing at all since the request was sent; first, for the caller may call again at once
	}
	s.giveUp(fmt.Errorf("%w: RPC timeout, no progress from the service", ErrTimeout))
	return 0, false
}

// expiry says when the call ends by itself, and whether ever.
func (s *Stream) expiry(now time.Duration) (at time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.in != nil:
		return s.stallLocked(now)
	case s.total > 0:
		return s.asked + s.total, true
	}
	since := s.asked
	if moved := s.out.Progress(); moved > 0 {
		since = moved
	}
	return since + s.progress, s.progress > 0
}

// owingLooks is how often within rpc.timeout a reply is looked at whose octets the
// caller leaves unread.
const owingLooks = 8

// stallLocked is expiry for a reply under way. A slow reader of ours is not the peer's
// fault, and a peer that may be sent PING may be quiet for as long as its heart beats.
func (s *Stream) stallLocked(now time.Duration) (at time.Duration, ok bool) {
	if s.progress == 0 && s.total == 0 || s.p.conn.MayPing() {
		return 0, false
	}
	limit := s.p.limits.RPCTimeout
	if s.in.Unread() > 0 {
		s.owing = true
		return now + limit/owingLooks, true
	}
	if s.owing {
		s.owing, s.owed = false, now // they were read some time since the last look
	}
	return max(s.in.Progress(), s.owed) + limit, true
}
