package scamp

import (
	"hash/fnv"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// A Balancer chooses among the instances that may take a request, and returns which of
// c.Routes. It is asked only when there are two or more: those that nothing speaks
// against, or, if something speaks against each, all (PROTOCOL 11.4, 11.5). It must not
// wait, and is called by many goroutines at once.
type Balancer func(c *Choice) int

// A Choice is what a Balancer decides. It is valid until the Balancer returns. One that a
// test makes, of a Request and Routes, knows of no calls that wait.
type Choice struct {
	Request *Request          // what is to be sent; not to be changed
	Routes  []discovery.Route // sorted by ident; shared, not to be changed

	b *balancer
}

// Pending is how many calls of this bus wait for a reply of instance i, with those that
// were given up unanswered, unless it has answered anything since, if only a dial.
func (c *Choice) Pending(i int) int {
	w := c.pending(i)
	return w.calls + w.owed
}

// pending tells those that wait from those that were given up.
func (c *Choice) pending(i int) burden {
	if c.b == nil {
		return burden{}
	}
	return c.b.pending(c.Routes[i])
}

// Rand returns a number from 0 to n-1, by Options.Rand if that is set.
func (c *Choice) Rand(n int) int {
	if c.b == nil {
		return rand.IntN(n)
	}
	return c.b.rand(n)
}

// Among is what is left to choose when only some instances are wanted: a Balancer asks
// another one with it. What that returns is an index of routes, of which there must be one
// at least.
func (c *Choice) Among(routes []discovery.Route) *Choice {
	return &Choice{Request: c.Request, Routes: routes, b: c.b}
}

// LeastPending looks at two instances at random and takes the one with fewer calls
// waiting. One that owes an answer to calls that were given up comes second: it may stand
// still. If both do, it looks at some more, and takes the one that owes for less long. It is
// what a nil Balancer means.
func LeastPending(c *Choice) int {
	n := len(c.Routes)
	if n == 1 {
		return 0
	}
	i := c.Rand(n)
	j := c.Rand(n - 1)
	if j >= i {
		j++
	}
	first, second := c.pending(i), c.pending(j)
	if second.before(first) {
		i, first = j, second
	}
	for k := 1; first.owed > 0 && k < min(n, maxLooks); k++ {
		if second = c.pending((j + k) % n); second.before(first) {
			i, first = (j+k)%n, second
		}
	}
	return i
}

// maxLooks bounds how many instances beside the first are looked at when both that were
// drawn owe.
const maxLooks = 8

// A burden is what waits at an instance, and what it owes those that wait no more.
type burden struct {
	calls, owed int
	owes        time.Duration // for how long; zero if owed is
}

// before says whether an instance with w is chosen before one with o. Where all owe, as on
// a machine that is overloaded, one that stands still has done so for longest.
func (w burden) before(o burden) bool {
	if w.owes != o.owes {
		return w.owes < o.owes
	}
	return w.calls+w.owed < o.calls+o.owed
}

// Random takes any instance.
func Random(c *Choice) int { return c.Rand(len(c.Routes)) }

// RoundRobin takes one instance after the other. What it returns counts by itself: use
// one for the calls that are to take turns.
func RoundRobin() Balancer {
	var next atomic.Uint64
	return func(c *Choice) int { return int((next.Add(1) - 1) % uint64(len(c.Routes))) }
}

// Sticky takes the same instance for the same key, in every process, as long as that
// instance is there. When one comes or goes, only its share of the keys moves.
// Requests with an empty key go where LeastPending sends them.
func Sticky(key func(*Request) string) Balancer {
	return func(c *Choice) int {
		k := key(c.Request)
		if k == "" {
			return LeastPending(c)
		}
		best, most := 0, uint64(0)
		for i, r := range c.Routes {
			// The ident is new with each start; what stays is where it is and its key.
			h := fnv.New64a()
			h.Write([]byte(k))
			h.Write([]byte{0})
			h.Write(r.Certificate.SHA256[:])
			h.Write([]byte(r.Address))
			if score := mix(h.Sum64()); i == 0 || score > most {
				best, most = i, score
			}
		}
		return best
	}
}

// mix spreads a hash over all bits, which FNV does not for short differences.
func mix(x uint64) uint64 {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// SameHostFirst leaves the choice to next, nil for LeastPending, among the instances of
// this host, and among all if there is none.
func SameHostFirst(next Balancer) Balancer {
	var own hostAddresses
	return func(c *Choice) int {
		addresses := own.current()
		var near []discovery.Route
		var at []int
		for i, r := range c.Routes {
			if a, err := netip.ParseAddrPort(r.Address); err == nil && (a.Addr().IsLoopback() || addresses[a.Addr().Unmap()]) {
				near, at = append(near, r), append(at, i)
			}
		}
		switch len(near) {
		case 0:
			return c.ask(next)
		case 1:
			return at[0]
		}
		return at[c.Among(near).ask(next)]
	}
}

// hostAddresses are the addresses of this host, looked up now and then.
type hostAddresses struct {
	mu    sync.Mutex // held while they are looked up
	known atomic.Pointer[map[netip.Addr]bool]
	next  atomic.Int64 // UNIX nanoseconds
}

// addressLook is how often the addresses of this host are looked up.
const addressLook = 30 * time.Second

func (h *hostAddresses) current() map[netip.Addr]bool {
	known := h.known.Load()
	if known != nil && (time.Now().UnixNano() < h.next.Load() || !h.mu.TryLock()) {
		return *known // somebody else looks
	}
	if known == nil {
		h.mu.Lock() // the first ones wait for each other
		if known = h.known.Load(); known != nil {
			h.mu.Unlock()
			return *known
		}
	}
	defer h.mu.Unlock()
	found := make(map[netip.Addr]bool)
	list, _ := net.InterfaceAddrs() // none, if that fails: every instance is far
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			found[p.Addr().Unmap()] = true
		}
	}
	h.known.Store(&found)
	h.next.Store(time.Now().Add(addressLook).UnixNano())
	return found
}

// A balancer chooses the instance for each call of a bus, and remembers which
// instances something speaks against.
type balancer struct {
	limits *Limits
	pool   *pool
	rand   func(n int) int // 0 to n-1
	policy Balancer        // nil means LeastPending
	locals *locals
	marks  marks
}

func newBalancer(limits *Limits, pl *pool, own *locals, held func(discovery.Instance) bool, opts *Options) *balancer {
	b := &balancer{limits: limits, pool: pl, rand: opts.chance(), policy: opts.Balancer, locals: own}
	b.marks.init(b, held)
	pl.failed = b.marks.failed
	pl.backoff = backoff{first: dialPause, most: dialPause}
	return b
}

// chance is what Rand says, or its default.
func (o *Options) chance() func(n int) int {
	if o.Rand != nil {
		return o.Rand
	}
	return rand.IntN
}

// choose picks one of routes, which must not be empty, but none that was tried if there
// is another.
func (b *balancer) choose(req *Request, routes []discovery.Route, tried []discovery.Instance) discovery.Route {
	if len(routes) > 1 && (len(tried) > 0 || b.marks.any()) {
		routes = b.marks.healthy(routes, tried)
	}
	if req.Route == nil || req.Route.Balancer == nil {
		routes = b.locals.preferred(routes)
	}
	if len(routes) == 1 {
		return routes[0]
	}
	policy := b.policy
	if req.Route != nil && req.Route.Balancer != nil {
		policy = req.Route.Balancer
	}
	c := Choice{Request: req, Routes: routes, b: b}
	if policy == nil {
		return routes[LeastPending(&c)]
	}
	return b.custom(policy, c)
}

// custom asks a policy of the user's. It is apart from choose so that the default, which
// every call takes, allocates nothing.
func (b *balancer) custom(policy Balancer, c Choice) discovery.Route {
	return c.Routes[c.ask(policy)]
}

// ask returns what a policy chooses. What is no choice is one of LeastPending.
func (c *Choice) ask(policy Balancer) int {
	if policy != nil {
		if i := policy(c); i >= 0 && i < len(c.Routes) {
			return i
		}
		if c.b != nil {
			c.b.pool.log.odd("bad_choice", "a Balancer chose what is not there: want the index of one of Choice.Routes", "routes", len(c.Routes))
		}
	}
	return LeastPending(c)
}

// pending is what calls of this bus wait for at the instance of r, and what it owes.
func (b *balancer) pending(r discovery.Route) burden {
	local := b.locals.at(r)
	w := b.pool.pending(target{addr: r.Address, pin: pin{pinCertificate, r.Certificate.SHA256}, local: local}, r)
	if local != nil {
		w.calls += int(local.s.intake.directs.Load())
	}
	return w
}
