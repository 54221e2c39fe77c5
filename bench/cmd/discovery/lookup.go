package main

import (
	"fmt"
	"runtime"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// find returns the time and the allocations of one lookup, the mean of many kinds.
func find(d *discovery.Directory, services int) (ns, allocs float64) {
	queries := make([]discovery.Query, 0, 64)
	for i := range cap(queries) - 2 {
		queries = append(queries, discovery.Query{Action: fmt.Sprintf("Service%d.hello", i*services/cap(queries))})
	}
	queries = append(queries, discovery.Query{Action: "Common.ping"}, discovery.Query{Action: "Nobody.does"})
	const times = 2000
	var before, after runtime.MemStats
	best := time.Hour
	runtime.ReadMemStats(&before)
	for range 10 {
		best = min(best, measure(func() {
			for range times {
				for _, q := range queries {
					d.Find(q)
				}
			}
		}).cpu)
	}
	runtime.ReadMemStats(&after)
	lookups := float64(times * len(queries))
	allocs = float64(after.Mallocs-before.Mallocs) / (10 * lookups)
	if allocs < 0.001 {
		allocs = 0 // the runtime's own
	}
	return float64(best) / lookups, allocs
}

// looking measures lookups and the memory of what they look in.
func looking(p *printer, b *bus, o options) error {
	return b.inFile(func(path string) error {
		before := heap()
		d, r, err := b.load(path)
		if err != nil {
			return err
		}
		defer d.Close()
		p.print("bytes_per_service", float64(heap()-before)/float64(len(b.records)), "octets", noLimit)
		runtime.KeepAlive(r)
		ns, allocs := find(d, len(b.records))
		p.print("find_ns", ns, "ns", 200)
		p.print("find_allocs", allocs, "allocations", 0)
		return nil
	})
}

// changing measures how long a change of one service takes until it is found, and
// what new rules for all of them cost.
func changing(p *printer, b *bus, o options) error {
	return b.inFile(func(path string) error {
		d, _, err := b.load(path)
		if err != nil {
			return err
		}
		defer d.Close()
		best := time.Hour
		for i := range 10 * o.rounds {
			a, err := b.sign(1, i+1)
			if err != nil {
				return err
			}
			best = min(best, measure(func() { err = d.Add(a) }).cpu)
			if err != nil {
				return err
			}
		}
		p.print("publish_change_us", float64(best)/float64(time.Microsecond), "us", noLimit)
		best = time.Hour
		for range o.rounds {
			d.SetAuthorized(nil)
			best = min(best, measure(func() { d.SetAuthorized(b.rules) }).cpu)
		}
		p.print("swap_rules_ms", milliseconds(best), "ms", noLimit)
		return nil
	})
}
