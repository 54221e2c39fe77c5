package discovery

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// tryPlace says why no file can be made beside path, or returns nil. Whoever calls it
// holds the lock, or a daemon that starts would take the file for a stray.
func tryPlace(path string) error {
	dir, name := filepath.Split(path)
	f, err := os.CreateTemp(cmp.Or(dir, "."), "."+name+".*.tmp")
	if err != nil {
		return fmt.Errorf("cannot write in %s: %w", filepath.Dir(path), err)
	}
	return errors.Join(f.Close(), ignoreMissing(os.Remove(f.Name())))
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
		w.written, w.id = text, id
		w.noteWrite(time.Now())
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
	failpoint("beforeRename")
	if err == nil {
		err = root.Rename(temporary, name)
	}
	if err != nil {
		return fileID{}, errors.Join(err, ignoreMissing(root.Remove(temporary)))
	}
	failpoint("beforeSyncDir")
	err = syncDir(root)
	failpoint("afterSyncDir")
	return id, err
}

// writeNew makes a file that was not there and makes sure that it is on disk.
func writeNew(root *os.Root, name string, text []byte, now time.Time) (fileID, error) {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fileID{}, err
	}
	failpoint("afterCreate")
	if failpoints {
		half := len(text) / 2
		_, err = f.Write(text[:half])
		text = text[half:]
		failpoint("halfWritten")
	}
	_, werr := f.Write(text)
	failpoint("beforeSync")
	err = errors.Join(err, werr, f.Chmod(0o644), root.Chtimes(name, now, now), f.Sync())
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

// age returns how long ago the file that is there had a sign of life, without one a
// time that is too long for all.
func (w *CacheWriter) age() time.Duration {
	info, err := os.Lstat(w.path)
	if err != nil {
		return math.MaxInt64
	}
	return w.d.now().Sub(info.ModTime())
}

// keepAlive gives a file that is not ours yet a sign of life: whoever wrote it is dead,
// and we know of nobody in it that has left.
func (w *CacheWriter) keepAlive() {
	now := w.d.now()
	if err := os.Chtimes(w.path, now, now); err != nil {
		w.report.say(slog.LevelWarn, countWriteFailed, "cache file may become stale before it is written again: it cannot be touched",
			"path", w.path, "error", err)
	}
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
