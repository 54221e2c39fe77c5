package scamp

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// A balancer chooses among the instances that offer an action (PROTOCOL 11.4): two
// at random, and of them the one with fewer calls waiting. Instances that could not
// be connected to, or that refused, come last (PROTOCOL 11.5).
type balancer struct {
	limits *Limits
	pool   *pool
	rand   func(n int) int // 0 to n-1
	marked atomic.Int32    // number of marks, so that a healthy bus looks at none

	mu    sync.Mutex
	marks map[discovery.Instance]*mark
}

// A mark remembers what went wrong with an instance.
type mark struct {
	address   string    // it belongs to this address and timestamp: an instance
	timestamp int64     // announced anew is tried again
	failures  int       // connections that could not be made, in a row
	until     time.Time // passed over until then
}

func newBalancer(limits *Limits, pl *pool, r func(n int) int) *balancer {
	if r == nil {
		r = rand.IntN
	}
	return &balancer{limits: limits, pool: pl, rand: r, marks: make(map[discovery.Instance]*mark)}
}

// choose picks one of routes, which must not be empty, but not from avoid if there
// is another.
func (b *balancer) choose(routes []discovery.Route, avoid *discovery.Instance) discovery.Route {
	if len(routes) == 1 {
		return routes[0]
	}
	if avoid != nil || b.marked.Load() > 0 {
		routes = b.healthy(routes, avoid)
	}
	n := len(routes)
	if n == 1 {
		return routes[0]
	}
	i := b.rand(n)
	j := b.rand(n - 1)
	if j >= i {
		j++
	}
	if b.pool.pending(targetOf(routes[j])) < b.pool.pending(targetOf(routes[i])) {
		return routes[j]
	}
	return routes[i]
}

// healthy returns those of routes that nothing speaks against, or all but the one to
// avoid, or all.
func (b *balancer) healthy(routes []discovery.Route, avoid *discovery.Instance) []discovery.Route {
	now := time.Now()
	good := make([]discovery.Route, 0, len(routes))
	others := make([]discovery.Route, 0, len(routes))
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range routes {
		if avoid != nil && r.Instance == *avoid {
			continue
		}
		others = append(others, r)
		m := b.marks[r.Instance]
		if m != nil && (m.address != r.Address || m.timestamp != r.Timestamp) {
			b.forgetLocked(r.Instance)
			m = nil
		}
		if m != nil && m.failures == 0 && now.After(m.until) {
			b.forgetLocked(r.Instance) // it refused once, a moment ago
			m = nil
		}
		if m == nil || now.After(m.until) {
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

// failed marks an instance that no connection could be made to: 1, 2, 4 s and so on,
// with jitter, so that those who share the news do not all come back at once. A dial
// that many waited for counts once.
func (b *balancer) failed(r discovery.Route) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.markLocked(r)
	if m.failures > 0 && time.Now().Before(m.until) {
		return
	}
	pause := time.Second << min(m.failures, 16)
	pause = min(pause, b.limits.MaxBackoff)
	m.failures++
	jitter := time.Duration(b.rand(int(pause/4/time.Millisecond)+1)) * time.Millisecond
	m.until = time.Now().Add(pause - pause/8 + jitter)
}

// refused makes an instance that would not take a request come last for a moment.
func (b *balancer) refused(r discovery.Route) {
	b.pool.log.count("instance_avoided")
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.markLocked(r)
	if until := time.Now().Add(b.limits.AvoidTime); until.After(m.until) {
		m.until = until
	}
}

// connected takes the mark of an instance away.
func (b *balancer) connected(r discovery.Route) {
	if b.marked.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if m := b.marks[r.Instance]; m != nil && m.failures > 0 {
		b.forgetLocked(r.Instance)
	}
}

func (b *balancer) markLocked(r discovery.Route) *mark {
	m := b.marks[r.Instance]
	if m == nil {
		b.sweepLocked()
		m = &mark{address: r.Address, timestamp: r.Timestamp}
		b.marks[r.Instance] = m
		b.marked.Add(1)
	}
	return m
}

// maxMarks bounds what a directory full of dead instances can make us remember.
const maxMarks = 20000

// sweepLocked forgets marks that have been over for long.
func (b *balancer) sweepLocked() {
	if len(b.marks) < maxMarks && len(b.marks)%64 != 63 {
		return
	}
	old := time.Now().Add(-2 * b.limits.MaxBackoff)
	for k, m := range b.marks {
		if m.until.Before(old) || len(b.marks) >= maxMarks {
			b.forgetLocked(k)
		}
	}
}

func (b *balancer) forgetLocked(k discovery.Instance) {
	delete(b.marks, k)
	b.marked.Add(-1)
}

func targetOf(r discovery.Route) target {
	return target{addr: r.Address, pin: pin{pinCertificate, r.Certificate.SHA256}}
}
