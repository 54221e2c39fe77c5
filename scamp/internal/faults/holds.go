//go:build linux

package main

import (
	"maps"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/internal/ledger"
)

// holds is what the process holds, for rule 8. Workers of a service that rest are not
// counted: they are kept for the next burst, at most mux.MaxHandlers of them.
func holds() map[string]int64 {
	h := map[string]int64{"goroutines": int64(runtime.NumGoroutine() - resting())}
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		h["descriptors"] = int64(len(fds))
	}
	return h
}

// resting counts the workers of a service that wait for a request.
func resting() (n int) {
	stacks := make([]runtime.StackRecord, runtime.NumGoroutine()+64)
	k, ok := runtime.GoroutineProfile(stacks)
	if !ok {
		return 0 // so many began meanwhile: nobody rests
	}
	for i := range k {
		frames := runtime.CallersFrames(stacks[i].Stack())
		for {
			f, more := frames.Next()
			if !strings.HasPrefix(f.Function, "runtime.") {
				if strings.HasSuffix(f.Function, "scamp.(*dispatcher).work") {
					n++
				}
				break
			}
			if !more {
				break
			}
		}
	}
	return n
}

// settled waits until what the process holds has not changed for a while, a second at
// most: what was opened may still be starting.
func settled() {
	last, since := holds(), time.Now()
	for end := since.Add(time.Second); time.Now().Before(end); {
		<-time.After(10 * time.Millisecond)
		now := holds()
		if now["goroutines"] != last["goroutines"] || now["descriptors"] != last["descriptors"] {
			last, since = now, time.Now()
		} else if time.Since(since) > 100*time.Millisecond {
			return
		}
	}
}

// drained waits until the process holds no more than it did, or a time is over, and
// returns what it holds then.
func drained(start map[string]int64, within time.Duration) map[string]int64 {
	deadline := time.Now().Add(within)
	for {
		now, more := holds(), false
		for name, n := range now {
			more = more || n > start[name]
		}
		if !more {
			return now
		}
		if time.Now().After(deadline) {
			pprof.Lookup("goroutine").WriteTo(os.Stderr, 1) // who is left
			return now
		}
		<-time.After(20 * time.Millisecond)
	}
}

// emptied waits until a bus has nothing under way, or a time is over, and returns what is
// left in its tables: all of that is too much.
func emptied(b *scamp.Bus, within time.Duration) map[string]int {
	deadline := time.Now().Add(within)
	for {
		left := tablesOf(b)
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		<-time.After(20 * time.Millisecond)
	}
}

// pairs are counters of what begins and of what of it has ended: their difference is open.
var pairs = map[string][2]string{
	"connections opened":   {"conn_opened", "conn_closed"},
	"connections accepted": {"conn_accepted", "conn_finished"},
	"requests started":     {"request_started", "request_ended"},
}

// openOf is what a bus has begun and not ended, by its counters. What it has not it leaves
// out.
func openOf(b *scamp.Bus) map[string]int64 {
	open := make(map[string]int64)
	all := b.Stats()
	for name, p := range pairs {
		switch n := int64(all[p[0]]) - int64(all[p[1]]); {
		case n > 0:
			open[name+" and not ended"] = n
		case n < 0: // that does not add up either
			open[name+" fewer than ended"] = -n
		}
	}
	return open
}

// drainBus notes what a process holds after the drain: first what is under way on its bus,
// which Close would take away, then, when close has run, all else.
func drainBus(book *ledger.Ledger, b *scamp.Bus, start map[string]int64, close func() error) (map[string]int64, error) {
	left := emptied(b, 5*time.Second)
	if err := close(); err != nil {
		return nil, err
	}
	now := drained(start, 15*time.Second)
	for name, n := range left {
		now[name] = int64(n)
	}
	open := openOf(b)
	for deadline := time.Now().Add(5 * time.Second); len(open) > 0 && time.Now().Before(deadline); open = openOf(b) {
		<-time.After(20 * time.Millisecond) // what ended just now is counted a moment later
	}
	maps.Copy(now, open)
	book.Drain(now)
	return now, book.Err()
}

// A weighedHeap is what a process holds after a collection.
type weighedHeap struct {
	Octets uint64
	Holds  map[string]int64
}

func weighHeap() weighedHeap {
	runtime.GC()
	runtime.GC() // what pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return weighedHeap{m.HeapAlloc, holds()}
}
