//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/internal/wire"
)

// A stage is where one row plays: its processes, its files, its load and its faults.
type stage struct {
	*suite
	row     row
	seed    uint64
	quick   bool
	seconds time.Duration // of load
	base    map[string]float64
	dir     string // everything of this row is in here
	result  *result

	layout   layout
	services []*child // the latest of each
	clients  []*child
	cache    *child // nil if there is none
	proxies  []*proxy
	wires    []*wire.Wire
	began    time.Time // of the load

	// Set by the row.
	failures []string

	mu       sync.Mutex // protects what follows
	children []*child   // all that were ever started
	started  map[string]int
	planned  []string // lines of the plan
}

// A layout says what processes a stage has. Zero means those of the load L.
type layout struct {
	services int    // zero means 3
	clients  int    // zero means 4, negative none
	noCache  bool   // no cache manager: the clients hear announcements themselves
	proxied  bool   // clients reach services through s.proxies[i], as announced
	mix      mix    // zero means L
	config   string // further lines of the configuration of all processes

	// Where each process runs, by its name: svc1, client1, cache. Nil, also as the answer,
	// means here.
	on func(name string) *wire.Host

	service    serviceSpec // of each service, beside what the stage sets: Config, Service and Advertise
	client     clientSpec
	serviceEnv []string // of each service child
	clientEnv  []string
	cacheEnv   []string
}

// rand returns the source of random choices of a name in this row.
func (s *stage) rand(name string) *rand.Rand { return stream(s.seed, s.row.id+"/"+name) }

// play runs the row and what comes after it.
func (s *stage) play(ctx context.Context) error {
	s.started = make(map[string]int)
	if err := os.MkdirAll(filepath.Join(s.dir, "services"), 0o755); err != nil {
		return fmt.Errorf("faults: %w", err)
	}
	defer s.end()
	if err := s.row.run(ctx, s); err != nil {
		return err
	}
	return errors.Join(s.crashes(), s.drain(ctx))
}

// crashes returns why children ended that nobody ended.
func (s *stage) crashes() error {
	s.mu.Lock()
	all := slices.Clone(s.children)
	s.mu.Unlock()
	var errs []error
	for _, c := range all {
		errs = append(errs, c.crashed())
	}
	return errors.Join(errs...)
}

// open starts the processes and returns when all clients know all services.
func (s *stage) open(ctx context.Context, l layout) error {
	l.services, l.clients = cmp.Or(l.services, 3), max(0, cmp.Or(l.clients, 4))
	if l.mix.Rate == 0 {
		l.mix = baseMix()
	}
	s.layout = l
	if err := s.configure(); err != nil {
		return err
	}
	if !l.noCache {
		if err := s.startCache(ctx); err != nil {
			return err
		}
	}
	s.services = make([]*child, l.services)
	for i := range s.services {
		if l.proxied {
			p, err := newProxy(s.seed, fmt.Sprintf("%s/proxy%d", s.row.id, i+1))
			if err != nil {
				return err
			}
			s.proxies = append(s.proxies, p)
		}
	}
	if err := each(l.services, func(i int) error { return s.startService(ctx, i) }); err != nil {
		return err
	}
	s.clients = make([]*child, l.clients)
	if err := each(l.clients, func(i int) error { return s.startClient(ctx, i) }); err != nil {
		return err
	}
	return s.known(ctx, l.services)
}

// known waits until every client knows so many instances, and until every process that
// watches its directory has told of them: later a row counts who was removed, and a watch
// that tells nothing would pass it.
func (s *stage) known(ctx context.Context, n int) error {
	if err := each(len(s.clients), func(i int) error { return s.clients[i].ask(ctx, "know", n, nil, readyIn) }); err != nil {
		return err
	}
	watchers := s.watchers()
	return each(len(watchers), func(i int) error { return watchers[i].added(ctx, n) })
}

// watchers are the processes that tell what their directory does.
func (s *stage) watchers() []*child {
	return slices.DeleteFunc(append([]*child{s.cache}, s.clients...), func(c *child) bool { return c == nil })
}

// each runs f for 0 to n-1 at once and joins the errors.
func each(n int, f func(i int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = f(i) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// host is where a process runs, by its name; nil means here.
func (s *stage) host(name string) *wire.Host {
	if s.layout.on == nil {
		return nil
	}
	return s.layout.on(name)
}

// addressOf is the address of a host.
func addressOf(h *wire.Host) string {
	if h == nil {
		return "127.0.0.1"
	}
	return h.Addr.String()
}

// configOf is the configuration of the processes of a host.
func (s *stage) configOf(h *wire.Host) string {
	return filepath.Join(s.dir, "soa-"+addressOf(h)+".conf")
}

// configPath, rulesPath and cachePath are files of the stage; the first is that of the
// processes that run here.
func (s *stage) configPath() string { return s.configOf(nil) }
func (s *stage) rulesPath() string  { return filepath.Join(s.dir, "authorized_services") }
func (s *stage) cachePath() string  { return filepath.Join(s.dir, "cache", "discovery") }

// serviceName is the name of service i, and of its key pair.
func serviceName(i int) string { return fmt.Sprintf("svc%d", i+1) }

// clientName is the name of client i.
func clientName(i int) string { return fmt.Sprintf("client%d", i+1) }

// configure writes configuration, rules and key pairs.
func (s *stage) configure() error {
	var b strings.Builder
	// Not that of a real bus of this machine, nor of another stage.
	fmt.Fprintf(&b, "discovery.port = %d\n", 20000+rand.IntN(40000))
	fmt.Fprintf(&b, "bus.authorized_services = %s\nservice.shutdown_grace = 0.3\n", s.rulesPath())
	if !s.layout.noCache {
		fmt.Fprintf(&b, "discovery.cache_path = %s\n", s.cachePath())
	}
	b.WriteString(s.layout.config)
	var rules strings.Builder
	for i := range s.layout.services {
		pair, err := s.pair(i)
		if err != nil {
			return err
		}
		if err := s.writePair(serviceName(i), pair); err != nil {
			return err
		}
		fmt.Fprintf(&rules, "%s main:Load\n", pair.Certificate.Fingerprint)
	}
	if err := os.MkdirAll(filepath.Dir(s.cachePath()), 0o755); err != nil {
		return fmt.Errorf("faults: %w", err)
	}
	errs := []error{os.WriteFile(s.rulesPath(), []byte(rules.String()), 0o644)}
	hosts := []*wire.Host{nil, s.host("cache")}
	for i := range max(s.layout.services, s.layout.clients) {
		hosts = append(hosts, s.host(serviceName(i)), s.host(clientName(i)))
	}
	for _, h := range hosts {
		text := "bus.address = " + addressOf(h) + "\n" + b.String()
		errs = append(errs, os.WriteFile(s.configOf(h), []byte(text), 0o644))
	}
	return errors.Join(errs...)
}

// writePair writes the key pair of a service where its next start finds it.
func (s *stage) writePair(name string, pair *scamp.KeyPair) error {
	key, err := pair.KeyPEM()
	if err != nil {
		return err
	}
	path := filepath.Join(s.dir, "services", name)
	return errors.Join(os.WriteFile(path+".key", key, 0o600), os.WriteFile(path+".crt", pair.CertificatePEM(), 0o644))
}

// startCache starts the cache manager, also again after its death.
func (s *stage) startCache(ctx context.Context) (err error) {
	h := s.host("cache")
	s.cache, err = s.begin(ctx, "cache", launch{role: "cache", spec: cacheSpec{s.configOf(h), s.layout.service.Limits.Discovery.MinInterval}, env: s.layout.cacheEnv, on: h})
	return err
}

// startService starts service i, also again after its death, and points its proxy to it.
func (s *stage) startService(ctx context.Context, i int) error {
	spec := s.layout.service
	h := s.host(serviceName(i))
	spec.Config, spec.Service = s.configOf(h), serviceName(i)
	if spec.Listen == "" {
		spec.Listen = addressOf(h) + ":0"
	}
	if len(s.proxies) > 0 {
		spec.Advertise = s.proxies[i].address()
	}
	c, err := s.begin(ctx, serviceName(i), launch{role: "service", spec: spec, env: s.layout.serviceEnv, on: h})
	if err != nil {
		return err
	}
	if len(s.proxies) > 0 {
		s.proxies[i].point(c.ready.Address)
	}
	s.services[i] = c
	return nil
}

// startClient starts client i, also again after its death.
func (s *stage) startClient(ctx context.Context, i int) (err error) {
	spec := s.layout.client
	h := s.host(clientName(i))
	spec.Config = s.configOf(h)
	s.clients[i], err = s.begin(ctx, clientName(i), launch{role: "client", spec: spec, env: s.layout.clientEnv, on: h})
	return err
}
