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

// An index answers Find. It never changes: a new one takes its place as a
// whole, and lookups that began with the old one end with it (invariant 4).
type index struct {
	seed       seed
	shards     [shardCount]map[string]slot
	names      *nameTable
	number     uint64        // of changes so far
	superseded chan struct{} // closed when another index is in force
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

func newIndex(s seed) *index {
	return &index{seed: s, names: newNameTable(s), superseded: make(chan struct{})}
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
	s := x.shards[x.seed.shardOf(key)][string(key)]
	if q.Ident != "" {
		s.live, s.suspect = withIdent(s.live, q.Ident), withIdent(s.suspect, q.Ident)
	}
	return s
}

// with returns the index after changes, which are in the order of instances. The work
// is spread over all cores when there is much of it.
func (x *index) with(changes []change) *index {
	next := &index{seed: x.seed, shards: x.shards, names: x.names.with(changes), number: x.number + 1, superseded: make(chan struct{})}
	edits := make(map[int]map[string]*edit)
	for _, c := range changes {
		if c.old != nil {
			for _, e := range c.old.entries {
				editOf(edits, e).drop(c.old.peer)
			}
		}
		if c.new != nil {
			for _, e := range c.new.entries {
				editOf(edits, e).put(e.route, c.new.state)
			}
		}
	}
	if len(edits) < 64 {
		for i, keys := range edits {
			next.shards[i] = edited(x.shards[i], keys)
		}
		return next
	}
	work := slices.Collect(maps.Keys(edits))
	parallel(len(work), func(n int) {
		i := work[n]
		next.shards[i] = edited(x.shards[i], edits[i]) // each shard is written by one goroutine
	})
	return next
}

// An edit is what happens to one slot.
type edit struct {
	gone    map[*Peer]bool
	live    []Route
	suspect []Route
}

func editOf(edits map[int]map[string]*edit, e entry) *edit {
	keys := edits[e.shard]
	if keys == nil {
		keys = make(map[string]*edit)
		edits[e.shard] = keys
	}
	ed := keys[e.key]
	if ed == nil {
		ed = new(edit)
		keys[e.key] = ed
	}
	return ed
}

func (ed *edit) drop(p *Peer) {
	if ed.gone == nil {
		ed.gone = make(map[*Peer]bool)
	}
	ed.gone[p] = true
}

func (ed *edit) put(r Route, s State) {
	if s == Suspect {
		ed.suspect = append(ed.suspect, r)
	} else {
		ed.live = append(ed.live, r)
	}
}

// edited returns a copy of a shard with edits made.
func edited(shard map[string]slot, edits map[string]*edit) map[string]slot {
	next := make(map[string]slot, len(shard)+len(edits))
	maps.Copy(next, shard)
	for key, ed := range edits {
		s := slot{merge(next[key].live, ed.gone, ed.live), merge(next[key].suspect, ed.gone, ed.suspect)}
		if len(s.live)+len(s.suspect) == 0 {
			delete(next, key)
			continue
		}
		next[key] = s
	}
	return next
}

// merge returns old without the routes of gone peers and with those of put, in
// order. Old is left as it is: somebody may be reading it.
func merge(old []Route, gone map[*Peer]bool, put []Route) []Route {
	if len(put) == 0 && !slices.ContainsFunc(old, func(r Route) bool { return gone[r.Peer] }) {
		return old
	}
	next := make([]Route, 0, len(old)+len(put))
	for _, r := range old {
		if !gone[r.Peer] {
			next = append(next, r)
		}
	}
	next = append(next, put...)
	slices.SortFunc(next, func(a, b Route) int { return compareInstances(a.Instance, b.Instance) })
	return slices.Clip(next)
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
