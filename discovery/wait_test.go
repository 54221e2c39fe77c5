package discovery_test

import (
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/discovery"
)

// TestWaitWantsAnAction: nothing ever answers a query without one, so that waiting for it
// is an error at once, and not when the context ends: this one never does.
func TestWaitWantsAnAction(t *testing.T) {
	d := newDirectory(t, nil)
	if err := d.Add(service{ident: "a"}.announce()); err != nil {
		t.Fatal(err)
	}
	routes, err := d.Wait(t.Context(), discovery.Query{Service: "a"})
	if err == nil || !strings.Contains(err.Error(), "no action") {
		t.Errorf("Wait without an action: %v, %v: want an error with \"no action\"", routes, err)
	}
}
