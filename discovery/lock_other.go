//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package discovery

// A fileLock does nothing where the system has no flock.
type fileLock struct{}

func lockFile(string) (*fileLock, error) { return &fileLock{}, nil }

func (*fileLock) held() bool { return true }

// Unlock does nothing.
func (*fileLock) Unlock() {}
