package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// CacheWriterOptions configure a CacheWriter. A nil pointer means the defaults.
type CacheWriterOptions struct {
	// Loose also writes announcements that are valid but not in strict form, key
	// discovery.strict_cache = 0. One of them makes an old Go reader lose the
	// whole file.
	Loose bool
	// NamedOnly leaves out certificates that no rule names, key
	// discovery.publish = authorized. Readers decide for themselves anyway.
	NamedOnly bool
	Log       *slog.Logger // nil means silence
	// OnState is called after each write of the file, and when writing it begins or
	// ceases to fail, by the goroutine of Run. Nil means nobody wants to know.
	OnState func(CacheWriterState)
}

// A CacheWriter writes what a directory heard into a cache file: it is the core
// of the cache daemon, and the only writer of that file (PROTOCOL 8.2). Readers
// see the old file or the new one, whatever happens to the writer. The file holds
// nothing that was received but signed octets.
type CacheWriter struct {
	path    string
	d       *Directory
	report  *reporter
	onState func(CacheWriterState)

	// Owned by Run.
	patience time.Duration          // how long to collect when the old file has records
	policy   policy                 // by which the file was written
	rules    *Authorized            // the same
	written  []byte                 // content of the file, as we left it
	id       fileID                 // of that file
	judged   map[*Announcement]bool // whether it may be written; those of the last look
	wrote    time.Time              // when, or when the file was touched
	writes   []time.Time            // the last ones, at most MaxCacheWrites
	failing  bool                   // the last write failed
	told     int                    // writes that onState knows of
	lock     *fileLock              // keeps other writers away; nil until Claim

	mu    sync.Mutex // protects state and next
	state CacheWriterState
	next  policy // by which the file is to be written
}

// A policy says what is published of what is heard.
type policy struct{ loose, namedOnly bool }

// A CacheWriterState says what a writer did so far.
type CacheWriterState struct {
	Path    string
	Writes  int       // of the file, signs of life not counted
	Records int       // in the file
	Octets  int       // of the file
	Written time.Time // when it was last written or touched; zero when never
	Err     error     // of the last write, nil when it went well
}

const (
	mergeTime   = 100 * time.Millisecond // changes within it are written together
	momentTime  = 2 * time.Millisecond   // the same for the first ones after a time of rest
	rateTime    = time.Second            // in which there are at most MaxCacheWrites, and that is rest without one
	collectTime = 10 * time.Second       // before the first write, when the old file has records: two intervals
	firstTime   = 5 * time.Second        // before the first write, when there is nothing to tell: one interval
	lookTime    = time.Second            // between looks whether the file is still the one we wrote
	retryTime   = time.Second            // after a write that failed
)

// NewCacheWriter returns a writer of the file at path.
func NewCacheWriter(path string, d *Directory, opts *CacheWriterOptions) *CacheWriter {
	if opts == nil {
		opts = new(CacheWriterOptions)
	}
	return &CacheWriter{
		path:     path,
		d:        d,
		report:   newReporter(opts.Log, d.limits, d.counters),
		onState:  opts.OnState,
		patience: collectTime,
		state:    CacheWriterState{Path: path},
		next:     policy{opts.Loose, opts.NamedOnly},
	}
}

// Publish changes what is written from now on: it has the meaning of the fields Loose
// and NamedOnly of the options. Run looks after it once a second. Safe for concurrent
// use.
func (w *CacheWriter) Publish(loose, namedOnly bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = policy{loose, namedOnly}
}

// outdated tells whether the file was written by another policy or other rules.
func (w *CacheWriter) outdated() bool {
	w.mu.Lock()
	next := w.next
	w.mu.Unlock()
	return next != w.policy || next.namedOnly && w.rules != w.d.Authorized()
}

// State returns what was done so far. Safe for concurrent use.
func (w *CacheWriter) State() CacheWriterState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

// Claim makes sure that the file can be written, and that nobody else writes it until
// Run ends. Run begins with it; a daemon may call it before, to say that it is ready
// only when it is. It is for the goroutine of Run. The error says why the file may not
// be written where it is to be: a directory that others can write must be sticky, and
// the file ours (THREATS C8); or why it cannot be; or that there is a writer already,
// for longer than the two seconds or less that a command needs to change the file.
func (w *CacheWriter) Claim() error { return w.claim(context.Background()) }

func (w *CacheWriter) claim(ctx context.Context) error {
	if w.lock != nil {
		return nil
	}
	err := checkPlace(w.path)
	if err == nil {
		w.lock, err = lockWriters(ctx, w.path)
	}
	if err == nil {
		if err = tryPlace(w.path); err != nil {
			w.release()
		}
	}
	if err != nil {
		return fmt.Errorf("discovery: cache file %s: %w", w.path, err)
	}
	return nil
}

// Run keeps the file in step with the directory until ctx ends, and returns why
// ctx ended. It returns at once with the error of Claim, and with ErrCacheLocked when
// somebody removed the lock and another writer has taken it since. Other failures are
// counted, logged and tried again. A file that somebody else removes or changes is
// written again within a second or so; so is the lock, once Run has begun to write.
//
// When there are records in the file that is there, Run collects announcements for ten
// seconds before it writes for the first time, so that a restart of the daemon removes
// nobody: not those that readers still hold from a stale file either. A fresh one gets
// signs of life meanwhile. What is in that file cannot be replaced by anything older.
// When there are none, the first file waits until there is something to tell, for five
// seconds at most: readers take an empty file for the truth, and listen themselves
// without one.
//
// When ctx ends, what changed since the last write is written, unless nothing was
// written yet; the lock is given back then, and the file stays.
func (w *CacheWriter) Run(ctx context.Context) error {
	if err := w.claim(ctx); err != nil {
		return err
	}
	defer w.release()
	w.removeStrays()
	began := w.collectFirst
	if w.adopt() {
		w.report.say(slog.LevelInfo, "cache_collecting", "the cache file of before stays as it is until everybody had time to announce himself",
			"path", w.path, "for", w.patience)
		began = w.collectAll
	}
	if !began(ctx) {
		return ctx.Err()
	}
	x, err := w.follow(ctx)
	if err != nil {
		return err
	}
	if x != w.d.index.Load() {
		pause(context.Background(), w.gap(), nil) // a second at most
	}
	w.step(context.Background())
	return ctx.Err()
}

// follow writes the file whenever it is to change, until ctx ends or another writer has
// the lock. It returns the index that the file was written from.
func (w *CacheWriter) follow(ctx context.Context) (*index, error) {
	for {
		x := w.d.index.Load()
		changed := x.superseded
		if err := w.step(ctx); errors.Is(err, ErrCacheLocked) {
			return nil, err
		} else if err != nil {
			changed = nil
		}
		if !w.wait(ctx, changed) {
			return x, nil
		}
		select {
		case <-changed:
			if !pause(ctx, w.gap(), nil) {
				return x, nil
			}
			w.d.counters.add(countWritesMerged, int(w.d.index.Load().number-x.number-1))
		default:
		}
	}
}

// keepLock takes the lock again where somebody removed it.
func (w *CacheWriter) keepLock(ctx context.Context) error {
	if w.lock.held() {
		return nil
	}
	lock, err := lockWriters(ctx, w.path)
	if err != nil {
		if w.lock.held() {
			return nil // it was away for a moment, and is our own
		}
		return fmt.Errorf("discovery: cache file %s: its lock was removed: %w", w.path, err)
	}
	w.release()
	w.lock = lock
	w.report.say(slog.LevelWarn, "cache_lock", "lock of the cache file was removed by somebody else: it is made anew", "path", w.path)
	return nil
}

func (w *CacheWriter) release() {
	w.lock.Unlock()
	w.lock = nil
}

// collectAll waits until everybody in the old file has been heard if it is alive, and
// keeps the file alive until then, if it is; it returns false when ctx ended.
func (w *CacheWriter) collectAll(ctx context.Context) bool {
	maxAge := w.d.limits.CacheMaxAge
	for end := time.Now().Add(w.patience); ; {
		rest := time.Until(end)
		if rest <= 0 {
			return ctx.Err() == nil
		}
		step := min(rest, maxAge/2)
		if age := w.age(); age <= maxAge && age+step > maxAge-lookTime || age < -w.d.limits.FutureSkew {
			w.keepAlive()
		}
		if !pause(ctx, step, nil) {
			return false
		}
	}
}

// collectFirst waits until the first file has something to tell; it returns false when
// ctx ended.
func (w *CacheWriter) collectFirst(ctx context.Context) bool {
	end := time.Now().Add(firstTime)
	for {
		x := w.d.index.Load()
		if _, records := w.render(); records > 0 {
			return ctx.Err() == nil
		}
		rest := time.Until(end)
		if rest <= 0 {
			return ctx.Err() == nil
		}
		// Others follow the first one closely.
		if !pause(ctx, rest, x.superseded) || !pause(ctx, min(mergeTime, max(time.Until(end), 0)), nil) {
			return false
		}
	}
}

// wait waits until there is something to do for the file: until changed, or a sign of
// life is due, or it is not ours any more. It returns false when ctx ended.
func (w *CacheWriter) wait(ctx context.Context, changed <-chan struct{}) bool {
	for {
		if !pause(ctx, min(w.rest(), lookTime), changed) {
			return false
		}
		select {
		case <-changed:
			return true
		default:
		}
		if w.failing || w.rest() == 0 || !w.ours() || w.outdated() || !w.lock.held() {
			return true
		}
	}
}

// pause waits for a time, or until woken; it returns false when ctx ended.
func pause(ctx context.Context, t time.Duration, woken <-chan struct{}) bool {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-woken:
	}
	return ctx.Err() == nil
}

// gap returns how long to wait before a change is written. The first one after a time
// of rest is written at once, because somebody may wait for a service that has just
// started; others follow it closely, and are written together.
func (w *CacheWriter) gap() time.Duration {
	n := len(w.writes)
	if n == 0 || time.Since(w.writes[n-1]) >= rateTime {
		return momentTime
	}
	if n < w.d.limits.MaxCacheWrites {
		return mergeTime
	}
	return max(mergeTime, time.Until(w.writes[0].Add(rateTime)))
}

// noteWrite remembers the last MaxCacheWrites writes.
func (w *CacheWriter) noteWrite(at time.Time) {
	w.wrote = at
	w.writes = append(w.writes, at)
	if extra := len(w.writes) - w.d.limits.MaxCacheWrites; extra > 0 {
		w.writes = slices.Delete(w.writes, 0, extra)
	}
}

// rest returns how long nothing has to be done unless something changes.
func (w *CacheWriter) rest() time.Duration {
	if w.failing {
		return retryTime
	}
	return max(time.Until(w.wrote.Add(w.d.limits.CacheMaxAge/2)), 0)
}

// step writes the file if its content is to change, or gives a sign of life.
func (w *CacheWriter) step(ctx context.Context) error {
	if err := w.keepLock(ctx); err != nil {
		w.note(err, 0, 0)
		return err
	}
	text, records := w.render()
	ours := w.ours()
	if !ours && !w.failing && w.written != nil {
		w.d.counters.add(countCacheForeign, 1)
		w.report.say(slog.LevelWarn, countCacheForeign, "cache file was removed or changed by somebody else: it is written again", "path", w.path)
	}
	var err error
	switch {
	case !bytes.Equal(text, w.written) || w.written == nil || !ours:
		err = w.write(text)
	case w.rest() == 0:
		err = w.touch()
	}
	w.note(err, records, len(text))
	return err
}

// note takes down how a step went.
func (w *CacheWriter) note(err error, records, octets int) {
	now := w.d.now()
	failed := w.failing
	w.failing = err != nil
	if err != nil {
		w.d.counters.add(countWriteFailed, 1)
		if !failed {
			text := "cache file not written: there is none"
			if _, err := os.Lstat(w.path); err == nil {
				text = "cache file not written: the old one stays"
			}
			w.report.say(slog.LevelError, countWriteFailed, text, "path", w.path, "error", err)
		}
	}
	w.mu.Lock()
	w.state.Err = err
	if err == nil {
		w.state.Records, w.state.Octets = records, octets
		if w.state.Written.IsZero() || w.wrote.After(w.state.Written) {
			w.state.Written = now
		}
	}
	s := w.state
	w.mu.Unlock()
	if w.onState != nil && (s.Writes != w.told || w.failing != failed) {
		w.told = s.Writes
		w.onState(s)
	}
}
