package scamp

import "github.com/scampbus/scamp-go/discovery"

// Picks chooses n times among routes as calls do, none of which waits for a reply, and
// returns how often it chose each ident.
func Picks(routes []discovery.Route, n int) map[string]int {
	limits := Limits{}.WithDefaults()
	b := newBalancer(&limits, &pool{entries: make(map[target]*entry)}, new(locals), new(Options))
	picks := make(map[string]int)
	for range n {
		picks[b.choose(new(Request), routes, nil).Ident]++
	}
	return picks
}
