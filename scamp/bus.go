package scamp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// Options replace what a bus would otherwise take from its configuration and its
// surroundings. Nil, and every zero field, means the default.
type Options struct {
	Dial       func(ctx context.Context, network, addr string) (net.Conn, error) // nil means TCP
	Listen     func(network, addr string) (net.Listener, error)                  // nil means TCP
	Carriers   []discovery.Carrier                                               // announcements go and come here; nil means multicast. The bus closes them
	Now        func() time.Time                                                  // the wall clock, for the timestamps of announcements; nil means time.Now
	Rand       func(n int) int                                                   // 0 to n-1, for all that is left to chance but idents and keys; nil means math/rand
	Ident      func(name string) string                                          // an ident for an instance of a service, another one at each call (PROTOCOL 7.6); nil means discovery.NewIdent
	Balancer   Balancer                                                          // chooses instances for calls whose Route names no other; nil means LeastPending
	Log        *slog.Logger                                                      // nil means silence. Nothing but Close waits for it; lines that come too fast for it are left out and counted
	Limits     Limits                                                            // fields that are set win over the configuration
	KeyPair    *KeyPair                                                          // shown to services as the caller's certificate; nil means that of bus.identity, if that is set
	TicketKeys *TicketKeys                                                       // verify tickets; nil means the file of auth.ticket_verify_key, which is followed

	ConfigDir string // directory of services/NAME.key, .crt and authorized_services; empty means that of the configuration
}

func (o *Options) listen(network, addr string) (net.Listener, error) {
	if o.Listen != nil {
		return o.Listen(network, addr)
	}
	return net.Listen(network, addr)
}

func (o *Options) ident(name string) string {
	if o.Ident != nil {
		return o.Ident(name)
	}
	return discovery.NewIdent(name)
}

// limits are those of the options over those of the configuration.
func (o *Options) limits(cfg *Config) Limits {
	l := overlay(o.Limits, cfg.Limits)
	return l.WithDefaults()
}

// A Bus is how a program is on the bus: it knows what is offered and by whom, holds
// the connections to services, and makes services. Safe for concurrent use. Close it
// when done; services end with the context of their Serve, which should end first: one that
// runs is not withdrawn, and its Serve returns an error.
type Bus struct {
	cfg     *Config
	opts    Options
	limits  Limits
	log     *logger
	dir     *discovery.Directory
	hold    *hold
	pool    *pool
	balance *balancer
	locals  locals
	serving *dispatcher

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	work    sync.WaitGroup
	cache   *discovery.CacheReader      // nil without discovery.cache_path
	rules   *discovery.AuthorizedReader // nil without a rules file
	turns   chan struct{}               // a place for each operation with a private key at once
	tickets *ticketChecker
	access  access
	retries retries
	spare   sync.Map // of *sync.Pool by typedAction: see spareCalls

	mu         sync.Mutex             // protects what follows
	announcing []*discovery.Announcer // of services that run
	announced  map[string]uint64      // counters of those that ran
	carriers   []discovery.Carrier
	multicast  *discovery.Multicast // the one of carriers, if they are ours
	carryErr   error                // why there is no multicast
	listening  time.Time            // since when observers run; zero when they do not
	// Who may call services of this bus, by the file that says so.
	callerFiles map[string]*callerRules
}

// Open returns a bus for a configuration. A nil cfg means defaults, as does nil opts.
//
// A bus without discovery.cache_path listens to multicast itself; with one it follows
// that file, and listens too while the file is missing or stale.
func Open(cfg *Config, opts *Options) (*Bus, error) {
	if cfg == nil {
		cfg = new(Config)
	}
	cfg = cfg.WithDefaults()
	b := &Bus{cfg: cfg, turns: newTurns()}
	if opts != nil {
		b.opts = *opts
		b.opts.Carriers = slices.Clone(opts.Carriers)
	}
	if b.opts.ConfigDir != "" {
		cfg.ConfigDir = b.opts.ConfigDir
	}
	if b.opts.KeyPair == nil && cfg.Identity != "" {
		pair, err := cfg.KeyPairFor(cfg.Identity)
		if err != nil {
			return nil, fmt.Errorf("scamp: bus.identity: %w", err)
		}
		b.opts.KeyPair = pair
	}
	b.limits = b.opts.limits(cfg)
	b.log = newLogger(b.opts.Log, &b.limits)
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.dir = discovery.NewDirectory(&discovery.DirectoryOptions{Limits: b.limits.Discovery, Now: b.opts.Now, Log: b.log.slog})
	b.hold = newHold(&b.limits)
	b.pool = newPool(cfg, &b.limits, b.log, b.hold, &b.opts, b.opts.KeyPair)
	b.locals.how = cfg.Local
	held := func(in discovery.Instance) bool { _, ok := b.dir.Entry(in); return ok }
	b.balance = newBalancer(&b.limits, b.pool, &b.locals, held, &b.opts)
	b.serving = &dispatcher{limits: &b.limits, log: b.log}
	b.tickets = newTicketChecker(cfg.TicketKeyPath, b.opts.TicketKeys, &b.limits, b.log, b.opts.Now)
	b.retries.init()
	b.access = access{ctx: b.ctx, fetch: b.accessTable, log: b.log}
	b.carriers = b.opts.Carriers
	b.followRules()
	if cfg.CachePath == "" {
		b.listen()
		return b, nil
	}
	b.cache = discovery.NewCacheReader(cfg.CachePath, b.dir, &discovery.CacheReaderOptions{
		Log: b.log.slog, OnState: b.cacheState,
	})
	if b.cache.Load() != nil {
		b.listen()
	}
	b.work.Go(func() { b.cache.Run(b.ctx) }) // ends with Close
	return b, nil
}

// Directory is what the bus knows of others.
func (b *Bus) Directory() *discovery.Directory { return b.dir }

// Config is the configuration the bus was opened with, defaults filled in. It must
// not be changed.
func (b *Bus) Config() *Config { return b.cfg }

// Stats returns every counter of the bus by its name, those that have counted nothing
// too; docs/counters.md tells what they mean. The map is the caller's.
func (b *Bus) Stats() map[string]uint64 {
	all := zeroCounters()
	b.log.each(func(name string, n uint64) { all[name] += n })
	all["request_started"], all["request_ended"] = b.serving.counts()
	for name, n := range b.dir.Stats().Counters {
		all[name] += n
	}
	b.mu.Lock()
	m := b.multicast
	for name, n := range b.announced {
		all[name] += n
	}
	for _, a := range b.announcing {
		for name, n := range a.Stats().Counters {
			all[name] += n
		}
	}
	b.mu.Unlock()
	if m != nil {
		for name, n := range m.Stats().Counters {
			all[name] += n
		}
	}
	return all
}

// Close ends all connections and waits for what the bus runs, but for services: each ends
// its Serve with an error. Calls that wait fail.
func (b *Bus) Close() error {
	b.cancel()
	own := b.locals.close()
	for _, l := range own {
		l.side.endsFor(ErrClosed) // before any connection ends with the calls of our own
	}
	b.access.close()
	b.balance.marks.close()
	b.pool.close()
	for _, l := range own {
		l.side.s.intake.lose(ErrClosed)
	}
	b.mu.Lock()
	carriers := b.carriers
	b.carriers, b.carryErr = nil, ErrClosed
	b.mu.Unlock()
	for _, c := range carriers {
		c.Close()
	}
	b.work.Wait()
	b.serving.stop()
	b.dir.Close()
	b.log.wait()
	return nil
}

// closed says whether Close was called.
func (b *Bus) closed() bool { return b.ctx.Err() != nil }

// followRules keeps the directory's rules those of the file.
func (b *Bus) followRules() {
	path := b.cfg.AuthorizedPath()
	if path == "" {
		return
	}
	b.rules = discovery.NewAuthorizedReader(path, b.dir, &discovery.AuthorizedReaderOptions{
		RequireSHA256: b.cfg.RequireSHA256, Log: b.log.slog,
	})
	b.rules.Load()                           // what is wrong stands in its State, and in the errors of calls
	b.work.Go(func() { b.rules.Run(b.ctx) }) // ends with Close
}

// carry returns what announcements go and come by, opened when first needed. An
// interface that is missing is no error: one that comes later is used then.
func (b *Bus) carry() ([]discovery.Carrier, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.carriers != nil || b.carryErr != nil {
		return b.carriers, b.carryErr
	}
	m, err := discovery.NewMulticast(discovery.MulticastOptions{
		Group: b.cfg.MulticastAddress, Port: b.cfg.DiscoveryPort, Select: b.cfg.FollowDiscovery(), Interval: b.cfg.Interval, Log: b.log.slog,
	})
	if err != nil {
		b.carryErr = err
		return nil, err
	}
	for _, err := range m.Problems() {
		if errors.Is(err, ErrNoIface) {
			b.log.slog.Warn("no announcement is heard or made", "error", err, "fix", addressFix)
			continue
		}
		b.log.slog.Warn("discovery goes on without an interface", "error", err)
	}
	b.carriers, b.multicast = []discovery.Carrier{m}, m
	b.work.Go(func() { m.Follow(b.ctx) }) // ends with Close
	return b.carriers, nil
}

// announces counts for the announcers of a service until done is called.
func (b *Bus) announces(announcers []*discovery.Announcer) (done func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.announcing = append(b.announcing, announcers...)
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.announcing = slices.DeleteFunc(b.announcing, func(a *discovery.Announcer) bool { return slices.Contains(announcers, a) })
		if b.announced == nil {
			b.announced = make(map[string]uint64)
		}
		for _, a := range announcers {
			for name, n := range a.Stats().Counters {
				b.announced[name] += n
			}
		}
	}
}

// listen observes announcements from now on.
func (b *Bus) listen() {
	carriers, err := b.carry()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.listening.IsZero() || b.ctx.Err() != nil {
		return
	}
	b.listening = time.Now()
	if err != nil {
		b.work.Go(func() { b.listenLater(err) }) // ends with Close, or when it listens
		return
	}
	b.observe(carriers)
}

// listenLater tries to listen again and again: what a socket needs may be there later.
func (b *Bus) listenLater(err error) {
	b.log.slog.Warn("not listening for announcements: tried again now and then", "error", err)
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		if !sleep(b.ctx, pause) {
			return
		}
		b.mu.Lock()
		if b.ctx.Err() == nil { // else Close has said why, or is about to
			b.carryErr = nil
		}
		b.mu.Unlock()
		carriers, err := b.carry()
		if err != nil {
			continue
		}
		b.log.slog.Info("listening for announcements now")
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.ctx.Err() == nil {
			b.listening = time.Now()
			b.observe(carriers)
		}
		return
	}
}

// observe runs an observer of each carrier.
func (b *Bus) observe(carriers []discovery.Carrier) {
	for _, c := range carriers {
		o := discovery.NewObserver(c, b.dir, &discovery.ObserverOptions{Log: b.log.slog})
		b.work.Go(func() { o.Run(b.ctx) }) // ends with Close
	}
}

// cacheState starts to listen when the cache file has become of no use. Who listens
// once goes on: it costs little, and the file may go again.
func (b *Bus) cacheState(s discovery.CacheState) {
	if s.Condition != discovery.CacheFresh {
		b.listen()
	}
}

// addressFix is what to do without an interface.
const addressFix = "set bus.address (or discovery.address) to an address of this host that the others can reach"

// deaf says why nobody may be heard, and what would cure it. Both are empty when nothing
// speaks for that.
func (b *Bus) deaf() (why, fix string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.carryErr != nil:
		return b.carryErr.Error(), "let this program open a socket for multicast"
	case b.multicast == nil:
		return "", ""
	case len(b.multicast.Ifaces()) == 0:
		return b.multicast.Trouble(), addressFix
	}
	return b.multicast.Trouble(), "let UDP to " + b.multicast.Group().String() + " through the firewall of this host, and give all the same group and port"
}

// listenInRange opens a listener on each service address, at a random port of the
// range (PROTOCOL 12.1).
func (b *Bus) listenInRange() (listeners []net.Listener, failed []error) {
	ifaces, failed := b.cfg.ServiceIfaces()
	for _, i := range ifaces {
		l, err := b.bind(i.Addr.String())
		if err != nil {
			failed = append(failed, err)
			continue
		}
		listeners = append(listeners, l)
	}
	if len(ifaces) == 0 {
		failed = append(failed, errNoAddress)
	}
	return listeners, failed
}

var errNoAddress = errors.New("no address to listen on: set bus.address (or service.address) in the configuration, for example bus.address = 127.0.0.1")

func (b *Bus) bind(host string) (net.Listener, error) {
	var err error
	span := b.cfg.LastPort - b.cfg.FirstPort + 1
	for range b.cfg.BindTries {
		port := b.cfg.FirstPort + b.balance.rand(span)
		var l net.Listener
		if l, err = b.opts.listen("tcp", fmt.Sprintf("%s:%d", host, port)); err == nil {
			return l, nil
		}
		if !portInUse(err) {
			break
		}
	}
	return nil, fmt.Errorf("scamp: listen on %s, ports %d to %d: %w", host, b.cfg.FirstPort, b.cfg.LastPort, err)
}
