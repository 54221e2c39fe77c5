package discovery

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// unusedPublished is how many indexes are made, and fewChanges how many changes at once,
// until a table of names is given up that nobody asked for meanwhile: it keeps what it
// knows in memory, and to make it anew costs no more than to bring it up to date.
const (
	unusedPublished = 1024
	fewChanges      = 4096
)

// A nameCache makes the table of names when it is first asked for, and brings it up to
// date when it is asked again: whoever finds all that he looks for needs none.
type nameCache struct {
	unused atomic.Int64 // indexes made since it was asked

	mu    sync.Mutex // protects what follows
	of    *index     // nil when there is no table
	table *nameTable
}

// at returns the table of x, or of a later index if somebody asked for that already: one
// who comes late does not take the table back. It also returns that index, so that both
// are of one moment.
func (c *nameCache) at(x *index) (*index, *nameTable) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unused.Store(0)
	if c.of == nil {
		c.of, c.table = newIndex(x.seed), newNameTable(x.seed)
	}
	if c.of.number < x.number {
		c.table = c.table.with(c.of.changesTo(x))
		c.of = x
	}
	return c.of, c.table
}

// published notes that another index is in force, after so many changes.
func (c *nameCache) published(changes int) {
	if (c.unused.Add(1) > unusedPublished || changes > fewChanges) && c.mu.TryLock() {
		c.of, c.table = nil, nil
		c.mu.Unlock()
	}
}

// changesTo returns what is different in next, in the order of instances.
func (x *index) changesTo(next *index) (changes []change) {
	for i, part := range x.shards {
		if part == next.shards[i] {
			continue
		}
		now := make(map[Instance]*view)
		for _, v := range next.shards[i].all() {
			now[v.peer.Instance] = v
		}
		for _, v := range part.all() {
			in := v.peer.Instance
			if now[in] != v {
				changes = append(changes, change{old: v, new: now[in]})
			}
			delete(now, in)
		}
		for _, v := range now {
			changes = append(changes, change{new: v})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return compareInstances(a.instance(), b.instance()) })
	return changes
}

// A nameTable finds who announces an action by its name alone, whatever the sector,
// the version and the envelope, and whether it may be chosen or not: what has to be
// known of an action that is not found. Like the index it belongs to it never changes.
type nameTable struct {
	seed   seed
	shards [shardCount]map[string][]*view // by "class.name" in lower case, aliases too; each list in the order of instances
	near   *nearNames                     // shared by all tables of the same names
}

func newNameTable(s seed) *nameTable { return &nameTable{seed: s, near: new(nearNames)} }

// find returns who announces an action of this name. The slice is shared.
func (t *nameTable) find(action string) []*view {
	var room [256]byte
	key := appendLower(room[:0], action)
	return t.shards[t.seed.shardOf(key)][string(key)]
}

// appendLower appends text with ASCII letters in lower case.
func appendLower(b []byte, text string) []byte {
	for i := range len(text) {
		b = append(b, lowerByte(text[i]))
	}
	return b
}

// names calls do with the key of each action that v offers, or offered before it
// withdrew. The key is valid during the call.
func (v *view) names(do func(key []byte)) {
	var room [256]byte
	ann := v.offering()
	for i := range ann.Actions {
		a := &ann.Actions[i]
		class := append(appendLower(room[:0], a.Class), '.')
		do(appendLower(class, a.Name))
		for _, alias := range a.Aliases() {
			do(append(class, alias...))
		}
	}
}

// A renaming is what changes behind one name: one instance after the other, in their
// order, each with its view from now on, or nil when it leaves.
type renaming struct {
	instances []*Peer
	views     []*view
}

// set notes the view of an instance. What was noted of it before was its leaving, or
// the same.
func (r *renaming) set(p *Peer, v *view) {
	if last := len(r.instances) - 1; last >= 0 && r.instances[last].Instance == p.Instance {
		r.views[last] = v
		return
	}
	r.instances, r.views = append(r.instances, p), append(r.views, v)
}

// with returns the table after changes, which are in the order of instances.
func (t *nameTable) with(changes []change) *nameTable {
	next := &nameTable{seed: t.seed, shards: t.shards, near: t.near}
	edits := make(map[int]map[string]*renaming)
	for _, c := range changes {
		if c.old != nil {
			c.old.names(func(key []byte) { t.edit(edits, key).set(c.old.peer, nil) })
		}
		if c.new != nil {
			c.new.names(func(key []byte) { t.edit(edits, key).set(c.new.peer, c.new) })
		}
	}
	work := slices.Collect(maps.Keys(edits))
	same := make([]bool, len(work))
	do := func(n int) {
		i := work[n]
		next.shards[i], same[n] = withRenamed(t.shards[i], edits[i]) // each shard is written by one goroutine
	}
	if len(work) < fewShards {
		for n := range work {
			do(n)
		}
	} else {
		parallel(len(work), do)
	}
	if slices.Contains(same, false) {
		next.near = new(nearNames)
	}
	return next
}

// fewShards is how many parts of a table are changed without the help of other cores.
const fewShards = 64

func (t *nameTable) edit(edits map[int]map[string]*renaming, key []byte) *renaming {
	shard := t.seed.shardOf(key)
	keys := edits[shard]
	if keys == nil {
		keys = make(map[string]*renaming)
		edits[shard] = keys
	}
	r := keys[string(key)]
	if r == nil {
		r = new(renaming)
		keys[string(key)] = r
	}
	return r
}

// withRenamed returns a copy of a shard with edits made, and whether it has the same names
// as before.
func withRenamed(shard map[string][]*view, edits map[string]*renaming) (next map[string][]*view, same bool) {
	next = make(map[string][]*view, len(shard)+len(edits))
	maps.Copy(next, shard)
	same = true
	for key, r := range edits {
		before := next[key]
		views := r.apply(before)
		if len(views) == 0 {
			delete(next, key)
		} else {
			next[key] = views
		}
		same = same && (len(before) == 0) == (len(views) == 0)
	}
	return next, same
}

// apply returns old after r. Old is left as it is: somebody may be reading it.
func (r *renaming) apply(old []*view) []*view {
	next := make([]*view, 0, len(old)+len(r.views))
	for n, v := range r.views {
		i, there := slices.BinarySearchFunc(old, r.instances[n], func(v *view, p *Peer) int { return compareInstances(v.peer.Instance, p.Instance) })
		next = append(next, old[:i]...)
		if old = old[i:]; there {
			old = old[1:]
		}
		if v != nil {
			next = append(next, v)
		}
	}
	return slices.Clip(append(next, old...))
}
