package scamp_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// TestCallWaits: how long a call waits for somebody who offers the action, from a
// quarter of a second after the bus was opened.
func TestCallWaits(t *testing.T) {
	const young = 5500*time.Millisecond - 250*time.Millisecond
	echo := "Greeter.echo"
	for _, tt := range []struct {
		name    string
		action  string
		route   *scamp.RouteOptions
		other   discovery.Action // heard before the call; none if empty
		appears time.Duration    // when the service is announced; never if zero
		old     bool             // the bus has listened for long
		waits   time.Duration    // until it finds it or gives up
	}{
		{name: "while it may not have heard", action: echo, appears: 4 * time.Second, waits: 4 * time.Second},
		{name: "no longer", action: echo, waits: young},
		{name: "not when it must have heard", action: echo, old: true},
		{name: "not at all", action: echo, route: &scamp.RouteOptions{Wait: -1}, appears: time.Second},
		{name: "as long as it says", action: echo, route: &scamp.RouteOptions{Wait: time.Minute}, old: true, appears: 50 * time.Second, waits: 50 * time.Second},
		{name: "and gives up then", action: echo, route: &scamp.RouteOptions{Wait: time.Minute}, old: true, waits: time.Minute},
		{name: "but not beyond the time of the call", action: echo, route: &scamp.RouteOptions{Wait: time.Hour}, old: true, appears: 100 * time.Second, waits: 75 * time.Second},
		{name: "also beside one that a filter leaves out", action: echo, route: &scamp.RouteOptions{Wait: time.Minute, Filter: func(r discovery.Route) bool { return r.Ident == "echo:1" }}, old: true, other: discovery.Action{Class: "Greeter", Name: "echo"}, appears: 3 * time.Second, waits: 3 * time.Second},
		{name: "and gives up for a filter then", action: echo, route: &scamp.RouteOptions{Wait: time.Minute, Filter: func(r discovery.Route) bool { return r.Ident == "echo:1" }}, old: true, other: discovery.Action{Class: "Greeter", Name: "echo"}, waits: time.Minute},
		{name: "also beside a similar name", action: echo, other: discovery.Action{Class: "Greeter", Name: "ech"}, appears: 3 * time.Second, waits: 3 * time.Second},
		{name: "and another version", action: echo, other: discovery.Action{Class: "Greeter", Name: "echo", Version: 2}, appears: 3 * time.Second, waits: 3 * time.Second},
		{name: "and no right", action: "secret:Greeter.echo", other: discovery.Action{Sector: "secret", Class: "Greeter", Name: "echo"}, waits: young},
		{name: "and for that instance", action: echo, route: &scamp.RouteOptions{Ident: "late:1"}, other: discovery.Action{Class: "Greeter", Name: "echo"}, waits: young},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scamptest.New(t)
				pair := n.KeyPair()
				n.Allow(pair, "main:ALL")
				bus := n.Bus(nil)
				if tt.old {
					time.Sleep(10 * time.Second)
				}
				announce := func(ident string, action discovery.Action) {
					a := discovery.Announcement{
						Ident: ident, Weight: 1, Address: "beepish+tls://127.0.0.1:1", Envelopes: []string{"json"}, Actions: []discovery.Action{action},
						Timestamp: time.Now().UnixMicro(), Certificate: pair.Certificate,
					}
					packet, err := a.Sign(pair.Key)
					if err == nil {
						err = n.Segment().Send(t.Context(), discovery.Iface{}, discovery.Compress(packet))
					}
					if err != nil {
						t.Error(err)
					}
				}
				time.Sleep(100 * time.Millisecond)
				if tt.other.Class != "" {
					announce("other:1", tt.other)
				}
				time.Sleep(150 * time.Millisecond)
				if tt.appears > 0 {
					time.AfterFunc(tt.appears, func() { announce("echo:1", discovery.Action{Class: "Greeter", Name: "echo"}) })
				}
				began := time.Now()
				_, err := bus.Call(t.Context(), &scamp.Request{Action: tt.action, Route: tt.route})
				took := time.Since(began)
				found := tt.appears > 0 && tt.waits == tt.appears
				if missing := errors.Is(err, scamp.ErrNotFound) || errors.Is(err, scamp.ErrDenied); missing == found {
					t.Errorf("error %v: want the instance found: %v", err, found)
				}
				if took != tt.waits {
					t.Errorf("it took %v: want %v", took, tt.waits)
				}
				time.Sleep(time.Minute) // for what appears
			})
		})
	}
}
