package scamp_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/scamp"
)

// Requests that are taken back before anybody looks at them take no place among those that
// run or wait (THREATS P7), and each is answered. What is read in two parts may have been
// looked at in between.
func TestRequestsTakenBackAtOnceTakeNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, scamp.Limits{MaxConcurrency: 1})
		w := callWire(t, l.n, l.Addr())
		const n = 500
		w.send(msg(0, ask("Sample.work", 1), ""))
		synctest.Wait()
		var flood strings.Builder
		for i := 1; i <= n; i++ {
			flood.WriteString(pk("HEADER", i, ask("Sample.work", i+1)) + pk("TXERR", i, "no"))
		}
		w.send(flood.String())
		synctest.Wait()
		if queued := l.bus.Stats()["handlers_queued"]; queued > n/10 {
			t.Errorf("handlers_queued is %d for %d requests that were taken back at once, want few", queued, n)
		}
		l.free()
		for range n + 1 {
			if m := w.message(); m.header.ErrorCode != "" && (m.header.Error != "request body not received" || !m.header.DispatchFailure()) {
				t.Errorf("a request taken back: reply %s, want transport with dispatch_failure", m.json)
			}
		}
		if ran := l.ran.Load(); ran != 1 {
			t.Errorf("%d handlers ran, want the one that was not taken back", ran)
		}
	})
}
