package scamp

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// A peer is one end of a connection as requests and replies: ids, the table of
// calls that wait, the requests being served, and the one timer for all of them. It
// is written once for both roles; only a service's peers have a server.
type peer struct {
	// Set before run, never changed.
	conn   *mux.Conn
	limits *Limits
	addr   net.Addr               // the other end
	cert   *discovery.Certificate // what a caller showed; nil if nothing, and on the connecting side
	server server                 // nil on the connecting side
	events *eventSource           // of the service; nil on the connecting side
	log    *logger
	alone  bool   // for one call, and then closed (PROTOCOL 3.4)
	hold   *hold  // counts what is held
	share  *share // of its address
	window int    // announced

	dialect *dialect             // nil on the accepting side
	feed    atomic.Pointer[feed] // of the subscription that has the connection for itself
	met     bool                 // a reply has come; owned by the reader's goroutine
	signals *signals             // of the pool, for those who wait; nil on the accepting side
	closed  atomic.Bool          // takes no new calls: it has ended or is retired; set under mu
	ending  atomic.Bool          // it ends when no request is in hand; see endServed; set under mu

	load    atomic.Int32 // calls that wait for their reply to end
	debt    debt         // calls that have left, and whose replies have not come
	headers atomic.Int64 // octets of the headers of requests in queue
	tickets ticketFailures
	guard   ticketGuard // over tickets; set before run on the accepting side

	mu        sync.Mutex // protects what follows; taken under the lock of conn, never the other way round
	ended     error      // why the connection is over; nil while it lives
	stopped   error      // why its service or its pool ends it: ErrStopped or ErrClosed; nil while that does not
	lastID    uint64     // request id given last
	pending   map[uint64]*Stream
	calls     *Stream  // every call that has not left, linked
	heard     bool     // the service has sent a message
	unwanted  []uint64 // ids of requests that were given up before that, to be cancelled then
	untold    int      // such requests beyond maxUnwanted
	abandoned int      // calls that left before their reply came: so many late replies are no oddity
	odd       oddMeter
	requests  *serving // every request being served, linked
	active    int      // requests being served
	queue     []*serving
	queued    bool // in the dispatcher's list
	retired   time.Duration
	goodbye   chan struct{} // made when it takes none any more because of that, and closed when it has said so
	timer     *time.Timer
	armed     time.Duration // when timer fires, on the clock of conn
}

// A server takes the requests that arrive. The reader's goroutine calls it: nothing
// here may block.
type server interface {
	admit(p *peer, m *mux.Inbound)
	cancel(p *peer, id packet.RequestID)
	broken(p *peer, m *mux.Inbound)
	shed(p *peer)
	part(p *peer) chan struct{} // called by the timer's goroutine
}

func newPeer(limits *Limits, log *logger, hold *hold) *peer {
	return &peer{hold: hold, limits: limits, log: log, pending: make(map[uint64]*Stream)}
}

// run serves the connection until it ends, and returns why it did. A connection at rest
// waits below it, so it has nothing on its stack.
func (p *peer) run() error {
	defer p.disconnect()
	err := p.conn.Run()
	p.endAll(err)
	p.parted()
	return err
}

// endAll ends what was under way on a connection that has ended because of err.
func (p *peer) endAll(err error) {
	p.mu.Lock()
	p.ended = err
	p.closed.Store(true)
	if p.timer != nil {
		p.timer.Stop()
	}
	calls, requests := p.listLocked()
	if silent(err) {
		for range p.pending {
			p.debt.grow(p.conn.Now())
		}
	}
	why := cmp.Or(p.stopped, err)
	p.mu.Unlock()
	p.logEnd(err)
	for _, s := range calls {
		s.lost(why)
		s.drop()
	}
	for _, r := range requests {
		r.given.ctx.end(fmt.Errorf("%w: %w", ErrLost, why))
		r.drop()
	}
}

// endsFor notes why the service or the pool is about to end the connection; the first reason stays.
func (p *peer) endsFor(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = cmp.Or(p.stopped, why)
}

// logEnd tells why the connection ended, if the other end did what it must not, or is
// gone without a word.
func (p *peer) logEnd(err error) {
	if vanished(err) {
		p.log.odd("peer_vanished", "a peer is gone without a word", "peer", p.addr.String(), "error", err)
		return
	}
	var broken *mux.ProtocolError
	var malformed *packet.Error
	if errors.As(err, &broken) || errors.As(err, &malformed) || silent(err) {
		p.log.warn("connection_ended", "connection ended", "peer", p.addr.String(), "error", err)
	}
}

// silent says whether a connection ended because nothing came from the other end any more.
func silent(err error) bool {
	return errors.Is(err, mux.ErrWriteStalled) || errors.Is(err, mux.ErrSilent) || vanished(err)
}

// vanished says whether TCP gave up: its keep-alive or what we sent had no answer, or the
// network knows no way to the peer any more (PROTOCOL 4.7).
func vanished(err error) bool {
	return errors.Is(err, syscall.ETIMEDOUT) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)
}

// listLocked returns what is under way. Each is to be dropped when it was looked at.
func (p *peer) listLocked() (calls []*Stream, requests []*serving) {
	for s := p.calls; s != nil; s = s.next {
		s.uses.Add(1)
		calls = append(calls, s)
	}
	for r := p.requests; r != nil; r = r.next {
		r.uses.Add(1)
		requests = append(requests, r)
	}
	return calls, requests
}

// busy keeps an idle timer from closing the connection.
func (p *peer) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls != nil || p.active > 0 || len(p.queue) > 0 || p.feed.Load() != nil
}

// joinLocked enters a call, once, before its first octet is made. It fails when the
// connection is over.
func (p *peer) joinLocked(s *Stream) bool {
	if s.linked {
		return true
	}
	if p.ended != nil || p.retired > 0 {
		return false
	}
	s.linked = true
	if s.next = p.calls; s.next != nil {
		s.next.prev = s
	}
	p.calls = s
	p.load.Add(1)
	switch {
	case s.total > 0:
		p.armLocked(s.asked + s.total)
	case s.progress > 0:
		p.armLocked(s.asked + s.progress)
	}
	return true
}

// leave is the way out of the tables. It says whether s was still in them.
func (p *peer) leave(s *Stream) bool {
	if s.left.Load() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leaveLocked(s)
}

func (p *peer) leaveLocked(s *Stream) bool {
	if !s.linked || s.left.Load() {
		return false
	}
	s.left.Store(true)
	if s.id != 0 && p.pending[s.id] == s {
		delete(p.pending, s.id)
		p.abandoned++
		if p.ended == nil { // else endAll has counted it
			p.debt.grow(p.conn.Now())
		}
	}
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		p.calls = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	s.prev, s.next = nil, nil
	p.load.Add(-1)
	if (p.retired > 0 || p.alone) && p.calls == nil {
		p.armLocked(p.conn.Now())
	}
	return true
}

// accept sorts a message that has arrived (PROTOCOL 3.5). The reader's goroutine
// runs it; nothing here waits.
func (p *peer) accept(m *mux.Inbound) {
	h := &m.Header
	if f := p.feed.Load(); f != nil {
		f.take(m)
		return
	}
	switch {
	case p.server == nil && (h.Type == packet.TypeReply || h.Type == packet.TypeNone):
		p.replied(m)
	case p.server == nil && h.Type == packet.TypeRequest:
		p.absurd(m, "a request on a connection of ours")
	case p.server == nil && h.Type == packet.TypeCancel:
		m.Discard() // of no request of theirs: it came for its ext
		p.hear(m)
	case p.server == nil:
		p.ignore(m, "a message of a type that does not belong here")
	case h.Type == packet.TypeCancel:
		m.Discard()
		p.server.cancel(p, h.ID)
	case h.Type == packet.TypeNotify:
		p.events.notified(p, m)
	case h.Type != packet.TypeRequest && h.Type != packet.TypeNone && h.Type != packet.TypeSubscribe:
		p.ignore(m, "a message of a type that does not belong here")
	case !usableID(m):
		p.ignore(m, "a request without a usable request id")
	case h.Type == packet.TypeSubscribe:
		p.events.subscribe(p, m)
	default:
		p.server.admit(p, m)
	}
}

// maxID is how long a request id may be, octets: it must fit into the header of the
// reply with room to spare.
const maxID = 8 << 10

func usableID(m *mux.Inbound) bool {
	return !m.Header.ID.IsZero() && (m.HeaderSize <= maxID || len(m.Header.ID.String()) <= maxID)
}

// replied hands a reply to the call that waits for it.
func (p *peer) replied(m *mux.Inbound) {
	if !p.met {
		p.met = true
		p.hear(m)
		if !p.meet(&m.Header) {
			m.Discard()
			p.log.odd("dialect_mistaken", "a service of the original Go implementation got requests that ended in another order", "peer", p.addr.String())
			p.conn.Close()
			return
		}
	}
	p.debt.clear()
	id, ok := m.Header.ID.Number()
	p.mu.Lock()
	s := p.pending[id]
	if ok && s != nil {
		delete(p.pending, id)
		s.uses.Add(1)
		if ended, _ := s.out.Ended(); ended && m.Whole() {
			p.leaveLocked(s) // nothing of it can take any time
		}
		p.mu.Unlock()
		s.deliver(m)
		s.drop()
		return
	}
	late := ok && id >= 1 && id <= p.lastID && p.abandoned > 0
	if late {
		p.abandoned--
	}
	p.mu.Unlock()
	if !late {
		p.absurd(m, "reply to no request of ours")
		return
	}
	m.Discard()
	p.log.count("reply_late")
}

// answer sends a short message of our own that nobody waits for. One that cannot be
// sent although the connection lives, because too many wait already, ends the
// connection: the other side must not wait for a reply that never comes.
func (p *peer) answer(h *packet.Header, body []byte) {
	_, err := p.conn.Send(h, mux.Body{Data: body, Soon: true}, nil)
	if errors.Is(err, mux.ErrHeaderTooBig) {
		shorten(h)
		_, err = p.conn.Send(h, mux.Body{Data: body, Soon: true}, nil)
	}
	if err != nil && !errors.Is(err, mux.ErrClosed) {
		p.conn.Close()
	}
}

// retire takes no new calls: something may be wrong with this connection, and the
// next call makes another. It is closed when the last call has left, at the latest
// after RetireTime (PROTOCOL 4.9).
func (p *peer) retire() {
	p.mu.Lock()
	already := p.retired > 0 || p.ended != nil
	if !already {
		p.retired = p.conn.Now() + p.limits.RetireTime
		p.closed.Store(true)
		at := p.retired
		if p.calls == nil {
			at = p.conn.Now()
		}
		p.armLocked(at)
	}
	p.mu.Unlock()
	if !already {
		p.log.count("conn_retired")
	}
}

// heartbeat is how long a peer of ours may be silent while we wait for it before it is
// asked whether it lives (PROTOCOL 4.7).
const heartbeat = 15 * time.Second

// connect makes a peer of a connection whose handshake is done. It ends with run, or
// disconnect if it is not run.
func (p *peer) connect(c io.ReadWriter, link *mux.Link, cfg *Config, idle time.Duration) {
	p.share = p.hold.join(remoteAddr(link))
	// What was announced cannot be taken back (PROTOCOL 3.7).
	p.window = p.hold.window(p.share, min(p.limits.Mux.MaxWindow, p.limits.Mux.MaxBuffered/2))
	opts := mux.Options{
		Limits: p.limits.Mux, Packet: p.limits.Packet,
		Window: p.window, Tallies: []*atomic.Int64{&p.hold.all, &p.share.held},
		Accept: p.accept, Busy: p.busy, Counters: p.log.mux,
		Idle: idle, Heartbeat: cfg.Heartbeat, PingAny: cfg.Heartbeat > 0,
	}
	opts.Oddity = func(why string) { // the Conn counts it
		p.log.warn("ack_repeated", "a packet was ignored", "peer", p.addr.String(), "why", why)
	}
	def(&opts.Heartbeat, heartbeat)
	if p.server != nil {
		opts.Full = func() { p.server.shed(p) }
		opts.Broken = func(m *mux.Inbound) { p.server.broken(p, m) }
	}
	p.conn = mux.New(c, link, opts)
	p.addr = link.RemoteAddr()
}

// disconnect takes back what connect has set aside, when the connection has ended.
func (p *peer) disconnect() {
	p.hold.closeWindow(p.share, p.window)
	p.hold.leave(p.share)
}
