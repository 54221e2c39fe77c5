package scamp

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// A dispatcher runs the handlers of all services of a bus: so many for one connection,
// so many in all. The rest wait, first come first served within a connection and in
// turn between connections.
type dispatcher struct {
	limits *Limits
	log    *logger

	mu      sync.Mutex // protects what follows, and of each intake; taken before peer.mu
	running int
	started uint64  // requests that got a place, ever
	ended   uint64  // of these, those that gave it back
	waiting int     // requests in the queues of all connections
	peers   []*peer // connections with a queue that may run more
	workers
	listeners
}

// An intake is where the requests to one service come in. It is the server of its
// peers.
type intake struct {
	*dispatcher
	made    time.Time
	find    func(name string, version int) *action // nil if there is none
	guard   ticketGuard                            // of direct calls, which have no connection
	tickets ticketFailures                         // theirs
	directs atomic.Int32                           // direct calls in hand; set under dispatcher.mu

	// Protected by dispatcher.mu.
	refuse  string        // why nothing is taken any more; empty while serving
	inHand  int           // requests taken whose reply is not written yet, and notifications whose handler has not returned
	notices int           // of these, notifications
	idle    chan struct{} // closed when refuse is set and nothing is in hand; made by close

	inside  *direct // direct calls in hand, linked
	watch   *time.Timer
	watched time.Duration // when watch fires, on the clock of direct calls; zero if it does not
}

// admit takes a request that has arrived, or refuses it. The reader's goroutine runs
// it; it does not wait.
func (s *intake) admit(p *peer, m *mux.Inbound) {
	h := &m.Header
	if h.Bad != "" {
		s.reject(p, m, &RemoteError{Code: CodeBadRequest, Text: fmt.Sprintf("member %q of the header has an unusable type", h.Bad)})
		return
	}
	a := s.find(h.Action, h.Version)
	if a == nil || !a.takes(h.Envelope) {
		s.reject(p, m, &RemoteError{Code: CodeNoAction, Text: fmt.Sprintf("no action %s~%d with envelope %s here", clean(h.Action), h.Version, clean(h.Envelope))})
		return
	}
	if brokenOff(m) {
		// Nothing to run: a flood of requests that are taken back at once must not keep
		// workers busy, nor make others wait for the lock behind them (THREATS P7).
		turnAway(p, m, errBodyBroken.Text)
		return
	}
	if !m.Whole() { // the rest waits for our window, which the header of the reply may be long in telling
		p.conn.Greet()
	}
	r := newServing(p, s, m, a)
	s.mu.Lock()
	why, counter := s.takeLocked(p, r)
	var w *worker
	if why == "" && counter == "" {
		w = s.runLocked(r)
	}
	s.mu.Unlock()
	w.wake()
	if counter == "handlers_queued" {
		p.conn.Greet() // its caller may leave before its turn, and is to know that we understand cancel
	}
	if counter != "" {
		s.log.count(counter)
	}
	if why != "" {
		turnAway(p, m, why)
	}
}

// takeLocked gives a request its place or has it wait, or says why it is refused. It
// also says what that counts as: nothing if it is to run.
func (s *intake) takeLocked(p *peer, r *serving) (why, counter string) {
	switch {
	case s.refuse != "":
		return s.refuse, "drain_refused"
	case p.ending.Load() && p.parting():
		return "this connection is about to end", "drain_refused"
	case p.full():
		return tooMuchUnread, "buffered_refused"
	case p.hold.full(p.share):
		return tooMuchHeld, "held_refused"
	case s.running < s.limits.MaxConcurrency && p.start(r):
		s.running++
		s.inHand++
		return "", ""
	case s.waiting >= s.limits.MaxQueue:
		return "too many requests are waiting", "queue_full"
	}
	s.inHand++
	s.waiting++
	s.enqueueLocked(p, r)
	return "", "handlers_queued"
}

// counts is how many requests ever got a place, and how many of these gave it back.
func (d *dispatcher) counts() (started, ended uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.started, d.ended
}

func (d *dispatcher) enqueueLocked(p *peer, r *serving) {
	p.headers.Add(int64(r.in.HeaderSize))
	p.mu.Lock()
	defer p.mu.Unlock()
	r.waited = true
	p.queue = append(p.queue, r)
	d.offerLocked(p)
}

// offerLocked puts a connection whose next request may run in line for a place. The
// lock of p is held too.
func (d *dispatcher) offerLocked(p *peer) {
	if !p.queued && len(p.queue) > 0 && p.active < d.limits.Mux.MaxHandlers && !p.over() {
		p.queued = true
		d.peers = append(d.peers, p)
	}
}

// nextLocked gives the place of a request that is done to one that waits.
func (d *dispatcher) nextLocked(done *serving) {
	p := done.p
	p.mu.Lock()
	p.removeLocked(done)
	d.offerLocked(p)
	p.mu.Unlock()
	done.s.doneLocked(1)
	d.passLocked()
}

// passLocked gives a place that is free again to a request or notification that waits.
func (d *dispatcher) passLocked() {
	if !d.served && d.listenLocked() {
		return
	}
	for len(d.peers) > 0 {
		p := d.peers[0]
		d.peers[0] = nil
		d.peers = d.peers[1:]
		p.mu.Lock()
		p.queued = false
		var r *serving
		switch {
		case p.over():
			// What waits on it is forgotten when its reader has ended.
		case len(p.queue) > 0 && p.active < d.limits.Mux.MaxHandlers:
			r = p.dequeueLocked(0)
			d.waiting--
			p.startLocked(r, p.conn.Now())
		}
		d.offerLocked(p)
		p.mu.Unlock()
		if r != nil {
			d.lineLocked(r)
			d.served = false
			return
		}
	}
	if !d.listenLocked() {
		d.running--
	}
}

func (p *peer) dequeueLocked(i int) *serving {
	r := p.queue[i]
	copy(p.queue[i:], p.queue[i+1:])
	p.queue[len(p.queue)-1] = nil
	p.queue = p.queue[:len(p.queue)-1]
	p.headers.Add(-int64(r.in.HeaderSize))
	p.servedLocked()
	return r
}

// doneLocked notes that requests or notifications are out of hand.
func (s *intake) doneLocked(n int) {
	s.inHand -= n
	if s.inHand == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

// shed refuses requests that wait on a connection, newest first, while too much of it
// is unread (PROTOCOL 4.5). The reader's goroutine runs it.
func (s *intake) shed(p *peer) {
	for p.headers.Load() > 0 { // something waits
		s.mu.Lock()
		p.mu.Lock()
		var r *serving
		if n := len(p.queue); n > 0 && p.full() {
			r = p.dequeueLocked(n - 1)
			s.waiting--
		}
		p.mu.Unlock()
		if r != nil {
			s.doneLocked(1)
		}
		s.mu.Unlock()
		if r == nil {
			return
		}
		s.log.count("buffered_refused")
		turnAway(p, r.in, tooMuchUnread)
	}
}

const (
	tooMuchUnread = "too much of this connection is waiting to be read"
	tooMuchHeld   = "the service holds too much already"
)

// full says whether more of the connection is unread than new requests may find.
func (p *peer) full() bool {
	return p.conn.Unread()+p.headers.Load() > int64(p.limits.Mux.MaxBuffered)
}

// over says whether the connection has ended, also before run has returned.
func (p *peer) over() bool {
	select {
	case <-p.conn.Done():
		return true
	default:
		return false
	}
}

// unqueue takes all requests that wait on a connection out of its queue.
func (s *intake) unqueue(p *peer) []*serving {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.mu.Lock()
	waiting := p.queue
	p.queue = nil
	if p.queued { // else a connection that is gone would stand in line until a place is free
		p.queued = false
		s.peers = slices.DeleteFunc(s.peers, func(q *peer) bool { return q == p })
	}
	p.headers.Store(0)
	p.mu.Unlock()
	s.waiting -= len(waiting)
	s.doneLocked(len(waiting))
	return waiting
}

// close refuses all further requests. What is in hand goes on, also what waits; the
// channel is closed when nothing is left.
func (s *intake) close(why string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = why
	idle := make(chan struct{})
	s.idle = idle
	s.doneLocked(0)
	return idle
}

// left is how many requests and notifications are in hand.
func (s *intake) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inHand
}

// cancel ends the request with that id, whether it runs or waits (PROTOCOL 3.7). An
// id that is not pending is ignored.
func (s *intake) cancel(p *peer, id packet.RequestID) {
	s.giveUp(p, errCancelled, func(r *serving) bool { return r.in.Header.ID == id })
}

// broken is cancel for a request that its caller gave up within its body: that ends it
// in place of a cancel (PROTOCOL 3.7).
func (s *intake) broken(p *peer, m *mux.Inbound) {
	s.giveUp(p, errBodyBroken, func(r *serving) bool { return r.in == m })
}

// giveUp ends the request that its caller has given up, if it is there.
func (s *intake) giveUp(p *peer, why *RemoteError, which func(*serving) bool) {
	p.mu.Lock()
	running, queued := p.findLocked(which)
	p.mu.Unlock()
	if queued >= 0 { // others wait for the lock of all connections: not for ids that are not there
		s.mu.Lock()
		p.mu.Lock()
		var waiting *serving
		if running, queued = p.findLocked(which); queued >= 0 {
			waiting = p.dequeueLocked(queued)
			s.waiting--
			s.doneLocked(1)
		}
		p.mu.Unlock()
		s.mu.Unlock()
		if waiting != nil {
			turnAway(p, waiting.in, why.Text)
		}
	}
	if running != nil {
		running.cut(why)
		running.drop()
	}
}

// findLocked returns the request that is meant if it has its place, in use until it is
// dropped, or where it stands in the queue; nil and -1 if it is not pending.
func (p *peer) findLocked(which func(*serving) bool) (running *serving, queued int) {
	for r := p.requests; r != nil; r = r.next {
		if which(r) {
			r.uses.Add(1)
			return r, -1
		}
	}
	return nil, slices.IndexFunc(p.queue, which)
}

// turnAway refuses a request before dispatch: no handler ran (PROTOCOL 4.5).
func turnAway(p *peer, m *mux.Inbound, why string) {
	m.Discard()
	h := packet.Header{Type: packet.TypeReply, ID: m.Header.ID}
	h.ErrorCode, h.Error, h.ErrorData = CodeTransport, why, dispatchFailureData
	p.answer(&h, nil)
}

// reject answers a request that no handler can take. Old peers would mark the whole
// instance failed for dispatch_failure, so only ours are told (PROTOCOL 5.5).
func (s *intake) reject(p *peer, m *mux.Inbound, err *RemoteError) {
	m.Discard()
	s.log.count("request_rejected")
	h := packet.Header{Type: packet.TypeReply, ID: m.Header.ID}
	errorHeader(&h, err)
	if err.Code != CodeBadRequest && p.conn.PeerExt() {
		h.ErrorData = dispatchFailureData
	}
	p.answer(&h, nil)
}

// timeFor is how long a handler has to start its reply (PROTOCOL 12.2).
func (d *dispatcher) timeFor(a *action) time.Duration {
	if a.timeout > 0 {
		return a.timeout
	}
	return d.limits.WorkerTimeout
}

// An action is what a service offers.
type action struct {
	sector, name string // name is Class.name as announced
	version      int
	envelopes    []string
	flags        []string
	timeout      time.Duration // of the flag tN; zero if none
	privileges   []int64       // that the caller's ticket must grant
	doc          string        // HTML
	builtIn      bool          // of addBuiltIns
	handler      Handler
	typed        any // the typedAction of HandleJSON; nil if somebody is to see the octets
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
