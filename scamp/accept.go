package scamp

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// An inboundSide is the listeners of a service and the connections made to them.
type inboundSide struct {
	s         *Service
	listeners []net.Listener
	tls       *tls.Config
	work      sync.WaitGroup // accept loops and connections
	stopped   chan struct{}  // closed when nothing is accepted any more
	freed     chan struct{}  // capacity 1: a handshake has ended
	stop      sync.Once

	mu      sync.Mutex // protects what follows
	conns   map[*peer]struct{}
	shaking map[*shake]struct{}
	perAddr map[netip.Addr]int // connections
	n       int                // connections
	landing int                // of these, those that have not joined yet
	landed  chan struct{}      // closed when there are none; made by land
	closing bool
	why     error // why they are about to end; nil before
}

// listen opens the listeners (PROTOCOL 12.1).
func (s *Service) listen() (*inboundSide, error) {
	side := &inboundSide{
		s: s, tls: serverTLS(s.bus.cfg, s.pair, s.bus.turns), stopped: make(chan struct{}), freed: make(chan struct{}, 1),
		conns: make(map[*peer]struct{}), shaking: make(map[*shake]struct{}), perAddr: make(map[netip.Addr]int),
	}
	var failed []error
	if len(s.opts.Listen) > 0 {
		for _, addr := range s.opts.Listen {
			l, err := s.bus.opts.listen("tcp", addr)
			if err != nil {
				failed = append(failed, fmt.Errorf("scamp: listen on %s: %w", clean(addr), err))
				continue
			}
			side.listeners = append(side.listeners, l)
		}
	} else {
		side.listeners, failed = s.bus.listenInRange()
	}
	if len(side.listeners) == 0 {
		return nil, fmt.Errorf("scamp: service %s: %w", clean(s.name), errors.Join(failed...))
	}
	for _, err := range failed {
		s.bus.log.slog.Warn("one address is not served", "error", err)
	}
	return side, nil
}

// addresses are those to announce.
func (d *inboundSide) addresses(advertise string) []string {
	if advertise != "" {
		return []string{advertise}
	}
	var all []string
	for _, l := range d.listeners {
		all = append(all, l.Addr().String())
	}
	return all
}

func (d *inboundSide) accept() {
	for _, l := range d.listeners {
		d.work.Go(func() { d.acceptOn(l) }) // ends when l is closed
	}
}

// acceptOn accepts connections. While too many are in their handshake it accepts none:
// the kernel holds them.
func (d *inboundSide) acceptOn(l net.Listener) {
	pause := 5 * time.Millisecond
	for d.room() {
		c, err := l.Accept()
		if err != nil && (errors.Is(err, net.ErrClosed) || d.isStopped()) {
			return
		}
		if err != nil {
			d.s.bus.log.odd("accept_failed", "cannot accept a connection", "error", err)
			within(pause, d.stopped) // out of descriptors, most likely: they come back
			pause = min(2*pause, time.Second)
			continue
		}
		pause = 5 * time.Millisecond
		h := d.admit(c)
		if h == nil {
			d.s.bus.log.odd("conn_refused", "connection refused: too many are open", "peer", c.RemoteAddr().String())
			c.Close()
			continue
		}
		d.work.Go(func() { d.greet(h) }) // ends with the handshake
	}
}

func (d *inboundSide) isStopped() bool {
	select {
	case <-d.stopped:
		return true
	default:
		return false
	}
}

func remoteAddr(c net.Conn) netip.Addr {
	ap, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	return ap.Addr().Unmap()
}

// admit counts a connection, or says that there are too many.
func (d *inboundSide) admit(c net.Conn) *shake {
	limits, from := &d.s.bus.limits, remoteAddr(c)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closing || d.n >= limits.MaxConns || d.perAddr[from] >= limits.MaxConnsPerAddr {
		return nil
	}
	d.n++
	d.landing++
	d.perAddr[from]++
	d.s.bus.log.count("conn_accepted")
	h := &shake{Link: mux.NewLink(c), began: time.Now(), from: from}
	d.shaking[h] = struct{}{}
	return h
}

func (d *inboundSide) leave(h *shake) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n--
	d.s.bus.log.count("conn_finished")
	if d.perAddr[h.from]--; d.perAddr[h.from] == 0 {
		delete(d.perAddr, h.from)
	}
}

// greet makes the handshake and has the connection served. It does not serve it itself:
// a handshake needs a large stack, which a goroutine keeps, and a connection rests for
// most of its life.
func (d *inboundSide) greet(h *shake) {
	setTCP(h.Conn, &d.s.bus.limits)
	c, err := d.handshake(h)
	if err != nil {
		h.Close()
		d.mu.Lock()
		d.landLocked()
		d.mu.Unlock()
		d.leave(h)
		return
	}
	var cert *discovery.Certificate
	if shown := c.ConnectionState().PeerCertificates; len(shown) > 0 {
		cert, _ = discovery.ParseCertificate(shown[0].Raw)
	}
	p := d.newPeer(cert)
	p.connect(c, h.Link, d.s.bus.cfg, p.limits.ServerIdle)
	d.work.Go(func() { d.serve(h, c, p) }) // ends with the connection
}

// newPeer returns the service's side of a connection whose caller has shown cert, nil for
// none.
func (d *inboundSide) newPeer(cert *discovery.Certificate) *peer {
	p := newPeer(&d.s.bus.limits, d.s.bus.log, d.s.bus.hold)
	p.server, p.events, p.cert = d.s.intake, d.s.events, cert
	p.guard = ticketGuard{d.s.bus.tickets, &p.tickets}
	return p
}

// serve serves a connection until it ends.
func (d *inboundSide) serve(h *shake, c *firstLine, p *peer) {
	defer d.leave(h)
	if !d.join(p) {
		h.Close()
		p.disconnect()
		return
	}
	// One time for TLS and the first header line: who never gets to ask holds little,
	// and not for long.
	silent := time.AfterFunc(p.limits.HandshakeTimeout-time.Since(h.began), func() {
		if !c.seen.Load() {
			p.log.odd("handshake_timeout", "a caller sent no header line", "peer", p.addr.String())
			p.conn.Close()
		}
	})
	d.run(p)
	silent.Stop()
}

// run serves the requests of a connection that has joined.
func (d *inboundSide) run(p *peer) {
	p.run()
	d.s.events.leave(p)
	for _, r := range d.s.intake.unqueue(p) {
		r.in.Discard()
	}
	d.mu.Lock()
	delete(d.conns, p)
	d.mu.Unlock()
}

// join enters a connection that is ready for requests, unless the service closes.
func (d *inboundSide) join(p *peer) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.landLocked()
	if !d.closing {
		d.enterLocked(p)
	}
	return !d.closing
}

func (d *inboundSide) enterLocked(p *peer) {
	d.conns[p] = struct{}{}
	if d.why != nil {
		p.endsFor(d.why)
	}
}

func (d *inboundSide) peers() []*peer {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.conns))
}

// stopListening accepts nothing any more. Connections live on.
func (d *inboundSide) stopListening() {
	d.stop.Do(func() { close(d.stopped) })
	for _, l := range d.listeners {
		l.Close()
	}
}

// endsFor notes why the connections are about to end, also those that are still to join.
func (d *inboundSide) endsFor(why error) {
	d.mu.Lock()
	d.why = cmp.Or(d.why, why)
	d.mu.Unlock()
	for _, p := range d.peers() {
		p.endsFor(why)
	}
}

// close ends every connection: what waits to be written goes out, for at most so
// long. Before that a connection may rest, and those who are in their handshake may join:
// a request that comes right behind it is refused, not lost.
func (d *inboundSide) close(rest, most time.Duration) {
	d.stopListening()
	began := time.Now()
	var all sync.WaitGroup
	end := func(p *peer, rest time.Duration) {
		all.Go(func() { // ends after those times
			p.rest(rest)
			p.conn.Shutdown(most)
		})
	}
	early := make(map[*peer]bool)
	for _, p := range d.peers() {
		early[p] = true
		end(p, rest)
	}
	d.land(rest)
	d.mu.Lock()
	d.closing = true
	for h := range d.shaking {
		h.Close()
	}
	d.mu.Unlock()
	for _, p := range d.peers() {
		if !early[p] {
			end(p, rest-time.Since(began))
		}
	}
	all.Wait()
	d.work.Wait()
}

// land waits until everybody who was accepted has joined, or is gone, at most so long.
func (d *inboundSide) land(most time.Duration) {
	d.mu.Lock()
	if d.landing > 0 {
		d.landed = make(chan struct{})
	}
	landed := d.landed
	d.mu.Unlock()
	if landed != nil {
		within(most, landed)
	}
}

// landLocked notes that one who was accepted has joined, or is gone.
func (d *inboundSide) landLocked() {
	if d.landing--; d.landing == 0 && d.landed != nil {
		close(d.landed)
		d.landed = nil
	}
}

// restQuiet is how long a connection must have been silent to be at rest. It is less than
// AvoidTime: whoever was refused asks elsewhere for that long.
const restQuiet = 500 * time.Millisecond

// rest waits until nothing has come from the peer for a moment, at most so long: a request
// that crosses our goodbye would be lost, and its caller could not tell whether it ran.
func (p *peer) rest(most time.Duration) {
	end := p.conn.Now() + most
	for {
		now := p.conn.Now()
		wait := min(p.conn.LastRead()+restQuiet, end) - now
		if wait <= 0 || within(wait, p.conn.Done()) {
			return
		}
	}
}
