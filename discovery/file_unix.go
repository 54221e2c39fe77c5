//go:build unix

package discovery

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// A fileID changes when the content of a file may have (PROTOCOL 8.3). It is
// comparable.
type fileID struct {
	dev, inode uint64
	size       int64
	mtime      int64 // nanoseconds
}

// settleTime is how long a file that is written in place must be left alone before
// we read it, so that we see all of it. One that was put in place by a rename is
// whole at once.
const settleTime = 100 * time.Millisecond

// A watchedFile reads a file that others write. It belongs to one goroutine.
type watchedFile struct {
	path string
	max  int    // octets
	last fileID // of the last look
	late int    // looks in a row at which it was being written

	settled bool // what was read last was written in place, and left alone since
}

// errUnsettled means that the file is being written: look again soon.
var errUnsettled = errors.New("being written")

// maxLate is how many looks in a row may find a file unsettled: one that is
// always being written is read as it is.
const maxLate = 10

// stat returns the identity of the file now.
func (w *watchedFile) stat() (fileID, error) {
	info, err := os.Stat(w.path)
	if err != nil {
		return fileID{}, err
	}
	return idOf(info), regular(info)
}

// read returns the content of the file and its identity. It never waits for a
// writer: not a FIFO's, not a device's.
func (w *watchedFile) read() ([]byte, fileID, error) {
	f, info, err := openRegular(w.path)
	if err != nil {
		return nil, fileID{}, err
	}
	defer f.Close()
	id := idOf(info)
	if info.Size() > int64(w.max) {
		return nil, id, fileTooBigError(w.max)
	}
	age, whole := time.Since(info.ModTime()), renamed(info)
	w.settled = !whole && age >= settleTime
	inPlace := w.last.inode == id.inode && w.last.dev == id.dev && w.last != id || !whole
	if inPlace && age >= 0 && age < settleTime && w.late < maxLate {
		w.late++
		return nil, id, errUnsettled
	}
	text := make([]byte, info.Size()+1) // one more, to see whether it grew
	n, err := io.ReadFull(f, text)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, id, err
	}
	if info, err = f.Stat(); (err != nil || idOf(info) != id) && w.late < maxLate {
		w.late++
		return nil, id, errUnsettled
	}
	w.late = 0
	return text[:n], id, nil
}

func idOf(info fs.FileInfo) fileID {
	id := fileID{size: info.Size(), mtime: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		id.dev, id.inode = uint64(st.Dev), uint64(st.Ino)
	}
	return id
}

// modified returns the modification time.
func (id fileID) modified() time.Time { return time.Unix(0, id.mtime) }

// sharedDir says whether other users may put files into a directory, and whether
// its sticky bit keeps them from replacing ours. Write access for the group
// counts when the group is not our own.
func sharedDir(dir string) (shared, sticky bool, err error) {
	info, err := os.Stat(dir)
	if err != nil {
		return false, false, err
	}
	if !info.IsDir() {
		return false, false, &fs.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR}
	}
	mode := info.Mode()
	shared = mode.Perm()&0o002 != 0
	if st, ok := info.Sys().(*syscall.Stat_t); ok && mode.Perm()&0o020 != 0 && int(st.Gid) != os.Getegid() {
		shared = true
	}
	return shared, mode&fs.ModeSticky != 0, nil
}

// checkPlace says why a file may not be written at path, or returns nil: where
// other users can write, it must be ours and stay ours (THREATS C8).
func checkPlace(path string) error {
	dir := filepath.Dir(path)
	shared, sticky, err := sharedDir(dir)
	if err != nil {
		return err
	}
	if shared && !sticky {
		return fmt.Errorf("directory %q can be written by other users: want it writable by one user only, or sticky (chmod +t)", dir)
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	if err := regular(info); err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && shared && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("it belongs to user %d in a directory that other users can write: want it to be ours, remove it first", st.Uid)
	}
	return nil
}
