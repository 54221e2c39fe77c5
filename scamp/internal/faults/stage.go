//go:build linux

package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/internal/ledger"
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

// known waits until every client knows so many instances.
func (s *stage) known(ctx context.Context, n int) error {
	return each(len(s.clients), func(i int) error { return s.clients[i].ask(ctx, "know", n, nil, readyIn) })
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

// An act is one thing that a row does under load.
type act struct {
	at   time.Duration // after the load began
	what string        // for the plan and for errors; the same for the same seed
	do   func(ctx context.Context) error
}

// every yields the times of something that is done again and again in a load that lasts
// so long: not before it has settled, and not when it ends.
func every(lasts, interval time.Duration) func(yield func(time.Duration) bool) {
	return func(yield func(time.Duration) bool) {
		for at := interval; at < lasts-interval/2; at += interval {
			if !yield(at) {
				return
			}
		}
	}
}

// plan adds a line to what the plan's hash is made of.
func (s *stage) plan(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.planned = append(s.planned, fmt.Sprintf(format, args...))
}

// hash is that of the plan so far: the same for the same seed.
func (s *stage) hash() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := fnv.New64a()
	for _, line := range s.planned {
		fmt.Fprintln(h, line)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// A wave is calls that are made in one go.
type wave struct {
	name    string // of its random choices; waves of one row differ in it
	mix     mix
	seconds time.Duration // zero means those of the row
	ident   string        // of the instance that all are for; empty means any
}

// load makes the calls of the layout's mix from all clients for s.seconds, does the acts
// at their times, one after the other, and returns when every call has ended.
func (s *stage) load(ctx context.Context, acts []act) error {
	return s.loads(ctx, []wave{{mix: s.layout.mix}}, acts)
}

// loads is load with waves, all of which begin at once. It may be called again.
func (s *stage) loads(ctx context.Context, waves []wave, acts []act) error {
	acts = slices.SortedStableFunc(slices.Values(acts), func(a, b act) int { return cmp.Compare(a.at, b.at) })
	begin := time.Now().Add(300 * time.Millisecond)
	var loads []load // of the clients in turn
	var most time.Duration
	for _, w := range waves {
		w.mix.Rate *= s.rate
		w.seconds = cmp.Or(w.seconds, s.seconds)
		most = max(most, w.seconds+w.mix.Deadline)
		for i := range s.clients {
			l := load{Mix: w.mix, Name: fmt.Sprintf("%s/%sclient%d", s.row.id, w.name, i+1), Seed: s.seed, Clients: len(s.clients), Begin: begin, Lasts: w.seconds, Ident: w.ident}
			for p := range l.plan {
				s.plan("%v", p)
			}
			loads = append(loads, l)
		}
	}
	for _, a := range acts {
		s.plan("%v %s", a.at, a.what)
	}
	s.began = begin
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var acting sync.WaitGroup
	var failed error
	var behind time.Duration
	acting.Go(func() { // ends with the acts, or with ctx
		for _, a := range acts {
			select {
			case <-time.After(time.Until(begin.Add(a.at))):
			case <-ctx.Done():
				return
			}
			behind = max(behind, time.Since(begin.Add(a.at)))
			if err := a.do(ctx); err != nil {
				failed = fmt.Errorf("%s at %v: %w", a.what, a.at, err)
				cancel(failed) // the rest would only hide it
				return
			}
		}
	})
	late := make([]time.Duration, len(loads))
	var stalled time.Duration
	acting.Go(func() { stalled = stalls(ctx, begin.Add(s.seconds)) }) // ends with the load, or with ctx
	clients := slices.Clone(s.clients)                                // acts may put others in their place
	err := each(len(loads), func(i int) error {
		c := clients[i%len(clients)]
		var done loaded
		// Calls end a second after their deadline; what a machine adds that is slow is no reason to stop.
		err := c.ask(ctx, "load", loads[i], &done, most+time.Minute)
		if c.gone() && s.replaced(c) {
			return nil
		}
		late[i] = done.Late
		return err
	})
	acting.Wait()
	s.figure("machine_stalled_ms", ms(stalled))
	if len(acts) > 0 {
		s.figure("acts_behind_ms", ms(behind))
	}
	if failed != nil {
		return failed
	}
	if len(late) > 0 {
		s.figure("behind_ms", ms(slices.Max(late)))
	}
	return err
}

// stalls returns the longest that this process, which has nothing to do, was kept from
// running until a time: what the machine took from every process of the stage, too.
func stalls(ctx context.Context, until time.Time) (longest time.Duration) {
	const step = 5 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	for last := time.Now(); last.Before(until); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return longest
		}
		now := time.Now()
		longest, last = max(longest, now.Sub(last)-step), now
	}
	return longest
}

// replaced says whether the row has ended a client on purpose: it has put another one, or
// none, in its place.
func (s *stage) replaced(c *child) bool { return !slices.Contains(s.clients, c) }

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// drainIn is how long a process may take to hold no more than at its start, and to end.
const drainIn = 30 * time.Second

// drain lets the load's processes go in the order in which they need each other, and has
// each note what it holds when the others have left it.
func (s *stage) drain(ctx context.Context) error {
	err := each(len(s.clients), func(i int) error { return s.clients[i].drain(ctx) })
	for _, p := range s.proxies {
		p.close()
	}
	err = errors.Join(err, each(len(s.services), func(i int) error { return s.services[i].drain(ctx) }), s.cache.drain(ctx))
	var ending []*child
	for _, c := range append(append(slices.Clone(s.clients), s.services...), s.cache) {
		if c != nil && !c.gone() {
			ending = append(ending, c)
		}
	}
	return errors.Join(err, each(len(ending), func(i int) error { return ending[i].stop(ctx, drainIn) }))
}

// drain has a child note what it holds. One that is gone holds nothing.
func (c *child) drain(ctx context.Context) error {
	if c == nil || c.gone() {
		return nil
	}
	return c.ask(ctx, "drain", nil, nil, drainIn)
}

// end ends whatever still runs.
func (s *stage) end() {
	for _, p := range s.proxies {
		p.close()
	}
	s.mu.Lock()
	all := slices.Clone(s.children)
	s.mu.Unlock()
	for _, c := range all {
		c.in.Close()
		c.kill()
	}
	for _, w := range s.wires {
		w.Close()
	}
}

// records joins the ledgers of all processes so far.
func (s *stage) records() ([]ledger.Record, error) {
	s.mu.Lock()
	all := slices.Clone(s.children)
	s.mu.Unlock()
	var joined []ledger.Record
	for _, c := range all {
		records, err := c.records()
		if err != nil {
			return nil, err
		}
		joined = append(joined, records...)
	}
	return joined, nil
}

// judge fills the result in. err is why the row ended.
func (s *stage) judge(ctx context.Context, err error) {
	r := s.result
	r.Plan = s.hash()
	r.Violations = []string{}
	if why, ok := isSkip(err); ok {
		r.Verdict, r.Why = skipRow, why
		return
	}
	if ctx.Err() != nil { // calls are open, and nobody has drained
		r.Verdict, r.Why = interrupted, context.Cause(ctx).Error()
		return
	}
	records, rerr := s.records()
	report := ledger.Check(records, s.row.minOK, s.drained()...)
	t := report.Totals
	if s.row.minOK > 0 && t.Issued == 0 && err == nil {
		err = errors.New("no call was noted: are the ledgers gone?")
	}
	r.Issued, r.OK, r.Error, r.NotRun, r.Maybe, r.Cancelled, r.Runs = t.Issued, t.OK, t.Error, t.NotRun, t.Maybe, t.Cancelled, t.Runs
	r.Twice, r.Lost = tally(records)
	for i, v := range report.Violations {
		if i == maxViolations {
			r.Violations = append(r.Violations, fmt.Sprintf("and %d more", len(report.Violations)-i))
			break
		}
		r.Violations = append(r.Violations, v.String())
	}
	why := slices.Clone(s.failures)
	for _, err := range []error{err, rerr} {
		if err != nil {
			why = append(why, err.Error())
		}
	}
	r.Why = strings.Join(why, "\n")
	r.Verdict = pass
	if len(why) > 0 || len(r.Violations) > 0 {
		r.Verdict = fail
	}
}

// drained are the processes that must have noted what they hold at last: all that note
// calls, or know instances, but for those that were killed.
func (s *stage) drained() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.children {
		if c.role == "service" || c.role == "client" || c.role == "cache" {
			if status, ok := c.status(); !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
				names = append(names, c.name)
			}
		}
	}
	return names
}

// tally counts calls that ran more than once though they were not idempotent, and those
// that never ended.
func tally(records []ledger.Record) (twice, lost int) {
	type seen struct {
		issued, ended, idempotent bool
		runs                      int
	}
	calls := make(map[string]*seen)
	for _, r := range records {
		if r.ID == "" {
			continue
		}
		c := calls[r.ID]
		if c == nil {
			c = new(seen)
			calls[r.ID] = c
		}
		switch r.Kind {
		case ledger.KindIssue:
			c.issued, c.idempotent = true, r.Idempotent
		case ledger.KindEnd:
			c.ended = true
		case ledger.KindRun:
			c.runs++
		}
	}
	for _, c := range calls {
		if c.runs > 1 && !c.idempotent {
			twice++
		}
		if c.issued && !c.ended {
			lost++
		}
	}
	return twice, lost
}
