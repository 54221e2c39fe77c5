package discovery

import (
	"log/slog"
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

	index atomic.Pointer[index] // replaced as a whole, under publishing

	names   nameCache // for Explain
	printed sync.Map  // for Twin: SHA-1 to the SHA-256 of the one certificate that is held, zero if there are two; changed under mu

	publishing sync.Mutex  // protects watchers, inFile and the order of indexes; taken before mu
	watchers   []*watcher  // told of every change that is in the index
	inFile     []*instance // those of the cache file, as LoadFile saw it last

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
	reader    *CacheReader          // the newest; knows how the file is
	scan      uint64                // number of the LoadFile call that is in force, from 1: none
	changes   map[*instance]*change // not yet in the index
	notes     []note                // not yet logged
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
		scan:      1,
		changes:   make(map[*instance]*change),
		refused:   newRefused(limits.NegativeCache, limits.NegativeCacheTime),
		checks:    newLanes(limits),
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
