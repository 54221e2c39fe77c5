package discovery

import (
	"slices"
)

// What changes under Directory.mu is published: it goes into the index, and then
// the watchers are told. Directory.publishing keeps these steps in one order. It
// is taken before mu and never while mu is held, so that nobody who only looks
// something up, or only repeats himself, waits for an index to be built.
//
// Whoever changes many instances holds publishing all the time and mu for a few
// of them at once: the others go on, and lookups see all of it together.

// A change is one instance before and after something happened to it; nil means
// that it was not there, or is not there any more because of why.
type change struct {
	old, new *view
	why      Why
}

func (c change) instance() Instance {
	if c.new != nil {
		return c.new.peer.Instance
	}
	return c.old.peer.Instance
}

// unlock gives mu back, publishes what changed under it, and writes log lines.
// Every method that changes anything ends with it, or with release.
func (d *Directory) unlock() {
	changed := len(d.changes) > 0
	notes := d.release()
	if changed {
		d.publishing.Lock()
		d.publish()
		d.publishing.Unlock()
	}
	d.say(notes)
}

// release gives mu back and returns what is to be logged. What changed is
// published later, by whoever holds publishing.
func (d *Directory) release() []note {
	if !d.done {
		d.queue.arm(d.clock.now())
	}
	notes := d.notes
	d.notes = nil
	d.mu.Unlock()
	return notes
}

func (d *Directory) say(notes []note) {
	for _, n := range notes {
		d.report.say(n.level, n.kind, n.text, n.args...)
	}
}

// partSize is how many instances are looked at in one go under mu: some tenths of
// a millisecond.
const partSize = 256

// inParts calls f under mu for 0 to n-1, a few at a time, and returns what is to be
// logged. The caller holds publishing and publishes what f changed.
func (d *Directory) inParts(n int, f func(i int)) (notes []note) {
	for from := 0; from < n; from += partSize {
		d.mu.Lock()
		for i := from; i < min(n, from+partSize); i++ {
			f(i)
		}
		notes = append(notes, d.release()...)
	}
	return notes
}

// eachHeld calls f under mu for every instance of which something is held. It looks
// at a few at a time: f sees each of them whole, but not all at one moment.
func (d *Directory) eachHeld(f func(*instance)) { d.each(d.index.Load().all(), f) }

// each is eachHeld for the instances of these views.
func (d *Directory) each(views []*view, f func(*instance)) {
	for part := range slices.Chunk(views, partSize) {
		d.mu.Lock()
		for _, v := range part {
			if v.in.view != nil {
				f(v.in)
			}
		}
		d.mu.Unlock()
	}
}

// publish replaces the index, once for all changes, and tells the watchers. The
// caller holds publishing, and not mu.
func (d *Directory) publish() {
	d.mu.Lock()
	changes := d.changes
	d.changes = make(map[*instance]*change)
	d.mu.Unlock()
	list := make([]change, 0, len(changes))
	for _, c := range changes {
		if c.old != c.new { // else it came and went
			list = append(list, *c)
		}
	}
	if len(list) == 0 {
		return
	}
	// In one order, whatever the map says: two runs of a test tell the same story.
	slices.SortFunc(list, func(a, b change) int { return compareInstances(a.instance(), b.instance()) })
	old := d.index.Load()
	d.index.Store(old.with(list))
	close(old.superseded)
	d.names.published(len(list))
	for _, w := range d.watchers {
		for _, c := range list {
			w.tell(c)
		}
	}
}

// showLocked makes v, which nobody else has yet, what is held of in; nil means that
// nothing is, because of why.
func (d *Directory) showLocked(in *instance, v *view, why Why) {
	if in.view == v {
		return
	}
	if v == nil && in.view.state == Withdrawn {
		why = Goodbye // it was gone before
	}
	c := d.changes[in]
	if c == nil {
		c = &change{old: in.view}
		d.changes[in] = c
	}
	c.new, c.why = v, why
	in.view = v
	if v != nil {
		v.in = in
	}
}
