package discovery

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// Stats are counts of a directory at one moment. The value is the caller's.
type Stats struct {
	Instances    int // that can be chosen for something
	Unauthorized int // announced and alive, but with nothing that may be chosen, unless it is built in
	Suspects     int // silent for more than 2.1 intervals
	Withdrawn    int // alive, and asking not to be used
	FromFile     int // of all these, those that are in the cache file
	Certificates int // of all these
	Remembered   int // instances whose timestamps are remembered, with all these

	// Counters holds how often each thing happened since the start, by the name
	// that THREATS gives it: every refusal, drop and change has one. Names with
	// the count 0 are missing.
	Counters map[string]uint64
}

// Counters of what a directory takes and refuses. THREATS names them, but for those that
// count what goes well.
const (
	countAccepted      = "announce_accepted"        // new or changed announcements taken
	countRefreshed     = "announce_refreshed"       // repetitions of what is held
	countStale         = "announce_stale"           // older than the newest seen
	countEquivocation  = "announce_equivocation"    // same time, other octets
	countFuture        = "announce_future"          // more than FutureSkew ahead of our clock
	countOverBudget    = "announce_over_budget"     // too many of one kind
	countUnauthorized  = "announce_unauthorized"    // left out of the file because no rule names it
	countIdentConflict = "announce_ident_conflict"  // two processes use one ident
	countFragmented    = "announce_fragmented"      // sent in more than one IP packet
	countVerifyLimited = "verify_limited"           // no signature check left this second
	countVerifyCached  = "verify_cached"            // refused before, and not looked at again
	countForgotten     = "replay_forgotten"         // replay state dropped to make room
	countCollision     = "fingerprint_collision"    // two certificates with one SHA-1
	countForeignLoop   = "announce_foreign_address" // a loopback address heard on a real interface
	countBlind         = "observer_blind"           // heard nothing, or stood still
	countIfaces        = "interfaces_changed"       // one came or went
	countIfaceFailed   = "interface_failed"         // one is there and cannot be used
	countSilent        = "multicast_silent"         // nothing heard for three intervals
	countFragmentsLost = "fragments_lost"           // announcements over one datagram do not come through
	countOverrun       = "observer_overrun"         // datagrams dropped unread: more new ones come than may be looked at or wait
	countCacheBad      = "cache_record_bad"         // a record left out
	countCacheUnusable = "cache_unusable"           // missing, empty or unreadable
	countCacheStale    = "cache_stale"              // older than CacheMaxAge
	countCacheShrunk   = "cache_shrunk"             // the first half of what it was, or less, and nothing new
	countWritesMerged  = "cache_writes_merged"      // changes that went into one write
	countCacheForeign  = "cache_foreign"            // the file we write was removed or changed by others
	countWriteFailed   = "cache_write_failed"       // the old file stayed
	countLogSuppressed = "log_suppressed"           // lines not written
)

// Refusals returns the counters of what was refused, dropped or found amiss: all but
// those that count what goes well.
func (s Stats) Refusals() map[string]uint64 {
	m := maps.Clone(s.Counters)
	for _, name := range []string{countAccepted, countRefreshed, countWritesMerged, countLogSuppressed} {
		delete(m, name)
	}
	return m
}

// counters counts by name. Safe for concurrent use.
type counters struct {
	mu sync.Mutex
	n  map[string]uint64
}

func (c *counters) add(name string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n == 0 {
		return
	}
	if c.n == nil {
		c.n = make(map[string]uint64)
	}
	c.n[name] += uint64(n)
}

func (c *counters) snapshot() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.n)
}

// A reporter writes log lines, at most LogRate a second of each kind, and says
// how many it left out. A nil logger is silence. Safe for concurrent use.
type reporter struct {
	log      *slog.Logger
	every    time.Duration
	counters *counters

	mu    sync.Mutex
	kinds map[string]*logged // a fixed set: kinds are constants
}

type logged struct {
	last time.Time
	more int // lines left out since
}

func newReporter(log *slog.Logger, l Limits, c *counters) *reporter {
	return &reporter{log: log, every: time.Second / time.Duration(l.LogRate), counters: c, kinds: make(map[string]*logged)}
}

// say writes one line of a kind, unless too many were written.
func (r *reporter) say(level slog.Level, kind, text string, args ...any) {
	if r.log == nil {
		return
	}
	more, ok := r.take(kind)
	if !ok {
		r.counters.add(countLogSuppressed, 1)
		return
	}
	if more > 0 {
		args = append(args, "more", more)
	}
	r.log.Log(context.Background(), level, "discovery: "+text, args...)
}

func (r *reporter) take(kind string) (more int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.kinds[kind]
	now := time.Now()
	switch {
	case k == nil:
		k = new(logged)
		r.kinds[kind] = k
	case now.Sub(k.last) < r.every:
		k.more++
		return 0, false
	}
	more, k.more, k.last = k.more, 0, now
	return more, true
}
