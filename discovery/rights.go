package discovery

import "weak"

// SetAuthorized puts other rules in force, for everything that is held and will
// be held. Lookups see all of the old rules or all of the new ones. It looks at
// all that is held; lookups and repetitions go on meanwhile, and only what
// changes is seen when the rules are.
func (d *Directory) SetAuthorized(z *Authorized) { d.setAuthorized(z, nil) }

// setTrouble says why there are no rules yet, in what is said of those who are denied. Rules
// that somebody gave stay in force.
func (d *Directory) setTrouble(path string, err error) {
	d.setAuthorized(&Authorized{File: path, trouble: err}, func(old *Authorized) bool { return old == nil || old.trouble != nil })
}

// setAuthorized is SetAuthorized where the rules in force are such that they may be replaced;
// nil means that any are.
func (d *Directory) setAuthorized(z *Authorized, replaces func(old *Authorized) bool) {
	d.publishing.Lock()
	d.mu.Lock()
	if replaces != nil && !replaces(d.rules) {
		d.mu.Unlock()
		d.publishing.Unlock()
		return
	}
	d.rules = z // what comes from now on is judged by them
	for in := range d.changes {
		d.judgeAgainLocked(in, nil)
	}
	notes := d.release()
	held := d.index.Load().all()
	views := make([]*view, len(held))
	parallel(len(held), func(i int) {
		v := held[i]
		views[i] = d.see(v.ann, z, v.state, v.obstacle, v.future)
		views[i].before = v.before
	})
	notes = append(notes, d.inParts(len(held), func(i int) { d.judgeAgainLocked(held[i].in, views[i]) })...)
	d.publish()
	d.publishing.Unlock()
	d.say(notes)
}

// judgeAgainLocked brings in under the rules in force. The view v is what becomes of
// the one it had when it was published, nil when nobody made it.
func (d *Directory) judgeAgainLocked(in *instance, v *view) {
	old := in.view
	if old == nil {
		return
	}
	if in.heard {
		if p := d.poolForMoveLocked(in); p != in.pool {
			d.moveLocked(in, p)
		}
	}
	if old.rules == weak.Make(d.rules) {
		return
	}
	if v == nil || v.ann != old.ann || v.state != old.state || v.obstacle != old.obstacle {
		d.reviewLocked(in, d.rules, Unauthorized)
		return
	}
	if !sameEntries(old, v) {
		d.showLocked(in, v, Unauthorized)
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

// Trouble says why there are no rules: their file could not be read, and never was. It is
// nil when there are some, were it none but comments, and for rules that nobody reads.
func (z *Authorized) Trouble() error {
	if z == nil {
		return nil
	}
	return z.trouble
}

// Authorized returns the rules in force.
func (d *Directory) Authorized() *Authorized {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rules
}
