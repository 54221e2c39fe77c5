package scamp

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// marks remember which instances something speaks against (PROTOCOL 11.5). One that no
// connection could be made to is marked until a probe connects, a call that had no
// other choice does, the instance announces itself anew, or nobody announces it any more.
// One that refused a request is avoided for a moment.
type marks struct {
	limits *Limits
	log    *logger
	pauses backoff                                            // between probes
	reach  func(ctx context.Context, r discovery.Route) error // makes a connection
	held   func(discovery.Instance) bool                      // whether the directory holds a record of it
	ctx    context.Context                                    // ends with close
	cancel context.CancelFunc
	work   sync.WaitGroup // probes

	count atomic.Int32 // of all, so that a bus whose instances are well looks at none

	mu      sync.Mutex // protects what follows
	all     map[discovery.Instance]*mark
	probing int // probes under way
}

// A mark says what went wrong with an instance.
type mark struct {
	route    discovery.Route // it belongs to this address and timestamp: an instance announced anew is tried again
	failures int             // connections that could not be made, in a row; zero if it only refused
	until    time.Time       // one that refused is passed over until then, one that failed is not marked anew
	wanted   time.Time       // when a call last could have used an instance that failed
	timer    *time.Timer     // runs look
	resting  bool            // it is not probed, for nobody wants it
}

const (
	// None is one of Limits: nothing is refused. A mark that goes to make room counts
	// (mark_forgotten), and is made again by the next call that fails; a probe that finds no
	// place waits a second.
	maxMarks  = 20000 // bounds what a directory full of dead instances can make us remember
	maxProbes = 16    // at once: a network that is gone for a moment must not have us dial all it held
	// An instance that no call wanted for so long is probed no more until one does. It stays
	// marked while the directory holds it, which is looked at as often. It is longer than the
	// longest pause between probes.
	probeWhile = 3 * time.Minute
)

func (m *marks) init(b *balancer, held func(discovery.Instance) bool) {
	m.held = held
	m.limits, m.log, m.pauses = b.limits, b.pool.log, backoff{time.Second, b.limits.MaxBackoff, b.rand}
	m.all = make(map[discovery.Instance]*mark)
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.reach = func(ctx context.Context, r discovery.Route) error {
		_, err := b.pool.get(ctx, r.Address, b.locals.at(r), identityOf(r), newsOf(r))
		return err
	}
}

// any says whether anything speaks against any instance.
func (m *marks) any() bool { return m.count.Load() > 0 }

// healthy returns those of routes that nothing speaks against, or all but those
// tried, or all.
func (m *marks) healthy(routes []discovery.Route, tried []discovery.Instance) []discovery.Route {
	now := time.Now()
	good := make([]discovery.Route, 0, len(routes))
	others := make([]discovery.Route, 0, len(routes))
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range routes {
		if slices.Contains(tried, r.Instance) {
			continue
		}
		others = append(others, r)
		if !m.speaksLocked(r, now) {
			good = append(good, r)
		}
	}
	switch {
	case len(good) > 0:
		return good
	case len(others) > 0:
		return others
	}
	return routes
}

// speaksLocked says whether a mark speaks against r, and forgets one that no longer does.
func (m *marks) speaksLocked(r discovery.Route, now time.Time) bool {
	k := m.all[r.Instance]
	switch {
	case k == nil:
		return false
	case k.route.Address != r.Address || k.route.Timestamp != r.Timestamp:
		m.forgetLocked(r.Instance) // it was announced anew
		return false
	case k.failures > 0:
		k.wanted = now
		if k.resting {
			k.resting, k.route = false, r
			k.timer.Reset(0)
		}
		return true
	case now.After(k.until):
		m.forgetLocked(r.Instance) // it refused once, a moment ago
		return false
	}
	return true
}

// failed marks an instance that no connection could be made to, and has it probed after
// 1, 2, 4 s and so on, with jitter, so that those who share the news do not all come
// back at once. A dial that many waited for counts once.
func (m *marks) failed(r discovery.Route) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx.Err() != nil {
		return
	}
	k := m.markLocked(r)
	now := time.Now()
	k.wanted = now
	if k.failures > 0 && now.Before(k.until) {
		return
	}
	m.failLocked(r.Instance, k, now)
}

// failLocked notes one more failure and when to try again.
func (m *marks) failLocked(in discovery.Instance, k *mark, now time.Time) {
	pause := m.pauses.pause(k.failures)
	k.failures++
	k.until, k.resting = now.Add(pause), false
	m.lookLocked(in, k, pause)
}

// lookLocked has look run after d.
func (m *marks) lookLocked(in discovery.Instance, k *mark, d time.Duration) {
	if k.timer == nil {
		k.timer = time.AfterFunc(d, func() { m.look(in) })
	} else {
		k.timer.Reset(d)
	}
}

// look does what there is to do about a mark: it is forgotten, or its instance is probed.
func (m *marks) look(in discovery.Instance) {
	held := m.held(in)
	m.mu.Lock()
	k := m.all[in]
	switch {
	case k == nil || m.ctx.Err() != nil:
		m.mu.Unlock()
		return
	case !held || k.failures == 0 && !time.Now().Before(k.until):
		m.forgetLocked(in) // nobody announces it any more, or it refused a moment ago
		m.mu.Unlock()
		return
	case k.failures == 0: // it has refused again
		k.timer.Reset(time.Until(k.until))
		m.mu.Unlock()
		return
	}
	m.probeLocked(in, k)
}

// probeLocked tries to connect to a marked instance: TCP, TLS and the comparison of the
// certificate, and no packet. The connection stays for the calls to come. The lock is
// open when it returns.
func (m *marks) probeLocked(in discovery.Instance, k *mark) {
	switch {
	case time.Since(k.wanted) > probeWhile:
		k.resting = true
		k.timer.Reset(probeWhile)
		k.route = discovery.Route{Peer: &discovery.Peer{Instance: in, Address: k.route.Address, Timestamp: k.route.Timestamp}} // without all that the other holds
		m.mu.Unlock()
		return
	case m.probing >= maxProbes:
		k.timer.Reset(time.Second)
		m.mu.Unlock()
		return
	}
	m.probing++
	m.work.Add(1)
	route := k.route // a call that fails meanwhile writes it anew
	m.mu.Unlock()
	defer m.work.Done()
	m.log.count("instance_probed")
	err := m.reach(m.ctx, route)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.probing--
	switch {
	case m.ctx.Err() != nil || m.all[in] != k: // meanwhile it was forgotten
	case err == nil:
		m.forgetLocked(in)
	default:
		m.failLocked(in, k, time.Now())
	}
}

// refused makes an instance that would not take a request come last for a moment.
func (m *marks) refused(r discovery.Route) {
	m.log.count("instance_avoided")
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx.Err() != nil {
		return
	}
	k := m.markLocked(r)
	if until := time.Now().Add(m.limits.AvoidTime); k.failures == 0 && until.After(k.until) {
		k.until = until
		if k.timer == nil {
			m.lookLocked(r.Instance, k, m.limits.AvoidTime)
		}
	}
}

// connected takes the mark of an instance that failed away.
func (m *marks) connected(r discovery.Route) {
	if !m.any() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.all[r.Instance]; k != nil && k.failures > 0 {
		m.forgetLocked(r.Instance)
	}
}

func (m *marks) markLocked(r discovery.Route) *mark {
	k := m.all[r.Instance]
	if k != nil && k.route.Address == r.Address && k.route.Timestamp == r.Timestamp {
		k.route = r
		return k
	}
	if k != nil {
		m.forgetLocked(r.Instance)
	}
	m.sweepLocked()
	k = &mark{route: r}
	m.all[r.Instance] = k
	m.count.Add(1)
	return k
}

// sweepLocked makes room if there are too many: for many at once, since it looks at all.
func (m *marks) sweepLocked() {
	if len(m.all) < maxMarks {
		return
	}
	for in := range m.all {
		if len(m.all) <= maxMarks-maxMarks/10 {
			return
		}
		m.forgetLocked(in)
		m.log.count("mark_forgotten")
	}
}

func (m *marks) forgetLocked(in discovery.Instance) {
	if k := m.all[in]; k.timer != nil {
		k.timer.Stop()
	}
	delete(m.all, in)
	m.count.Add(-1)
}

// close ends probing and waits for the probes under way.
func (m *marks) close() {
	m.mu.Lock()
	m.cancel()
	for in := range m.all {
		m.forgetLocked(in)
	}
	m.mu.Unlock()
	m.work.Wait()
}
