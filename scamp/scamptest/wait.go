package scamptest

import (
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// patience is for how long the waits below bear with what does not come. What fell
// silent is removed well within it.
const patience = 30 * time.Second

// Eventually waits until cond holds, and says whether it came to: half a minute is
// enough for all that a bus does by itself. It looks each millisecond, and not before the
// first: in synthetic time all that happens now has happened then.
func Eventually(cond func() bool) bool {
	for deadline := time.Now().Add(patience); !time.Now().After(deadline); {
		<-time.After(time.Millisecond)
		if cond() {
			return true
		}
	}
	return false
}

// Await waits until bus may call exactly count instances of an action,
// "[sector:]Class.name[~version]": until it has heard of all, or that all have gone. The
// test ends if that takes half a minute. A Call needs no Await before it: it waits for
// an instance by itself.
func (n *Network) Await(bus *scamp.Bus, action string, count int) {
	n.t.Helper()
	found := 0
	if !Eventually(func() bool {
		found = len(bus.Directory().Find(discovery.Query{Action: action}))
		return found == count
	}) {
		n.t.Fatalf("scamptest: %d instances of %s may be called: want %d", found, action, count)
	}
}
