package scamp

import (
	"context"
	"crypto/tls"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// A pool holds one connection for each address and identity (PROTOCOL 5.1), makes
// it when a call needs it, and closes it when it was idle for long.
type pool struct {
	cfg    *Config
	limits *Limits
	log    *logger
	hold   *hold
	dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	own    *KeyPair              // client certificate; nil for none
	failed func(discovery.Route) // told whose dials failed behind the backs of their calls; nil for a Client

	// After a dial that failed. A Client waits twice as long each time. A bus waits a second:
	// its marks back off, and a call that has no other choice soon finds who is back.
	backoff backoff

	began  time.Time       // debts of queues count from then
	ctx    context.Context // ends with the bus
	cancel context.CancelFunc
	work   sync.WaitGroup // dials and connections

	loners  atomic.Uint64         // connections of one call that were ever begun
	latest  atomic.Pointer[entry] // that a call last used: many calls in a row go to one instance
	signals signals

	mu       sync.Mutex // protects what follows
	closed   bool
	entries  map[target]*entry
	queues   map[target]*queue    // of shared targets, while dials or connections to them are under way
	owing    map[target]*queue    // of others, that had a debt when the last of those ended
	dialects map[target]*dialect  // of shared targets; see dialectLocked
	peers    map[*peer]struct{}   // every connection that runs, also those no new call takes
	gates    map[string]*dialGate // by address, while dials to it are wanted
}

// A target is what a connection is made to.
type target struct {
	addr  string // host:port
	pin   pin
	local *inboundSide // a service of this process; nil if the address is to be dialed
	alone uint64       // a number of its own for a connection that serves one call; zero for the others
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
	dialect *dialect          // of the target; set at once
	left    chan struct{}     // closed when the call that it is alone for has left; nil if it is shared
	queue   *queue            // of the target; set at once
	missing []discovery.Route // of calls that left before it was ready, one for each instance; under pool.mu
	reached atomic.Bool       // TCP is connected
	ready   chan struct{}     // closed when what follows is set
	peer    *peer
	state   tls.ConnectionState
	took    time.Duration
	err     error
	again   time.Time // not dialed before, if err is set

	failures int  // dials to the target that failed in a row, before it is ready; under pool.mu
	news     news // for which the target was dialed
	early    bool // the target is dialed for its news before its pause is over
	hurried  bool // it was so before, and has not answered since
}

func newPool(cfg *Config, limits *Limits, log *logger, hold *hold, opts *Options, own *KeyPair) *pool {
	pl := &pool{hold: hold, cfg: cfg, limits: limits, log: log, dial: opts.Dial, own: own,
		entries: make(map[target]*entry), queues: make(map[target]*queue), owing: make(map[target]*queue), dialects: make(map[target]*dialect), peers: make(map[*peer]struct{}), gates: make(map[string]*dialGate), began: time.Now()}
	if pl.dial == nil {
		pl.dial = new(net.Dialer).DialContext
	}
	pl.backoff = backoff{dialPause, limits.MaxBackoff, opts.chance()}
	pl.ctx, pl.cancel = context.WithCancel(context.Background())
	return pl
}

// recent returns the connection that a call last used if it leads to the target, and
// nil otherwise: then get has to look further.
func (pl *pool) recent(what *attempt, id Identity, alone bool) *entry {
	e := pl.latest.Load()
	if e == nil || alone || e.key.addr != what.route.Address || e.key.local != what.local || e.peer.closed.Load() {
		return nil
	}
	if pin, err := id.pin(); err != nil || e.key.pin != pin {
		return nil
	}
	return e
}

// get returns a connection to the target, made if there is none.
func (pl *pool) get(ctx context.Context, addr string, local *inboundSide, id Identity, n news) (*entry, error) {
	e, _, err := pl.find(addr, local, id, n, false)
	if err != nil {
		return nil, err
	}
	return e, pl.await(ctx, e)
}

// find returns the connection to the target or a dial that will become one; ready says
// that there is nothing to wait for. A connection that is to be alone serves one call and
// is closed behind it. That to a service of this process, if local is not nil, is not dialed.
// Nor is a target that has just failed, unless n says that somebody else is there now.
func (pl *pool) find(addr string, local *inboundSide, id Identity, n news, alone bool) (e *entry, ready bool, err error) {
	pin, err := id.pin()
	if err != nil {
		return nil, false, err
	}
	key := target{addr: addr, pin: pin, local: local}
	if alone {
		key.alone = pl.loners.Add(1)
	}
	e, err = pl.entry(key, id, n)
	if err != nil {
		return nil, false, err
	}
	select {
	case <-e.ready:
		ready = true
	default:
	}
	return e, ready, nil
}

// await waits for what find returned. Whoever waits for a dial may leave; the dial goes
// on for the others.
func (pl *pool) await(ctx context.Context, e *entry) error {
	select {
	case <-e.ready:
	default:
		e.queue.waiting.Add(1)
		select {
		case <-e.ready:
		case <-ctx.Done():
		}
		e.queue.waiting.Add(-1)
		if ctx.Err() != nil { // also if both have come
			pl.abandon(e)
			return ctxError(ctx)
		}
	}
	if e.err == nil && e.left == nil {
		pl.remember(e)
	}
	return e.err
}

// failed says whether no connection could be made, once that is decided.
func (e *entry) failed() bool { return e.err != nil && e.err != errLeft && e.err != ErrClosed }

// abandon gives up an entry that is alone for a call which has left.
func (pl *pool) abandon(e *entry) {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	if e.left == nil || e.hasLeft() {
		return
	}
	close(e.left)
	if e.peer != nil {
		e.peer.conn.Close()
	}
}

// remember has recent find the connection, unless it has ended: then serve, which has
// it forgotten, may have been here before.
func (pl *pool) remember(e *entry) {
	pl.latest.Store(e)
	if e.peer.closed.Load() {
		pl.latest.CompareAndSwap(e, nil)
	}
}

// entry finds the connection or dial that serves a target, or begins to dial.
func (pl *pool) entry(key target, id Identity, n news) (*entry, error) {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	if pl.closed {
		return nil, ErrClosed
	}
	// However many calls want an instance that does not answer: who announces somebody
	// else's address must not make us flood it (THREATS D22).
	if e := pl.entries[key.shared()]; e != nil && e.err != nil {
		if pause := time.Until(e.again); pause > 0 && !e.outdated(n) {
			pl.log.count("dial_backoff")
			return nil, &pausedError{pause, e.err}
		}
	}
	e := pl.entries[key]
	if e == nil || e.err != nil || e.peer != nil && e.peer.closed.Load() {
		return pl.begin(key, id, n), nil
	}
	return e, nil
}

// begin dials a target. It is apart from entry so that finding a connection, which
// every call does, allocates nothing.
func (pl *pool) begin(key target, id Identity, n news) *entry {
	e := &entry{key: key, news: n, ready: make(chan struct{}), dialect: pl.dialectLocked(key.shared()), queue: pl.queueLocked(key.shared())}
	if key.alone > 0 {
		e.left = make(chan struct{})
	}
	if old := pl.entries[key.shared()]; old != nil && old.err != nil {
		e.failures, e.hurried = old.failures, old.hurried || old.early
		if e.early = time.Now().Before(old.again); e.early {
			e.failures = 0
		}
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

// serve serves a connection until it ends.
func (pl *pool) serve(key target, e *entry, p *peer) {
	err := p.run()
	pl.log.count("conn_closed")
	pl.latest.CompareAndSwap(e, nil)
	pl.mu.Lock()
	defer pl.mu.Unlock()
	if pl.entries[key] == e {
		delete(pl.entries, key)
	}
	delete(pl.peers, p)
	if len(e.queue.peers) == 1 { // else another one shows how the instance is
		pl.bequeathLocked(e.queue, p, err)
	}
	pl.leaveLocked(key.shared(), e.queue, p)
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
		p.endsFor(ErrClosed)
		all.Go(func() { p.conn.Shutdown(time.Second) }) // ends after that second
	}
	all.Wait()
	pl.work.Wait()
}
