package scamptest_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

func TestAnnouncementsAreFound(t *testing.T) {
	net := scamptest.New(t)
	bus := net.Bus(nil)
	fakes := net.Announcements(20, func(i int, a *discovery.Announcement) {
		if i%2 == 1 {
			a.Sector = "web"
		}
	})
	bus.Directory().LoadFile(fakes)
	for action, want := range map[string]int{"Fake4.run": 1, "web:Fake5.run": 1, "Fake5.run": 0, "Fake20.run": 0} {
		if got := len(bus.Directory().Find(discovery.Query{Action: action})); got != want {
			t.Errorf("%s: %d instances, want %d", action, got, want)
		}
	}
	// Nobody is there, and the caller is told so.
	_, err := scamp.Call[string](t.Context(), bus, "Fake4.run", 1)
	var call *scamp.CallError
	if !errors.As(err, &call) || call.Ran != scamp.RanNo {
		t.Errorf("call of a fake service: %v, want one that did not run", err)
	}
	path := filepath.Join(t.TempDir(), "discovery")
	if done, err := discovery.UpdateCacheFile(t.Context(), path, fakes, nil); err != nil || done.Records != 20 {
		t.Errorf("as a cache file: %d records, %v, want 20", done.Records, err)
	}
}
