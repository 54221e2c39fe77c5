package scamp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// A pool holds one connection for each address and identity (PROTOCOL 5.1), makes
// it when a call needs it, and closes it when it was idle for long.
type pool struct {
	cfg    *Config
	limits *Limits
	log    *logger
	hold   *hold
	dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	own    *KeyPair // client certificate; nil for none

	ctx    context.Context // ends with the bus
	cancel context.CancelFunc
	work   sync.WaitGroup // dials and connections

	loners  atomic.Uint64         // connections of one call that were ever begun
	latest  atomic.Pointer[entry] // that a call last used: many calls in a row go to one instance
	signals signals

	mu      sync.Mutex // protects what follows
	closed  bool
	entries map[target]*entry
	peers   map[*peer]struct{}   // every connection that runs, also those no new call takes
	gates   map[string]*dialGate // by address, while dials to it are wanted
}

// A target is what a connection is made to.
type target struct {
	addr  string // host:port
	pin   pin
	alone uint64 // a number of its own for a connection that serves one call; zero for the others
}

// shared is the target of the calls that may share a connection.
func (t target) shared() target {
	t.alone = 0
	return t
}

// An entry is the connection to a target, the dial that will become one, or one that
// failed a moment ago.
type entry struct {
	key     target
	dialect *dialect      // of the target; set at once
	ready   chan struct{} // closed when what follows is set
	peer    *peer
	state   tls.ConnectionState
	took    time.Duration
	err     error
	again   time.Time // not dialed before, if err is set
}

func newPool(cfg *Config, limits *Limits, log *logger, hold *hold, opts *Options, own *KeyPair) *pool {
	pl := &pool{hold: hold, cfg: cfg, limits: limits, log: log, dial: opts.Dial, own: own,
		entries: make(map[target]*entry), peers: make(map[*peer]struct{}), gates: make(map[string]*dialGate)}
	if pl.dial == nil {
		pl.dial = new(net.Dialer).DialContext
	}
	pl.ctx, pl.cancel = context.WithCancel(context.Background())
	return pl
}

// recent returns the connection that a call last used if it leads to the target, and
// nil otherwise: then get has to look further.
func (pl *pool) recent(addr string, id Identity, alone bool) *entry {
	e := pl.latest.Load()
	if e == nil || alone || e.key.addr != addr || e.peer.closed.Load() {
		return nil
	}
	if pin, err := id.pin(); err != nil || e.key.pin != pin {
		return nil
	}
	return e
}

// get returns a connection to the target, made if there is none; reused says that it was
// there. Whoever waits for a dial may leave; the dial goes on for the others. A
// connection that is to be alone serves one call and is closed behind it.
func (pl *pool) get(ctx context.Context, addr string, id Identity, alone bool) (e *entry, reused bool, err error) {
	pin, err := id.pin()
	if err != nil {
		return nil, false, err
	}
	key := target{addr: addr, pin: pin}
	if alone {
		key.alone = pl.loners.Add(1)
	}
	e, reused, err = pl.entry(key, id)
	if err != nil {
		return nil, false, err
	}
	select {
	case <-e.ready:
	default:
		reused = false
		select {
		case <-e.ready:
		case <-ctx.Done():
			return nil, false, ctxError(ctx)
		}
	}
	if e.err != nil {
		return nil, false, e.err
	}
	if !alone {
		pl.latest.Store(e)
	}
	return e, reused, nil
}

// entry finds the connection or dial that serves a target, or begins to dial.
func (pl *pool) entry(key target, id Identity) (e *entry, reused bool, err error) {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	if pl.closed {
		return nil, false, errClosed
	}
	// However many calls want an instance that does not answer: who announces somebody
	// else's address must not make us flood it (THREATS D22).
	if e = pl.entries[key.shared()]; e != nil && e.err != nil && time.Now().Before(e.again) {
		pl.log.count("dial_backoff")
		return e, true, nil
	}
	e = pl.entries[key]
	if e == nil || e.err != nil || e.peer != nil && e.peer.closed.Load() {
		return pl.begin(key, id), false, nil
	}
	return e, true, nil
}

// begin dials a target. It is apart from entry so that finding a connection, which
// every call does, allocates nothing.
func (pl *pool) begin(key target, id Identity) *entry {
	e := &entry{key: key, ready: make(chan struct{}), dialect: new(dialect)}
	if shared := pl.entries[key.shared()]; shared != nil && key.alone > 0 {
		e.dialect = shared.dialect
	}
	pl.entries[key] = e
	gate := pl.gates[key.addr]
	if gate == nil {
		gate = &dialGate{places: make(chan struct{}, pl.limits.MaxDials)} // a place for each dial at once
		pl.gates[key.addr] = gate
	}
	if gate.wanted++; gate.wanted > pl.limits.MaxDials {
		pl.log.count("dial_backoff")
	}
	pl.work.Go(func() { pl.connect(key, e, id, gate) }) // ends when the dial or the connection does
	return e
}

// A dialGate lets so many dials to one address go on at once. Others wait.
type dialGate struct {
	places chan struct{}
	wanted int // dials under way or waiting; protected by pool.mu
}

// dialPause is how long after a dial that failed the same target is left alone.
const dialPause = time.Second

// connect dials and has the connection served.
func (pl *pool) connect(key target, e *entry, id Identity, gate *dialGate) {
	began := time.Now()
	p, state, err := pl.dialThrough(gate, key.addr, id)
	pl.mu.Lock()
	if gate.wanted--; gate.wanted == 0 {
		delete(pl.gates, key.addr)
	}
	e.took = time.Since(began)
	e.peer, e.state, e.err = p, state, err
	if err != nil {
		e.again = time.Now().Add(dialPause)
		maps.DeleteFunc(pl.entries, func(_ target, old *entry) bool {
			return old.err != nil && (old == e || e.again.Sub(old.again) > dialPause) // nobody asked again
		})
		if shared := pl.entries[key.shared()]; shared == nil || shared.err != nil {
			pl.entries[key.shared()] = e
		}
	} else {
		p.alone, p.dialect = key.alone > 0, e.dialect
		pl.peers[p] = struct{}{}
		if pl.closed {
			p.conn.Close()
		}
	}
	pl.mu.Unlock()
	close(e.ready)
	if err == nil {
		// Not here: a handshake needs a large stack, which a goroutine keeps, and a
		// connection rests for most of its life.
		pl.work.Go(func() { pl.serve(key, e, p) }) // ends with the connection
	}
}

// serve serves a connection until it ends.
func (pl *pool) serve(key target, e *entry, p *peer) {
	p.run()
	pl.latest.CompareAndSwap(e, nil)
	pl.drop(key, e)
	pl.mu.Lock()
	delete(pl.peers, p)
	pl.mu.Unlock()
}

// dialThrough is open when there is a place for one more dial to the address.
func (pl *pool) dialThrough(gate *dialGate, addr string, id Identity) (*peer, tls.ConnectionState, error) {
	select {
	case gate.places <- struct{}{}:
		defer func() { <-gate.places }()
		return pl.open(addr, id)
	case <-pl.ctx.Done():
		return nil, tls.ConnectionState{}, errClosed
	}
}

// drop takes an entry out of the table if it still is in it.
func (pl *pool) drop(key target, e *entry) {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	if pl.entries[key] == e {
		delete(pl.entries, key)
	}
}

// forget has the next call make another connection in place of p.
func (pl *pool) forget(p *peer) {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	for key, e := range pl.entries {
		if e.peer == p {
			pl.latest.CompareAndSwap(e, nil)
			delete(pl.entries, key)
		}
	}
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
	p := newPeer(pl.limits, pl.log, pl.hold)
	p.signals = &pl.signals
	p.connect(c, link, pl.cfg, pl.limits.ClientIdle)
	return p, c.ConnectionState(), nil
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

// signals are channels for one value at a time, kept for the next who wait.
type signals struct{ free sync.Pool }

func (s *signals) get() chan struct{} {
	if c, ok := s.free.Get().(chan struct{}); ok {
		return c
	}
	return make(chan struct{}, 1)
}

// put takes back an empty channel that nobody uses any more.
func (s *signals) put(c chan struct{}) { s.free.Put(c) }

// close ends every connection and waits for what runs on them.
func (pl *pool) close() {
	pl.cancel()
	pl.mu.Lock()
	pl.closed = true
	peers := slices.Collect(maps.Keys(pl.peers))
	pl.mu.Unlock()
	var all sync.WaitGroup
	for _, p := range peers {
		all.Go(func() { p.conn.Shutdown(time.Second) }) // ends after that second
	}
	all.Wait()
	pl.work.Wait()
}
