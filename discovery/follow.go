package discovery

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	pollTime       = time.Second     // between looks at a file, without notification
	pollWatched    = 5 * time.Second // with it, because it misses some changes
	unsettledDelay = 50 * time.Millisecond
)

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
		case <-notes.events():
		case <-notes.errors():
			notes.close() // some were lost
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

// events returns a channel that has something when a file in the directory may
// have changed, nil when nobody would say so.
func (n *fileNotes) events() <-chan fsnotify.Event {
	if n.watcher == nil {
		return nil
	}
	return n.watcher.Events
}

func (n *fileNotes) errors() <-chan error {
	if n.watcher == nil {
		return nil
	}
	return n.watcher.Errors
}

func (n *fileNotes) close() {
	if n.watcher != nil {
		n.watcher.Close()
		n.watcher = nil
	}
}
