package discovery_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// nobody is a user without rights.
const nobody = 65534

// asNobody runs f on a thread that has no rights but those of a user to whom dir
// belongs. Who is not root is such a user.
func asNobody(t *testing.T, dir string, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends with f; its thread is never unlocked, so that it ends as well
		defer close(done)
		runtime.LockOSThread()
		// Of this thread alone: unix.Setresuid is for all of them.
		same := ^uintptr(0)
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, same, nobody, same); errno != 0 {
			t.Errorf("become user %d: %v", nobody, errno)
			return
		}
		f()
	}()
	<-done
}
