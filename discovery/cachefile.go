package discovery

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
}

// A CacheWriter writes what a directory heard into a cache file: it is the core
// of the cache daemon, and the only writer of that file (PROTOCOL 8.2). Readers
// see the old file or the new one, whatever happens to the writer. The file holds
// nothing that was received but signed octets.
type CacheWriter struct {
	path   string
	d      *Directory
	opts   CacheWriterOptions
	report *reporter

	// Owned by Run.
	written []byte                 // content of the file, as we left it
	id      fileID                 // of that file
	judged  map[*Announcement]bool // whether it may be written; those of the last look
	wrote   time.Time              // when, or when the file was touched
	failing bool                   // the last write failed
	lock    *fileLock              // keeps other writers away; nil until Claim

	mu    sync.Mutex // protects state
	state CacheWriterState
}

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
	collectTime = 10 * time.Second       // before the first write, when the old file is good
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
		path:   path,
		d:      d,
		opts:   *opts,
		report: newReporter(opts.Log, d.limits, d.counters),
		state:  CacheWriterState{Path: path},
	}
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
// the file ours (THREATS C8); or why it cannot be; or that there is a writer already.
func (w *CacheWriter) Claim() error {
	if w.lock != nil {
		return nil
	}
	err := checkPlace(w.path)
	if err == nil {
		err = tryPlace(w.path)
	}
	if err == nil {
		dir, name := filepath.Split(w.path)
		w.lock, err = lockFile(filepath.Join(dir, "."+name+".lock"))
	}
	if err != nil {
		return fmt.Errorf("discovery: cache file %s: %w", w.path, err)
	}
	return nil
}

// tryPlace says why no file can be made beside path, or returns nil.
func tryPlace(path string) error {
	dir, name := filepath.Split(path)
	f, err := os.CreateTemp(cmp.Or(dir, "."), "."+name+".*.tmp")
	if err != nil {
		return fmt.Errorf("cannot write in %s: %w", filepath.Dir(path), err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Run keeps the file in step with the directory until ctx ends, and returns why
// ctx ended. It returns at once with the error of Claim. Later failures are counted,
// logged and tried again. A file that somebody else removes or changes is written
// again within a second or so.
//
// When the file that is there is still good, Run collects announcements for ten
// seconds before it writes for the first time, so that a restart of the daemon
// removes nobody. What is in that file cannot be replaced by anything older. When it
// is not, the first file waits until there is something to tell, for five seconds at
// most: readers take an empty file for the truth, and listen themselves without one.
func (w *CacheWriter) Run(ctx context.Context) error {
	if err := w.Claim(); err != nil {
		return err
	}
	defer w.release()
	w.removeStrays()
	if w.adopt() {
		if !pause(ctx, collectTime, nil) {
			return ctx.Err()
		}
	} else if !w.collect(ctx) {
		return ctx.Err()
	}
	for ctx.Err() == nil {
		x := w.d.index.Load()
		changed := x.superseded
		if err := w.step(); err != nil {
			changed = nil
		}
		if !w.wait(ctx, changed) {
			return ctx.Err()
		}
		select {
		case <-changed:
			// Others follow a change closely, and readers have time.
			if !pause(ctx, max(mergeTime, w.gap()), nil) {
				return ctx.Err()
			}
			w.d.counters.add(countWritesMerged, int(w.d.index.Load().number-x.number-1))
		default:
		}
	}
	return ctx.Err()
}

func (w *CacheWriter) release() {
	w.lock.Unlock()
	w.lock = nil
}

// collect waits until the first file has something to tell; it returns false when ctx
// ended.
func (w *CacheWriter) collect(ctx context.Context) bool {
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
		if w.failing || w.rest() == 0 || !w.ours() {
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

// gap returns how long the file must be left alone.
func (w *CacheWriter) gap() time.Duration {
	return time.Until(w.wrote.Add(time.Second / time.Duration(w.d.limits.MaxCacheWrites)))
}

// rest returns how long nothing has to be done unless something changes.
func (w *CacheWriter) rest() time.Duration {
	if w.failing {
		return retryTime
	}
	return max(time.Until(w.wrote.Add(w.d.limits.CacheMaxAge/2)), 0)
}

// adopt reads the file that is there. What is in it ranks the announcements to
// come; it tells whether the file is good enough to be left for a while.
func (w *CacheWriter) adopt() bool {
	old := watchedFile{path: w.path, max: w.d.limits.MaxCacheFile, late: maxLate}
	text, id, err := old.read()
	if err != nil || len(text) == 0 {
		return false
	}
	records, _ := w.d.limits.ParseCache(text, nil)
	w.d.remember(records)
	age := w.d.now().Sub(id.modified())
	return age < w.d.limits.CacheMaxAge*9/10-collectTime
}

// remember takes the timestamps of announcements into the replay memory, and
// nothing else.
func (d *Directory) remember(records []*Announcement) {
	now := d.now()
	d.mu.Lock()
	defer d.unlock()
	for _, a := range records {
		key := Instance{SHA256: a.Certificate.SHA256, Ident: a.Ident}
		in := d.instances[key]
		if in == nil {
			in = &instance{key: key, certificate: a.Certificate, place: -1, seen: d.clock.now()}
			d.instances[key] = in
			d.moveLocked(in, &d.pools.file)
		}
		in.history.take(a, in.history.future(a.Timestamp, now, d.limits.FutureSkew))
		d.queueLocked(in)
	}
}

// step writes the file if its content is to change, or gives a sign of life.
func (w *CacheWriter) step() error {
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
	now := w.d.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.d.counters.add(countWriteFailed, 1)
		if !w.failing {
			w.report.say(slog.LevelError, countWriteFailed, "cache file not written: the old one stays", "path", w.path, "error", err)
		}
		w.failing, w.state.Err = true, err
		return err
	}
	w.failing, w.state.Err = false, nil
	w.state.Records, w.state.Octets = records, len(text)
	if w.state.Written.IsZero() || w.wrote.After(w.state.Written) {
		w.state.Written = now
	}
	return nil
}

// render returns the content that the file is to have. With nothing to tell it
// is two line feeds: readers take a file of 0 octets, and we one of 1, for a broken one.
func (w *CacheWriter) render() (text []byte, records int) {
	var b bytes.Buffer
	b.Grow(len(w.written) + 4<<10)
	views, rules := w.d.heard()
	judged := make(map[*Announcement]bool, len(views))
	for _, v := range views {
		may, ok := w.judged[v.ann]
		if !ok {
			may = w.judge(v.ann)
		}
		judged[v.ann] = may
		if !may || w.opts.NamedOnly && !rules.Named(v.ann.Certificate) {
			continue
		}
		b.WriteString(cacheSeparator)
		b.Write(v.ann.Record())
		records++
	}
	w.judged = judged
	if records == 0 {
		b.WriteString("\n\n")
	}
	return b.Bytes(), records
}

// judge says whether an announcement may be written, and logs once why not.
func (w *CacheWriter) judge(a *Announcement) bool {
	if w.opts.NamedOnly && !w.d.Authorized().Named(a.Certificate) {
		w.d.counters.add(countUnauthorized, 1)
	}
	err := a.Strict()
	if w.opts.Loose || err == nil {
		return true
	}
	w.d.counters.add(countNotStrict, 1)
	w.report.say(slog.LevelWarn, countNotStrict, "left out of the cache file to protect old readers", "ident", cut(a.Ident), "error", err)
	return false
}

// heard returns what belongs into a cache file, in the order of PROTOCOL 8.2:
// what is alive, allowed or not, but for what nobody may use.
func (d *Directory) heard() ([]*view, *Authorized) {
	d.mu.Lock()
	views := make([]*view, 0, len(d.instances))
	for _, in := range d.instances {
		if in.heard && in.view != nil && in.view.state == Live && in.view.obstacle != foreignLoopback {
			views = append(views, in.view)
		}
	}
	rules := d.rules
	d.mu.Unlock()
	slices.SortFunc(views, func(a, b *view) int {
		return cmp.Or(cmp.Compare(a.ann.Certificate.Fingerprint, b.ann.Certificate.Fingerprint), cmp.Compare(a.ann.Ident, b.ann.Ident),
			slices.Compare(a.ann.Certificate.SHA256[:], b.ann.Certificate.SHA256[:]))
	})
	return views, rules
}

// ours tells whether the file is the one we wrote.
func (w *CacheWriter) ours() bool {
	info, err := os.Lstat(w.path)
	return err == nil && idOf(info) == w.id
}

// write puts text in the place of the file.
func (w *CacheWriter) write(text []byte) error {
	id, err := replaceFile(w.path, text, w.d.now())
	if id != (fileID{}) {
		w.written, w.id, w.wrote = text, id, time.Now()
		w.mu.Lock()
		w.state.Writes++
		w.mu.Unlock()
	}
	return err
}

// replaceFile puts text in the place of the file at path, as a whole, and returns which
// file is there now. The zero fileID means that the old one stayed.
func replaceFile(path string, text []byte, now time.Time) (fileID, error) {
	if err := checkPlace(path); err != nil {
		return fileID{}, err
	}
	// The directory is opened once: what is made in it, renamed and synced is in
	// the same one, whoever moves directories about meanwhile.
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return fileID{}, err
	}
	defer root.Close()
	name := filepath.Base(path)
	temporary := "." + name + "." + rand.Text() + ".tmp"
	id, err := writeNew(root, temporary, text, now)
	if err == nil {
		err = root.Rename(temporary, name)
	}
	if err != nil {
		return fileID{}, errors.Join(err, ignoreMissing(root.Remove(temporary)))
	}
	return id, syncDir(root)
}

// writeNew makes a file that was not there and makes sure that it is on disk.
func writeNew(root *os.Root, name string, text []byte, now time.Time) (fileID, error) {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fileID{}, err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(0o644), root.Chtimes(name, now, now), f.Sync())
	info, statErr := f.Stat()
	err = errors.Join(err, statErr, f.Close())
	if err != nil {
		return fileID{}, err
	}
	return idOf(info), nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// syncDir makes sure that a rename is on disk.
func syncDir(root *os.Root) error {
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// touch gives the sign of life of PROTOCOL 8.2: another modification time.
func (w *CacheWriter) touch() error {
	now := w.d.now()
	if err := os.Chtimes(w.path, now, now); err != nil {
		return err
	}
	info, err := os.Lstat(w.path)
	if err != nil {
		return err
	}
	w.id, w.wrote = idOf(info), time.Now()
	return nil
}

// removeStrays removes what a writer that was killed left behind.
func (w *CacheWriter) removeStrays() {
	dir, name := filepath.Split(w.path)
	entries, err := os.ReadDir(cmp.Or(dir, "."))
	if err != nil {
		return // the first write says why
	}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), "."+name+".")
		if ok && strings.HasSuffix(rest, ".tmp") && e.Type().IsRegular() {
			_ = os.Remove(filepath.Join(dir, e.Name())) // not ours, then; harmless
		}
	}
}
