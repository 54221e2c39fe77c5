package discovery_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// TestExplain: each way not to be found has its own words, and they say what to do.
func TestExplain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, nil)
		offer := func(s service, actions ...discovery.Action) {
			s.actions = actions
			if err := d.Add(s.announce()); err != nil {
				t.Fatal(err)
			}
		}
		offer(service{ident: "silent"}, discovery.Action{Class: "Silent", Name: "one"})
		time.Sleep(12 * time.Second)
		offer(service{ident: "shop"}, discovery.Action{Class: "Customer.Order", Name: "make", Version: 2},
			discovery.Action{Class: "Page", Name: "show", Sector: "web", Envelopes: []string{"web"}}, discovery.Action{Class: "Sample", Name: "echo"})
		offer(service{ident: "stranger", key: "other"}, discovery.Action{Class: "Bank", Name: "transfer"})
		offer(service{ident: "goer"}, discovery.Action{Class: "Goer", Name: "one"})
		d.Add(service{ident: "goer", weight: -1, at: epoch.Add(time.Second)}.announce())

		for _, tt := range []struct {
			query  discovery.Query
			reason discovery.Reason
			want   []string
		}{
			{discovery.Query{Action: "Nobody.does"}, discovery.NoAction, []string{"no service offers this action"}},
			{discovery.Query{Action: "Customer.Order.mak~2"}, discovery.NoAction, []string{"did you mean Customer.Order.make?"}},
			{discovery.Query{Action: "Order.make"}, discovery.NoAction, []string{"did you mean Customer.Order.make?"}},
			{discovery.Query{Action: "not an action"}, discovery.NoAction, []string{"no service offers this action"}},
			{discovery.Query{Action: "Page.show", Envelope: "web"}, discovery.OtherSector, []string{"in sector main, but in web"}},
			{discovery.Query{Action: "Customer.Order.make"}, discovery.OtherVersion, []string{"no service offers version 1", "but version 2"}},
			{discovery.Query{Action: "web:Page.show"}, discovery.OtherEnvelope, []string{`with envelope "json", but with web`}},
			{discovery.Query{Action: "Sample.echo", Ident: "nobody"}, discovery.OtherIdent, []string{`no service "nobody"`, "but shop"}},
			{discovery.Query{Action: "Bank.transfer"}, discovery.NotAuthorized, []string{
				"offered by stranger but not authorized: no rule lets", mustCertificate("other").Fingerprint, "main:Bank", "add"}},
			{discovery.Query{Action: "Silent.one"}, discovery.HasExpired, []string{"offered by silent, but it was not heard of for 12s"}},
			{discovery.Query{Action: "Goer.one"}, discovery.HasWithdrawn, []string{"offered by goer, but it withdrew"}},
			{discovery.Query{Action: "Sample.echo"}, discovery.Answers, []string{"offered by shop"}},
		} {
			e := d.Explain(tt.query)
			if e.Reason != tt.reason {
				t.Errorf("Explain(%v): reason %v, want %v", tt.query, e.Reason, tt.reason)
			}
			for _, want := range tt.want {
				if !strings.Contains(e.String(), want) {
					t.Errorf("Explain(%v): %q, want %q in it", tt.query, e, want)
				}
			}
		}
	})
}

// TestExplainManyOffers: everybody who comes close is named.
func TestExplainManyOffers(t *testing.T) {
	d := newDirectory(t, nil)
	for _, ident := range []string{"a", "b", "c"} {
		d.Add(service{ident: ident, key: "other"}.announce())
	}
	e := d.Explain(discovery.Query{Action: "Sample.echo"})
	if len(e.Offers) != 3 || !strings.HasPrefix(e.String(), "offered by a and 2 more but not authorized: ") {
		t.Errorf("%d offers, %q: want three instances named", len(e.Offers), e)
	}
	for _, o := range e.Offers {
		if o.Decision.Allowed || o.Reason != discovery.NotAuthorized || o.Peer.Certificate == nil {
			t.Errorf("%+v: want the decision and the certificate", o)
		}
	}
}

// TestExplainFollows: what is said of a name follows what happens to those who offer it.
func TestExplainFollows(t *testing.T) {
	d := newDirectory(t, nil)
	at := epoch
	one, list := discovery.Action{Class: "Shop.Item", Name: "list", Flags: []string{"read"}}, discovery.Query{Action: "Shop.Item.list~2"}
	offer := func(ident string, actions ...discovery.Action) *discovery.Announcement {
		at = at.Add(time.Second)
		return service{ident: ident, actions: actions, at: at}.announce()
	}
	var a, b *discovery.Announcement
	for _, step := range []struct {
		name string
		do   func()
		want string // Explain of list
		near string // the names near Shop.Item.lists
	}{
		{"nobody", func() {}, "no such action 0", "[]"},
		{"one", func() { a = offer("a", one); d.LoadFile([]*discovery.Announcement{a}) }, "other version 1", "[Shop.Item.list]"},
		{"two", func() { b = offer("b", one); d.LoadFile([]*discovery.Announcement{b, a}) }, "other version 2", "[Shop.Item.list]"},
		{"one offers something else", func() {
			a = offer("a", discovery.Action{Class: "Shop.Item", Name: "listen"})
			d.LoadFile([]*discovery.Announcement{a, b})
		}, "other version 1", "[Shop.Item.list Shop.Item.listen]"},
		{"the other is asked for", func() {
			two := one
			two.Version = 2
			b = offer("b", one, two)
			d.LoadFile([]*discovery.Announcement{a, b})
		}, "answers 2", "[Shop.Item.list Shop.Item.listen]"},
		{"it withdraws", func() { d.Add(service{ident: "b", weight: -1, at: at.Add(time.Minute)}.announce()) }, "withdrawn 2", "[Shop.Item.list Shop.Item.listen]"},
		{"all leave", func() { d.LoadFile(nil) }, "withdrawn 2", "[Shop.Item.list]"},
	} {
		step.do()
		e := d.Explain(list)
		if got := fmt.Sprint(e.Reason, " ", len(e.Offers)); got != step.want {
			t.Errorf("%s: Explain(%v): %s, want %s", step.name, list, got, step.want)
		}
		if got := fmt.Sprint(d.Explain(discovery.Query{Action: "Shop.Item.lists"}).Near); got != step.near {
			t.Errorf("%s: names near Shop.Item.lists: %s, want %s", step.name, got, step.near)
		}
		if got, want := d.Explain(discovery.Query{Action: "shop.ITEM._read~2"}).Reason, e.Reason; got != want {
			t.Errorf("%s: Explain of the alias: %v, want %v", step.name, got, want)
		}
	}
}

// What does a call that finds nobody cost among 10,000 services of 5 actions each? It
// may fail in a loop, so it must cost the bus no more than a millisecond, and it must
// keep nobody else from the directory.
func BenchmarkExplain(b *testing.B) {
	d := directoryOfMany(b)
	for _, tt := range []struct {
		name  string
		query discovery.Query
	}{
		{"offered by one", discovery.Query{Action: "Service7777.hello~2"}},
		{"offered by all", discovery.Query{Action: "Common.ping~2"}},
		{"asked again", discovery.Query{Action: "Service7777.helo"}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d.Explain(tt.query)
			}
		})
	}
	b.Run("asked first", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			d.Explain(discovery.Query{Action: fmt.Sprintf("Servic%d.hello", i)})
		}
	})
	b.Run("denied", func(b *testing.B) {
		d.SetAuthorized(nil)
		b.ReportAllocs()
		for b.Loop() {
			d.Explain(discovery.Query{Action: "Common.ping"})
		}
	})
}
