package scamp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

var (
	errServiceTime = &RemoteError{Code: CodeTransport, Text: "service timeout", Data: json.RawMessage(`{"timeout":true}`)}
	errCancelled   = &RemoteError{Code: CodeTransport, Text: "cancelled"}
	errStalled     = &RemoteError{Code: CodeTransport, Text: "the caller takes nothing of the reply"}
)

// A serving is one request being served, from its header to the last octet of its
// reply. It counts as running until its handler has returned and the reply is
// written, whatever became of the message (THREATS P7).
type serving struct {
	p      *peer
	d      *dispatcher
	in     *mux.Inbound
	action *action
	req    Request
	rep    ReplyWriter
	ctx    requestContext
	limit  time.Duration // by when the reply must have started, on the clock of p.conn
	body   bytes.Reader  // over req.Data
	sent   atomic.Bool   // rep.out was handed to the connection

	// Protected by p.mu.
	prev, next *serving
	running    bool
	begun      bool // the reply has started, or was sent in the handler's stead
	stallSince time.Duration
}

// A dispatcher runs handlers: so many for one connection, so many in all. The rest
// wait, first come first served within a connection and in turn between connections.
type dispatcher struct {
	limits *Limits
	log    *logger
	find   func(name string, version int) *action // nil if there is none

	handlers sync.WaitGroup

	mu      sync.Mutex // protects what follows; taken before peer.mu
	refuse  string     // why nothing is taken any more; empty while serving
	running int
	waiting int     // requests in the queues of all connections
	peers   []*peer // connections with a queue that may run more
}

// admit takes a request that has arrived, or refuses it. The reader's goroutine runs
// it; it does not wait.
func (d *dispatcher) admit(p *peer, m *mux.Inbound) {
	h := &m.Header
	if h.Bad != "" {
		d.reject(p, m, &RemoteError{Code: CodeBadRequest, Text: fmt.Sprintf("member %q of the header has an unusable type", h.Bad)})
		return
	}
	a := d.find(h.Action, h.Version)
	if a == nil || !a.takes(h.Envelope) {
		d.reject(p, m, &RemoteError{Code: CodeNoAction, Text: fmt.Sprintf("no action %s~%d with envelope %s here", clean(h.Action), h.Version, clean(h.Envelope))})
		return
	}
	r := &serving{p: p, d: d, in: m, action: a}
	d.mu.Lock()
	switch {
	case d.refuse != "":
		why := d.refuse
		d.mu.Unlock()
		d.turnAway(p, m, why)
		return
	case p.conn.Unread() > int64(d.limits.Mux.MaxBuffered):
		d.mu.Unlock()
		d.log.count("buffered_refused")
		d.turnAway(p, m, "too much of this connection is waiting to be read")
		return
	case d.running < d.limits.MaxConcurrency && p.start(r, d.limits.Mux.MaxHandlers):
		d.running++
		d.handlers.Add(1)
		d.mu.Unlock()
		go d.run(r) // ends when the handler has returned
		return
	case d.waiting >= d.limits.MaxQueue:
		d.mu.Unlock()
		d.log.odd("queue_full", "request refused: too many are waiting", "peer", p.addr.String())
		d.turnAway(p, m, "too many requests are waiting")
		return
	}
	d.waiting++
	d.enqueueLocked(p, r)
	d.mu.Unlock()
	d.log.count("handlers_queued")
}

func (d *dispatcher) enqueueLocked(p *peer, r *serving) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, r)
	if !p.queued && p.active < d.limits.Mux.MaxHandlers {
		p.queued = true
		d.peers = append(d.peers, p)
	}
}

// run serves requests, one after the other, as long as some wait.
func (d *dispatcher) run(r *serving) {
	defer d.handlers.Done()
	for r != nil {
		r.serve()
		r = d.next(r)
	}
}

// next gives the place of a request that is done to one that waits.
func (d *dispatcher) next(done *serving) *serving {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := done.p
	p.mu.Lock()
	p.removeLocked(done)
	if len(p.queue) > 0 && !p.queued {
		p.queued = true
		d.peers = append(d.peers, p)
	}
	p.mu.Unlock()
	for len(d.peers) > 0 {
		p := d.peers[0]
		d.peers = d.peers[1:]
		p.mu.Lock()
		p.queued = false
		var r *serving
		if len(p.queue) > 0 && p.active < d.limits.Mux.MaxHandlers {
			r, p.queue = p.queue[0], p.queue[1:]
			d.waiting--
			p.startLocked(r)
			if len(p.queue) > 0 && p.active < d.limits.Mux.MaxHandlers {
				p.queued = true
				d.peers = append(d.peers, p)
			}
		}
		p.mu.Unlock()
		if r != nil {
			return r
		}
	}
	d.running--
	return nil
}

// lost forgets what waits for a connection that is gone.
func (d *dispatcher) lost(p *peer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	d.waiting -= len(p.queue)
	p.queue = nil
}

// close refuses all further requests, also those that wait.
func (d *dispatcher) close(why string, peers []*peer) {
	d.mu.Lock()
	d.refuse = why
	var waiting []*serving
	for _, p := range peers {
		p.mu.Lock()
		waiting = append(waiting, p.queue...)
		d.waiting -= len(p.queue)
		p.queue = nil
		p.mu.Unlock()
	}
	d.mu.Unlock()
	for _, r := range waiting {
		d.turnAway(r.p, r.in, why)
	}
}

// cancel ends the request with that id, whether it runs or waits (PROTOCOL 3.7). An
// id that is not pending is ignored.
func (d *dispatcher) cancel(p *peer, id packet.RequestID) {
	d.mu.Lock()
	p.mu.Lock()
	var waiting, running *serving
	for i, r := range p.queue {
		if r.in.Header.ID == id {
			waiting = r
			p.queue = append(p.queue[:i:i], p.queue[i+1:]...)
			d.waiting--
			break
		}
	}
	if waiting == nil {
		running = p.running[id]
	}
	p.mu.Unlock()
	d.mu.Unlock()
	switch {
	case waiting != nil:
		d.turnAway(p, waiting.in, "cancelled")
	case running != nil:
		running.cut(errCancelled)
	}
}

// turnAway refuses a request before dispatch: no handler ran (PROTOCOL 4.5).
func (d *dispatcher) turnAway(p *peer, m *mux.Inbound, why string) {
	m.Discard()
	h := packet.Header{Type: packet.TypeReply, ID: m.Header.ID}
	h.ErrorCode, h.Error, h.ErrorData = CodeTransport, why, dispatchFailureData
	p.answer(&h, nil)
}

// reject answers a request that no handler can take. Old peers would mark the whole
// instance failed for dispatch_failure, so only ours are told (PROTOCOL 5.5).
func (d *dispatcher) reject(p *peer, m *mux.Inbound, err *RemoteError) {
	m.Discard()
	h := packet.Header{Type: packet.TypeReply, ID: m.Header.ID}
	errorHeader(&h, err)
	if err.Code != CodeBadRequest && p.conn.PeerExt() {
		h.ErrorData = dispatchFailureData
	}
	p.answer(&h, nil)
}

// start enters a request that runs, unless the connection has enough of them.
func (p *peer) start(r *serving, most int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.active >= most {
		return false
	}
	p.startLocked(r)
	return true
}

func (p *peer) startLocked(r *serving) {
	r.running = true
	p.active++
	if r.next = p.requests; r.next != nil {
		r.next.prev = r
	}
	p.requests = r
	p.running[r.in.Header.ID] = r
	r.limit = p.conn.Now() + r.d.timeFor(r.action)
	if ms := r.in.Header.Ext.MS; ms > 0 {
		left := time.Duration(min(ms, maxMS)) * time.Millisecond
		r.ctx.deadline = time.Now().Add(left)
	}
	if at, ok := r.expiryLocked(); ok {
		p.armLocked(at)
	}
}

const maxMS = int64(7 * 24 * time.Hour / time.Millisecond)

func (p *peer) removeLocked(r *serving) {
	if !r.running {
		return
	}
	r.running = false
	p.active--
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		p.requests = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	}
	if p.running[r.in.Header.ID] == r {
		delete(p.running, r.in.Header.ID)
	}
}

// timeFor is how long a handler has to start its reply (PROTOCOL 12.2).
func (d *dispatcher) timeFor(a *action) time.Duration {
	if a.timeout > 0 {
		return a.timeout
	}
	return d.limits.WorkerTimeout
}

// serve runs the handler and ends the reply.
func (r *serving) serve() {
	h := &r.in.Header
	r.ctx.serving = r
	r.rep.r = r
	r.req = Request{
		Action: r.action.name, Sector: r.action.sector, Version: r.action.version, Envelope: h.Envelope,
		Ticket: Ticket(h.Ticket), IdentifyingToken: Ticket(h.IdentifyingToken), Terminal: h.Terminal,
		ClientID: h.ClientID, Extra: h.Extra, Body: requestBody{r.in},
		Caller: r.p.cert, Remote: r.p.addr, in: r.in, limit: r.d.limits.MaxBody,
	}
	if r.in.Complete() && r.in.Unread() <= r.d.limits.MaxBody {
		r.req.Data, _ = r.in.Bytes(r.d.limits.MaxBody)
		r.body.Reset(r.req.Data)
		r.req.Body = &r.body
	}
	err := r.call()
	if why := r.ctx.why(); err != nil && why != nil {
		err = why
	}
	r.rep.finish(err)
	r.in.Discard()
	r.ctx.end(errHandlerDone)
}

var errHandlerDone = errors.New("the handler has returned")

// call runs the handler; a panic becomes an error (PROTOCOL 12.2).
func (r *serving) call() (err error) {
	defer func() {
		if v := recover(); v != nil {
			r.d.log.slog.Error("handler panicked", "action", r.action.name, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			r.d.log.count("handler_panicked")
			err = &RemoteError{Code: CodeGeneral, Text: "the handler failed"}
		}
	}()
	return r.action.handler(&r.ctx, &r.req, &r.rep)
}

// start says that the reply begins now. It is false when the reply was given in the
// handler's stead: exactly one reply goes out (PROTOCOL 17-52).
func (r *serving) start() bool {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	if r.begun {
		return false
	}
	r.begun = true
	r.stallSince = r.p.conn.Now()
	return true
}

// cut gives the request up: its context ends, and its reply is an error if it has not
// begun, else it breaks off.
func (r *serving) cut(why *RemoteError) {
	r.ctx.end(why)
	r.in.Fail(why)
	if r.start() {
		h := packet.Header{Type: packet.TypeReply, ID: r.in.Header.ID}
		errorHeader(&h, why)
		r.p.answer(&h, nil)
		return
	}
	// Either we see that the reply was sent, or its sender sees that the context ended.
	if r.sent.Load() {
		r.rep.out.Abort(txerrFor(why))
	}
}

func (r *serving) expiry() (time.Duration, bool) {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	return r.expiryLocked()
}

func (r *serving) expiryLocked() (time.Duration, bool) {
	at := r.limit
	if r.begun {
		// A reply in progress has no limit but the caller's and the stall.
		at = r.stallSince + r.p.limits.Mux.SendStall
	}
	if !r.ctx.deadline.IsZero() {
		at = min(at, r.p.conn.Now()+time.Until(r.ctx.deadline))
	}
	return at, r.running
}

// expire is called when the time of expiry has come.
func (r *serving) expire(now time.Duration) {
	r.p.mu.Lock()
	begun := r.begun
	late := !r.ctx.deadline.IsZero() && time.Until(r.ctx.deadline) <= 0
	r.p.mu.Unlock()
	if begun && !late {
		if !r.stalled(now) {
			return
		}
		r.d.log.count("send_stalled")
		r.cut(errStalled)
		return
	}
	r.d.log.count("worker_timeout")
	r.cut(errServiceTime)
}

// stalled says whether octets of the reply have been waiting for the stall time. A
// handler that has nothing to say yet is not stalled.
func (r *serving) stalled(now time.Duration) bool {
	if !r.sent.Load() {
		return false
	}
	moved, waiting := r.rep.out.Waiting()
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	if !waiting {
		r.stallSince = now
		return false
	}
	r.stallSince = max(r.stallSince, moved)
	return now-r.stallSince >= r.p.limits.Mux.SendStall
}

// An action is what a service offers.
type action struct {
	sector, name string // name is Class.name as announced
	version      int
	envelopes    []string
	flags        []string
	timeout      time.Duration // of the flag tN; zero if none
	handler      Handler
}

func (a *action) takes(envelope string) bool {
	for _, e := range a.envelopes {
		if e == envelope {
			return true
		}
	}
	return false
}

// An actionID is what an action is found by: its name, which has no sector, and its
// version.
type actionID struct {
	name    string
	version int
}

// lowerID is the id that matches whatever the case (PROTOCOL 12.2).
func lowerID(name string, version int) actionID { return actionID{strings.ToLower(name), version} }
