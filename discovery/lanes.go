package discovery

import "time"

// How many new datagrams are read a second, and how many of these may have a text
// longer than usual: enough to find what may be checked among what may not, and
// too few to keep a processor busy (THREATS D20).
const (
	looksPerCheck = 4        // of VerifyRate
	longLooks     = 1        // of VerifyRateUnknown
	usualText     = 24 << 10 // octets; half as long again as the longest one recorded in production

	// A look at less than wholeLook octets of text gives back what it did not cost, down
	// to leastLook: junk is no text at all, or a short one.
	wholeLook = 1 << 10
	leastLook = 0.125

	// shares is how many certificates would have to be flooded at once before another
	// that a rule names finds no signature check: each may take so many parts of the
	// rate at any time, and more only while half of all is there.
	shares = 16
)

// lanes are the budgets of new datagrams: to be read, to be read beyond usualText,
// and signature checks of certificates that a rule names, and of all others. Whoever
// forges announcements names a certificate as he likes, and certificates are public: so
// each has a share of the checks of those that a rule names.
type lanes struct {
	looks   tokens
	long    tokens
	known   tokens
	unknown tokens

	own     map[[32]byte]*tokens // shares in known, by certificate
	mostOwn int                  // of these; when there are as many, all begin anew
}

func newLanes(l Limits) lanes {
	return lanes{
		looks:   newTokens(looksPerCheck * l.VerifyRate),
		long:    newTokens(longLooks * l.VerifyRateUnknown),
		known:   newTokens(l.VerifyRate),
		unknown: newTokens(l.VerifyRateUnknown),
		own:     make(map[[32]byte]*tokens),
		mostOwn: l.MaxKnown,
	}
}

// takeKnown takes a signature check for a certificate that a rule names.
func (c *lanes) takeKnown(certificate [32]byte) bool {
	share := c.own[certificate]
	if share == nil {
		if len(c.own) >= c.mostOwn {
			clear(c.own)
		}
		t := newTokens(max(int(c.known.rate)/shares, 1))
		share = &t
		c.own[certificate] = share
	}
	if !share.take() && !c.known.plenty() {
		return false
	}
	return c.known.take()
}

// tokens is a token bucket: rate tokens a second, twice that at most at once.
// The holder of the directory's lock owns it.
type tokens struct {
	rate float64
	have float64
	last time.Time
}

func newTokens(rate int) tokens {
	return tokens{rate: float64(rate), have: 2 * float64(rate), last: time.Now()}
}

// take takes one token, if there is one.
func (t *tokens) take() bool {
	t.grow()
	if t.have < 1 {
		return false
	}
	t.have--
	return true
}

// give gives back a part of a token that was taken.
func (t *tokens) give(part float64) { t.have = min(2*t.rate, t.have+part) }

// plenty tells whether more than half of what there may be is there.
func (t *tokens) plenty() bool {
	t.grow()
	return t.have > t.rate
}

func (t *tokens) grow() {
	now := time.Now()
	t.have = min(2*t.rate, t.have+t.rate*now.Sub(t.last).Seconds())
	t.last = now
}

// A refused remembers datagrams that were refused for what they are, so that
// each costs one look and not one signature check every time it is repeated.
// The oldest make room. The holder of the directory's lock owns it.
type refused struct {
	life  time.Duration
	until map[[32]byte]time.Time
	ring  [][32]byte // keys of until, oldest at next once it is full
	next  int
	size  int
}

func newRefused(size int, life time.Duration) refused {
	return refused{life: life, until: make(map[[32]byte]time.Time), size: size}
}

func (r *refused) add(sum [32]byte) {
	if _, ok := r.until[sum]; ok {
		r.until[sum] = time.Now().Add(r.life)
		return
	}
	r.until[sum] = time.Now().Add(r.life)
	if len(r.ring) < r.size {
		r.ring = append(r.ring, sum)
		return
	}
	delete(r.until, r.ring[r.next])
	r.ring[r.next] = sum
	r.next = (r.next + 1) % r.size
}

func (r *refused) has(sum [32]byte) bool {
	until, ok := r.until[sum]
	return ok && time.Now().Before(until)
}
