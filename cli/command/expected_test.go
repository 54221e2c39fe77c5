package command

// A white-box test, since which instance comes first hangs on their idents.

import (
	"slices"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/discovery"
)

// TestInventoryOfABuiltInName: an action that one instance has built in and another offers
// of its own belongs into the inventory, whichever comes first.
func TestInventoryOfABuiltInName(t *testing.T) {
	entry := func(ident string) discovery.Entry {
		a := &discovery.Announcement{Ident: ident, Actions: []discovery.Action{{Sector: "main", Class: "hello", Name: "queue_depth", Version: 1}}}
		return discovery.Entry{Announcement: a, State: discovery.Live, Decisions: []discovery.Decision{{Allowed: true}}}
	}
	own, foreign := entry("hello:1"), entry("other:1")
	if !own.Announcement.BuiltIn(&own.Announcement.Actions[0]) || foreign.Announcement.BuiltIn(&foreign.Announcement.Actions[0]) {
		t.Fatal("want the action built in at hello alone")
	}
	for _, tt := range []struct {
		name    string
		entries []discovery.Entry
		want    string
	}{
		{"built in first", []discovery.Entry{own, foreign}, "main:hello.queue_depth~1 1 2"},
		{"built in last", []discovery.Entry{foreign, own}, "main:hello.queue_depth~1 1 2"},
		{"built in between", []discovery.Entry{foreign, own, foreign}, "main:hello.queue_depth~1 1 3"},
		{"built in everywhere", []discovery.Entry{own, own}, ""},
	} {
		lines := strings.Split(strings.TrimSpace(inventory(instances(tt.entries))), "\n")
		if got := strings.Join(slices.Delete(lines, 0, 1), "\n"); got != tt.want {
			t.Errorf("%s: inventory %q, want %q", tt.name, got, tt.want)
		}
	}
}
