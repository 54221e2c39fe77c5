package scamp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// A pool holds one connection for each address and identity (PROTOCOL 5.1), makes
// it when a call needs it, and closes it when it was idle for long.
type pool struct {
	cfg    *Config
	limits *Limits
	log    *logger
	dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	own    *KeyPair // client certificate; nil for none

	ctx    context.Context // ends with the bus
	cancel context.CancelFunc
	work   sync.WaitGroup // dials and connections

	mu      sync.Mutex
	closed  bool
	entries map[target]*entry
}

// A target is what a connection is made to.
type target struct {
	addr     string // host:port
	identity string // Identity.key
}

// An entry is the connection to a target, or the dial that will become one.
type entry struct {
	ready chan struct{} // closed when peer or err is set
	peer  *peer
	state tls.ConnectionState
	took  time.Duration
	err   error
}

func newPool(cfg *Config, limits *Limits, log *logger, opts *Options, own *KeyPair) *pool {
	pl := &pool{cfg: cfg, limits: limits, log: log, dial: opts.Dial, own: own, entries: make(map[target]*entry)}
	if pl.dial == nil {
		pl.dial = new(net.Dialer).DialContext
	}
	pl.ctx, pl.cancel = context.WithCancel(context.Background())
	return pl
}

// get returns a connection to the target, made if there is none. Whoever waits for a
// dial may leave; the dial goes on for the others.
func (pl *pool) get(ctx context.Context, addr string, id Identity) (*peer, ConnectInfo, error) {
	if err := id.check(); err != nil {
		return nil, ConnectInfo{}, err
	}
	key := target{addr, id.key()}
	pl.mu.Lock()
	if pl.closed {
		pl.mu.Unlock()
		return nil, ConnectInfo{}, errClosed
	}
	e := pl.entries[key]
	reused := e != nil
	if e != nil && e.peer != nil && !e.peer.usable() {
		e = nil
		reused = false
	}
	if e == nil {
		e = &entry{ready: make(chan struct{})}
		pl.entries[key] = e
		pl.work.Go(func() { pl.connect(key, e, id) }) // ends when the dial or the connection does
	}
	pl.mu.Unlock()
	select {
	case <-e.ready:
	case <-ctx.Done():
		return nil, ConnectInfo{}, context.Cause(ctx)
	}
	if e.err != nil {
		return nil, ConnectInfo{}, e.err
	}
	return e.peer, ConnectInfo{Address: addr, Reused: reused, Took: e.took, TLS: e.state}, nil
}

// connect dials and then serves the connection until it ends.
func (pl *pool) connect(key target, e *entry, id Identity) {
	began := time.Now()
	p, state, err := pl.open(key.addr, id)
	pl.mu.Lock()
	e.took = time.Since(began)
	e.peer, e.state, e.err = p, state, err
	if err != nil && pl.entries[key] == e {
		delete(pl.entries, key) // the next call dials again
	}
	if err == nil && pl.closed {
		p.conn.Close()
	}
	pl.mu.Unlock()
	close(e.ready)
	if err != nil {
		return
	}
	p.gone = func(*peer) {
		pl.mu.Lock()
		if pl.entries[key] == e {
			delete(pl.entries, key)
		}
		pl.mu.Unlock()
	}
	p.run()
}

// open makes a connection: TCP, TLS and the comparison of the certificate. Nothing
// of ours but the handshake was sent when it returns.
func (pl *pool) open(addr string, id Identity) (*peer, tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(pl.ctx, pl.limits.DialTimeout)
	defer cancel()
	var none tls.ConnectionState
	raw, err := pl.dial(ctx, "tcp", addr)
	if err != nil {
		return nil, none, dialError(addr, "connect", err, pl)
	}
	setTCP(raw, pl.limits)
	link := mux.NewLink(raw)
	c, err := handshake(ctx, link, clientTLS(pl.cfg, addr, id, pl.own))
	if err != nil {
		return nil, none, dialError(addr, "TLS", err, pl)
	}
	p := newPeer(pl.limits, pl.log)
	state := c.ConnectionState()
	if len(state.PeerCertificates) > 0 {
		p.cert, _ = discovery.ParseCertificate(state.PeerCertificates[0].Raw)
	}
	p.connect(c, link, mux.Options{Idle: pl.limits.ClientIdle})
	return p, state, nil
}

// dialError says which step failed and, where it is known, what would cure it.
func dialError(addr, step string, err error, pl *pool) error {
	var pin *PinError
	switch {
	case errors.As(err, &pin):
		pl.log.odd("pin_mismatch", "a peer shows another certificate than announced", "peer", addr, "want", pin.Want, "got", pin.Got)
		return pin
	case pl.ctx.Err() != nil:
		return errClosed
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded):
		pl.log.count("dial_timeout")
		return fmt.Errorf("%w: %s: %s not done after %v", ErrNoDial, addr, step, pl.limits.DialTimeout)
	}
	if advice := tlsAdvice(err); advice != "" {
		return fmt.Errorf("%w: %s: %s: %w (%s)", ErrNoDial, addr, step, err, advice)
	}
	return fmt.Errorf("%w: %s: %s: %w", ErrNoDial, addr, step, err)
}

// pending is how many calls wait on the connection to a target.
func (pl *pool) pending(key target) int {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	if e := pl.entries[key]; e != nil && e.peer != nil {
		return int(e.peer.load.Load())
	}
	return 0
}

// close ends every connection and waits for what runs on them.
func (pl *pool) close() {
	pl.cancel()
	pl.mu.Lock()
	pl.closed = true
	var peers []*peer
	for _, e := range pl.entries {
		if e.peer != nil {
			peers = append(peers, e.peer)
		}
	}
	pl.mu.Unlock()
	var all sync.WaitGroup
	for _, p := range peers {
		all.Go(func() { p.conn.Shutdown(time.Second) }) // ends after that second
	}
	all.Wait()
	pl.work.Wait()
}
