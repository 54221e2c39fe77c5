//go:build !linux

package discovery_test

import (
	"os"
	"testing"
)

// asNobody runs f without the rights of root.
func asNobody(t *testing.T, _ string, f func()) {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Skip("SKIPPED, NOT TESTED: root can read every file, and drops its rights on Linux only")
	}
	f()
}
