//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package discovery

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// A fileLock is held by one process at a time. It ends with its process at the latest.
type fileLock struct{ f *os.File }

// lockFile takes the lock at path, or says that somebody has it. Where others can write,
// the file must be ours, as the one it protects.
func lockFile(path string) (*fileLock, error) {
	for {
		if err := checkPlace(path); err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, fmt.Errorf("cannot write in %s: %w", filepath.Dir(path), err)
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EWOULDBLOCK):
			f.Close()
			return nil, lockedError(path)
		case err != nil:
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// Whoever had it before removed the file: only the one that is there counts.
		lock := &fileLock{f}
		if lock.held() {
			return lock, nil
		}
		f.Close()
	}
}

// held tells whether the file of the lock is still there. Without it, anybody can make
// another one and lock that.
func (l *fileLock) held() bool {
	held, err := l.f.Stat()
	there, lerr := os.Lstat(l.f.Name())
	return err == nil && lerr == nil && os.SameFile(held, there)
}

// Unlock gives the lock back and removes its file.
func (l *fileLock) Unlock() {
	if l.held() {
		_ = os.Remove(l.f.Name()) // an unlocked file that stays harms nobody
	}
	l.f.Close()
}
