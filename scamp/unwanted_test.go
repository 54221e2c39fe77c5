package scamp_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
)

// TestTooManyUnwanted: so many requests that were given up before the service's first
// message are cancelled with that, and the others count. A service that takes no cancel is
// told of none, and none counts.
func TestTooManyUnwanted(t *testing.T) {
	const greeting = `{"type":"cancel","request_id":1,"ext":{"v":1,"cancel":1}}` // of one of ours
	for _, tt := range []struct {
		n       int
		first   string
		told    int
		dropped uint64
	}{
		{256, msg(0, greeting, ""), 256, 0},
		{260, msg(0, greeting, ""), 256, 4},
		{260, reply(0, 1, ""), 0, 0}, // of an old one
	} {
		t.Run(fmt.Sprintf("%d, %d told", tt.n, tt.told), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, w := newFar(t).client(nil)
				ctx, cancel := context.WithCancel(t.Context())
				var all []<-chan outcome
				for range tt.n {
					all = append(all, inBackground(ctx, c, echoReq("")))
				}
				for range tt.n {
					w.message()
				}
				synctest.Wait()
				cancel()
				for _, o := range all {
					<-o
				}
				w.send(tt.first)
				synctest.Wait()
				for i := range tt.told {
					if m := w.message(); !strings.Contains(m.json, `"cancel"`) {
						t.Fatalf("message %d: %s, want a cancel", i, m.json)
					}
				}
				w.quiet()
				if got := c.Stats()["cancel_dropped"]; got != tt.dropped {
					t.Errorf("%d requests given up: cancel_dropped is %d, want %d", tt.n, got, tt.dropped)
				}
			})
		})
	}
}
