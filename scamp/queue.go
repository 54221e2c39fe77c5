package scamp

import (
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// A queue is what waits at a target, whatever connection it waits on: also one that is
// retired, or serves one call.
type queue struct {
	waiting atomic.Int32 // calls that wait for a dial

	// Protected by pool.mu.
	debt  debt    // on the clock of the pool; none while a connection runs
	peers []*peer // connections that run
	uses  int     // dials and connections; the last one takes it out of the table
}

// queueLocked returns the queue at a target, for one more dial.
func (pl *pool) queueLocked(key target) *queue {
	q := pl.queueAtLocked(key)
	if q == nil {
		q = new(queue)
	}
	if q.uses++; q.uses == 1 {
		delete(pl.owing, key)
		pl.queues[key] = q
	}
	return q
}

// queueAtLocked returns the queue at a target, nil if nothing waits or is owed there.
func (pl *pool) queueAtLocked(key target) *queue {
	if q := pl.queues[key]; q != nil || len(pl.owing) == 0 {
		return q
	}
	return pl.owing[key]
}

// maxOwing is how many targets without a connection are remembered for what they owe.
const maxOwing = 1024

// leaveLocked notes that a dial has failed, or that its connection, p if it is not nil, has
// ended.
func (pl *pool) leaveLocked(key target, q *queue, p *peer) {
	q.peers = slices.DeleteFunc(q.peers, func(o *peer) bool { return o == p })
	if q.uses--; q.uses > 0 {
		return
	}
	delete(pl.queues, key)
	if q.debt.calls.Load() == 0 || key.local != nil {
		return
	}
	if len(pl.owing) >= maxOwing {
		maps.DeleteFunc(pl.owing, func(_ target, old *queue) bool {
			n, _ := old.debt.size(pl.now)
			return n == 0
		})
	}
	if len(pl.owing) < maxOwing {
		pl.owing[key] = q
	}
}

// now is the clock of debts that no connection has.
func (pl *pool) now() time.Duration { return time.Since(pl.began) }

// pending is how many calls wait on the connections to a target, or for one: an instance
// that does not finish the handshake is no idle one. Owed is how many have left the
// connection that new calls take and wait no more, though nothing was answered since, or,
// while there is none, have left before. The target is that of r, which is then dialed:
// who owes is not called where there is a choice, so no call would find out.
func (pl *pool) pending(key target, r discovery.Route) (w burden) {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	q := pl.queueAtLocked(key)
	if q == nil {
		return w
	}
	w.calls = int(q.waiting.Load())
	for _, p := range q.peers {
		w.calls += int(p.load.Load())
	}
	e := pl.entries[key]
	if e != nil && e.peer != nil {
		w.owed, w.owes = e.peer.debt.size(e.peer.conn.Now)
	}
	if n, owes := q.debt.size(pl.now); n > 0 {
		w.owed, w.owes = w.owed+n, max(w.owes, owes)
		if !pl.closed && (e == nil || e.err != nil && !time.Now().Before(e.again)) {
			e = pl.begin(key, identityOf(r), newsOf(r))
			e.missing = append(e.missing, r)
		}
	}
	return w
}

// miss has the instance of a call that left before the dial had ended marked all the
// same, if that fails: else nobody would ever learn it where all calls are in a hurry. Until
// then the instance owes the call an answer as if it had been sent.
func (pl *pool) miss(e *entry, r discovery.Route) {
	pl.mu.Lock()
	failed := e.failed()
	if e.peer == nil && e.err == nil && !slices.ContainsFunc(e.missing, func(o discovery.Route) bool { return o.Instance == r.Instance }) {
		e.missing = append(e.missing, r)
	}
	if e.peer == nil && len(e.queue.peers) == 0 {
		e.queue.debt.grow(pl.now())
	}
	pl.mu.Unlock()
	if failed {
		pl.failed(r)
	}
}

// bequeathLocked leaves the debt of a connection that has ended to the queue. Also one
// that the peer has ended: it may have given us up because it hears nothing of us. If it is
// well, the next dial tells.
func (pl *pool) bequeathLocked(q *queue, p *peer, err error) {
	since := time.Duration(p.debt.since.Load())
	if silent(err) {
		since = min(since, p.conn.LastRead())
	} else if n, _ := p.debt.size(p.conn.Now); n == 0 {
		return
	}
	q.debt.inherit(&p.debt, p.conn.Time(since).Sub(pl.began), pl.now())
}
