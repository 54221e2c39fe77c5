package scamp_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/scamp"
)

// What is unread counts as held over all connections of an address (PROTOCOL 4.5 rule
// 4): new requests are refused while it is too much, and served when it was read or its
// connection is gone.
func TestUnreadOctetsAreHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGated(t, scamp.Limits{MaxHeld: 4 * 256 << 10}) // 256 KiB for an address
		fill := func() *wire {
			w := callWire(t, g.n, g.Addr())
			w.send(pk("HEADER", 0, ask("Sample.gate", 1)))
			synctest.Wait()
			w.send(strings.Repeat(pk("DATA", 0, strings.Repeat("x", 65536)), 2))
			synctest.Wait()
			return w
		}
		fill()
		second := fill()
		w := callWire(t, g.n, g.Addr())
		w.send(msg(0, ask("Sample.gate", 1), ""))
		g.counts(t, "256 KiB unread", "held_refused", 0, 3)
		second.send(pk("DATA", 0, strings.Repeat("x", 20_000)))
		synctest.Wait()
		w.send(msg(1, ask("Sample.gate", 2), ""))
		g.counts(t, "more than 256 KiB unread", "held_refused", 1, 3)
		if m := w.message(); m.header.ID.String() != "2" || !m.header.DispatchFailure() {
			t.Errorf("reply %s, want the last one refused before dispatch", m.json)
		}
		second.c.Close()
		synctest.Wait()
		for range 3 { // they read
			g.leave <- struct{}{}
		}
		synctest.Wait()
		w.send(msg(2, ask("Sample.gate", 3), ""))
		g.counts(t, "when they were read or lost", "held_refused", 1, 4)
	})
}

// Windows that are announced count as held: when they would take half of what an address
// may hold, new connections get the least window (PROTOCOL 3.7).
func TestAnnouncedWindowsAreHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGated(t, scamp.Limits{MaxHeld: 4 * 4 << 20}) // 4 MiB for an address, 2 of them for windows
		window := func() (*wire, int64) {
			w := callWire(t, g.n, g.Addr())
			w.send(msg(0, ask("Sample.none", 1), ""))
			return w, w.message().header.Ext.Win
		}
		first, win := window()
		_, again := window()
		_, third := window()
		if win != 1<<20 || again != 1<<20 || third != 65536 {
			t.Errorf("windows announced: %d, %d, %d, want two of 1 MiB and the least", win, again, third)
		}
		first.c.Close()
		synctest.Wait()
		if _, win = window(); win != 1<<20 {
			t.Errorf("window announced when one has gone: %d, want 1 MiB", win)
		}
	})
}
