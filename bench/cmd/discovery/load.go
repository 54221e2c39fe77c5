package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// checkAll returns what it costs to verify all signatures of the bus and nothing else.
func (b *bus) checkAll() (cost, error) {
	list := make([]*discovery.Announcement, len(b.records))
	for i, record := range b.records {
		var err error
		if list[i], err = b.limits.ParseRecord(record); err != nil {
			return cost{}, err
		}
	}
	return measure(func() { parallel(len(list), func(i int) { list[i].Verify() }) }), nil
}

// loading measures cold loads against signature checks, the two by turns, and loads
// of a file that is the same or nearly so.
func loading(p *printer, b *bus, o options) error {
	return b.inFile(func(path string) error {
		var best, bestCheck cost
		ratio := 0.0
		for range o.rounds {
			var d *discovery.Directory
			var err error
			load := measure(func() { d, _, err = b.load(path) })
			if err != nil {
				return err
			}
			d.Close()
			check, err := b.checkAll()
			if err != nil {
				return err
			}
			if r := float64(load.cpu) / float64(check.cpu); ratio == 0 || r < ratio {
				ratio, best, bestCheck = r, load, check
			}
		}
		p.print("cold_load_ratio", ratio, "signature checks", 1.5)
		p.print("cold_load_ms", milliseconds(best.wall), "ms", noLimit)
		p.print("cold_load_checks_ms", milliseconds(bestCheck.wall), "ms", noLimit)
		p.print("cold_load_cores", float64(best.cpu)/float64(best.wall), "cores", float64(runtime.GOMAXPROCS(0)))
		return b.reloading(p, o, path)
	})
}

func (b *bus) reloading(p *printer, o options, path string) error {
	d, r, err := b.load(path)
	if err != nil {
		return err
	}
	defer d.Close()
	hash, same, one := time.Hour, time.Hour, time.Hour
	for i := range 2 * o.rounds {
		hash = min(hash, measure(func() {
			text, _ := os.ReadFile(path)
			sha256.Sum256(text)
		}).cpu)
		now := time.Now().Add(time.Duration(i) * time.Millisecond)
		if err := os.Chtimes(path, now, now); err != nil {
			return err
		}
		same = min(same, measure(func() { err = r.Load() }).cpu)
		if err != nil {
			return err
		}
	}
	p.print("reload_unchanged_ms", milliseconds(same), "ms", milliseconds(hash))
	for i := range o.rounds {
		a, err := b.sign(0, i+1)
		if err != nil {
			return err
		}
		if err := b.write(path, a.Record()); err != nil {
			return err
		}
		one = min(one, measure(func() { err = r.Load() }).cpu)
		if err != nil {
			return err
		}
		if got := d.Find(discovery.Query{Action: "Service0.hello"}); len(got) != 1 || got[0].Timestamp != a.Timestamp {
			return fmt.Errorf("the record that changed is not found after the file was read: want it")
		}
	}
	p.print("reload_one_changed_ms", milliseconds(one), "ms", noLimit)
	return nil
}

// large measures a bus that is ten times as large as most.
func large(p *printer, b *bus) error {
	return b.inFile(func(path string) error {
		var d *discovery.Directory
		var r *discovery.CacheReader
		var err error
		before := heap()
		load := measure(func() { d, r, err = b.load(path) })
		if err != nil {
			return err
		}
		defer d.Close()
		p.print("large_bytes_per_service", float64(heap()-before)/float64(len(b.records)), "octets", noLimit)
		runtime.KeepAlive(r)
		check, err := b.checkAll()
		if err != nil {
			return err
		}
		p.print("large_load_ratio", float64(load.cpu)/float64(check.cpu), "signature checks", 1.5)
		p.print("large_load_ms", milliseconds(load.wall), "ms", noLimit)
		ns, _ := find(d, len(b.records))
		p.print("large_find_ns", ns, "ns", 200)
		return nil
	})
}

// heap returns the octets in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools kept
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
