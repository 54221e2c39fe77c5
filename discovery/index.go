package discovery

import (
	"hash/maphash"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// shardCount is how many parts the index has. A change copies the list of parts
// (8 KiB) and the parts it touches, never the rest, so that one announcement
// among 10,000 services costs well under a millisecond.
const shardCount = 1024

// A shard is one part of an index.
type shard struct {
	slots map[string]slot
	views []*view // of the instances that fall into it, in no order
}

// An index answers Find. It never changes: a new one takes its place as a
// whole, and lookups that began with the old one end with it (invariant 4).
type index struct {
	seed       seed
	shards     [shardCount]*shard // nil means empty
	number     uint64             // of changes so far
	superseded chan struct{}      // closed when another index is in force
}

// A slot holds what is known under one key, each list sorted by ident, then by
// certificate.
type slot struct {
	live    []Route
	suspect []Route
}

// An entry is one route under one key.
type entry struct {
	key   string
	shard int
	route Route
}

// A seed spreads keys over shards in a way that no announcer can foresee.
type seed struct{ maphash.Seed }

func newSeed() seed { return seed{maphash.MakeSeed()} }

func (s seed) shardOf(key []byte) int { return int(maphash.Bytes(s.Seed, key) % shardCount) }

// shardOfInstance takes both parts of what tells instances apart: whoever has many
// certificates may give all of them one ident.
func (s seed) shardOfInstance(in Instance) int {
	return int(maphash.Comparable(s.Seed, in) % shardCount)
}

func newIndex(s seed) *index {
	return &index{seed: s, superseded: make(chan struct{})}
}

// find returns the slot that answers q. It does not allocate unless names are
// far longer than any in use.
func (x *index) find(q Query) slot {
	q, ok := q.normal()
	if !ok {
		return slot{}
	}
	var room [256]byte
	key, ok := appendKey(room[:0], q.Sector, q.Action, q.Version, q.Envelope)
	if !ok {
		return slot{}
	}
	part := x.shards[x.seed.shardOf(key)]
	if part == nil {
		return slot{}
	}
	s := part.slots[string(key)]
	if q.Ident != "" || q.Service != "" || q.Host != "" {
		s.live, s.suspect = q.pick(s.live), q.pick(s.suspect)
	}
	return s
}

// all returns the view of every instance of which something is held, in no order.
// The slice is the caller's.
func (x *index) all() []*view {
	n := 0
	for _, part := range x.shards {
		n += len(part.all())
	}
	views := make([]*view, 0, n)
	for _, part := range x.shards {
		views = append(views, part.all()...)
	}
	return views
}

// all returns the views of a shard. The slice is shared.
func (s *shard) all() []*view {
	if s == nil {
		return nil
	}
	return s.views
}

// view returns what is held of an instance, nil when nothing is.
func (x *index) view(in Instance) *view {
	for _, v := range x.shards[x.seed.shardOfInstance(in)].all() {
		if v.peer.Instance == in {
			return v
		}
	}
	return nil
}

// with returns the index after changes, which are in the order of instances. The work
// is spread over all cores when there is much of it.
func (x *index) with(changes []change) *index {
	next := &index{seed: x.seed, shards: x.shards, number: x.number + 1, superseded: make(chan struct{})}
	list := make(edits)
	for _, c := range changes {
		list.of(x.seed.shardOfInstance(c.instance())).exchange(c)
		if c.old != nil {
			for _, e := range c.old.entries {
				list.of(e.shard).key(e.key).set(c.old.peer.Instance, Route{}, c.old.state)
			}
		}
		if c.new != nil {
			for _, e := range c.new.entries {
				list.of(e.shard).key(e.key).set(c.new.peer.Instance, e.route, c.new.state)
			}
		}
	}
	work := slices.Collect(maps.Keys(list))
	build := func(n int) {
		i := work[n]
		next.shards[i] = x.shards[i].with(list[i]) // each shard is written by one goroutine
	}
	if len(work) >= 64 {
		parallel(len(work), build)
		return next
	}
	for n := range work {
		build(n)
	}
	return next
}

// edits are what happens to an index, by shard.
type edits map[int]*shardEdit

func (e edits) of(shard int) *shardEdit {
	se := e[shard]
	if se == nil {
		se = new(shardEdit)
		e[shard] = se
	}
	return se
}

// A shardEdit is what happens to one shard.
type shardEdit struct {
	slots map[string]*edit
	gone  map[*view]bool
	come  []*view
}

func (se *shardEdit) exchange(c change) {
	if c.old != nil {
		if se.gone == nil {
			se.gone = make(map[*view]bool)
		}
		se.gone[c.old] = true
	}
	if c.new != nil {
		se.come = append(se.come, c.new)
	}
}

func (se *shardEdit) key(key string) *edit {
	ed := se.slots[key]
	if ed == nil {
		if se.slots == nil {
			se.slots = make(map[string]*edit)
		}
		ed = new(edit)
		se.slots[key] = ed
	}
	return ed
}

// An edit is what happens to one slot: to one instance after the other, in their order.
type edit struct {
	steps []editStep
}

// An editStep is the route of an instance from now on, and whether it is a suspect; or
// no route, when it leaves.
type editStep struct {
	instance Instance
	route    Route
	suspect  bool
}

// set notes the route of an instance. What was noted of it before was its leaving.
func (ed *edit) set(in Instance, r Route, s State) {
	step := editStep{in, r, s == Suspect}
	if last := len(ed.steps) - 1; last >= 0 && ed.steps[last].instance == in {
		ed.steps[last] = step
		return
	}
	ed.steps = append(ed.steps, step)
}

// apply returns old, the live routes of a slot or the suspect ones, after ed. Old is
// left as it is: somebody may be reading it. Few steps cost a copy of old and nothing
// else, however long it is.
func (ed *edit) apply(old []Route, suspect bool) []Route {
	next := make([]Route, 0, len(old)+len(ed.steps))
	for _, step := range ed.steps {
		i, there := slices.BinarySearchFunc(old, step.instance, func(r Route, in Instance) int { return compareInstances(r.Instance, in) })
		next = append(next, old[:i]...)
		if old = old[i:]; there {
			old = old[1:]
		}
		if step.route.Peer != nil && step.suspect == suspect {
			next = append(next, step.route)
		}
	}
	next = append(next, old...)
	switch {
	case len(next) == 0:
		return nil
	case cap(next) > len(next)+len(next)/8:
		next = slices.Clone(next) // many took the place of themselves
	}
	return slices.Clip(next)
}

// with returns a copy of a shard with edits made, nil when nothing is left.
func (s *shard) with(se *shardEdit) *shard {
	if s == nil {
		s = new(shard)
	}
	next := &shard{slots: s.slots, views: s.views}
	if len(se.slots) > 0 {
		next.slots = make(map[string]slot, len(s.slots)+len(se.slots))
		maps.Copy(next.slots, s.slots)
	}
	for key, ed := range se.slots {
		old := next.slots[key]
		now := slot{ed.apply(old.live, false), ed.apply(old.suspect, true)}
		if len(now.live)+len(now.suspect) == 0 {
			delete(next.slots, key)
			continue
		}
		next.slots[key] = now
	}
	if len(se.gone)+len(se.come) > 0 {
		next.views = make([]*view, 0, len(s.views)+len(se.come))
		for _, v := range s.views {
			if !se.gone[v] {
				next.views = append(next.views, v)
			}
		}
		next.views = append(next.views, se.come...)
	}
	if len(next.slots)+len(next.views) == 0 {
		return nil
	}
	return next
}

// parallel calls do for 0 to n-1 on all cores and returns when all calls have.
func parallel(n int, do func(int)) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		workers.Go(func() { // ends when there is no work left
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				do(int(i))
			}
		})
	}
	workers.Wait()
}
