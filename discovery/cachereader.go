package discovery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"
)

// A CacheCondition says whether a cache file can be used.
type CacheCondition uint8

// How a cache file may be.
const (
	CacheUnread     CacheCondition = iota // not looked at yet
	CacheFresh                            // loaded, and its writer is alive
	CacheStale                            // older than CacheMaxAge: its writer is dead
	CacheMissing                          // not there
	CacheUnreadable                       // empty, too big, not a file, or not allowed
)

// String returns the name of c.
func (c CacheCondition) String() string {
	names := [...]string{
		CacheUnread: "not read", CacheFresh: "fresh", CacheStale: "stale",
		CacheMissing: "missing", CacheUnreadable: "unreadable",
	}
	if int(c) < len(names) {
		return names[c]
	}
	return "unknown"
}

// A CacheState says how a cache file is, and what we have of it.
type CacheState struct {
	Path      string
	Condition CacheCondition
	Since     time.Time     // when it became so
	Age       time.Duration // since its writer gave the last sign of life; 0 when unknown
	MaxAge    time.Duration // at which it is stale
	Err       error         // why it is missing or unreadable

	Loaded  time.Time // when it was last read with success; zero when never
	Records int       // good records then
	Bad     int       // records left out then
}

// String says it in one sentence, for errors and for people.
func (s CacheState) String() string {
	text := fmt.Sprintf("cache file %s is %v", s.Path, s.Condition)
	switch s.Condition {
	case CacheStale:
		text += fmt.Sprintf(": written %v ago, want at most %v (is the cache daemon running?)", s.Age.Round(time.Second), s.MaxAge)
		if s.Loaded.IsZero() {
			text += "; what it holds does not count"
		}
	case CacheMissing, CacheUnreadable:
		text += fmt.Sprintf(": %v", s.Err)
	}
	return text
}

// trouble returns what errors should say about the file, "" when it is well.
func (s CacheState) trouble() string {
	if s.Condition == CacheFresh {
		return ""
	}
	return s.String()
}

// CacheReaderOptions configure a CacheReader. A nil pointer means the defaults.
type CacheReaderOptions struct {
	Log *slog.Logger // nil means silence
	// PollOnly looks at the file once a second and asks the system for no
	// notifications, which do not work in synthetic time.
	PollOnly bool
	// OnState is called when the condition of the file changes, by the goroutine
	// that runs Load or Run. Nil means nobody wants to know.
	OnState func(CacheState)
}

// A CacheReader keeps a directory in step with a cache file (PROTOCOL 8.3). A
// file that is stale, missing, empty, cut off or broken removes nobody: what was
// loaded before goes on to count, and State says what is wrong. Of a file that is cut
// off, the whole records count as well; when its writer stands by it, it is the truth.
//
// One cut passes for what a writer made: just behind a record, in a file that a rename
// put in place. Nothing tells it from a file whose last services said goodbye, and to
// doubt it would send requests to them; so whoever is not in it leaves (PROTOCOL 8.3),
// and when it is the half or more, the log says so: as a warning when they are more than
// a few, since each clean stop of the last one in a small file looks so. It takes a writer that renames what
// it failed to write, and a cut at one octet in thousands. Ours checks and syncs before
// it renames; one that writes in place is known by the file, which is the same one.
//
// Load and Run are for one goroutine at a time, State for any.
type CacheReader struct {
	d      *Directory
	opts   CacheReaderOptions
	report *reporter

	// Owned by the goroutine of Load or Run.
	file   watchedFile
	memory CacheMemory
	sum    [32]byte        // of the text loaded last
	broken error           // why the text read last was not loaded, if so
	loaded []*Announcement // its records, the last time it was whole
	known  cacheRecords    // the same, those that were left out too
	from   fileID          // that file
	doubts doubtful        // the text read last, if it may be cut off

	mu    sync.Mutex // protects state, id and came
	state CacheState
	id    fileID    // of the file looked at last
	came  time.Time // when, with its monotonic reading, if its date was far in the future
}

// NewCacheReader returns a reader that puts what is in the file into d.
func NewCacheReader(path string, d *Directory, opts *CacheReaderOptions) *CacheReader {
	if opts == nil {
		opts = new(CacheReaderOptions)
	}
	r := &CacheReader{
		d:      d,
		opts:   *opts,
		report: newReporter(opts.Log, d.limits, d.counters),
		file:   watchedFile{path: path, max: d.limits.MaxCacheFile},
		state:  CacheState{Path: path, MaxAge: d.limits.CacheMaxAge},
	}
	d.mu.Lock()
	d.reader = r
	d.mu.Unlock()
	return r
}

// State returns how the file was at the last look, with its age now.
func (r *CacheReader) State() CacheState {
	now := r.d.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state
	if r.id != (fileID{}) {
		s.Age = r.ageLocked(now)
		if s.Condition == CacheFresh && s.Age > s.MaxAge {
			s.Condition = CacheStale
		}
	}
	return s
}

// Load looks at the file now and loads it if it changed. The error says why the
// file cannot be used; what was loaded before still counts then.
func (r *CacheReader) Load() error {
	err := r.load()
	for err == errUnsettled { // somebody is writing it this very moment: at most maxLate times
		<-time.After(unsettledDelay)
		err = r.load()
	}
	if err != nil {
		return err
	}
	if s := r.State(); s.Condition != CacheFresh {
		return errors.New("discovery: " + s.String())
	}
	return nil
}

// load returns errUnsettled when it should be called again soon, and nil or the
// reason why the file cannot be read otherwise.
func (r *CacheReader) load() error {
	id, err := r.file.stat()
	switch {
	case err == nil && id == r.file.last:
		return r.judge(id, r.broken) // it may have become stale
	case err == nil && r.stale(id):
		r.judge(id, nil) // not loaded
		return nil
	case err != nil:
		return r.judge(fileID{}, err)
	}
	text, id, err := r.file.read()
	switch {
	case err == errUnsettled:
		return err
	case err == nil && len(text) < 2: // even an empty bus has two: one line feed is what a cut leaves of any file
		err = fmt.Errorf("%d octets in it: want a cache file", len(text))
	}
	if err != nil {
		return r.judge(id, err)
	}
	r.file.last, r.broken = id, nil
	if sum := sha256.Sum256(text); sum != r.sum {
		if r.broken = r.take(text, sum, id); r.broken == nil {
			r.sum = sum
		}
	}
	return r.judge(id, r.broken)
}

// fewLeave is how many services leave a file between two writes on a quiet day: a deploy
// stops one, and those beside it that share its host or its key. Some are left then, unless
// there was but one.
const fewLeave = 3

// take puts the text of the file into the directory. Where there is text but not
// one good record, something is wrong with the file, and nobody is removed. Nor is
// anybody by a text that is cut off. A writer that stands by such a text is believed,
// or one bad record at the end would keep for ever whoever leaves; where none is good,
// they must be whole.
func (r *CacheReader) take(text []byte, sum [32]byte, id fileID) error {
	records, bad := r.d.limits.ParseCache(text, &r.memory)
	for _, e := range bad {
		r.d.counters.add(countCacheBad, 1)
		r.report.say(slog.LevelWarn, countCacheBad, "record of the cache file left out",
			"path", r.file.path, "record", e.Number, "octet", e.Offset, "error", e.Err)
	}
	last := lastRecord(text)
	before, doubts := r.doubts, doubtful{sum, sha256.Sum256(last), len(text)}
	if len(records) == 0 && len(bytes.TrimSpace(text)) > 0 {
		r.doubts = doubts
		if !doubts.confirms(before) || !r.d.limits.allWhole(text) {
			return fmt.Errorf("no good record in it, %d bad ones: want a cache file", len(bad))
		}
	} else if r.cutOff(text, last, doubts.last, records, id) {
		r.doubts = doubts
		if !doubts.confirms(before) {
			r.sum = [32]byte{}
			r.d.loadFile(records, false)
			return fmt.Errorf("cut off after %d good records: want a whole cache file", len(records))
		}
	}
	r.d.loadFile(records, true)
	if missing := len(r.loaded) - len(records); missing >= len(records) && isPrefix(records, r.loaded) {
		r.d.counters.add(countCacheShrunk, 1)
		level, kind := slog.LevelWarn, countCacheShrunk
		if missing <= fewLeave && (len(records) > 0 || missing == 1) {
			level, kind = slog.LevelDebug, countCacheShrunk+" by few" // it must not use up the lines of the other
		}
		r.report.say(level, kind, "cache file holds the first records of those it held, and no others: whoever is missing has left",
			"path", r.file.path, "records", len(records), "before", len(r.loaded))
	}
	r.loaded, r.known, r.from, r.doubts = records, r.memory.records, id, doubtful{}
	now := r.d.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Records, r.state.Bad, r.state.Loaded = len(records), len(bad), now
	return nil
}

// lookLocked notes which file is there now. One with a date that no clock is wrong by
// would be fresh for years: what counts is when it came.
func (r *CacheReader) lookLocked(id fileID) {
	if id == r.id {
		return
	}
	r.id, r.came = id, time.Time{}
	if id.modified().Sub(r.d.now()) > r.d.limits.FutureSkew {
		r.came = time.Now()
	}
}

// ageLocked returns how long ago the file had a sign of life.
func (r *CacheReader) ageLocked(now time.Time) time.Duration {
	if !r.came.IsZero() {
		return time.Since(r.came)
	}
	return max(now.Sub(r.id.modified()), 0)
}

// stale looks at the age of the file that is there now.
func (r *CacheReader) stale(id fileID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lookLocked(id)
	return r.ageLocked(r.d.now()) > r.d.limits.CacheMaxAge
}

// judge notes how the file is and returns err as it should be reported.
func (r *CacheReader) judge(id fileID, err error) error {
	condition, counter := CacheFresh, ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		condition, counter = CacheMissing, countCacheUnusable
	case err != nil:
		condition, counter = CacheUnreadable, countCacheUnusable
	case r.stale(id):
		condition, counter = CacheStale, countCacheStale
	}
	if e, ok := err.(*fs.PathError); ok {
		err = e.Err // the path is said anyway
	}
	r.mu.Lock()
	before := r.state.Condition
	changed := condition != before || fmt.Sprint(err) != fmt.Sprint(r.state.Err)
	r.lookLocked(id)
	if changed {
		r.state.Condition, r.state.Since, r.state.Err = condition, r.d.now(), err
	}
	r.mu.Unlock()
	var failure error
	if err != nil {
		failure = fmt.Errorf("discovery: cache file %s: %w", r.file.path, err)
	}
	if !changed {
		return failure
	}
	if counter != "" {
		r.d.counters.add(counter, 1)
	}
	if _, ok := errors.AsType[fileTooBigError](err); ok {
		r.d.counters.add(countCacheTooBig, 1)
	}
	r.tell(before)
	return failure
}

// tell reports that the condition of the file is not what it was before.
func (r *CacheReader) tell(before CacheCondition) {
	s := r.State()
	switch {
	case before == CacheUnread && s.Condition == CacheMissing:
		// A daemon that just starts takes a moment to write it.
		r.report.say(slog.LevelInfo, countCacheUnusable, "no cache file yet: want the cache daemon to write it", "path", s.Path)
	case s.Condition == CacheStale && s.Loaded.IsZero():
		r.report.say(slog.LevelWarn, countCacheUnusable, "cache file is stale, so it is not used: start scamp cache", "path", s.Path, "age", s.Age)
	case s.Condition == CacheStale:
		r.report.say(slog.LevelWarn, countCacheUnusable, "cache file is stale: what was read before still counts", "path", s.Path, "age", s.Age)
	case s.Condition != CacheFresh && s.Loaded.IsZero():
		r.report.say(slog.LevelWarn, countCacheUnusable, "cache file cannot be used, and never was read",
			"path", s.Path, "condition", s.Condition.String(), "error", s.Err)
	case s.Condition != CacheFresh:
		r.report.say(slog.LevelWarn, countCacheUnusable, "cache file cannot be used: what was read before still counts",
			"path", s.Path, "condition", s.Condition.String(), "age", s.Age, "error", s.Err)
	case before != CacheUnread:
		r.report.say(slog.LevelInfo, countCacheUnusable+" over", "cache file is good again", "path", s.Path, "records", s.Records)
	}
	if r.opts.OnState != nil {
		r.opts.OnState(s)
	}
}

// Run keeps the directory in step with the file until ctx ends, and returns
// why ctx ended. It starts with a Load.
func (r *CacheReader) Run(ctx context.Context) error {
	return followFile(ctx, r.file.path, r.opts.PollOnly, r.load)
}
