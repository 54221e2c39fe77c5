package discovery_test

import (
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
