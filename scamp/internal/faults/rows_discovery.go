//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/internal/wire"
)

// discoveryRows are the rows whose fault meets what everybody knows of the others.
var discoveryRows = []row{
	{id: "F13", fault: "clock +1 h, -1 h, +10 y, mixed units", quick: true, seconds: clockLasts.Seconds(), quickSeconds: clockLasts.Seconds(), simulated: true, run: runClocks},
	{id: "F15", fault: "multicast of the cache manager cut 40 s", seconds: 90, least: 40, quickSeconds: 40, minOK: 0.99, root: true, run: runDeaf},
	{id: "F25", fault: "orphan fragments 100/s", seconds: 60, least: 12, minOK: 0.99, root: true, run: runOrphans},
}

// runClocks is F13. It plays in synthetic time, in a process of its own.
func runClocks(ctx context.Context, s *stage) error {
	spec := clockSpec{Seed: s.seed, Services: clockServices, Seconds: s.seconds.Seconds()}
	for _, a := range spec.plan() {
		s.plan("%v", a)
	}
	c, err := s.start("clock", launch{role: "clock", spec: spec})
	if err != nil {
		return err
	}
	e, err := c.await(ctx, "clock", 5*time.Minute)
	if err != nil {
		return err
	}
	<-c.done
	if c.err != nil {
		return c.wrong("ended", c.err)
	}
	var got clockResult
	if err := json.Unmarshal(e.Data, &got); err != nil {
		return c.wrong("tells", err)
	}
	s.figure("services", clockServices)
	s.figure("events", float64(got.Events))
	s.figure("futures", float64(got.Futures))
	s.atLeast("jumps", float64(got.Jumps), math.Floor(spec.Seconds/4))
	s.atLeast("changes", float64(got.Changes), math.Floor(clockServices*spec.Seconds/120))
	s.atMost("removed", float64(got.Removed), 0)
	s.atMost("missing", float64(got.Missing), 0)
	s.atMost("locked_out", float64(got.Locked), 0)
	s.atMost("slowest_change_s", got.Slowest, clockNews.Seconds())
	if got.First != "" {
		s.failures = append(s.failures, got.First)
	}
	s.plan("events %s", got.Sequence) // synthetic time: they too are the seed's
	return nil
}

// beClock is the process of F13. Synthetic time is for tests alone, so it is one.
func beClock(p *post) error {
	var spec clockSpec
	if err := json.Unmarshal(p.spec, &spec); err != nil {
		return err
	}
	var pairs []*scamp.KeyPair
	for i := range 2 {
		pair, err := scamp.GenerateKeyPair(fmt.Sprintf("faults clock %d", i), 2048)
		if err != nil {
			return err
		}
		pairs = append(pairs, pair)
	}
	os.Args = os.Args[:1] // what is left is for flags of tests
	all := func(_, _ string) (bool, error) { return true, nil }
	testing.Main(all, []testing.InternalTest{{Name: "F13", F: func(t *testing.T) {
		var got clockResult
		synctest.Test(t, func(t *testing.T) { got = clockTrial(t, spec, pairs) })
		p.tell("clock", got)
	}}}, nil, nil) // ends the process
	return nil
}

// hearing is how long an instance is known that is not heard any more, with the second
// that THREATS 2.2 gives.
const hearing = 21*discoveryInterval/10 + time.Second

// discoveryInterval is that of the services of the load.
const discoveryInterval = 5 * time.Second

// openApart opens the stage with the cache manager on a host of its own, watch.
func (s *stage) openApart(ctx context.Context) (w *wire.Wire, watch *wire.Host, err error) {
	if w, err = s.wire("watch", "serve"); err != nil {
		return nil, nil, err
	}
	watch, serve := w.Hosts()[0], w.Hosts()[1]
	return w, watch, s.open(ctx, layout{on: func(name string) *wire.Host {
		if name == "cache" {
			return watch
		}
		return serve
	}})
}

// runDeaf is F15: the cache manager hears nobody for 40 s. In that time a service leaves,
// whose goodbye it cannot hear.
func runDeaf(ctx context.Context, s *stage) error {
	w, watch, err := s.openApart(ctx)
	if err != nil {
		return err
	}
	from, lasts := s.seconds/6, s.seconds*4/9 // of 90 s: 15 s, 40 s
	var cut, mended time.Time
	leaver := s.services[2]
	if err := s.load(ctx, []act{
		{from, "cut multicast to the cache manager", func(context.Context) error {
			cut = time.Now()
			w.Cut(func(_, to *wire.Host, p wire.Packet) bool { return to == watch && p.Multicast() })
			return nil
		}},
		{from + lasts/8, "a service leaves, unheard", func(ctx context.Context) error { return leaver.stop(ctx, drainIn) }},
		{from + lasts, "mend it", func(context.Context) error { mended = time.Now(); w.Cut(nil); return nil }},
	}); err != nil {
		return err
	}
	stats, err := s.cache.stats(ctx)
	if err != nil {
		return err
	}
	var whileCut, live, gone float64
	for _, ch := range s.cache.directory() {
		switch {
		case ch.Kind != "removed" || ch.At.Before(cut):
		case ch.At.Before(mended):
			whileCut++
		case ch.Ident == leaver.ready.Ident:
			gone = ch.At.Sub(mended).Seconds()
		default:
			live++
		}
	}
	// Two services at least announce themselves all that time.
	s.atLeast("packets_cut", float64(w.Stats().Cut), max(1, math.Floor(2*lasts.Seconds()/discoveryInterval.Seconds())-2))
	s.atMost("removed_while_deaf", whileCut, 0)
	s.atMost("removed_live", live, 0)
	if lasts > hearing+discoveryInterval { // else it need not have noticed
		s.atLeast("alarms", float64(stats["observer_blind"]), 1)
	}
	s.atLeast("left_expired_after_s", gone, 0.001) // it is removed at all
	// Its time goes on when the first of the others is heard again, which is a third of an
	// interval later at most.
	s.atMost("left_expired_after_s", gone, (hearing + discoveryInterval/3).Seconds())
	return nil
}

// runOrphans is F25: somebody fills the memory in which the cache manager's kernel puts
// fragments together. Announcements that need none of it go on to be heard.
func runOrphans(ctx context.Context, s *stage) error {
	const rate = 100 // a second
	w, watch, err := s.openApart(ctx)
	if err != nil {
		return err
	}
	flood, stop := context.WithCancel(ctx)
	defer stop()
	var began time.Time
	dice := s.rand("orphans")
	sent := make(chan int, 1)
	if err := s.load(ctx, []act{{time.Second, fmt.Sprintf("%d orphan fragments a second", rate), func(context.Context) error {
		began = time.Now()
		go func() { // ends with flood
			n := 0
			defer func() { sent <- n }()
			tick := time.NewTicker(time.Second / rate)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
				case <-flood.Done():
					return
				}
				source := netip.AddrFrom4([4]byte{10, 124, byte(dice.IntN(256)), byte(dice.IntN(256))})
				w.Inject(watch, wire.OrphanFragment(source, netip.MustParseAddr(discovery.DefaultGroup), uint16(n)))
				n++
			}
		}()
		return nil
	}}}); err != nil {
		return err
	}
	stop()
	stats, err := s.cache.stats(ctx)
	if err != nil {
		return err
	}
	s.atLeast("orphans", float64(<-sent), math.Floor(0.8*rate*(s.seconds-time.Second).Seconds()))
	s.atLeast("alarms", float64(stats["fragments_lost"]), 1)
	s.atMost("removed", float64(s.cache.removals(began)), 0)
	return nil
}
