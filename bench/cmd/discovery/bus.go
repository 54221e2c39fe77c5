package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// A bus is made up: services that share a few keys, each with an action of its own,
// one that all have and three of a group.
type bus struct {
	pairs   []*scamp.KeyPair
	rules   *discovery.Authorized
	limits  discovery.Limits
	records [][]byte
	since   time.Time // of the timestamps
}

func newBus(services, keys int) (*bus, error) {
	b := &bus{records: make([][]byte, services), since: time.Now(), limits: discovery.Limits{
		MaxCacheRecords: max(services+1, discovery.Limits{}.WithDefaults().MaxCacheRecords),
		MaxCacheFile:    max((services+1)*4096, discovery.Limits{}.WithDefaults().MaxCacheFile),
	}}
	var rules strings.Builder
	for i := range keys {
		pair, err := scamp.GenerateKeyPair(fmt.Sprint("service", i), 2048)
		if err != nil {
			return nil, err
		}
		b.pairs = append(b.pairs, pair)
		fmt.Fprintf(&rules, "%s main:ALL\n", pair.Certificate.Fingerprint)
	}
	var err error
	if b.rules, err = discovery.ParseAuthorized(strings.NewReader(rules.String())); err != nil {
		return nil, err
	}
	var failed atomic.Pointer[error]
	parallel(services, func(i int) {
		a, err := b.sign(i, 0)
		if err != nil {
			failed.Store(&err)
			return
		}
		b.records[i] = a.Record()
	})
	if err := failed.Load(); err != nil {
		return nil, *err
	}
	return b, nil
}

// sign signs an announcement of a service, the later ones with a higher timestamp.
func (b *bus) sign(i, version int) (*discovery.Announcement, error) {
	pair := b.pairs[i%len(b.pairs)]
	group := fmt.Sprintf("Group%d", i%100)
	a := &discovery.Announcement{
		Ident: fmt.Sprintf("service%d:AAECAwQFBgcICQoLDA0ODxAR", i), Weight: 1, Envelopes: []string{"json"},
		Address:   fmt.Sprintf("beepish+tls://10.%d.%d.%d:%d", i>>16&255, i>>8&255, i&255, 30100+version%100),
		Timestamp: b.since.Add(time.Duration(version) * time.Millisecond).UnixMicro(), Certificate: pair.Certificate,
		Actions: []discovery.Action{
			{Class: fmt.Sprintf("Service%d", i), Name: "hello"}, {Class: "Common", Name: "ping"},
			{Class: group, Name: "list", Flags: []string{"read"}}, {Class: group + ".Item", Name: "fetch"}, {Class: group + ".Item", Name: "store"},
		},
	}
	_, err := a.Sign(pair.Key)
	return a, err
}

// directory returns an empty one under the rules of the bus.
func (b *bus) directory() *discovery.Directory {
	return discovery.NewDirectory(&discovery.DirectoryOptions{Limits: b.limits, Authorized: b.rules})
}

// write writes the cache file of the bus, with one record replaced if it is not nil.
func (b *bus) write(path string, first []byte) error {
	var text []byte
	for i, record := range b.records {
		if i == 0 && first != nil {
			record = first
		}
		text = append(append(text, "\n%%%\n"...), record...)
	}
	next := path + ".next"
	if err := os.WriteFile(next, text, 0o644); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// inFile calls f with the path of a cache file of the bus, and removes it.
func (b *bus) inFile(f func(path string) error) error {
	dir, err := os.MkdirTemp("", "bench-discovery")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "discovery")
	if err := b.write(path, nil); err != nil {
		return err
	}
	return f(path)
}

// load reads the file into a new directory, with nothing remembered.
func (b *bus) load(path string) (*discovery.Directory, *discovery.CacheReader, error) {
	d := b.directory()
	r := discovery.NewCacheReader(path, d, nil)
	if err := r.Load(); err != nil {
		return nil, nil, err
	}
	if n := len(d.Find(discovery.Query{Action: "Common.ping"})); n != len(b.records) {
		return nil, nil, fmt.Errorf("%d of %d services are found: want all", n, len(b.records))
	}
	return d, r, nil
}

// A cost is what something took.
type cost struct {
	wall, cpu time.Duration // the processor time of all cores together
}

func measure(f func()) cost {
	cpu, start := processTime(), time.Now()
	f()
	return cost{wall: time.Since(start), cpu: processTime() - cpu}
}

func processTime() time.Duration {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage) // fails for an unknown argument only
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// parallel calls do for 0 to n-1 on all cores.
func parallel(n int, do func(int)) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() { // ends when there is no work left
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	workers.Wait()
}
