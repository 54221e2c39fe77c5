package discovery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// cacheSeparator stands before each record of a cache file (PROTOCOL 8.1).
const cacheSeparator = "\n%%%\n"

// A RecordError says why one record of a cache file was left out.
type RecordError struct {
	Number int // of the record in the file, counted from 1
	Offset int // of its first octet
	Err    error
}

// Error implements error.
func (e *RecordError) Error() string {
	return fmt.Sprintf("discovery: cache record %d at octet %d: %v", e.Number, e.Offset, e.Err)
}

// Unwrap returns the cause.
func (e *RecordError) Unwrap() error { return e.Err }

// A CacheMemory remembers the records of a cache file by their octets, good and
// bad ones, so that each signature is checked once however often the file
// changes. The zero value remembers nothing yet. It is for one goroutine at a
// time.
type CacheMemory struct {
	records map[[32]byte]cacheRecord // those of the last text, by SHA-256 of their octets

	mu           sync.Mutex                // protects certificates
	certificates map[[32]byte]*Certificate // while a text is read, by SHA-256 of their section
}

type cacheRecord struct {
	ann *Announcement
	err error
}

// ParseCache reads a cache file with the default limits.
func ParseCache(text []byte) (records []*Announcement, bad []*RecordError) {
	return Limits{}.ParseCache(text, nil)
}

// ParseCache reads the text of a cache file: every record with a good signature,
// in the order of the file, and an error for each other one. Records do not
// affect each other. What is before the first separator is ignored. Signatures
// are checked on all cores, those that memory knows not again; a nil memory is
// an empty one.
func (l Limits) ParseCache(text []byte, memory *CacheMemory) (records []*Announcement, bad []*RecordError) {
	l = l.WithDefaults()
	if memory == nil {
		memory = new(CacheMemory)
	}
	parts, extra := splitCache(text, l.MaxCacheRecords)
	sums := make([][32]byte, len(parts))
	results := make([]cacheRecord, len(parts))
	known := memory.records
	memory.certificates = make(map[[32]byte]*Certificate)
	parallel(len(parts), func(i int) {
		part := text[parts[i].from:parts[i].to]
		sums[i] = sha256.Sum256(part)
		var ok bool
		if results[i], ok = known[sums[i]]; !ok {
			results[i].ann, results[i].err = l.readCacheRecord(part, memory)
		}
	})
	memory.certificates = nil
	memory.records = make(map[[32]byte]cacheRecord, len(parts))
	records = make([]*Announcement, 0, len(parts))
	for i, r := range results {
		memory.records[sums[i]] = r
		if r.err != nil {
			bad = append(bad, &RecordError{Number: i + 1, Offset: parts[i].from, Err: r.err})
			continue
		}
		records = append(records, r.ann)
	}
	if extra >= 0 {
		bad = append(bad, &RecordError{Number: len(parts) + 1, Offset: extra, Err: refuse(countCacheTooBig,
			"this record and all after it are left out: want at most %d records", l.MaxCacheRecords)})
	}
	return records, bad
}

func (l Limits) readCacheRecord(text []byte, memory *CacheMemory) (*Announcement, error) {
	if len(text) > l.MaxCacheRecord {
		return nil, errRecord
	}
	sections, err := Split(text)
	if err != nil {
		return nil, err
	}
	certificate, err := memory.certificate(sections, l)
	if err != nil {
		return nil, err
	}
	return sections.Open(l, certificate)
}

// certificate reads the certificate of a record, once for all that have it: most
// services run more than one instance.
func (m *CacheMemory) certificate(s Sections, l Limits) (*Certificate, error) {
	sum := sha256.Sum256(s.PEM)
	m.mu.Lock()
	c := m.certificates[sum]
	m.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c, err := s.Certificate(l)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if first := m.certificates[sum]; first != nil {
		return first, nil // another core was faster
	}
	m.certificates[sum] = c
	return c, nil
}

type span struct{ from, to int }

// splitCache returns where the records of a cache file are, and where the first
// one beyond most begins, or -1. A separator may lack its first LF at the very
// beginning: one known file does.
func splitCache(text []byte, most int) (parts []span, extra int) {
	at := 0
	switch first := cacheSeparator[1:]; {
	case bytes.HasPrefix(text, []byte(first)):
		at = len(first)
	default:
		i := bytes.Index(text, []byte(cacheSeparator))
		if i < 0 {
			return nil, -1
		}
		at = i + len(cacheSeparator)
	}
	for {
		if len(parts) == most {
			return parts, at
		}
		i := bytes.Index(text[at:], []byte(cacheSeparator))
		if i < 0 {
			return append(parts, span{at, len(text)}), -1
		}
		parts = append(parts, span{at, at + i})
		at += i + len(cacheSeparator)
	}
}

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
// file that is stale, missing, empty or broken removes nothing: what was loaded
// before goes on to count, and State says what is wrong.
//
// Load and Run are for one goroutine at a time, State for any.
type CacheReader struct {
	d      *Directory
	opts   CacheReaderOptions
	report *reporter

	// Owned by the goroutine of Load or Run.
	file   watchedFile
	memory CacheMemory
	sum    [32]byte // of the text loaded last

	mu    sync.Mutex // protects state and id
	state CacheState
	id    fileID // of the file looked at last
}

const (
	pollTime       = time.Second     // between looks at a file, without notification
	pollWatched    = 5 * time.Second // with it, because it misses some changes
	unsettledDelay = 50 * time.Millisecond
)

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
		s.Age = max(now.Sub(r.id.modified()), 0)
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
		r.judge(id, nil) // it may have become stale
		return r.lastErr()
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
	case err == nil && len(text) == 0:
		err = errors.New("no octet in it: want a cache file")
	}
	if err != nil {
		return r.judge(id, err)
	}
	r.file.last = id
	if sum := sha256.Sum256(text); sum != r.sum {
		r.take(text)
		r.sum = sum
	}
	return r.judge(id, nil)
}

// take puts the text of the file into the directory.
func (r *CacheReader) take(text []byte) {
	records, bad := r.d.limits.ParseCache(text, &r.memory)
	for _, e := range bad {
		r.d.counters.add(countCacheBad, 1)
		r.report.say(slog.LevelWarn, countCacheBad, "record of the cache file left out",
			"path", r.file.path, "record", e.Number, "octet", e.Offset, "error", e.Err)
	}
	r.d.loadFile(records)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Records, r.state.Bad, r.state.Loaded = len(records), len(bad), r.d.now()
}

func (r *CacheReader) stale(id fileID) bool {
	return r.d.now().Sub(id.modified()) > r.d.limits.CacheMaxAge
}

func (r *CacheReader) lastErr() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.Err
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
	if err != nil {
		err = fmt.Errorf("discovery: cache file %s: %w", r.file.path, err)
	}
	r.mu.Lock()
	before := r.state.Condition
	changed := condition != before || fmt.Sprint(err) != fmt.Sprint(r.state.Err)
	r.id = id
	if changed {
		r.state.Condition, r.state.Since, r.state.Err = condition, r.d.now(), err
	}
	r.mu.Unlock()
	if !changed {
		return err
	}
	if counter != "" {
		r.d.counters.add(counter, 1)
	}
	if errors.Is(err, errFileTooBig) {
		r.d.counters.add(countCacheTooBig, 1)
	}
	r.tell(before)
	return err
}

// tell reports that the condition of the file is not what it was before.
func (r *CacheReader) tell(before CacheCondition) {
	s := r.State()
	switch {
	case s.Condition != CacheFresh:
		r.report.say(slog.LevelWarn, countCacheUnusable, "cache file cannot be used: what was read before still counts",
			"path", s.Path, "condition", s.Condition.String(), "age", s.Age, "error", s.Err)
	case before != CacheUnread:
		r.report.say(slog.LevelInfo, countCacheUnusable, "cache file is good again", "path", s.Path, "records", s.Records)
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

// followFile calls look at once and whenever the file at path may have changed,
// until ctx ends.
func followFile(ctx context.Context, path string, pollOnly bool, look func() error) error {
	var notes fileNotes
	defer notes.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		case <-notes.changed(path):
		}
		if !pollOnly {
			notes.keep(path)
		}
		wait := pollTime
		if notes.watcher != nil {
			wait = pollWatched
		}
		if look() == errUnsettled {
			wait = unsettledDelay
		}
		timer.Reset(wait)
	}
}

// fileNotes asks the system to say when something happens to a file: it watches
// the directory, because a rename puts another file in place.
type fileNotes struct {
	watcher *fsnotify.Watcher
	dir     fs.FileInfo // the directory watched
}

// keep makes sure that the directory which is there now is watched. A directory
// in which other users can make files is not, or they could keep us busy, nor is
// one that holds only a link to the file.
func (n *fileNotes) keep(path string) {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if err == nil && n.watcher != nil && os.SameFile(info, n.dir) {
		return
	}
	n.close()
	if err != nil {
		return
	}
	if shared, _, err := sharedDir(dir); err != nil || shared {
		return
	}
	if link, err := os.Lstat(path); err == nil && link.Mode()&fs.ModeSymlink != 0 {
		return
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return // polling does without
	}
	if err := w.Add(dir); err != nil {
		w.Close()
		return
	}
	n.watcher, n.dir = w, info
}

// changed returns a channel that has something when the file may have changed,
// nil when nobody would say so.
func (n *fileNotes) changed(path string) <-chan fsnotify.Event {
	if n.watcher == nil {
		return nil
	}
	return n.watcher.Events
}

func (n *fileNotes) close() {
	if n.watcher != nil {
		n.watcher.Close()
		n.watcher = nil
	}
}
