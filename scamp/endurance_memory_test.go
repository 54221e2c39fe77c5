//go:build resource && linux

package scamp_test

import (
	"testing"
	"time"
)

const bothOctets = 64 << 20

// Sixteen times 64 MiB in both directions at once on one connection: all arrive, and
// neither process needs 64 MiB more than at rest after one of them.
func TestResourceBothWays(t *testing.T) {
	const most = 64 << 10 // KiB
	service, c := servesAlone(t)
	callBothWays(t, c, 1, bothOctets) // warm up
	var took time.Duration
	caller, at := growth(t, service, func() {
		began := time.Now()
		callBothWays(t, c, 16, bothOctets)
		took = time.Since(began)
	})
	t.Logf("16 times 64 MiB each way in %v, %.0f MB/s each way; memory grew by %d KiB here and %d KiB at the service",
		took.Round(time.Millisecond), 16*bothOctets/took.Seconds()/1e6, caller, at)
	if caller >= most || at >= most {
		t.Errorf("memory grew by %d KiB here and %d KiB at the service, want less than %d", caller, at, most)
	}
}
