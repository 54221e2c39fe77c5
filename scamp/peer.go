package scamp

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
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
	cert   *discovery.Certificate // what the other end showed; nil if nothing
	server server                 // nil on the connecting side
	log    *logger
	gone   func(*peer) // told when the connection has ended

	load atomic.Int32 // calls that wait for their reply to end

	mu        sync.Mutex // protects what follows; taken under the lock of conn, never the other way round
	ended     error      // why the connection is over; nil while it lives
	lastID    uint64     // request id given last
	pending   map[uint64]*Stream
	calls     *Stream // every call that has not left, linked
	abandoned int     // calls that left before their reply came: so many late replies are no oddity
	odd       oddMeter
	running   map[packet.RequestID]*serving
	requests  *serving // every request being served, linked
	active    int      // requests being served
	queue     []*serving
	queued    bool // in the dispatcher's list
	retired   time.Duration
	timer     *time.Timer
	armed     time.Duration // when timer fires, on the clock of conn
}

// A server takes the requests that arrive. admit must not block.
type server interface {
	admit(p *peer, m *mux.Inbound)
	cancel(p *peer, id packet.RequestID)
}

func newPeer(limits *Limits, log *logger) *peer {
	return &peer{limits: limits, log: log, pending: make(map[uint64]*Stream), running: make(map[packet.RequestID]*serving)}
}

// run serves the connection until it ends.
func (p *peer) run() error {
	err := p.conn.Run()
	p.mu.Lock()
	p.ended = err
	if p.timer != nil {
		p.timer.Stop()
	}
	calls, requests := p.listLocked()
	p.mu.Unlock()
	if p.gone != nil {
		p.gone(p)
	}
	for _, s := range calls {
		ran := RanNo
		if s.out.Started() {
			ran = RanMaybe
		}
		s.fail(fmt.Errorf("%w: %w", ErrLost, err), ran)
	}
	for _, r := range requests {
		r.ctx.end(fmt.Errorf("%w: %w", ErrLost, err))
	}
	return err
}

func (p *peer) listLocked() (calls []*Stream, requests []*serving) {
	for s := p.calls; s != nil; s = s.next {
		calls = append(calls, s)
	}
	for r := p.requests; r != nil; r = r.next {
		requests = append(requests, r)
	}
	return calls, requests
}

// busy keeps an idle timer from closing the connection.
func (p *peer) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls != nil || p.active > 0 || len(p.queue) > 0
}

// join enters a call before its first octet is written. It fails when the
// connection is over.
func (p *peer) join(s *Stream) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended != nil || p.retired > 0 {
		return false
	}
	s.linked = true
	if s.next = p.calls; s.next != nil {
		s.next.prev = s
	}
	p.calls = s
	p.load.Add(1)
	if at, ok := s.expiry(); ok {
		p.armLocked(at)
	}
	return true
}

// leave is the one way out of the tables. It says whether s was still in them.
func (p *peer) leave(s *Stream) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.left || !s.linked {
		return false
	}
	s.left = true
	if s.id != 0 && p.pending[s.id] == s {
		delete(p.pending, s.id)
		p.abandoned++
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
	if p.retired > 0 && p.calls == nil {
		p.armLocked(p.conn.Now())
	}
	return true
}

// accept sorts a message that has arrived (PROTOCOL 3.5). The reader's goroutine
// runs it; nothing here waits.
func (p *peer) accept(m *mux.Inbound) {
	switch t := m.Header.Type; {
	case p.server != nil && (t == packet.TypeRequest || t == packet.TypeNone):
		if m.Header.ID.IsZero() {
			p.odds(m, "a request without a request id")
			return
		}
		p.server.admit(p, m)
	case p.server != nil && t == packet.TypeSubscribe:
		m.Discard()
		p.answer(&packet.Header{Type: packet.TypeSubscribeDone, ID: m.Header.ID}, []byte("false"))
	case p.server != nil && t == packet.TypeCancel:
		m.Discard()
		p.server.cancel(p, m.Header.ID)
	case p.server == nil && (t == packet.TypeReply || t == packet.TypeNone):
		p.replied(m)
	case t == packet.TypeNotify:
		m.Discard()
	default:
		p.odds(m, "a message of a type that does not belong here")
	}
}

// replied hands a reply to the call that waits for it.
func (p *peer) replied(m *mux.Inbound) {
	id, ok := m.Header.ID.Number()
	p.mu.Lock()
	s := p.pending[id]
	if ok && s != nil {
		delete(p.pending, id)
		p.mu.Unlock()
		s.deliver(m)
		return
	}
	late := ok && id >= 1 && id <= p.lastID && p.abandoned > 0
	flood := false
	if late {
		p.abandoned--
	} else {
		flood = p.odd.add(p.conn.Now(), p.limits.Mux.MaxOddities)
	}
	p.mu.Unlock()
	m.Discard()
	if late {
		p.log.count("reply_late")
		return
	}
	p.log.odd("reply_unknown", "reply to no request of ours", "peer", p.addr.String(), "request_id", m.Header.ID.String())
	if flood {
		p.conn.Close()
	}
}

// odds drains what makes no sense here and keeps the connection.
func (p *peer) odds(m *mux.Inbound, why string) {
	m.Discard()
	p.log.odd("message_ignored", why, "peer", p.addr.String(), "type", m.Header.Type.String()+m.Header.TypeText)
}

// answer sends a short message of our own that nobody waits for.
func (p *peer) answer(h *packet.Header, body []byte) {
	p.conn.Send(h, mux.Body{Data: body}, nil) // fails only with the connection
}

func (p *peer) sendCancel(id uint64) {
	p.answer(&packet.Header{Type: packet.TypeCancel, ID: packet.NumberID(id)}, nil)
}

// retire takes no new calls: something may be wrong with this connection, and the
// next call makes another. It is closed when the last call has left, at the latest
// after RetireTime (PROTOCOL 4.9).
func (p *peer) retire() {
	p.mu.Lock()
	already := p.retired > 0 || p.ended != nil
	if !already {
		p.retired = p.conn.Now() + p.limits.RetireTime
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

// usable says whether new calls may join.
func (p *peer) usable() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended == nil && p.retired == 0
}

// armLocked makes the timer fire at the latest then. One timer serves all calls and
// requests of the connection: most end long before it fires.
func (p *peer) armLocked(at time.Duration) {
	if p.ended != nil {
		return
	}
	wait := max(at-p.conn.Now(), 0)
	switch {
	case p.timer == nil:
		p.timer = time.AfterFunc(wait, p.sweep) // stopped by run
	case p.armed == 0 || at < p.armed:
		p.timer.Reset(wait)
	default:
		return
	}
	p.armed = at
}

// sweep ends the calls and requests whose time is over and arms the timer for the
// next.
func (p *peer) sweep() {
	p.mu.Lock()
	p.armed = 0
	calls, requests := p.listLocked()
	retired := p.retired
	p.mu.Unlock()
	now := p.conn.Now()
	next := time.Duration(-1)
	later := func(at time.Duration) {
		if next < 0 || at < next {
			next = at
		}
	}
	for _, s := range calls {
		if at, ok := s.expiry(); ok && at <= now {
			p.log.count("rpc_timeout")
			s.expire()
		} else if ok {
			later(at)
		}
	}
	for _, r := range requests {
		if at, ok := r.expiry(); ok && at <= now {
			r.expire(now)
		} else if ok {
			later(at)
		}
	}
	if retired > 0 {
		p.mu.Lock()
		empty := p.calls == nil
		p.mu.Unlock()
		if empty || now >= retired {
			p.conn.Close()
			return
		}
		later(retired)
	}
	if next >= 0 {
		p.mu.Lock()
		p.armLocked(next)
		p.mu.Unlock()
	}
}

// An oddMeter counts what makes no sense within ten seconds.
type oddMeter struct {
	n     int
	since time.Duration
}

func (o *oddMeter) add(now time.Duration, most int) (flood bool) {
	if now-o.since > 10*time.Second {
		o.n, o.since = 0, now
	}
	o.n++
	return o.n >= most
}

// connect makes a peer of a connection whose handshake is done.
func (p *peer) connect(c tlsConn, link *mux.Link, opts mux.Options) {
	opts.Limits, opts.Packet = p.limits.Mux, p.limits.Packet
	opts.Accept, opts.Busy = p.accept, p.busy
	opts.Counters = p.log.mux
	p.conn = mux.New(c, link, opts)
	p.addr = link.RemoteAddr()
}

// tlsConn is what the connection is read from and written to.
type tlsConn interface {
	Read([]byte) (int, error)
	Write([]byte) (int, error)
}

var errRetired = errors.New("connection retired")
