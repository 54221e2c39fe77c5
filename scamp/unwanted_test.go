package scamp_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
)

// TestTooManyUnwanted: so many requests that were given up before the service's first
// message are cancelled with that, and the others count.
func TestTooManyUnwanted(t *testing.T) {
	for _, n := range []int{256, 260} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, w := newFar(t).client(nil)
				ctx, cancel := context.WithCancel(t.Context())
				var all []<-chan outcome
				for range n {
					all = append(all, inBackground(ctx, c, echoReq("")))
				}
				for range n {
					w.message()
				}
				synctest.Wait()
				cancel()
				for _, o := range all {
					<-o
				}
				w.send(msg(0, `{"type":"cancel","request_id":1,"ext":{"v":1,"cancel":1}}`, "")) // the greeting of one of ours
				synctest.Wait()
				for i := range 256 {
					if m := w.message(); !strings.Contains(m.json, `"cancel"`) {
						t.Fatalf("message %d: %s, want a cancel", i, m.json)
					}
				}
				w.quiet()
				if got := c.Stats()["cancel_dropped"]; got != uint64(n-256) {
					t.Errorf("%d requests given up: cancel_dropped is %d, want %d", n, got, n-256)
				}
			})
		})
	}
}
