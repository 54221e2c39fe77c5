package discovery

import (
	"testing"
	"testing/synctest"
	"time"
)

// White-box: an Observer empties its lines faster than a test fills them.

// TestLinesAreApart: each line is bounded in number and in octets, what fills one
// leaves the other's room alone, and known ones go first (THREATS D20).
func TestLinesAreApart(t *testing.T) {
	for _, tt := range []struct {
		name           string
		size           int // octets of each candidate
		known, unknown int // how many of 3,000 find room
	}{
		{"short texts", 100, maxKnownWaiting, maxUnknownWaiting},
		{"long texts", 256 << 10, maxKnownOctets / (256 << 10), maxUnknownOctets / (256 << 10)},
	} {
		l := newLineup()
		fill := func(known bool) (taken int) {
			for range 3000 {
				if l.add(&candidate{known: known, size: tt.size}) {
					taken++
				}
			}
			return taken
		}
		if n := fill(false); n != tt.unknown {
			t.Errorf("%s: %d unknown ones find room: want %d", tt.name, n, tt.unknown)
		}
		if n := fill(true); n != tt.known {
			t.Errorf("%s: %d known ones find room behind the unknown: want %d", tt.name, n, tt.known)
		}
		for i := range tt.known + tt.unknown {
			if c := l.next(); c.known != (i < tt.known) {
				t.Fatalf("%s: number %d is known: %t: want all known ones first", tt.name, i, c.known)
			}
		}
		if !l.empty() || !l.add(&candidate{size: tt.size}) {
			t.Errorf("%s: no room after all were taken", tt.name)
		}
	}
}

// TestLineupEnds: whoever waits is freed, and gets nothing.
func TestLineupEnds(t *testing.T) {
	l := newLineup()
	got := make(chan *candidate, 1)
	go func() { got <- l.next() }() // ends with the lineup
	l.end()
	select {
	case c := <-got:
		if c != nil {
			t.Errorf("after the end: %v: want nothing", c)
		}
	case <-time.After(5 * time.Second):
		t.Error("next still waits 5 s after the end")
	}
}

// TestLookBudgets: a datagram that is new is read only while there is a look left, and
// one whose text is long only while there is one for those as well; what is refused for
// that is not remembered as refused, and extends the life of who may have sent it.
func TestLookBudgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // no budget grows meanwhile
		d := NewDirectory(&DirectoryOptions{Limits: Limits{VerifyRate: 10, VerifyRateUnknown: 3}})
		defer d.Close()
		dropped := func(n int, text func(i int) []byte) uint64 {
			before := d.Stats().Counters[countOverrun]
			for i := range n {
				d.Receive(Datagram{Data: text(i)})
			}
			return d.Stats().Counters[countOverrun] - before
		}
		short := func(i int) []byte { return append([]byte("[\n\n"+pemBegin), byte(i), byte(i>>8)) }
		long := func(i int) []byte { return append(short(i), make([]byte, usualText)...) }
		time.Sleep(time.Second)
		if n, want := dropped(20, long), uint64(20-2*longLooks*3); n != want {
			t.Errorf("%d of 20 long texts are dropped unread: want %d", n, want)
		}
		if d.health.lost != time.Second {
			t.Errorf("the last loss was at %v: want 1s", d.health.lost)
		}
		left := 2*looksPerCheck*10 - 20
		if n, want := dropped(1000, short), uint64(1000-((float64(left)-1)/leastLook+1)); n != want {
			t.Errorf("%d of 1000 short texts are dropped unread after 20 long ones: want %d", n, want)
		}
		if dropped(1, func(int) []byte { return short(999) }); d.Stats().Counters[countVerifyCached] != 0 {
			t.Error("a datagram that was dropped unread is remembered as refused")
		}
	})
}
