package scamp

import (
	"bytes"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

var (
	errServiceTime = &RemoteError{Code: CodeTransport, Text: "service timeout", Data: json.RawMessage(`{"timeout":true}`)}
	errCancelled   = &RemoteError{Code: CodeTransport, Text: "cancelled"}
	errStalled     = &RemoteError{Code: CodeTransport, Text: "the caller takes nothing of the reply"}
	errFailed      = &RemoteError{Code: CodeGeneral, Text: "the handler failed"}
	errHandlerDone = errors.New("the handler has returned")
)

// A serving is one request being served, from its header to the last octet of its
// reply. It counts as running until its handler has returned and the reply is
// written, whatever became of the message (THREATS P7).
//
//	        its turn         reply begins          reply written
//	waiting --------> running ------------> replying ------------> done
//	   |                 |                      |
//	   | cancel, drain   | time, cancel         | time, cancel, stall
//	   +--> refused      +--> answered          +--> cut by TXERR
//
// What waits in a queue leaves it under the locks of the queue, to run or to be refused.
// What has its place still waits for a worker: then decide says which it is.
//
// A request that was answered in its handler's stead, or cut, still runs until the
// handler has returned.
type serving struct {
	p      *peer
	s      *intake
	in     *mux.Inbound
	action *action
	given  *handed       // what the handler gets
	due    time.Duration // when the caller's time is over, on the clock of p.conn; zero if never
	held   mux.Held      // what req.Data lies in, until the reply is written: it may be the reply
	waited bool          // it did not run at once
	taken  bool          // the body was there as a whole and nothing of it is left
	whole  collector     // what was collected of the body
	fate   atomic.Int32  // whether its handler runs; set by decide
	own    mux.Outbound  // the reply, if it is not written piece by piece
	out    *mux.Outbound // the reply; set before sent is
	sent   atomic.Bool   // out was handed to the connection
	after  *serving      // waits for a worker behind it; under dispatcher.mu
	uses   atomic.Int32  // by those who run it, cut it or look at it: the last one recycles it

	// Protected by p.mu.
	prev, next *serving
	running    bool
	begun      bool          // the reply has begun, or was given in the handler's stead
	over       bool          // nothing of it has a time any more
	limit      time.Duration // by when the reply must have begun, on the clock of p.conn
	moving     time.Duration // when octets of the reply last moved, or none waited
}

// maxMS bounds what a caller may claim to wait, so that no sum overflows.
const maxMS = int64(7 * 24 * time.Hour / time.Millisecond)

// A handling is what one handler is given. It is used for another only when nobody can
// have kept any of it (direct.free): whoever keeps some of it too long must not see the
// requests of others, but for the octets of Data, which lie where others arrive later.
type handling struct {
	req Request
	rep ReplyWriter
	ctx *requestContext
}

// A handed is the handling of a request whose body came as octets.
type handed struct {
	handling
	body  bytes.Reader // over req.Data
	came  []byte
	reply replying
	life  requestContext
}

func newHanded() *handed {
	g := new(handed)
	g.ctx = &g.life
	return g
}

// Those that were used up, for others to be made of.
var servings = sync.Pool{New: func() any { return new(serving) }}

func newServing(p *peer, s *intake, m *mux.Inbound, a *action) *serving {
	r := servings.Get().(*serving)
	r.p, r.s, r.in, r.action, r.given = p, s, m, a, newHanded()
	r.uses.Store(1)
	if ms := m.Header.Ext.MS; ms > 0 {
		left := time.Duration(min(ms, maxMS)) * time.Millisecond
		r.due = p.conn.LastRead() + left // it came a moment ago
		r.given.ctx.deadline = p.conn.Time(r.due)
	}
	return r
}

// drop ends one use of r.
func (r *serving) drop() {
	if r.uses.Add(-1) > 0 || !r.in.Whole() || !r.taken { // else its handler may still have r.in
		return
	}
	r.in.Recycle()
	*r = serving{}
	servings.Put(r)
}

// start enters a request that has just arrived and runs, unless the connection has
// enough of them.
func (p *peer) start(r *serving) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.active >= p.limits.Mux.MaxHandlers {
		return false
	}
	p.startLocked(r, p.conn.LastRead())
	return true
}

// startLocked is start where the lock of the dispatcher is held, too.
func (p *peer) startLocked(r *serving, now time.Duration) {
	r.running = true
	r.s.started++
	p.active++
	if r.next = p.requests; r.next != nil {
		r.next.prev = r
	}
	p.requests = r
	r.limit = now + r.s.timeFor(r.action)
	if at, ok := r.expiryLocked(); ok {
		p.armLocked(at)
	}
}

func (p *peer) removeLocked(r *serving) {
	if !r.running {
		return
	}
	r.running = false
	r.s.ended++
	p.active--
	p.servedLocked()
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		p.requests = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	}
	r.prev, r.next = nil, nil
}

// What is decided of a request, once.
const (
	runs    = 1 // its handler does
	refused = 2 // and the caller is promised that none does
)

// decide is asked by the worker that is about to run the handler, and by whoever is about
// to promise the caller that none runs. It is true for the first of them alone.
func (r *serving) decide(fate int32) bool { return r.fate.CompareAndSwap(0, fate) }

// serve runs the handler and ends the reply. It says whether that is done; if not, the
// last octet of the reply still waits, and Ended is called when it is written. A request
// whose caller has left before its turn came runs no handler.
func (r *serving) serve() (done bool) {
	if why := r.pointless(); why != "" && r.decide(refused) {
		if r.start(r.p.conn.LastIO()) {
			turnAway(r.p, r.in, why)
		}
		r.given.ctx.end(errHandlerDone)
		return true
	}
	if !r.decide(runs) {
		return true // it was refused when it was cut
	}
	r.prepare()
	err := r.call()
	if err != nil {
		if why := r.given.ctx.why(); why != nil {
			err = why
		}
	}
	if !r.given.rep.hasBegun() && brokenOff(r.in) {
		err = errBodyBroken // also if the handler never looked (PROTOCOL 5.1)
	}
	return r.finish(err)
}

// finish ends the reply of a handler that has returned err.
func (r *serving) finish(err error) (done bool) {
	r.given.rep.finish(err)
	r.given.ctx.end(errHandlerDone)
	if !r.taken {
		r.in.Discard()
	}
	if r.sent.Load() {
		if ended, _ := r.out.Ended(); !ended && r.out.Then(r) {
			return false // r is in other hands now
		}
	}
	r.letGo()
	return true
}

// letGo gives the request's body back: the reply may have been made of it.
func (r *serving) letGo() {
	r.held.Release()
	r.held = mux.Held{}
	r.whole.release()
}

// Ended is called when the last octet of the reply is written after all.
func (r *serving) Ended() {
	r.letGo()
	r.s.goOn(r)
}

// pointless says why no handler needs to run, and is empty if one does.
func (r *serving) pointless() string {
	select {
	case <-r.p.conn.Done():
		return "the connection has ended"
	default:
	}
	if r.given.ctx.Err() != nil {
		return "cancelled"
	}
	if r.waited && r.due > 0 && r.due <= r.p.conn.Now() {
		return "the caller's time was over before its turn came"
	}
	if brokenOff(r.in) {
		return errBodyBroken.Text
	}
	return ""
}

// brokenOff says whether a request ended before its end.
func brokenOff(m *mux.Inbound) bool {
	if m.Whole() {
		return false
	}
	err := m.Broken()
	return err != nil && isBroken(err)
}

// prepare makes the request that the handler gets.
func (r *serving) prepare() {
	h := &r.in.Header
	g := r.given
	g.ctx.given = &g.handling
	r.whole.p = r.p
	g.reply.r, g.reply.log = r, r.s.log
	g.rep.ctx, g.rep.body = g.ctx, &g.reply
	g.req = Request{
		Action: r.action.name, Sector: r.action.sector, Version: r.action.version, Envelope: h.Envelope,
		Ticket: Ticket(h.Ticket), IdentifyingToken: Ticket(h.IdentifyingToken), Terminal: Ticket(h.Terminal),
		ClientID: h.ClientID, Extra: h.Extra,
		Caller: r.p.cert, Remote: r.p.addr, collect: &r.whole, came: &g.came, guard: &r.p.guard,
	}
	data, held, ok := r.in.Hold(r.p.limits.MaxBody)
	if !ok && r.in.Complete() { // in more pieces than one; no more of them come
		if n := r.in.Unread(); n <= r.p.limits.MaxBody && r.whole.try(n) {
			var err error
			data, err = r.in.Bytes(n)
			ok = err == nil
		}
	}
	if r.taken = ok; ok {
		r.held = held
		if r.whole.n == 0 && len(data) >= mux.TallyUnit {
			r.whole.keep(len(data)) // in one piece, where it arrived: it is held all the same
		}
		g.body.Reset(data)
		g.req.Data, g.req.Body, g.came = data, &g.body, data
	} else {
		g.req.in, g.req.Body = r.in, requestBody{r.in}
	}
}

// call runs the handler; a panic becomes an error (PROTOCOL 12.2).
func (r *serving) call() (err error) {
	defer func() {
		if v := recover(); v != nil {
			r.s.log.panicked(r.action.name, v)
			err = errFailed
		}
	}()
	return told(r.action.handler(r.given.ctx, &r.given.req, &r.given.rep))
}

// abandoned answers a request whose handler ended its goroutine instead of returning.
func (r *serving) abandoned() (done bool) {
	r.s.log.fault("handler_panicked", "handler ended its goroutine", "action", r.action.name)
	return r.finish(errFailed)
}
