//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package scamp

import (
	"io/fs"
	"os"
	"syscall"
)

// heldMode is the mode of a running-service file whose maker holds its lock: nobody
// writes it, and those of other implementations, which hold none, can be written.
const heldMode fs.FileMode = 0o444

// noWait keeps an open from waiting, should a FIFO have taken the place of the file.
const noWait = syscall.O_NONBLOCK

// holdFile locks a file for as long as the process lives, and marks it so.
func holdFile(f *os.File) error {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
	return f.Chmod(heldMode)
}

// orphaned reports whether the maker of a file that was marked by holdFile is gone. The file
// stays locked until it is closed.
func orphaned(f *os.File, info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode() == heldMode && info.Size() == 0 && int(st.Uid) == os.Geteuid() &&
		syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}
