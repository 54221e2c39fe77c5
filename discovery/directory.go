package discovery

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// DirectoryOptions configure a Directory. A nil pointer means the defaults.
type DirectoryOptions struct {
	Limits     Limits           // zero fields mean the defaults
	Now        func() time.Time // the wall clock, asked only whether a timestamp is a future one; nil means time.Now
	Log        *slog.Logger     // hears what no caller can be told; nil means silence
	Authorized *Authorized      // the rules; nil allows nothing but _meta
}

// A Directory holds every valid announcement and answers which instances may do
// an action. Announcements come by datagram, where each counts until it expires,
// and from a cache file, where each counts while it is in the file. Everything is
// checked before it counts, and nothing a carrier brings can take away what
// another brought (invariant 3).
//
// A Directory is safe for concurrent use. Find takes no lock; signatures are
// checked under none.
type Directory struct {
	// Set by NewDirectory, never changed.
	limits   Limits
	now      func() time.Time
	counters *counters
	report   *reporter
	seed     seed
	closed   chan struct{}

	index atomic.Pointer[index] // replaced as a whole, under mu

	mu        sync.Mutex // protects all below; whoever changes something gives it back by unlock
	done      bool       // closed is closed
	rules     *Authorized
	instances map[Instance]*instance
	sums      map[[32]byte]sighting // packets whose signature was good, by SHA-256 of datagram and of text
	prints    map[string]*print     // certificates held, by SHA-1
	pools     pools
	clock     clock
	health    health
	queue     queue
	refused   refused
	checks    lanes
	watchers  []*watcher
	reader    *CacheReader         // the newest; knows how the file is
	scan      uint64               // number of LoadFile calls
	changes   map[Instance]*change // not yet in the index
	notes     []note               // not yet logged
}

// NewDirectory makes an empty directory. Close it when done.
func NewDirectory(opts *DirectoryOptions) *Directory {
	if opts == nil {
		opts = new(DirectoryOptions)
	}
	limits := opts.Limits.WithDefaults()
	d := &Directory{
		limits:    limits,
		now:       opts.Now,
		counters:  new(counters),
		seed:      newSeed(),
		closed:    make(chan struct{}),
		rules:     opts.Authorized,
		instances: make(map[Instance]*instance),
		sums:      make(map[[32]byte]sighting),
		prints:    make(map[string]*print),
		pools:     newPools(limits),
		clock:     clock{start: time.Now()},
		changes:   make(map[Instance]*change),
		refused:   newRefused(limits.NegativeCache, limits.NegativeCacheTime),
		checks:    lanes{known: newTokens(limits.VerifyRate), unknown: newTokens(limits.VerifyRateUnknown)},
	}
	if d.now == nil {
		d.now = time.Now
	}
	d.queue.run = d.expire
	d.report = newReporter(opts.Log, limits, d.counters)
	d.index.Store(newIndex(d.seed))
	return d
}

// Close ends every Wait and Watch and forgets nothing: Find goes on to answer
// from what was known. Nothing expires any more. Closing twice is harmless.
func (d *Directory) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.done {
		d.done = true
		close(d.closed)
		d.queue.stop()
	}
}

// A note is a log line to be written when the lock is given back.
type note struct {
	level slog.Level
	kind  string
	text  string
	args  []any
}

// warnLocked notes a log line; kind is also its counter.
func (d *Directory) warnLocked(kind, text string, args ...any) {
	d.counters.add(kind, 1)
	d.notes = append(d.notes, note{slog.LevelWarn, kind, text, args})
}

// unlock puts what changed under the lock into the index, tells the watchers,
// gives the lock back and writes log lines. Every method that changes anything
// ends with it.
func (d *Directory) unlock() {
	if len(d.changes) > 0 {
		d.publishLocked()
	}
	if !d.done {
		d.queue.arm(d.clock.now())
	}
	notes := d.notes
	d.notes = nil
	d.mu.Unlock()
	for _, n := range notes {
		d.report.say(n.level, n.kind, n.text, n.args...)
	}
}

// publishLocked replaces the index, once for all changes, and tells the watchers.
func (d *Directory) publishLocked() {
	list := make([]change, 0, len(d.changes))
	for _, c := range d.changes {
		if c.old != c.new { // else it came and went
			list = append(list, *c)
		}
	}
	clear(d.changes)
	if len(list) == 0 {
		return
	}
	// In one order, whatever the map says: two runs of a test tell the same story.
	slices.SortFunc(list, func(a, b change) int { return compareInstances(a.instance(), b.instance()) })
	old := d.index.Load()
	d.index.Store(old.with(list))
	close(old.superseded)
	for _, w := range d.watchers {
		for _, c := range list {
			w.tell(c)
		}
	}
}

// showLocked makes v what is held of in; nil means that nothing is, because of why.
func (d *Directory) showLocked(in *instance, v *view, why Why) {
	if in.view == v {
		return
	}
	c := d.changes[in.key]
	if c == nil {
		c = &change{old: in.view}
		d.changes[in.key] = c
	}
	c.new, c.why = v, why
	in.view = v
}

// Add takes an announcement as if a datagram had brought it from this host just
// now: it counts until it expires. Add checks the signature, unless that was
// done before. The error is an *Error; an announcement that is not newer than
// what is held changes nothing.
func (d *Directory) Add(a *Announcement) error {
	read, err := d.limits.reread(a)
	if err != nil {
		return d.count(err)
	}
	return d.count(d.store(read, origin{}))
}

// reread returns what the signed octets of a say, once their signature is known
// to be good. The fields of a may say anything else.
func (l Limits) reread(a *Announcement) (*Announcement, error) {
	if err := a.Verify(); err != nil {
		return nil, err
	}
	if err := a.Certificate.CheckKey(l); err != nil {
		return nil, err
	}
	return l.parseSigned([]byte(a.seal.json), a.seal.signature, a.Certificate, true)
}
