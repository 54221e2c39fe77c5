package scamp_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
)

// TestRefusalsAreCounted: what a service refuses for no limit, and what it cuts off when it
// stops, is counted.
func TestRefusalsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDrained(t, scamp.Limits{MaxConcurrency: 1})
		counted := func(when string, rejected, refused, cutOff uint64) {
			t.Helper()
			s := d.bus.Stats()
			if s["request_rejected"] != rejected || s["drain_refused"] != refused || s["requests_cut_off"] != cutOff {
				t.Errorf("%s: request_rejected is %d, drain_refused %d, requests_cut_off %d, want %d, %d and %d", when,
					s["request_rejected"], s["drain_refused"], s["requests_cut_off"], rejected, refused, cutOff)
			}
		}
		w := callWire(t, d.n, d.Addr())
		for i, tt := range []struct{ header, code string }{
			{ask("Nobody.has", 1), scamp.CodeNoAction},
			{ask("Sample.work", 2, "version", `1.5`), scamp.CodeBadRequest},
		} {
			w.send(msg(i, tt.header, ""))
			if m := w.message(); m.header.ErrorCode != tt.code {
				t.Errorf("reply to %s: %s, want %s", tt.header, m.json, tt.code)
			}
		}
		counted("mistakes of the caller", 2, 0, 0)
		w.send(msg(2, ask("Sample.work", 3), ""), msg(3, ask("Sample.work", 4), "")) // the second one waits
		synctest.Wait()
		done := d.stopping()
		<-time.After(6 * time.Second)
		w.send(msg(4, ask("Sample.work", 5), ""))
		w.message()
		counted("after the grace time", 2, 1, 0)
		<-time.After(29 * time.Second)
		w.message()
		if w.over(); (<-done).err != nil {
			t.Error("Serve ends with an error")
		}
		counted("after the drain time", 2, 2, 1)
	})
}
