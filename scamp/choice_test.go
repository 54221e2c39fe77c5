package scamp_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// without is a Balancer that leaves the choice among all instances but one to another.
func without(address string, next scamp.Balancer) scamp.Balancer {
	return func(c *scamp.Choice) int {
		var wanted []discovery.Route
		var at []int
		for i, r := range c.Routes {
			if r.Address != address {
				wanted, at = append(wanted, r), append(at, i)
			}
		}
		return at[next(c.Among(wanted))]
	}
}

// A Balancer can be tested without a bus, also one that asks others: nobody waits then.
func TestBalancersWithoutABus(t *testing.T) {
	all := &scamp.Choice{Request: &scamp.Request{Action: "Sample.where"}}
	for i := range 3 {
		r := discovery.Route{Peer: &discovery.Peer{Address: fmt.Sprintf("host%d.example:30100", i)}, Offer: new(discovery.Offer)}
		all.Routes = append(all.Routes, r)
	}
	for _, tt := range []struct {
		name   string
		policy scamp.Balancer
		want   []int // nothing else is chosen, and each of them in 300 choices
	}{
		{"least pending", scamp.LeastPending, []int{0, 1, 2}},
		{"round robin", scamp.RoundRobin(), []int{0, 1, 2}},
		{"random", scamp.Random, []int{0, 1, 2}},
		{"same host, none of it", scamp.SameHostFirst(nil), []int{0, 1, 2}},
		{"same host, and a bad next", scamp.SameHostFirst(func(*scamp.Choice) int { return 7 }), []int{0, 1, 2}},
		{"without one", without("host1.example:30100", scamp.LeastPending), []int{0, 2}},
		{"without two", without("host1.example:30100", without("host0.example:30100", scamp.LeastPending)), []int{2}},
	} {
		seen := map[int]bool{}
		for range 300 {
			seen[tt.policy(all)] = true
		}
		for i := range all.Routes {
			if seen[i] != slices.Contains(tt.want, i) {
				t.Errorf("%s: chose %v, want %v", tt.name, seen, tt.want)
				break
			}
		}
	}
	if n := all.Pending(0); n != 0 {
		t.Errorf("%d calls wait for an instance of no bus", n)
	}
}

// What Among leaves is chosen as from a bus: by who waits there.
func TestChoiceAmong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		all := serveNamed(n, 3)
		bus := n.Bus(nil)
		route := &scamp.RouteOptions{Balancer: without(all[1].Addr(), scamp.LeastPending)}
		got := map[string]int{}
		for range 100 {
			got[where(t, bus, route, "")]++
		}
		if got[all[1].Addr()] != 0 || got[all[0].Addr()] == 0 || got[all[2].Addr()] == 0 || len(got) != 2 {
			t.Errorf("100 calls went to %v, want all but %s, and no other", got, all[1].Addr())
		}
	})
}
