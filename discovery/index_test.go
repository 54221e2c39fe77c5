package discovery_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// manyServices returns signed announcements of n services, each with an action of
// its own, one that all have and a few more, made once for all benchmarks.
var manyServices = sync.OnceValue(func() []*discovery.Announcement {
	const n = 10_000
	list := make([]*discovery.Announcement, n)
	cert, key := mustCertificate("sample"), mustKey("sample")
	var workers sync.WaitGroup
	for w := range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := w; i < n; i += runtime.GOMAXPROCS(0) {
				a := &discovery.Announcement{
					Ident: fmt.Sprintf("service%d:AAECAwQFBgcICQoLDA0ODxAR", i), Weight: 1, Envelopes: []string{"json"}, Certificate: cert,
					Address: fmt.Sprintf("beepish+tls://10.%d.%d.%d:30100", i>>16, i>>8&255, i&255), Timestamp: epoch.UnixMicro(),
					Actions: []discovery.Action{
						{Class: fmt.Sprintf("Service%d", i), Name: "hello"}, {Class: "Common", Name: "ping"},
						{Class: fmt.Sprintf("Group%d", i%100), Name: "list", Flags: []string{"read"}},
						{Class: fmt.Sprintf("Group%d.Item", i%100), Name: "fetch"}, {Class: fmt.Sprintf("Group%d.Item", i%100), Name: "store"},
					},
				}
				if _, err := a.Sign(key); err != nil {
					panic(err)
				}
				list[i] = a
			}
		})
	}
	workers.Wait()
	return list
})

// cacheOfMany returns a cache file of all of them.
func cacheOfMany() []byte {
	var text []byte
	for _, a := range manyServices() {
		text = append(append(text, "\n%%%\n"...), a.Record()...)
	}
	return text
}

func directoryOfMany(b *testing.B) *discovery.Directory {
	d := newDirectory(b, nil)
	records, _ := discovery.ParseCache(cacheOfMany())
	d.LoadFile(records)
	return d
}

// How long does a call look for its way among 10,000 services? DESIGN 7 wants at
// most 200 ns and no allocation.
func BenchmarkFind(b *testing.B) {
	d := directoryOfMany(b)
	for _, q := range []discovery.Query{
		{Action: "Service7777.hello"},
		{Action: "SERVICE7777.Hello", Sector: "main", Version: 1, Envelope: "json"},
		{Action: "Common.ping"},
		{Action: "Nobody.does"},
		{Action: "main:Service7777.hello~1"},
		{Action: "Common.ping", Ident: "service7777:AAECAwQFBgcICQoLDA0ODxAR"},
	} {
		b.Run(fmt.Sprint(q.Action, " ", len(d.Find(q))), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d.Find(q)
			}
		})
	}
}

// What does one announcement cost that changes among 10,000 services, until it can
// be found?
func BenchmarkChange(b *testing.B) {
	d := directoryOfMany(b)
	changing := service{ident: "changing"}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		changing.at = epoch.Add(time.Duration(i) * time.Millisecond)
		a := changing.announce()
		b.StartTimer()
		if err := d.Add(a); err != nil {
			b.Fatal(err)
		}
	}
}

// What does a repetition cost, which is nearly all that is heard?
func BenchmarkRepeat(b *testing.B) {
	d := newDirectory(b, nil)
	dg := discovery.Datagram{Data: service{}.datagram()}
	if err := d.Receive(dg); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(dg.Data)))
	for b.Loop() {
		if err := d.Receive(dg); err != nil {
			b.Fatal(err)
		}
	}
}

// What does it cost to start with a cache file of 10,000 services, against its
// signature checks alone? DESIGN 7 wants at most 1.5 times as much.
func BenchmarkColdLoad(b *testing.B) {
	text := cacheOfMany()
	b.Run("everything", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			d := newDirectory(b, nil)
			records, bad := discovery.ParseCache(text)
			discovery.LoadParsed(d, records)
			if len(bad) > 0 || len(d.Find(discovery.Query{Action: "Common.ping"})) != 10_000 {
				b.Fatal(bad)
			}
		}
	})
	b.Run("signatures", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			var records []*discovery.Announcement
			for _, r := range manyServices() {
				a, err := discovery.Limits{}.ParseRecord(r.Record())
				if err != nil {
					b.Fatal(err)
				}
				records = append(records, a)
			}
			b.StartTimer()
			discovery.Parallel(len(records), func(i int) { records[i].Verify() })
		}
	})
}

// What does it cost to load a file again of which one record changed?
func BenchmarkReload(b *testing.B) {
	text := cacheOfMany()
	d := newDirectory(b, nil)
	var memory discovery.CacheMemory
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		records, _ := discovery.Limits{}.ParseCache(text, &memory)
		discovery.LoadParsed(d, records)
	}
}

// What do new rules cost, for everything that is held?
func BenchmarkSetAuthorized(b *testing.B) {
	d := directoryOfMany(b)
	sets := []*discovery.Authorized{rules(), nil}
	i := 0
	for b.Loop() {
		i++
		d.SetAuthorized(sets[i%2])
	}
}

// TestFindAllocatesNothing holds DESIGN 7, and that Find goes on while the index
// is replaced.
func TestFindAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("SKIPPED: the race detector allocates")
	}
	d := newDirectory(t, nil)
	d.Add(service{}.announce())
	for _, q := range []discovery.Query{
		{Action: "Sample.echo"}, {Action: "MAIN:sample.ECHO~1", Envelope: "json"}, {Action: "Sample.none"},
		{Action: "Sample.echo", Ident: "web:AAECAwQFBgcICQoLDA0ODxAR"},
		{Action: "Sample.echo", Ident: mustCertificate("sample").Fingerprint + "#web:AAECAwQFBgcICQoLDA0ODxAR"},
	} {
		if n := testing.AllocsPerRun(100, func() { d.Find(q) }); n != 0 {
			t.Errorf("Find of %v costs %v allocations: want none", q, n)
		}
	}
}

// TestFindIsSharedAndStays is invariant 4: what Find returned does not change when
// the directory does.
func TestFindIsSharedAndStays(t *testing.T) {
	d := newDirectory(t, nil)
	d.Add(service{ident: "a"}.announce())
	q := discovery.Query{Action: "Sample.echo"}
	before := d.Find(q)
	want := idents(before)
	d.Add(service{ident: "b"}.announce())
	d.Add(service{ident: "a", weight: -1, at: epoch.Add(time.Second)}.announce())
	if got := idents(before); got != want {
		t.Errorf("routes found before a change: %q, then %q", want, got)
	}
	if cap(before) != len(before) {
		t.Errorf("capacity %d of %d routes: an append would write into the index", cap(before), len(before))
	}
	if got := idents(d.Find(q)); got != "b@10.0.0.5:30123" {
		t.Errorf("Find: %q", got)
	}
}
