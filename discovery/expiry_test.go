package discovery_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
)

// TestExpiryIsFromReceipt is PROTOCOL 7.8 and A.6: the announced interval decides,
// and nothing in the timestamp does.
func TestExpiryIsFromReceipt(t *testing.T) {
	var numbers struct {
		Expiry [][2]float64 `json:"expiry_ms_after_receipt"`
	}
	fixtures.JSON("numbers.json", &numbers)
	for _, tt := range numbers.Expiry {
		for _, age := range []time.Duration{0, 60 * 24 * time.Hour} {
			synctest.Test(t, func(t *testing.T) {
				d := newDirectory(t, &discovery.DirectoryOptions{Now: func() time.Time { return epoch.Add(age) }})
				packet := signJSON(fmt.Sprintf(`[3,"web:AAECAwQFBgcICQoLDA0ODxAR","main",1,%v,"beepish+tls://10.0.0.5:7",["json"],[["Sample",["echo","",1]]],%d]`,
					tt[0], epoch.UnixMilli()))
				if err := d.Receive(discovery.Datagram{Data: packet}); err != nil {
					t.Fatal(err)
				}
				want := time.Duration(tt[1]) * time.Millisecond
				time.Sleep(want - time.Millisecond)
				if held(d) == 0 {
					t.Errorf("interval %v, timestamp %v old: gone before %v", tt[0], age, want)
				}
				time.Sleep(time.Second)
				if held(d) != 0 {
					t.Errorf("interval %v, timestamp %v old: still there 1 s after %v", tt[0], age, want)
				}
			})
		}
	}
}

// TestExpiryStates follows one instance from its last packet to the end: live,
// then a suspect that only Suspects finds, then nothing but its timestamp.
func TestExpiryStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, nil)
		q := discovery.Query{Action: "Sample.echo"}
		packet := discovery.Datagram{Data: service{}.datagram()}
		check := func(when string, find, suspects, stat int) {
			t.Helper()
			if f, s := len(d.Find(q)), len(d.Suspects(q)); f != find || s != suspects {
				t.Errorf("%s: Find has %d and Suspects %d: want %d and %d", when, f, s, find, suspects)
			}
			if s := d.Stats(); s.Remembered != stat {
				t.Errorf("%s: %d instances are remembered: want %d", when, s.Remembered, stat)
			}
		}
		check("before", 0, 0, 0)
		d.Receive(packet)
		check("after the first packet", 1, 0, 1)
		time.Sleep(8 * time.Second)
		d.Receive(packet)
		time.Sleep(8 * time.Second)
		check("8 s after the second", 1, 0, 1)
		time.Sleep(3 * time.Second)
		check("11 s after the second", 0, 1, 1)
		d.Receive(packet)
		check("heard again", 1, 0, 1)
		time.Sleep(29 * time.Second)
		check("29 s of silence", 0, 1, 1)
		time.Sleep(2 * time.Second)
		check("31 s of silence", 0, 0, 1)
		time.Sleep(23 * time.Hour)
		check("23 h of silence", 0, 0, 1)
		time.Sleep(2 * time.Hour)
		check("25 h of silence", 0, 0, 0)
	})
}

// TestExpiryOfWithdrawn: a withdrawal ends routing at once, is remembered for the
// time of its expiry so that All shows it, and makes no event when it ends.
func TestExpiryOfWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, nil)
		d.Receive(discovery.Datagram{Data: service{}.datagram()})
		d.Receive(discovery.Datagram{Data: service{weight: -1, at: epoch.Add(time.Second)}.datagram()})
		if s := d.Stats(); held(d) != 0 || s.Withdrawn != 1 {
			t.Fatalf("after the withdrawal: port %d, %+v: want it withdrawn", held(d), s)
		}
		time.Sleep(11 * time.Second)
		if s := d.Stats(); len(d.All()) != 0 || s.Withdrawn+s.Suspects != 0 || s.Remembered != 1 {
			t.Errorf("11 s later: %+v: want it remembered and nothing else", s)
		}
	})
}

// TestExpiryIgnoresTheWallClock is THREATS D6: 100 services, and a clock that
// jumps an hour ahead and back.
func TestExpiryIgnoresTheWallClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var jump time.Duration
		start := time.Now()
		d := newDirectory(t, &discovery.DirectoryOptions{Now: func() time.Time { return epoch.Add(time.Since(start) + jump) }})
		var packets [][]byte
		for i := range 100 {
			packets = append(packets, service{ident: fmt.Sprintf("clock%d:AAECAwQFBgcICQoLDA0ODxAR", i)}.datagram())
		}
		for round := range 30 {
			jump = []time.Duration{0, time.Hour, -time.Hour, 10 * 365 * 24 * time.Hour}[round%4]
			for _, p := range packets {
				if err := d.Receive(discovery.Datagram{Data: p}); err != nil {
					t.Fatalf("round %d, clock off by %v: %v", round, jump, err)
				}
			}
			if n := len(d.Find(discovery.Query{Action: "Sample.echo"})); n != len(packets) {
				t.Fatalf("round %d, clock off by %v: %d of %d are left", round, jump, n, len(packets))
			}
			time.Sleep(5 * time.Second)
		}
	})
}

// TestExpiryOfManyIntervals is THREATS D18: whatever is announced, it counts as 5
// s to 1 h, and what is no number as 5 s.
func TestExpiryOfManyIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, nil)
		for i, interval := range []string{"0", "-1", "1", "1e12", `"5000"`, "2147483648", "null", "5e3", "1e308"} {
			packet := signJSON(fmt.Sprintf(`[3,"web%d:AAECAwQFBgcICQoLDA0ODxAR","main",1,%s,"beepish+tls://10.0.0.5:7",["json"],[["Sample",["echo","",1]]],%d]`,
				i, interval, epoch.UnixMilli()))
			if err := d.Receive(discovery.Datagram{Data: packet}); err != nil {
				t.Fatalf("interval %s: %v", interval, err)
			}
		}
		count := func() int { return len(d.Find(discovery.Query{Action: "Sample.echo"})) }
		for _, tt := range []struct {
			wait time.Duration
			want int
		}{{10 * time.Second, 9}, {1500 * time.Millisecond, 3}, {59 * time.Minute, 3}, {2 * time.Minute, 0}} {
			time.Sleep(tt.wait)
			if n := count(); n != tt.want {
				t.Errorf("after %v more: %d are left, want %d", tt.wait, n, tt.want)
			}
		}
	})
}
