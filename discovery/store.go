package discovery

// refreshLocked takes a packet that repeats what is held: it costs one look.
func (d *Directory) refreshLocked(from origin) bool {
	for _, sum := range from.sums.list() {
		s, ok := d.sums[sum]
		if !ok || !s.held || !s.in.heard {
			continue
		}
		if s.elsewhere && !d.staysLocked(s.in) {
			return false
		}
		if !s.elsewhere {
			s.in.exact = max(d.clock.now(), 1)
		}
		d.hearLocked(s.in, from)
		d.rememberSumsLocked(s.in, from.sums, s)
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
	sight := sighting{in: in, held: true, elsewhere: verdict == elsewhere && d.staysLocked(in)}
	if !sight.elsewhere {
		in.exact = max(d.clock.now(), 1)
	}
	if verdict == repeats || sight.elsewhere {
		// The file had it already, or only what surrounds the signed octets differs, or it
		// comes with another address of a host that has more than one.
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
	if n := from.sums.n; n > 0 && !sight.elsewhere && in.text == ([32]byte{}) {
		in.text = from.sums.sum[n-1]
	}
	d.rememberSumsLocked(in, from.sums, sight)
	d.queueLocked(in)
	return nil
}

// judge applies the replay rule. What has expired does not count as held.
func (in *instance) judge(a *Announcement, future bool) verdict {
	if in.view == nil || in.view.state == Suspect || in.yields {
		return in.history.judge(a, nil, future, false)
	}
	v := in.history.judge(a, in.view.ann, future, in.view.future)
	if v == equivocation && a.elsewhere(in.view.ann) {
		return elsewhere
	}
	return v
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
		d.rememberSumsLocked(in, from.sums, sighting{in: in})
	}
	if v == tooEarly {
		in.early = max(d.clock.now(), 1)
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
		if w.Counter == countIntervalClamped {
			d.counters.add(w.Counter, w.Count) // every original Go service needs it
			continue
		}
		d.warnLocked(w.Counter, "announcement taken in part", "ident", cut(a.Ident), "what", w.Text, "times", w.Count)
		d.counters.add(w.Counter, w.Count-1)
	}
	if in.view != nil && in.view.ann.Address != a.Address && in.view.ann.Timestamp != a.Timestamp && in.moved(d.clock.now()) {
		d.warnLocked(countIdentConflict, "address changes again and again: do two processes use one ident?",
			"ident", cut(a.Ident), "address", cut(a.Address), "before", cut(in.view.ann.Address))
	}
}

// hearLocked restarts the expiry of in.
func (d *Directory) hearLocked(in *instance, from origin) {
	d.soundLocked()
	d.health.noteLocked(in, from.parts)
	now := d.clock.now()
	in.receipt, in.seen, in.iface, in.yields = now, now, from.iface, false
	first := !in.heard || from.iface.loopback() && !in.local
	in.local = in.heard && in.local || from.iface.loopback()
	in.heard = true
	switch v := in.view; {
	case v == nil:
	case v.state == Suspect:
		d.showLocked(in, v.as(Live), Announced) // it was only late
	case first && d.obstacleLocked(in, v.ann) != v.obstacle:
		d.reviewLocked(in, d.rules, Announced)
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
	in.early, in.yields = 0, false
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
