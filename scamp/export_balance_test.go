package scamp

import (
	"fmt"

	"github.com/scampbus/scamp-go/discovery"
)

// Picks chooses n times among routes as calls do, none of which waits for a reply, and
// returns how often it chose each ident.
func Picks(routes []discovery.Route, n int) map[string]int {
	limits := Limits{}.WithDefaults()
	b := newBalancer(&limits, &pool{entries: make(map[target]*entry)}, new(locals), nil, new(Options))
	picks := make(map[string]int)
	for range n {
		picks[b.choose(new(Request), routes, nil).Ident]++
	}
	return picks
}

// Marks is how many instances something speaks against.
func Marks(b *Bus) int { return int(b.balance.marks.count.Load()) }

// FillMarks marks so many instances more, which nobody has announced.
func FillMarks(b *Bus, n int) {
	for i := range n {
		b.balance.marks.failed(discovery.Route{Peer: &discovery.Peer{Instance: discovery.Instance{Ident: fmt.Sprint(i)}}})
	}
}
