package scamp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// announceAs signs an announcement with a key of the rogue's own and has buses hear it.
func announceAs(t *testing.T, pair *scamp.KeyPair, ident, address string, actions []discovery.Action, buses ...*scamp.Bus) {
	t.Helper()
	a := &discovery.Announcement{
		Ident: ident, Weight: 1, Envelopes: []string{"json"}, Timestamp: time.Now().UnixMicro(), Certificate: pair.Certificate,
		Address: "beepish+tls://" + address, Actions: actions,
	}
	if _, err := a.Sign(pair.Key); err != nil {
		t.Fatal(err)
	}
	for _, b := range buses {
		if err := b.Directory().Add(a); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRogueTakesAnIdent is THREATS D15: an authorized service that announces the ident of
// another gets its share of the calls and no more, whether it names an address of its own
// or the victim's; no request reaches a certificate other than its entry's.
func TestRogueTakesAnIdent(t *testing.T) {
	for _, own := range []bool{true, false} {
		t.Run(fmt.Sprintf("own_address_%v", own), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scamptest.New(t)
				var victims, rogues atomic.Int32
				count := func(runs *atomic.Int32) func(*scamp.Service) {
					return func(s *scamp.Service) {
						s.Handle("Sample.do", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { runs.Add(1); return nil }, nil)
					}
				}
				victim := n.Serve("victim", count(&victims))
				rogue := n.KeyPair()
				n.Allow(rogue, "main:ALL")
				address := victim.Addr()
				bus := n.Bus(nil)
				if own {
					// It runs where only the forged announcement leads, on a bus that nobody hears.
					hidden := n.Bus(&scamp.Options{Carriers: []discovery.Carrier{discovery.NewLoopback().Join()}})
					s, err := hidden.NewService("rogue", &scamp.ServiceOptions{KeyPair: rogue, Listen: []string{"127.0.0.1:0"}, Grace: -1})
					if err != nil {
						t.Fatal(err)
					}
					count(&rogues)(s)
					ctx, cancel := context.WithCancel(t.Context())
					ended := make(chan error, 1)
					go func() { ended <- s.Serve(ctx) }() // ends with ctx
					defer func() { cancel(); <-ended }()
					<-s.Ready()
					address = s.Addr()
				}
				announceAs(t, rogue, victim.Ident(), address, []discovery.Action{{Class: "Sample", Name: "do"}}, bus)
				if found := bus.Directory().Find(discovery.Query{Action: "Sample.do"}); len(found) != 2 {
					t.Fatalf("%d instances found, want both", len(found))
				}
				const calls = 200
				for range calls {
					if _, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.do"}); err != nil {
						t.Fatal(err)
					}
				}
				if own {
					if v, r := victims.Load(), rogues.Load(); v+r != calls || v < calls*4/10 {
						t.Errorf("%d calls ran at the victim and %d at the rogue of %d, want about half each", v, r, calls)
					}
				} else if v := victims.Load(); v != calls {
					t.Errorf("%d of %d calls ran at the victim, want all: the other entry's certificate is not shown there", v, calls)
				}
				// Aimed at the certificate, it is that one or none.
				for _, pair := range []*scamp.KeyPair{victim.KeyPair, rogue} {
					v, r := victims.Load(), rogues.Load()
					_, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.do", Route: &scamp.RouteOptions{Ident: pair.Certificate.Fingerprint + "#" + victim.Ident()}})
					switch {
					case pair == victim.KeyPair && (err != nil || victims.Load() != v+1):
						t.Errorf("aimed at the victim: %v", err)
					case pair == rogue && own && (err != nil || rogues.Load() != r+1):
						t.Errorf("aimed at the rogue: %v", err)
					case pair == rogue && !own && (!errors.Is(err, scamp.ErrPin) || victims.Load() != v):
						t.Errorf("aimed at the rogue, which names the victim's address: %v, want ErrPin and nothing run", err)
					}
				}
			})
		})
	}
}

// TestRogueNamesAVictim is THREATS D22: who announces somebody else's address does not
// make clients flood it: at most one dial a second each, however many calls want it.
func TestRogueNamesAVictim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		rogue := n.KeyPair()
		n.Allow(rogue, "main:ALL")
		const clients, seconds, rate = 20, 20, 100
		var buses []*scamp.Bus
		dials := make([]atomic.Int32, clients)
		for i := range clients {
			buses = append(buses, n.Bus(&scamp.Options{Dial: func(context.Context, string, string) (net.Conn, error) {
				dials[i].Add(1)
				return nil, errors.New("connection refused")
			}}))
		}
		start := time.Now()
		for i := 0; time.Since(start) < seconds*time.Second; i++ {
			if i%rate == 0 { // announced anew each second, as if it had been started again
				announceAs(t, rogue, fmt.Sprintf("rogue:%024d", i), "10.1.2.3:25", []discovery.Action{{Class: "Sample", Name: "do"}}, buses...)
			}
			for _, b := range buses {
				if _, err := b.Call(t.Context(), &scamp.Request{Action: "Sample.do"}); err == nil {
					t.Fatal("a call was answered by nobody")
				}
			}
			time.Sleep(time.Second / rate)
		}
		for i := range dials {
			if got := dials[i].Load(); got < 2 || got > seconds+1 {
				t.Errorf("client %d dialed %d times in %d s, want at most once a second", i, got, seconds)
			}
		}
	})
}

// TestRogueTakesAliases is THREATS D23: a service with rights to one class gets no request
// for another, whatever aliases, letters and sectors it announces, and a _meta action of
// its own brings it no ticket.
func TestRogueTakesAliases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		bus := f.bus(nil)
		rules, err := discovery.ParseAuthorized(strings.NewReader(f.pair.Certificate.Fingerprint + " main:Harmless\n"))
		if err != nil {
			t.Fatal(err)
		}
		bus.Directory().SetAuthorized(rules)
		flags := []string{"create", "read", "update", "destroy"}
		f.announce(bus, "rogue:1", beta,
			discovery.Action{Class: "Victim", Name: "do", Flags: flags},
			discovery.Action{Class: "Harmless", Name: "do", Flags: flags},
			discovery.Action{Class: "HARMLESSVictim", Name: "do", Flags: flags},
			discovery.Action{Class: "Victim.Harmless", Name: "do", Flags: flags},
			discovery.Action{Sector: "web", Class: "Victim", Name: "do", Flags: flags},
		)
		for _, action := range []string{"Victim.do", "Victim._create", "Victim._read", "victim._update", "VICTIM._destroy", "HarmlessVictim.do",
			"HarmlessVictim._read", "Victim.Harmless.do", "Victim.Harmless._create", "web:Victim.do", "web:Victim._read"} {
			if routes := bus.Directory().Find(mustQuery(t, action)); len(routes) != 0 {
				t.Errorf("%s is found at %v, want nobody", action, routes[0].Action)
			}
			if _, err := bus.Call(t.Context(), &scamp.Request{Action: action, Ticket: "secret"}); !errors.Is(err, scamp.ErrDenied) {
				t.Errorf("%s: %v, want ErrDenied", action, err)
			}
		}
		if routes := bus.Directory().Find(mustQuery(t, "Harmless._read")); len(routes) != 1 || routes[0].Action != "Harmless.do" {
			t.Errorf("Harmless._read: %d routes, want the action it stands for", len(routes))
		}
	})
}

func mustQuery(t *testing.T, action string) discovery.Query {
	t.Helper()
	q, err := discovery.ParseAction(action)
	if err != nil {
		t.Fatal(err)
	}
	return q
}
