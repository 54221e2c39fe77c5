package discovery

import (
	"slices"
	"time"
)

// An instance is what is held and remembered of one instance. It belongs to
// whoever holds the directory's lock.
type instance struct {
	key         Instance
	certificate *Certificate
	history     history
	view        *view // what is held; nil when nothing is

	scan    uint64        // the LoadFile call that saw it last
	heard   bool          // what is held came by datagram, and is not forgotten yet
	local   bool          // it did so on loopback or in this process
	iface   Iface         // where it was heard last
	receipt time.Duration // when, by the clock
	seen    time.Duration // last sight by datagram or in the file

	sums  [][32]byte      // keys of Directory.sums that mean this instance, oldest first
	moves []time.Duration // when its address changed lately
	alarm time.Duration   // when that was reported

	pool  *pool // whose budget it uses
	older *instance
	newer *instance
	cost  int // charged to the pool

	due   time.Duration // when to look at it again
	place int           // in the queue, -1 when not in it
}

// A sighting says what a packet with a good signature is.
type sighting struct {
	in   *instance
	held bool // it is what is held, so another one is a refresh; else it was not newer
}

// maxSums is how many packets of one instance are known by their sum: that of
// each interface of its host, as datagram and as text.
const maxSums = 16

// An address that changes more than maxMoves times within moveTime means that
// two processes use one ident (THREATS D16).
const (
	maxMoves = 3
	moveTime = 60 * time.Second
)

// moved notes a change of address and tells whether to raise the alarm.
func (in *instance) moved(now time.Duration) bool {
	in.moves = append(in.moves, now)
	if len(in.moves) <= maxMoves {
		return false
	}
	first := in.moves[0]
	in.moves = slices.Delete(in.moves, 0, 1)
	if now-first > moveTime || in.alarm != 0 && now-in.alarm < moveTime {
		return false
	}
	in.alarm = max(now, 1)
	return true
}

// inFileLocked tells whether the cache file holds a record of in.
func (d *Directory) inFileLocked(in *instance) bool { return d.scan != 0 && in.scan == d.scan }

// rememberSumsLocked makes packets known as good ones of in.
func (d *Directory) rememberSumsLocked(in *instance, packet sums, held bool) {
	for _, sum := range packet.list() {
		s, ok := d.sums[sum]
		if ok && s.in != in {
			continue
		}
		if !ok {
			in.sums = append(in.sums, sum)
		}
		d.sums[sum] = sighting{in: in, held: held}
	}
	for len(in.sums) > maxSums {
		delete(d.sums, in.sums[0])
		in.sums = slices.Delete(in.sums, 0, 1)
	}
}

// dropSumsLocked forgets all packets of in.
func (d *Directory) dropSumsLocked(in *instance) {
	for _, sum := range in.sums {
		delete(d.sums, sum)
	}
	in.sums = nil
}

// A pool is a budget that some instances share: those of one certificate that a
// rule names, those of all other certificates, or those only known from a file.
// It keeps them in the order of their last sight.
type pool struct {
	maxKept, maxHeld, maxCost int // remembered; held by datagram; octets of these

	kept, held, cost int
	oldest, newest   *instance
}

// touch makes in the newest of its pool.
func (p *pool) touch(in *instance) {
	p.unlink(in)
	p.link(in)
}

func (p *pool) link(in *instance) {
	in.older, in.newer = p.newest, nil
	if p.newest != nil {
		p.newest.newer = in
	} else {
		p.oldest = in
	}
	p.newest = in
}

func (p *pool) unlink(in *instance) {
	if in.older != nil {
		in.older.newer = in.newer
	} else {
		p.oldest = in.newer
	}
	if in.newer != nil {
		in.newer.older = in.older
	} else {
		p.newest = in.older
	}
	in.older, in.newer = nil, nil
}

// pools are all budgets.
type pools struct {
	limits  Limits
	unknown pool
	file    pool
	known   map[[32]byte]*pool // by certificate; none is empty
}

func newPools(l Limits) pools {
	return pools{
		limits:  l,
		unknown: pool{maxKept: l.MaxReplayUnknown, maxHeld: l.MaxUnknown, maxCost: l.MaxUnknown * octetsPerUnknown},
		file:    pool{maxKept: l.MaxCacheRecords},
		known:   make(map[[32]byte]*pool),
	}
}

// poolOfLocked returns the budget for what the certificate announces by
// datagram, nil when there are too many certificates.
func (d *Directory) poolOfLocked(c *Certificate) *pool {
	if !d.rules.Named(c) {
		return &d.pools.unknown
	}
	p := d.pools.known[c.SHA256]
	if p == nil && len(d.pools.known) < d.limits.MaxKnown {
		p = &pool{maxKept: d.limits.MaxIdents, maxHeld: d.limits.MaxIdents, maxCost: d.limits.MaxIdents * octetsPerKnown}
		d.pools.known[c.SHA256] = p
	}
	return p
}

// moveLocked puts in into a pool, nil to take it out of all.
func (d *Directory) moveLocked(in *instance, p *pool) {
	if in.pool == p {
		if p != nil {
			p.touch(in)
		}
		return
	}
	if old := in.pool; old != nil {
		old.unlink(in)
		old.kept--
		d.chargeLocked(in, false)
		if old.kept == 0 && d.pools.known[in.key.SHA256] == old {
			delete(d.pools.known, in.key.SHA256)
		}
	}
	in.pool = p
	if p != nil {
		if p != &d.pools.unknown && p != &d.pools.file {
			d.pools.known[in.key.SHA256] = p
		}
		p.link(in)
		p.kept++
		d.chargeLocked(in, in.heard)
	}
}

// chargeLocked brings the costs of a pool up to date.
func (d *Directory) chargeLocked(in *instance, heard bool) {
	p := in.pool
	if in.cost > 0 {
		p.held--
		p.cost -= in.cost
		in.cost = 0
	}
	if heard && in.view != nil {
		in.cost = cost(in.view.ann)
		p.held++
		p.cost += in.cost
	}
}

// makeRoomLocked tells whether p can take what costs so much for in, and drops
// what matters least for it: first what may not be chosen anyway, oldest first.
func (d *Directory) makeRoomLocked(p *pool, in *instance, cost int) bool {
	kept, held, used := p.kept, p.held, p.cost
	if in.pool == p {
		kept--
		used -= in.cost
		if in.cost > 0 {
			held--
		}
	}
	for i := p.oldest; i != nil && (kept >= p.maxKept || held >= p.maxHeld || used+cost > p.maxCost); {
		old := i
		i = i.newer
		if old == in || d.inFileLocked(old) || old.heard && old.view.state == Live {
			continue
		}
		if old.heard && kept < p.maxKept {
			held, used = held-1, used-old.cost
			d.dropLocked(old, Expired) // its timestamps stay remembered
			continue
		}
		kept, used = kept-1, used-old.cost
		if old.heard {
			held--
		}
		d.dropLocked(old, Expired)
		d.forgetLocked(old)
		d.counters.add(countForgotten, 1)
	}
	return kept < p.maxKept && held < p.maxHeld && used+cost <= p.maxCost
}

// dropLocked ends what is held of in. Its timestamps stay remembered.
func (d *Directory) dropLocked(in *instance, why Why) {
	if in.view != nil {
		d.releasePrintLocked(in)
	}
	d.showLocked(in, nil, why)
	in.heard = false
	d.dropSumsLocked(in)
	if in.pool != nil {
		d.chargeLocked(in, false)
	}
}

// forgetLocked removes the last memory of in, of which nothing is held.
func (d *Directory) forgetLocked(in *instance) {
	d.moveLocked(in, nil)
	d.queue.remove(in)
	delete(d.instances, in.key)
}

// A print is the certificates with one SHA-1 of which something is held.
type print struct {
	held map[[32]byte]int // how many instances, by SHA-256
}

// holdPrintLocked counts the certificate of in, of which something will be held.
func (d *Directory) holdPrintLocked(in *instance) {
	name := in.certificate.Fingerprint
	p := d.prints[name]
	if p == nil {
		p = &print{held: make(map[[32]byte]int)}
		d.prints[name] = p
	}
	p.held[in.key.SHA256]++
	if len(p.held) == 2 && p.held[in.key.SHA256] == 1 {
		d.warnLocked(countCollision, "two certificates have one SHA-1 fingerprint: both are refused", "fingerprint", name)
		d.lookAgainLocked(name)
	}
}

// releasePrintLocked takes back what holdPrintLocked counted.
func (d *Directory) releasePrintLocked(in *instance) {
	name := in.certificate.Fingerprint
	p := d.prints[name]
	if p.held[in.key.SHA256]--; p.held[in.key.SHA256] > 0 {
		return
	}
	delete(p.held, in.key.SHA256)
	switch len(p.held) {
	case 0:
		delete(d.prints, name)
	case 1:
		d.lookAgainLocked(name)
	}
}

// lookAgainLocked makes new views of the instances with a fingerprint.
func (d *Directory) lookAgainLocked(fingerprint string) {
	for _, in := range d.instances {
		if in.view != nil && in.certificate.Fingerprint == fingerprint {
			d.reviewLocked(in, d.rules)
		}
	}
}

// reviewLocked makes a new view of what is held of in.
func (d *Directory) reviewLocked(in *instance, z *Authorized) {
	v := in.view
	d.showLocked(in, d.see(v.ann, z, v.state, d.obstacleLocked(in, v.ann), v.future), Announced)
}

// obstacleLocked says what keeps a, announced by in, from being chosen at all.
func (d *Directory) obstacleLocked(in *instance, a *Announcement) obstacle {
	switch p := d.prints[in.certificate.Fingerprint]; {
	case p != nil && len(p.held) > 1:
		return collision
	case in.heard && !in.local && !d.inFileLocked(in) && loopbackAddress(a):
		return foreignLoopback
	}
	return noObstacle
}
