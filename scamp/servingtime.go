package scamp

import (
	"time"

	"github.com/scampbus/scamp-go/packet"
)

// start says that the reply begins now, on the clock of p.conn. It is false when the
// reply was given in the handler's stead: exactly one reply goes out (PROTOCOL 17-52).
func (r *serving) start(now time.Duration) bool {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	if r.begun {
		return false
	}
	r.begun, r.moving = true, now
	// The timer may be set for what its handler may take until here, which can be days.
	if at, ok := r.expiryLocked(); ok {
		r.p.armLocked(at)
	}
	return true
}

// cut gives the request up: its context ends, and its reply is an error if it has not
// begun, else it breaks off. The reply is claimed first: a handler that notices the end
// of its context must not begin one. A request that no worker has begun with is refused:
// its handler does not run.
func (r *serving) cut(why *RemoteError) {
	r.p.mu.Lock()
	r.over = true
	r.p.mu.Unlock()
	if r.decide(refused) {
		if r.start(r.p.conn.Now()) {
			turnAway(r.p, r.in, why.Text)
		}
		r.given.ctx.end(why)
		return
	}
	if r.fate.Load() == refused {
		return // by somebody else, who answers it
	}
	unanswered := r.start(r.p.conn.Now())
	r.given.ctx.end(why)
	r.in.Fail(why)
	switch {
	case unanswered:
		h := packet.Header{Type: packet.TypeReply, ID: r.in.Header.ID}
		errorHeader(&h, why)
		r.p.answer(&h, nil)
	case r.sent.Load():
		// Either we see that the reply was sent, or its sender sees that the context
		// ended.
		r.out.Abort(txerrFor(why))
	}
}

// expiryLocked says when the request must be looked at, on the clock of p.conn, and
// whether ever.
func (r *serving) expiryLocked() (at time.Duration, ok bool) {
	if !r.running || r.over {
		return 0, false
	}
	at = r.limit
	if r.begun {
		// A reply in progress has no limit but the caller's and the stall.
		at = r.moving + r.p.limits.Mux.SendStall
	}
	if r.due > 0 {
		at = min(at, r.due)
	}
	return at, true
}

// check cuts the request if its time is over, else it says when to look again.
func (r *serving) check(now time.Duration) (next time.Duration, ok bool) {
	r.p.mu.Lock()
	at, ok := r.expiryLocked()
	begun := r.begun
	r.p.mu.Unlock()
	if !ok || at > now {
		return at, ok
	}
	switch {
	case r.due > 0 && r.due <= now:
		r.cut(errServiceTime)
	case !begun:
		r.s.log.count("worker_timeout")
		r.cut(errServiceTime)
	case r.stalled(now):
		r.s.log.count("send_stalled")
		r.cut(errStalled)
	default:
		r.p.mu.Lock()
		defer r.p.mu.Unlock()
		return r.expiryLocked()
	}
	return 0, false
}

// stalled says whether octets of the reply have been waiting for the stall time. A
// handler that has nothing to say yet is not stalled.
func (r *serving) stalled(now time.Duration) bool {
	var moved time.Duration
	waiting := false
	if r.sent.Load() {
		moved, waiting = r.out.Waiting()
	}
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	if waiting {
		r.moving = max(r.moving, moved)
	} else {
		r.moving = now
	}
	return now-r.moving >= r.p.limits.Mux.SendStall
}
