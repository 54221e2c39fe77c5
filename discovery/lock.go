package discovery

import (
	"context"
	"errors"
	"path/filepath"
	"time"
)

// lockTime is how long a writer of a cache file waits for another one. A command that
// changes the file holds the lock for a moment, a daemon as long as it lives.
const lockTime = 2 * time.Second

// ErrCacheLocked is returned where somebody else writes a cache file, or changes it.
var ErrCacheLocked = errors.New("another cache daemon writes it, or a command is changing it")

// A lockedError is the path of a lock that somebody holds.
type lockedError string

func (path lockedError) Error() string {
	return ErrCacheLocked.Error() + " (who does holds " + string(path) + "): want one writer for each file"
}

// Is reports whether target is ErrCacheLocked.
func (lockedError) Is(target error) bool { return target == ErrCacheLocked }

// lockWriters takes the lock of the writers of the cache file at path. It waits a moment
// for whoever holds it, and for nothing else that is wrong.
func lockWriters(ctx context.Context, path string) (*fileLock, error) {
	end := time.Now().Add(lockTime)
	dir, name := filepath.Split(path)
	for {
		lock, err := lockFile(filepath.Join(dir, "."+name+".lock"))
		if _, held := errors.AsType[lockedError](err); !held || time.Now().After(end) {
			return lock, err
		}
		if !pause(ctx, 20*time.Millisecond, nil) {
			return nil, context.Cause(ctx)
		}
	}
}
