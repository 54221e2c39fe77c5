package discovery

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
