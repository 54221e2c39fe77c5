package discovery_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// TestSeveralAddresses: a service on a host of two networks sends a packet for each,
// with one timestamp (PROTOCOL 7.7). Whoever hears both keeps one and is refreshed by
// either, without a word; when its own is not heard any more, the other takes over.
func TestSeveralAddresses(t *testing.T) {
	type step func(*testing.T, *discovery.Directory)
	here := service{ident: "a", address: "beepish+tls://10.0.0.1:1"}
	there := service{ident: "a", address: "beepish+tls://192.168.0.1:1"}
	hear := func(s service) step {
		datagram := s.datagram()
		return func(t *testing.T, d *discovery.Directory) {
			if err := d.Receive(discovery.Datagram{Data: datagram}); err != nil {
				t.Errorf("Receive: %v", err)
			}
		}
	}
	hearHere, hearThere := hear(here), hear(there)
	load := func(list ...service) step {
		var records []*discovery.Announcement
		for _, s := range list {
			records = append(records, s.announce())
		}
		return func(_ *testing.T, d *discovery.Directory) { d.LoadFile(records) }
	}
	sleep := func(s int) step {
		return func(*testing.T, *discovery.Directory) { time.Sleep(time.Duration(s) * time.Second) }
	}
	both := func(t *testing.T, d *discovery.Directory) {
		for range 20 {
			hearHere(t, d)
			hearThere(t, d)
			time.Sleep(5 * time.Second)
		}
	}
	onlyThere := func(t *testing.T, d *discovery.Directory) {
		for range 20 {
			hearThere(t, d)
			time.Sleep(5 * time.Second)
		}
	}
	const first, second = "a@10.0.0.1:1", "a@192.168.0.1:1"
	gone, goneThere := here, there
	gone.weight, goneThere.weight = -1, -1
	gone.at, goneThere.at = epoch.Add(time.Second), epoch.Add(time.Second)
	for _, tt := range []struct {
		name string
		do   []step
		want string // of Find at the end
		told string // to who watches
	}{
		{"both", []step{both}, first, "a added announced 10.0.0.1:1"},
		{"the other refreshes", []step{hearHere, sleep(6), hearThere, sleep(6)}, first, "a added announced 10.0.0.1:1"},
		{"the other takes over", []step{both, onlyThere}, second,
			"a added announced 10.0.0.1:1; a updated announced 192.168.0.1:1"},
		{"and keeps it", []step{both, onlyThere, both}, second,
			"a added announced 10.0.0.1:1; a updated announced 192.168.0.1:1"},
		{"neither", []step{both, sleep(6)}, "",
			"a added announced 10.0.0.1:1; a removed expired 10.0.0.1:1"},
		{"both withdraw", []step{both, hear(gone), hear(goneThere), hear(gone), hear(goneThere)}, "",
			"a added announced 10.0.0.1:1; a removed goodbye 10.0.0.1:1"},
		{"in the file and heard", []step{load(here), onlyThere, load(here)}, first, "a added announced 10.0.0.1:1"},
		{"another in the file", []step{load(here), load(there)}, second,
			"a added announced 10.0.0.1:1; a updated announced 192.168.0.1:1"},
		{"another in the file than heard", []step{hearHere, load(there), hearHere, load(there)}, first,
			"a added announced 10.0.0.1:1"},
		{"both in the file", []step{load(here, there), load(here, there), load(here, there)}, first,
			"a added announced 10.0.0.1:1"},
		{"out of the file", []step{load(here), hearThere, load(), hearThere}, second,
			"a added announced 10.0.0.1:1; a updated announced 192.168.0.1:1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDirectory(t, nil)
				told := record(t, d.Watch(t.Context(), discovery.Query{}))
				t.Cleanup(d.Close) // before the tape is waited for
				var lines []string
				for _, do := range tt.do {
					do(t, d)
					if line := told.take(); line != "" {
						lines = append(lines, line)
					}
				}
				if got := idents(d.Find(discovery.Query{Action: "Sample.echo"})); got != tt.want {
					t.Errorf("Find: %q, want %q", got, tt.want)
				}
				if got := strings.Join(lines, "; "); got != tt.told {
					t.Errorf("told %q, want %q", got, tt.told)
				}
				for _, name := range []string{"announce_equivocation", "announce_ident_conflict", "announce_stale"} {
					if n := d.Stats().Counters[name]; n != 0 {
						t.Errorf("%s counted %d times: want none", name, n)
					}
				}
			})
		})
	}
}
