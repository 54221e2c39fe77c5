//go:build resource

package scamp_test

import (
	"math/rand/v2"
	"runtime"
	"testing"
)

// A hundred thousand calls that are given up in every way leave pending tables,
// goroutines, descriptors and memory of callers and services where they were.
func TestResourceGivenUpCalls(t *testing.T) {
	const calls, first = 100_000, 4000
	start := holdsOnline(t)
	t.Run("calls", func(t *testing.T) { // whose cleanup is the drain
		g := newGivenUp(t, rand.Uint64(), calls)
		g.run(first) // connects, and fills pools
		g.wantNothingLeft()
		before, warm := heap(), holds()
		g.run(calls)
		g.wantNothingLeft()
		after, now := heap(), holds()
		t.Logf("after %d calls %v and %d KiB, after %d %v and %d KiB", first, warm, before>>10, calls, now, after>>10)
		// Connections that were cut are made again when a call needs them: there are some
		// more or fewer of them, each with up to 3 goroutines and 4 descriptors.
		const connections = 2 * 3
		if now["goroutines"] > warm["goroutines"]+3*connections || now["descriptors"] > warm["descriptors"]+4*connections {
			t.Errorf("seed %d: after %d calls %v, after %d %v: want no more", g.seed, first, warm, calls, now)
		}
		// One octet for each call would be 94 KiB.
		if after > before+2<<20 {
			t.Errorf("seed %d: after %d calls the heap has %d KiB, after %d %d: want the same", g.seed, first, before>>10, calls, after>>10)
		}
		g.wantTrueRan()
	})
	wantHolds(t, start)
}

// heap is how many octets of the heap are in use.
func heap() uint64 {
	var m runtime.MemStats
	for range 3 { // what is in pools goes with the second
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
