//go:build linux

package main

import (
	"context"
	"testing"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A connection that is open is seen in the counters, and no more when it has ended.
func TestOpenByCounters(t *testing.T) {
	n := scamptest.New(t)
	svc := n.Serve("open", func(s *scamp.Service) {
		s.Handle("Open.it", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error { return nil }, nil)
	})
	bus := n.Bus(nil)
	if _, err := bus.Call(t.Context(), &scamp.Request{Action: "Open.it"}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		b    *scamp.Bus
		want string
	}{{bus, "connections opened and not ended"}, {svc.Bus, "connections accepted and not ended"}} {
		var got map[string]int64
		if !scamptest.Eventually(func() bool { got = openOf(tt.b); return got[tt.want] == 1 && len(got) == 1 }) { // a request ends behind its reply
			t.Errorf("with a connection: %v, want 1 of %s", got, tt.want)
		}
	}
	bus.Close()
	svc.Stop()
	for _, b := range []*scamp.Bus{bus, svc.Bus} {
		if got := openOf(b); len(got) != 0 {
			t.Errorf("without: %v, want nothing", got)
		}
	}
}
