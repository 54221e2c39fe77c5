package discovery_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// lossy drops one in twenty datagrams on the way to each member, by chance that is the
// same each time for the same seed, member, octets and number of their sending.
type lossy struct {
	seed uint64

	mu sync.Mutex // protects n
	n  map[uint64]uint64
}

func (l *lossy) fault(_, _ discovery.Iface, data []byte) discovery.Fault {
	h := fnv.New64a()
	h.Write(data)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n[h.Sum64()]++ // once for each member, in the order in which they joined
	return discovery.Fault{Drop: rand.New(rand.NewPCG(l.seed^h.Sum64(), l.n[h.Sum64()])).IntN(20) == 0}
}

// TestNoFlappingAtLoss: three hosts with ten services each lose 5 % of all datagrams for
// ten minutes, and nobody is removed, whatever the seed; a goodbye is heard within a
// second. A removal takes n lost packets in a row, which come n/2 times in 5 s: in 900
// minutes of a service heard by a host 900*12 * n/2 * 0.95 * 0.05^n are to be expected.
// That is 26 for one packet in an interval (n = 2), 0.13 for two, and for three one in
// 2,000 runs. The chances are the same each time.
func TestNoFlappingAtLoss(t *testing.T) {
	for _, tt := range []struct {
		seed     uint64
		sendings int
		flaps    bool
	}{{1, 0, false}, {2, 0, false}, {3, 0, false}, {4, 0, false}, {5, 0, false}, {6, 0, false}, {2, 1, true}} {
		t.Run(fmt.Sprintf("seed %d sendings %d", tt.seed, tt.sendings), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				removed, goodbye := lossyBus(t, tt.seed, tt.sendings)
				t.Logf("%d false removals in 900 minutes of a service heard by a host, goodbye after %v", removed, goodbye)
				if (removed > 0) != tt.flaps {
					t.Errorf("%d false removals in ten minutes: want some: %v", removed, tt.flaps)
				}
				if goodbye > time.Second {
					t.Errorf("the goodbye was heard by all after %v: want a second at most", goodbye)
				}
			})
		})
	}
}

// lossyBus runs the bus and returns how many services were removed falsely, and how long
// the goodbye of one took to reach all.
func lossyBus(t *testing.T, seed uint64, sendings int) (removed int64, goodbye time.Duration) {
	const hosts, each = 3, 10
	segment := discovery.NewLoopback()
	var gone, left atomic.Int64
	var announcers []*discovery.Announcer
	for h := range hosts {
		c := segment.Join()
		d := newDirectory(t, nil)
		run(t, discovery.NewObserver(c, d, nil).Run)
		run(t, func(ctx context.Context) error {
			for e := range d.Watch(ctx, discovery.Query{Action: "Sample.echo"}) {
				if e.Kind == discovery.Removed && e.Why == discovery.Goodbye {
					left.Add(1)
				} else if e.Kind == discovery.Removed {
					gone.Add(1)
				}
			}
			return ctx.Err()
		})
		for i := range each {
			a := newAnnouncer(t, c, func(o *discovery.AnnouncerOptions) { o.Ifaces, o.Sendings, o.Jitter = nil, sendings, 0 })
			x := content()
			x.Ident = fmt.Sprintf("s%d-%d", h, i)
			if err := a.Set(x); err != nil {
				t.Fatal(err)
			}
			run(t, a.Run)
			announcers = append(announcers, a)
		}
	}
	time.Sleep(time.Minute) // all know all
	loss := &lossy{seed: seed, n: make(map[uint64]uint64)}
	segment.Disturb(loss.fault)
	gone.Store(0)
	time.Sleep(10 * time.Minute)
	removed = gone.Load()

	began := time.Now()
	announcers[0].Withdraw(t.Context())
	for left.Load() < hosts && time.Since(began) < time.Minute {
		time.Sleep(time.Millisecond)
	}
	return removed, time.Since(began)
}
