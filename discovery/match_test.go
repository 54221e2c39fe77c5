package discovery_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// TestQueryPicks: instances are picked by every field of a query, in Find and List and
// by a watcher, with an action and without.
func TestQueryPicks(t *testing.T) {
	const random = "AAECAwQFBgcICQoLDA0ODxAR"
	web := []discovery.Action{{Class: "Page", Name: "render", Sector: "web", Version: 2, Envelopes: []string{"html"}, Flags: []string{"read"}}}
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, nil)
		t.Cleanup(d.Close)
		for _, s := range []service{
			{ident: "shop:" + random, address: "beepish+tls://10.0.0.1:1"},
			{ident: "shop-" + random, address: "beepish+tls://10.0.0.2:1"},
			{ident: "stock:" + random, address: "beepish+tls://Store.Example:1"},
			{ident: "site:" + random, address: "beepish+tls://[fd00::1]:1", actions: web},
			{ident: "alien:" + random, key: "other"},
			{ident: "gone:" + random, weight: -1},
		} {
			if err := d.Add(s.announce()); err != nil {
				t.Fatal(err)
			}
		}
		for _, tt := range []struct {
			query             discovery.Query
			find, watch, list string // names of services
		}{
			{discovery.Query{Action: "Sample.echo"}, "shop shop stock", "shop shop stock", "alien shop shop stock"},
			{discovery.Query{Action: "Sample.echo", Service: "shop"}, "shop shop", "shop shop", "shop shop"},
			{discovery.Query{Action: "Sample.echo", Service: "Shop"}, "", "", ""},
			{discovery.Query{Action: "Sample.echo", Host: "10.0.0.2"}, "shop", "shop", "shop"},
			{discovery.Query{Action: "Sample.echo", Host: "::ffff:10.0.0.2"}, "shop", "shop", "shop"},
			{discovery.Query{Action: "Sample.echo", Host: "store.example", Service: "stock"}, "stock", "stock", "stock"},
			{discovery.Query{Action: "Sample.echo", Host: "store.example", Service: "shop"}, "", "", ""},
			{discovery.Query{Action: "Sample.echo", Ident: "shop:" + random, Host: "10.0.0.1"}, "shop", "shop", "shop"},
			{discovery.Query{Action: "Sample.echo", Ident: "shop:" + random, Host: "10.0.0.2"}, "", "", ""},
			{discovery.Query{Action: "web:Page.render~2", Envelope: "html"}, "site", "site", "site"},
			{discovery.Query{Action: "web:Page._read~2", Envelope: "html", Host: "fd00:0::1"}, "site", "site", "site"},
			{discovery.Query{}, "", "shop shop site stock", "alien gone shop shop site stock"},
			{discovery.Query{Service: "shop"}, "", "shop shop", "shop shop"},
			{discovery.Query{Service: "gone"}, "", "", "gone"},
			{discovery.Query{Host: "10.0.0.1"}, "", "shop", "shop"},
			{discovery.Query{Sector: "WEB"}, "", "site", "site"},
			{discovery.Query{Version: 2}, "", "site", "site"},
			{discovery.Query{Envelope: "html"}, "", "site", "site"},
			{discovery.Query{Sector: "main", Envelope: "html"}, "", "", ""},
			{discovery.Query{Service: "site", Sector: "main"}, "", "", ""},
			{discovery.Query{Action: "a:b:c"}, "", "", ""},
		} {
			var found, watched, listed []string
			for _, r := range d.Find(tt.query) {
				found = append(found, discovery.ServiceName(r.Ident))
			}
			events := record(t, d.Watch(t.Context(), tt.query))
			for line := range strings.SplitSeq(events.take(), "; ") {
				if name, _, ok := strings.Cut(line, " "); ok {
					watched = append(watched, discovery.ServiceName(name))
				}
			}
			for _, e := range d.List(tt.query) {
				listed = append(listed, discovery.ServiceName(e.Peer.Ident))
			}
			if got := strings.Join(found, " "); got != tt.find {
				t.Errorf("Find of %v: %q, want %q", tt.query, got, tt.find)
			}
			if got := strings.Join(watched, " "); got != tt.watch {
				t.Errorf("Watch of %v: %q, want %q", tt.query, got, tt.watch)
			}
			slices.Sort(listed)
			if got := strings.Join(listed, " "); got != tt.list {
				t.Errorf("List of %v: %q, want %q", tt.query, got, tt.list)
			}
		}
		// A watcher of a sector is told when an instance has nothing left in it.
		told := record(t, d.Watch(t.Context(), discovery.Query{Sector: "web", Service: "site"}))
		told.take()
		d.Add(service{ident: "site:" + random, address: "beepish+tls://10.0.0.9:1", at: epoch.Add(time.Second)}.announce())
		if got, want := told.take(), "site:"+random+" removed replaced [fd00::1]:1"; got != want {
			t.Errorf("the watcher of a sector is told %q, want %q", got, want)
		}
		if e := d.Explain(discovery.Query{Action: "Sample.echo", Service: "none", Host: "10.0.0.1"}); e.Reason != discovery.OtherIdent ||
			!strings.Contains(e.String(), `no service "none" on host "10.0.0.1" offers this action, but `) {
			t.Errorf("Explain for another service: %v, %q", e.Reason, e)
		}
	})
}

// TestQueryString: a query reads as people would put it.
func TestQueryString(t *testing.T) {
	for _, tt := range []struct {
		query discovery.Query
		want  string
	}{
		{discovery.Query{Action: "Sample.echo"}, "main:Sample.echo~1"},
		{discovery.Query{Action: "web:Sample.echo~2", Envelope: "html", Ident: "a"}, "web:Sample.echo~2 with envelope html of a"},
		{discovery.Query{Action: "Sample.echo", Service: "shop", Host: "h"}, "main:Sample.echo~1 of service shop on host h"},
		{discovery.Query{}, "everything"},
		{discovery.Query{Sector: "web", Version: 2, Host: "h"}, "everything in sector web of version 2 on host h"},
	} {
		if got := tt.query.String(); got != tt.want {
			t.Errorf("String of %+v: %q, want %q", tt.query, got, tt.want)
		}
	}
}
