package discovery_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// later returns a service that differs from s by its time and its port, which
// says which of them is held.
func (s service) later(t time.Duration, port int) service {
	s.at, s.address = epoch.Add(t), fmt.Sprintf("beepish+tls://10.0.0.5:%d", port)
	return s
}

// held returns the port of what Find returns for the usual action, 0 for nothing.
func held(d *discovery.Directory) int {
	routes := d.Find(discovery.Query{Action: "Sample.echo"})
	if len(routes) == 0 {
		return 0
	}
	return port(routes[0])
}

func port(r discovery.Route) (port int) {
	fmt.Sscanf(r.Address, "10.0.0.5:%d", &port)
	return port
}

// TestReplayRule goes through PROTOCOL 7.9 and THREATS D2 to D5: what is held
// after each announcement, and the counter that an unwelcome one moves.
func TestReplayRule(t *testing.T) {
	const year = 365 * 24 * time.Hour
	type step struct {
		service service
		port    int    // held afterwards
		counter string // of the refusal
		wait    time.Duration
	}
	s := service{}
	at := func(t time.Duration, port int) service { return s.later(t, port) }
	gone := func(t time.Duration) service {
		g := at(t, 1)
		g.weight = -1
		return g
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"newer replaces", []step{{at(0, 1), 1, "", 0}, {at(time.Second, 2), 2, "", 0}}},
		{"older is dropped", []step{{at(time.Second, 2), 2, "", 0}, {at(0, 1), 2, "announce_stale", 0}}},
		{"the same refreshes", []step{{at(0, 1), 1, "", 0}, {at(0, 1), 1, "", 0}}},
		{"other octets at the same time stay out", []step{{at(0, 1), 1, "", 0}, {at(0, 2), 1, "announce_equivocation", 0}}},
		{"but not when the first expired", []step{{at(0, 1), 1, "", 11 * time.Second}, {at(0, 2), 2, "", 0}}},
		{"a withdrawal at the same time wins and stays", []step{
			{at(0, 1), 1, "", 0}, {gone(0), 0, "", 0}, {at(0, 1), 0, "announce_stale", 0}, {at(0, 2), 0, "announce_stale", 0},
		}},
		{"also after its record is gone", []step{
			{at(0, 1), 1, "", 0}, {gone(time.Second), 0, "", time.Minute}, {at(0, 1), 0, "announce_stale", 0}, {at(time.Second, 2), 0, "announce_stale", 0},
		}},
		{"resumed with a newer time", []step{{at(0, 1), 1, "", 0}, {gone(time.Second), 0, "", 0}, {at(2*time.Second, 2), 2, "", 0}}},
		{"old ones are stale for a day after the end", []step{{at(time.Second, 2), 2, "", 23 * time.Hour}, {at(0, 1), 0, "announce_stale", 0}}},
		{"and are forgotten then", []step{{at(time.Second, 2), 2, "", 25 * time.Hour}, {at(0, 1), 1, "", 0}}},
		{"future alone is taken", []step{{at(10*year, 3), 3, "", 0}}},
		{"and repeated", []step{{at(10*year, 3), 3, "", 0}, {at(10*year, 3), 3, "", 0}}},
		{"sane beats future at once", []step{{at(10*year, 3), 3, "", 0}, {at(0, 1), 1, "", 0}, {at(10*year, 3), 1, "announce_future", 0}}},
		{"future never counts as highest", []step{
			{at(0, 1), 1, "", 0}, {at(10*year, 3), 1, "announce_future", 0}, {at(time.Second, 2), 2, "", 0},
		}},
		{"a future one stays so when our clock passed it", []step{
			{at(400*time.Second, 3), 3, "", 0}, {at(0, 1), 1, "", time.Second}, {at(400*time.Second, 3), 1, "announce_future", 200 * time.Second},
			{at(0, 1), 1, "", 0}, {at(400*time.Second, 3), 1, "announce_future", 0},
		}},
		{"among future ones the newer wins", []step{
			{at(2*year, 3), 3, "", 0}, {at(3*year, 4), 4, "", 0}, {at(2*year, 3), 4, "announce_stale", 0},
		}},
		{"a withdrawal in the future beats a future one", []step{{at(2*year, 3), 3, "", 0}, {func() service { g := at(2*year, 3); g.weight = -1; return g }(), 0, "", 0}}},
		{"300 s ahead is not future", []step{{at(300*time.Second, 1), 1, "", 0}, {at(0, 2), 1, "announce_stale", 0}}},
		{"301 s ahead is", []step{{at(301*time.Second, 1), 1, "", 0}, {at(0, 2), 2, "", 0}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				d := newDirectory(t, &discovery.DirectoryOptions{Now: func() time.Time { return epoch.Add(time.Since(start)) }})
				for i, step := range tt.steps {
					err := d.Receive(discovery.Datagram{Data: step.service.datagram()})
					if got := held(d); counterOf(err) != step.counter || got != step.port {
						t.Fatalf("step %d: port %d is held, error %v: want port %d and counter %q", i+1, got, err, step.port, step.counter)
					}
					time.Sleep(step.wait)
					synctest.Wait()
				}
			})
		})
	}
}

// TestFutureSuccessor is PROTOCOL 7.9 rule 2 for a service that lives: the clock of one of
// us jumped, and what it says from then on is from the future. It is never removed for that,
// is known by the old until that has expired and by the new from then on, and ends 2.1
// intervals after its last packet, like everybody.
func TestFutureSuccessor(t *testing.T) {
	for _, tt := range []struct {
		name     string
		packets  int           // of the successor, one in an interval
		last     int           // port of the last record
		removed  time.Duration // after the last packet of the first
		replayed bool          // the first is heard again meanwhile
	}{
		{"lives on", 6, 2, 25*time.Second + 10500*time.Millisecond, false},
		{"dies before the first has expired", 2, 1, 5*time.Second + 10500*time.Millisecond, false},
		{"and the first is heard again", 3, 1, 12*time.Second + 10500*time.Millisecond, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDirectory(t, nil)
				var events []string
				start := time.Now()
				run(t, func(ctx context.Context) error {
					for e := range d.Watch(ctx, discovery.Query{Action: "Sample.echo"}) {
						events = append(events, fmt.Sprintf("%v %v %d", time.Since(start), e.Kind, port(e.Route)))
					}
					return ctx.Err()
				})
				receive := func(s service) { d.Receive(discovery.Datagram{Data: s.datagram()}) }
				first, second := service{}.later(0, 1), service{}.later(time.Hour, 2)
				receive(first)
				for at := time.Duration(0); at < tt.removed+time.Second; at += 100 * time.Millisecond {
					if n := at / (5 * time.Second); at%(5*time.Second) == 0 && int(n) < tt.packets {
						receive(second)
					}
					if tt.replayed && at == 12*time.Second {
						receive(first)
					}
					synctest.Wait()
					if got := held(d); (got == 0) != (at >= tt.removed) {
						t.Fatalf("%v after the first: port %d is held: want one until %v", at, got, tt.removed)
					} else if got != 0 && at > 16*time.Second && got != tt.last {
						t.Fatalf("%v after the first: port %d is held: want %d", at, got, tt.last)
					}
					time.Sleep(100 * time.Millisecond)
				}
				synctest.Wait()
				want := 1 + 1 // added, removed
				if tt.last == 2 {
					want++ // updated
				}
				if len(events) != want || !strings.Contains(events[len(events)-1], "removed") {
					t.Errorf("events %q: want %d, and the only removal last", events, want)
				}
			})
		})
	}
}

// TestFutureRecordInAFile: the clock of a reader is late. The file is what counts: when it
// has another record of the instance, what was held is there no more.
func TestFutureRecordInAFile(t *testing.T) {
	d := newDirectory(t, nil)
	sane, future := service{}.later(0, 1).announce(), service{}.later(time.Hour, 2).announce()
	for i, tt := range []struct {
		file []*discovery.Announcement
		want int
	}{
		{[]*discovery.Announcement{sane}, 1},
		{[]*discovery.Announcement{sane, future}, 1}, // no file of ours has both
		{[]*discovery.Announcement{future}, 2},
		{[]*discovery.Announcement{future, sane}, 1},
		{[]*discovery.Announcement{future}, 2},
		{[]*discovery.Announcement{sane}, 1}, // anything sane beats it, older or not
		{nil, 0},
	} {
		d.LoadFile(tt.file)
		if got := held(d); got != tt.want {
			t.Errorf("file %d: port %d is held: want %d", i+1, got, tt.want)
		}
	}
	// Who is also heard is known by that.
	if err := d.Add(sane); err != nil {
		t.Fatal(err)
	}
	d.LoadFile([]*discovery.Announcement{future})
	if got := held(d); got != 1 {
		t.Errorf("heard, and with a future record in the file: port %d is held: want 1", got)
	}
}

// TestReplayUnits is THREATS D4: one key, seconds and milliseconds.
func TestReplayUnits(t *testing.T) {
	json := func(timestamp string, port int) []byte {
		return signJSON(fmt.Sprintf(`[3,"web:AAECAwQFBgcICQoLDA0ODxAR","main",1,5000,"beepish+tls://10.0.0.5:%d",["json"],[["Sample",["echo","",1]]],%s]`, port, timestamp))
	}
	for _, tt := range []struct {
		first, second string
		want          int
	}{
		{"1700000000123", "1700000001.123", 2}, // milliseconds, then seconds 1 s later
		{"1700000000.123", "1700000001123", 2},
		{"1700000000", "1700000000000", 1}, // equal times: the first stays
		{"1700000001123", "1700000000.123", 1},
		{"1700000000123000", "1700000000.124", 2}, // microseconds
	} {
		d := newDirectory(t, nil)
		for i, timestamp := range []string{tt.first, tt.second} {
			err := d.Receive(discovery.Datagram{Data: json(timestamp, i+1)})
			if i == 0 && err != nil {
				t.Fatal(err)
			}
		}
		if got := held(d); got != tt.want {
			t.Errorf("%s, then %s: the announcement number %d is held: want %d", tt.first, tt.second, got, tt.want)
		}
	}
}

// TestReplayShuffled is THREATS D2 and D3: however packets are ordered and
// repeated, the newest of each instance is held in the end.
func TestReplayShuffled(t *testing.T) {
	const versions = 3
	services, rounds := 10, 60
	if long() {
		services, rounds = 50, 1000
	}
	var packets [][]byte
	for i := range services {
		s := service{ident: fmt.Sprintf("shuffled%d:AAECAwQFBgcICQoLDA0ODxAR", i)}
		for v := range versions {
			packets = append(packets, s.later(time.Duration(v)*time.Second, v+1).datagram())
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range rounds {
		d := newDirectory(t, nil)
		order := random.Perm(len(packets))
		for range len(order) / 5 {
			order = append(order, order[random.IntN(len(order))])
		}
		for _, i := range order {
			d.Receive(discovery.Datagram{Data: packets[i]}) // stale ones are refused
		}
		routes := d.Find(discovery.Query{Action: "Sample.echo"})
		if len(routes) != services || slices.ContainsFunc(routes, func(r discovery.Route) bool { return r.Address != fmt.Sprintf("10.0.0.5:%d", versions) }) {
			t.Fatalf("order %v: %s is held: want %d instances with port %d", order, idents(routes), services, versions)
		}
	}
}

// TestReplayFutureFlood is the second half of THREATS D5: a future packet may be
// replayed as often as one likes.
func TestReplayFutureFlood(t *testing.T) {
	replays := 10_000
	if raceEnabled && !long() {
		replays = 1_000
	}
	for _, timestamp := range []string{"2015360000000", "1e308", "9e15"} {
		now := epoch
		d := newDirectory(t, &discovery.DirectoryOptions{Now: func() time.Time { return now }, Limits: discovery.Limits{VerifyRate: 1 << 20}})
		future := signJSON(`[3,"web:AAECAwQFBgcICQoLDA0ODxAR","main",1,5000,"beepish+tls://10.0.0.5:9",["json"],[["Sample",["echo","",1]]],` + timestamp + `]`)
		if err := d.Receive(discovery.Datagram{Data: future}); err != nil || held(d) != 9 {
			t.Fatalf("%s: error %v, port %d is held: want it taken while nothing else is there", timestamp, err, held(d))
		}
		if err := d.Receive(discovery.Datagram{Data: service{}.later(0, 1).datagram()}); err != nil || held(d) != 1 {
			t.Fatalf("%s: a sane one after it: error %v, port %d is held: want 1", timestamp, err, held(d))
		}
		for i := range replays {
			if i == replays/2 {
				now = now.AddDate(20, 0, 0) // the clock has passed it
			}
			if err := d.Receive(discovery.Datagram{Data: future}); err == nil {
				t.Fatalf("%s: replay %d was taken", timestamp, i)
			}
		}
		if held(d) != 1 {
			t.Errorf("%s: port %d is held after the replays: want 1", timestamp, held(d))
		}
		if n := d.Stats().Counters["announce_future"]; n != uint64(replays)+1 {
			t.Errorf("%s: announce_future is %d: want %d", timestamp, n, replays+1)
		}
	}
}

// TestReplayManyFutures is the bound of PROTOCOL 7.9: four future timestamps are
// remembered, and forgetting one does no harm while it is still in the future.
func TestReplayManyFutures(t *testing.T) {
	now := epoch
	d := newDirectory(t, &discovery.DirectoryOptions{Now: func() time.Time { return now }})
	if err := d.Add(service{}.later(0, 1).announce()); err != nil {
		t.Fatal(err)
	}
	var futures []service
	for i := range 8 {
		futures = append(futures, service{}.later(time.Duration(i+1)*time.Hour, 100+i))
	}
	for range 2 {
		for i, s := range futures {
			if err := d.Add(s.announce()); counterOf(err) != "announce_future" || held(d) != 1 {
				t.Fatalf("future %d: error %v, port %d is held: want it refused and 1 held", i, err, held(d))
			}
		}
	}
	now = now.Add(4*time.Hour + time.Second) // the clock has passed the four that are nearest
	for i, s := range futures {
		if err := d.Add(s.announce()); counterOf(err) != "announce_future" || held(d) != 1 {
			t.Errorf("future %d after the clock passed it: error %v, port %d is held: want it refused and 1 held", i, err, held(d))
		}
	}
}
