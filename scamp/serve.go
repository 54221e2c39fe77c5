package scamp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// Serve listens, announces the service and answers requests until ctx ends; then it
// withdraws, serves on for the grace time, refuses what comes later, waits for the
// requests in hand, closes and returns nil (PROTOCOL 12.5). It returns an error if
// the service could not start. It may be called once.
func (s *Service) Serve(ctx context.Context) error {
	if err := s.begin(); err != nil {
		return err
	}
	side, err := s.listen()
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.inbound = side
	s.mu.Unlock()
	if dir := s.bus.cfg.RunningServiceDir; dir != "" {
		file, err := createRunningFile(dir, s.ident)
		if err != nil {
			side.close(time.Second)
			return err
		}
		defer file.Remove()
	}
	side.accept()

	// The announcers outlive ctx: they send the withdrawal.
	announcing, stopAnnouncing := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait()
	defer stopAnnouncing()
	announcers, err := s.announcers(side)
	if err != nil {
		side.close(time.Second)
		return err
	}
	for _, a := range announcers {
		running.Go(func() { a.Run(announcing) }) // ends with announcing
	}
	for _, d := range s.unauthorized() {
		s.bus.log.slog.Warn("nobody will call this action", "reason", d.String())
	}
	for _, a := range announcers {
		a.Announced(ctx) // a sending that fails is logged, and tried again each interval
	}
	close(s.ready)

	<-ctx.Done()
	s.drain(side, announcers)
	return nil
}

// begin checks what Handle collected. After it the actions do not change.
func (s *Service) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.serving {
		return errors.New("scamp: Serve was called twice")
	}
	s.serving = true
	if len(s.actions) == 0 {
		s.mistakes = append(s.mistakes, fmt.Errorf("scamp: service %s: no action is registered", clean(s.name)))
	}
	s.index = make(map[actionID]*action, 2*len(s.actions))
	for id, a := range s.actions {
		s.index[id] = a
		s.index[actionID{a.name, a.version}] = a // as announced, so that nothing is folded
	}
	return errors.Join(s.mistakes...)
}

// drain stops the service and loses nothing: PROTOCOL 12.5.
func (s *Service) drain(side *inboundSide, announcers []*discovery.Announcer) {
	grace := time.NewTimer(max(s.opts.Grace, 0))
	defer grace.Stop()
	said, cancel := context.WithTimeout(context.Background(), time.Second)
	for _, a := range announcers {
		a.Withdraw(said) // what cannot be sent is logged; the instance expires then
	}
	cancel()
	<-grace.C
	side.stopListening()
	s.dispatch.close("shutting down", side.peers())
	handlers := make(chan struct{})
	go func() { s.dispatch.handlers.Wait(); close(handlers) }() // ends with the last handler
	wait(max(s.opts.Drain, 0), handlers)
	side.close(time.Second)
	<-handlers // what still ran lost its connection and has returned
}

// wait waits for done, at most so long.
func wait(most time.Duration, done <-chan struct{}) {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-t.C:
	case <-done:
	}
}

// announcers are what announces this service: one for each carrier.
func (s *Service) announcers(side *inboundSide) ([]*discovery.Announcer, error) {
	carriers, err := s.bus.carry()
	if err != nil {
		return nil, err
	}
	var all []*discovery.Announcer
	for _, c := range carriers {
		a, err := discovery.NewAnnouncer(c, discovery.AnnouncerOptions{
			Ifaces: ifacesOf(c), Certificate: s.pair.Certificate, Key: s.pair.Key, Interval: s.opts.Interval,
			Limits: s.bus.limits.Discovery, Now: s.bus.opts.Now, Log: s.bus.opts.Log,
		})
		if err == nil {
			err = a.Set(s.content(side.addresses(s.opts.Advertise)))
		}
		if err != nil {
			return nil, fmt.Errorf("scamp: service %s: %w", clean(s.name), err)
		}
		all = append(all, a)
	}
	return all, nil
}

// ifacesOf are the interfaces a carrier sends on; one that has none takes the zero
// Iface.
func ifacesOf(c discovery.Carrier) []discovery.Iface {
	switch c := c.(type) {
	case interface{ Ifaces() []discovery.Iface }:
		return c.Ifaces()
	case interface{ Iface() discovery.Iface }:
		return []discovery.Iface{c.Iface()}
	}
	return []discovery.Iface{{}}
}

// An inboundSide is the listeners of a service and the connections made to them.
type inboundSide struct {
	s         *Service
	listeners []net.Listener
	tls       *tls.Config
	work      sync.WaitGroup // accept loops and connections
	shakes    chan struct{}  // one place for each handshake under way: MaxHandshakes

	mu      sync.Mutex
	conns   map[*peer]struct{}
	shaking map[net.Conn]struct{}
	perAddr map[netip.Addr]int
	n       int
	closing bool
}

// listen opens the listeners (PROTOCOL 12.1).
func (s *Service) listen() (*inboundSide, error) {
	side := &inboundSide{
		s: s, tls: serverTLS(s.bus.cfg, s.pair), conns: make(map[*peer]struct{}),
		shaking: make(map[net.Conn]struct{}), perAddr: make(map[netip.Addr]int),
		shakes: make(chan struct{}, s.bus.limits.MaxHandshakes),
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
		if len(failed) == 0 {
			failed = append(failed, errNoAddress)
		}
		return nil, fmt.Errorf("scamp: service %s: %w", clean(s.name), errors.Join(failed...))
	}
	for _, err := range failed {
		s.bus.log.slog.Warn("one address is not served", "error", err)
	}
	return side, nil
}

var errNoAddress = errors.New("no address to listen on: set bus.address (or service.address) in the configuration, for example bus.address = 127.0.0.1")

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
	for {
		d.shakes <- struct{}{}
		c, err := l.Accept()
		if err != nil {
			<-d.shakes
			if errors.Is(err, net.ErrClosed) {
				return
			}
			d.s.bus.log.odd("accept_failed", "cannot accept a connection", "error", err)
			wait(pause, nil) // out of descriptors, most likely: they come back
			pause = min(2*pause, time.Second)
			continue
		}
		pause = 5 * time.Millisecond
		if !d.admit(c) {
			<-d.shakes
			d.s.bus.log.odd("conn_refused", "connection refused: too many are open", "peer", c.RemoteAddr().String())
			c.Close()
			continue
		}
		d.work.Go(func() { d.serve(c) }) // ends with the connection
	}
}

func remoteAddr(c net.Conn) netip.Addr {
	ap, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	return ap.Addr().Unmap()
}

// admit counts a connection, or says that there are too many.
func (d *inboundSide) admit(c net.Conn) bool {
	limits, from := &d.s.bus.limits, remoteAddr(c)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closing || d.n >= limits.MaxConns || d.perAddr[from] >= limits.MaxConnsPerAddr {
		return false
	}
	d.n++
	d.perAddr[from]++
	d.shaking[c] = struct{}{}
	return true
}

func (d *inboundSide) leave(c net.Conn) {
	from := remoteAddr(c)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n--
	if d.perAddr[from]--; d.perAddr[from] == 0 {
		delete(d.perAddr, from)
	}
}

// serve makes the handshake and serves the connection until it ends.
func (d *inboundSide) serve(c net.Conn) {
	defer d.leave(c)
	limits := &d.s.bus.limits
	// One time for TLS and the first packet: half-open connections hold little, and
	// not for long.
	ctx, cancel := context.WithTimeout(context.Background(), limits.HandshakeTimeout)
	setTCP(c, limits)
	link := mux.NewLink(c)
	t := tls.Server(link, d.tls)
	err := t.HandshakeContext(ctx)
	cancel()
	<-d.shakes
	d.mu.Lock()
	delete(d.shaking, c)
	d.mu.Unlock()
	if err != nil {
		c.Close()
		d.s.bus.log.odd("handshake_failed", "a caller's TLS handshake failed", "peer", c.RemoteAddr().String(), "error", err)
		return
	}
	p := newPeer(limits, d.s.bus.log)
	p.server = d.s.dispatch
	if shown := t.ConnectionState().PeerCertificates; len(shown) > 0 {
		p.cert, _ = discovery.ParseCertificate(shown[0].Raw)
	}
	p.connect(t, link, mux.Options{Idle: limits.ServerIdle})
	p.gone = func(p *peer) {
		d.s.dispatch.lost(p)
		d.mu.Lock()
		delete(d.conns, p)
		d.mu.Unlock()
	}
	d.mu.Lock()
	if d.closing {
		d.mu.Unlock()
		c.Close()
		return
	}
	d.conns[p] = struct{}{}
	d.mu.Unlock()
	silent := time.AfterFunc(limits.HandshakeTimeout, func() {
		if !p.conn.Heard() {
			d.s.bus.log.odd("handshake_timeout", "a caller sent nothing after the handshake", "peer", p.addr.String())
			p.conn.Close()
		}
	})
	defer silent.Stop()
	p.run()
}

func (d *inboundSide) peers() []*peer {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []*peer
	for p := range d.conns {
		all = append(all, p)
	}
	return all
}

func (d *inboundSide) stopListening() {
	for _, l := range d.listeners {
		l.Close()
	}
}

// close ends every connection: what waits to be written goes out, for at most so
// long.
func (d *inboundSide) close(most time.Duration) {
	d.stopListening()
	d.mu.Lock()
	d.closing = true
	for c := range d.shaking {
		c.Close()
	}
	d.mu.Unlock()
	var all sync.WaitGroup
	for _, p := range d.peers() {
		all.Go(func() { p.conn.Shutdown(most) }) // ends after that time
	}
	all.Wait()
	d.work.Wait()
}
