package discovery

import (
	"slices"
	"time"
)

// refresh takes a packet that repeats what is held: it costs one look.
func (d *Directory) refresh(from origin) bool {
	d.mu.Lock()
	defer d.unlock()
	for _, sum := range from.sums.list() {
		s, ok := d.sums[sum]
		if !ok || !s.held || !s.in.heard {
			continue
		}
		d.hearLocked(s.in, from)
		d.rememberSumsLocked(s.in, from.sums, true)
		d.counters.add(countRefreshed, 1)
		return true
	}
	return false
}

// store applies the replay rule and the budgets to an announcement that came by
// datagram, and holds it (PROTOCOL 7.10 steps 9 and 10).
func (d *Directory) store(a *Announcement, from origin) error {
	now := d.now()
	d.mu.Lock()
	rules := d.rules
	d.mu.Unlock()
	v := d.see(a, rules, Live, noObstacle, false)

	d.mu.Lock()
	defer d.unlock()
	in := d.instances[v.peer.Instance]
	if in == nil {
		in = &instance{key: v.peer.Instance, certificate: a.Certificate, place: -1}
	}
	future := in.history.future(a.Timestamp, now, d.limits.FutureSkew)
	verdict := in.judge(a, future)
	if err := refusalOf(verdict, a); err != nil {
		d.loseLocked(in, from, verdict)
		return err
	}
	p := d.poolOfLocked(a.Certificate)
	if p == nil || !d.makeRoomLocked(p, in, cost(a)) {
		if p != nil && p.kept == 0 {
			delete(d.pools.known, a.Certificate.SHA256)
		}
		return refuse(countOverBudget, "announcement from %s: too many instances of certificate %s, or of all unknown ones: want fewer",
			quoted(a.Ident), a.Certificate.Fingerprint)
	}
	d.instances[in.key] = in
	if verdict == repeats {
		// The file had it already, or only what surrounds the signed octets differs.
		d.hearLocked(in, from)
	} else {
		if d.rules != rules {
			v = d.see(a, d.rules, Live, noObstacle, false)
		}
		d.noticeLocked(in, a, future)
		d.hearLocked(in, from)
		d.holdLocked(in, v, future)
	}
	d.moveLocked(in, p)
	d.chargeLocked(in, true)
	d.rememberSumsLocked(in, from.sums, true)
	d.queueLocked(in)
	return nil
}

// judge applies the replay rule. What has expired does not count as held.
func (in *instance) judge(a *Announcement, future bool) verdict {
	if in.view == nil || in.view.state == Suspect {
		return in.history.judge(a, nil, future, false)
	}
	return in.history.judge(a, in.view.ann, future, in.view.future)
}

// refusalOf returns the error for a verdict, nil when a may be held.
func refusalOf(v verdict, a *Announcement) error {
	switch v {
	case stale:
		return &Error{Counter: countStale, Quiet: true, Text: "announcement from " + quoted(a.Ident) + ": older than one seen before: want a newer timestamp"}
	case equivocation:
		return &Error{Counter: countEquivocation, Quiet: true, Text: "announcement from " + quoted(a.Ident) + ": differs from the one held with the same timestamp: want a newer timestamp"}
	case tooEarly:
		return &Error{Counter: countFuture, Quiet: true, Text: "announcement from " + quoted(a.Ident) + ": timestamp in the future, and one with a sane timestamp is held: want a sane one"}
	}
	return nil
}

// loseLocked remembers a packet that lost, so that its repetitions are cheap. A
// stale one is stale for ever; the others may win when what is held expires, so
// only their signature is remembered.
func (d *Directory) loseLocked(in *instance, from origin, v verdict) {
	switch {
	case from.sums.n == 0:
	case v == stale:
		d.refused.add(from.sums.sum[0])
	case d.instances[in.key] == in:
		d.rememberSumsLocked(in, from.sums, false)
	}
}

// noticeLocked counts and reports what is odd about an announcement that will be
// held.
func (d *Directory) noticeLocked(in *instance, a *Announcement, future bool) {
	d.counters.add(countAccepted, 1)
	if future {
		d.warnLocked(countFuture, "timestamp in the future: taken, because nothing better is known", "ident", cut(a.Ident), "timestamp_us", a.Timestamp)
	}
	for _, w := range a.Warnings {
		d.warnLocked(w.Counter, "announcement taken in part", "ident", cut(a.Ident), "what", w.Text, "times", w.Count)
		d.counters.add(w.Counter, w.Count-1)
	}
	if in.view != nil && in.view.ann.Address != a.Address && in.moved(d.clock.now()) {
		d.warnLocked(countIdentConflict, "address changes again and again: do two processes use one ident?",
			"ident", cut(a.Ident), "address", cut(a.Address), "before", cut(in.view.ann.Address))
	}
}

// hearLocked restarts the expiry of in.
func (d *Directory) hearLocked(in *instance, from origin) {
	d.soundLocked()
	now := d.clock.now()
	in.receipt, in.seen, in.iface = now, now, from.iface
	first := !in.heard || from.iface.loopback() && !in.local
	in.local = in.heard && in.local || from.iface.loopback()
	in.heard = true
	switch v := in.view; {
	case v == nil:
	case v.state == Suspect:
		d.showLocked(in, v.as(Live), Announced) // it was only late
	case first && d.obstacleLocked(in, v.ann) != v.obstacle:
		d.reviewLocked(in, d.rules)
	}
	if in.pool != nil {
		in.pool.touch(in)
	}
	d.queueLocked(in)
}

// holdLocked makes v, which nobody else has yet, what is held of in.
func (d *Directory) holdLocked(in *instance, v *view, future bool) {
	if in.view == nil {
		d.holdPrintLocked(in)
	}
	in.history.take(v.ann, future)
	d.dropSumsLocked(in)
	v.future = future
	if v.ann.Withdrawn() {
		v.state, v.entries = Withdrawn, nil
		if in.view != nil {
			v.before = in.view.offering()
		}
	}
	if v.obstacle = d.obstacleLocked(in, v.ann); v.obstacle != noObstacle {
		v.entries = nil
	}
	d.showLocked(in, v, Announced)
}

// LoadFile makes records all that the cache file holds now: new and changed ones
// are held, those that were in the file before and are not any more leave it. An
// instance that is also heard by datagram stays. Records count while they are in
// the file, whatever their age (PROTOCOL 8.3); the replay rule holds for them,
// the budgets for datagrams do not. Records past MaxCacheRecords and those
// without a good signature are left out.
func (d *Directory) LoadFile(records []*Announcement) {
	read := make([]*Announcement, len(records))
	parallel(len(records), func(i int) {
		a, err := d.limits.reread(records[i])
		if d.count(err) == nil {
			read[i] = a
		}
	})
	d.loadFile(slices.DeleteFunc(read, func(a *Announcement) bool { return a == nil }))
}

// loadFile is LoadFile for records that are exactly what was read and verified.
func (d *Directory) loadFile(records []*Announcement) {
	if extra := len(records) - d.limits.MaxCacheRecords; extra > 0 {
		d.counters.add(countCacheTooBig, extra)
		records = records[:d.limits.MaxCacheRecords]
	}
	now := d.now()
	rules, ahead := d.lookAhead(records)

	d.mu.Lock()
	defer d.unlock()
	d.scan++
	for i, a := range records {
		if d.rules != rules {
			ahead[i] = nil // made under other rules
		}
		d.loadLocked(a, ahead[i], now)
	}
	for _, in := range d.instances {
		if in.scan == d.scan-1 && in.scan != 0 {
			d.leaveFileLocked(in)
		}
	}
	for in := d.pools.file.oldest; in != nil && d.pools.file.kept > d.pools.file.maxKept; {
		old := in
		in = in.newer
		if old.view == nil && !d.inFileLocked(old) {
			d.forgetLocked(old)
			d.counters.add(countForgotten, 1)
		}
	}
}

// lookAhead makes the views of records, on all cores and under no lock. It is
// nil for what the directory seems to hold already.
func (d *Directory) lookAhead(records []*Announcement) (*Authorized, []*view) {
	held := make([]bool, len(records))
	d.mu.Lock()
	rules := d.rules
	for i, a := range records {
		in := d.instances[Instance{SHA256: a.Certificate.SHA256, Ident: a.Ident}]
		held[i] = in != nil && in.view != nil && in.view.ann == a
	}
	d.mu.Unlock()
	views := make([]*view, len(records))
	parallel(len(records), func(i int) {
		if !held[i] {
			views[i] = d.see(records[i], rules, Live, noObstacle, false)
		}
	})
	return rules, views
}

// loadLocked takes one record of the file. The view may be nil.
func (d *Directory) loadLocked(a *Announcement, v *view, now time.Time) {
	key := Instance{SHA256: a.Certificate.SHA256, Ident: a.Ident}
	in := d.instances[key]
	if in == nil {
		in = &instance{key: key, certificate: a.Certificate, place: -1}
		d.instances[key] = in
	}
	in.seen = d.clock.now()
	wasInFile := d.scan > 1 && in.scan >= d.scan-1
	in.scan = d.scan
	if in.pool == nil || in.pool == &d.pools.file {
		d.moveLocked(in, &d.pools.file)
	}
	future := in.history.future(a.Timestamp, now, d.limits.FutureSkew)
	switch verdict := in.judge(a, future); verdict {
	case replaces:
		if v == nil {
			v = d.see(a, d.rules, Live, noObstacle, false)
		}
		d.noticeLocked(in, a, future)
		d.holdLocked(in, v, future)
		if in.heard {
			d.chargeLocked(in, true)
		}
	case repeats:
		if !wasInFile && in.view.obstacle == foreignLoopback {
			d.reviewLocked(in, d.rules)
		}
	default:
		d.count(refusalOf(verdict, a))
	}
	d.queueLocked(in)
}

// leaveFileLocked takes in out of the file.
func (d *Directory) leaveFileLocked(in *instance) {
	in.seen = d.clock.now()
	switch {
	case in.view == nil:
	case !in.heard:
		d.dropLocked(in, LeftFile)
	case d.obstacleLocked(in, in.view.ann) != in.view.obstacle:
		d.reviewLocked(in, d.rules)
	}
	d.queueLocked(in)
}

// SetAuthorized puts other rules in force, for everything that is held and will
// be held. Lookups see all of the old rules or all of the new ones.
func (d *Directory) SetAuthorized(z *Authorized) {
	d.mu.Lock()
	defer d.unlock()
	d.rules = z
	held := make([]*instance, 0, len(d.instances))
	for _, in := range d.instances {
		if in.heard {
			d.moveLocked(in, d.poolForMoveLocked(in))
		}
		if in.view != nil {
			held = append(held, in)
		}
	}
	views := make([]*view, len(held))
	parallel(len(held), func(i int) { // d.mu stays with us: what they read does not change
		v := held[i].view
		views[i] = d.see(v.ann, z, v.state, v.obstacle, v.future)
	})
	for i, in := range held {
		if !sameEntries(in.view, views[i]) {
			d.showLocked(in, views[i], Unauthorized)
		}
	}
}

// poolForMoveLocked returns the pool that in belongs to now. What is held
// already stays within no budget: it leaves when it expires.
func (d *Directory) poolForMoveLocked(in *instance) *pool {
	if p := d.poolOfLocked(in.certificate); p != nil {
		return p
	}
	return &d.pools.unknown
}

// sameEntries tells whether two views of one announcement give the same rights.
func sameEntries(a, b *view) bool {
	if len(a.entries) != len(b.entries) || a.denied != b.denied {
		return false
	}
	for i := range a.entries {
		if a.entries[i].key != b.entries[i].key || a.entries[i].route.Rule != b.entries[i].route.Rule {
			return false
		}
	}
	return true
}

// Authorized returns the rules in force.
func (d *Directory) Authorized() *Authorized {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rules
}
