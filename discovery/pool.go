package discovery

// Budgets that follow from the limits. They bound what announcements cost in
// memory when each of them is as large as it may be.
const (
	octetsPerUnknown = 8 << 10  // of MaxUnknown records together
	octetsPerKnown   = 64 << 10 // of MaxIdents records of one certificate together
	octetsPerAction  = 128      // what a parsed action needs beside its text
)

// largest is the cost of the largest announcement.
func largest(l Limits) int { return l.MaxAnnounce + octetsPerAction*l.MaxActions }

// cost is what holding a costs, in octets.
func cost(a *Announcement) int {
	return len(a.seal.json) + len(a.seal.signature) + octetsPerAction*len(a.Actions)
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
		unknown: pool{maxKept: l.MaxReplayUnknown, maxHeld: l.MaxUnknown, maxCost: max(l.MaxUnknown*octetsPerUnknown, largest(l))},
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
		p = &pool{maxKept: d.limits.MaxIdents, maxHeld: d.limits.MaxIdents, maxCost: max(d.limits.MaxIdents*octetsPerKnown, largest(d.limits))}
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
	for next := p.oldest; next != nil && (kept >= p.maxKept || held >= p.maxHeld || used+cost > p.maxCost); {
		old := next
		next = next.newer
		if old == in || d.inFileLocked(old) || old.heard && old.view.state == Live {
			continue
		}
		if old.heard && (held >= p.maxHeld || used+cost > p.maxCost) {
			held, used = held-1, used-old.cost
			d.dropLocked(old, Expired) // its timestamps stay remembered
		}
		if kept >= p.maxKept {
			if old.heard {
				held, used = held-1, used-old.cost
				d.dropLocked(old, Expired)
			}
			kept--
			d.forgetLocked(old)
			d.counters.add(countForgotten, 1)
		}
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
