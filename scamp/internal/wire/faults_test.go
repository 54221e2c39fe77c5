package wire

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// White box: what happens to a packet is decided, and a port brings packets, without any
// network and in synthetic time.

// TestFatesOfASeed is invariant 1: the same seed gives the same fates, whatever the
// faults were before, and each fault meets about the part it should.
func TestFatesOfASeed(t *testing.T) {
	const packets = 100_000
	all := Faults{Loss: 0.05, FragmentLoss: 0.5, Reorder: 0.02, Duplicate: 0.01, Corrupt: 0.03, Delay: time.Millisecond, Jitter: time.Millisecond}
	fates := func(seed uint64, before Faults) (out []fate) {
		random := rand.New(rand.NewPCG(seed, 1))
		for range 1000 {
			before.draw(random, 1500, true)
		}
		for i := range packets {
			out = append(out, all.draw(random, 1500, i%2 == 0))
		}
		return out
	}
	one := fates(1, Faults{})
	if !slices.Equal(one, fates(1, all)) {
		t.Error("one seed gives other fates when the faults were others before: want the same")
	}
	if slices.Equal(one, fates(2, Faults{})) {
		t.Error("two seeds give the same fates")
	}
	var lostWhole, lostFragments, late, twice, flipped float64
	for i, f := range one {
		switch {
		case f.lost && i%2 == 0:
			lostFragments++
		case f.lost:
			lostWhole++
		}
		if f.late {
			late++
		}
		if f.twice {
			twice++
		}
		if f.flip >= 0 {
			flipped++
		}
		if f.flip >= 8*1500 {
			t.Fatalf("bit %d of 1500 octets is flipped", f.flip)
		}
		least, most := time.Millisecond, 2*time.Millisecond
		if f.late {
			least, most = least+reorderTime, most+reorderTime
		}
		if f.detour < least || f.detour > most {
			t.Fatalf("a detour of %v: want %v to %v", f.detour, least, most)
		}
	}
	for _, tt := range []struct {
		name      string
		got, want float64
	}{
		{"loss", lostWhole / (packets / 2), 0.05},
		{"loss of fragments", lostFragments / (packets / 2), 1 - 0.95*0.5},
		{"reorder", late / packets, 0.02},
		{"duplicate", twice / packets, 0.01},
		{"corrupt", flipped / packets, 0.03},
	} {
		if math.Abs(tt.got-tt.want) > tt.want/10 {
			t.Errorf("%s: %.4f of the packets, want about %.4f", tt.name, tt.got, tt.want)
		}
	}
}

// TestPort is invariant 3, and what a detour, a rate and a full line do.
func TestPort(t *testing.T) {
	type in struct {
		at, detour time.Duration
		rate       int
	}
	ms := time.Millisecond
	for _, tt := range []struct {
		name string
		in   []in
		want string // number and milliseconds of each packet that is brought
	}{
		{"at once", []in{{0, 0, 0}, {0, 0, 0}, {ms, 0, 0}}, "0@0 1@0 2@1"},
		{"equal detours keep the order", []in{{0, 5 * ms, 0}, {0, 5 * ms, 0}, {ms, 5 * ms, 0}}, "0@5 1@5 2@6"},
		{"a late one is overtaken", []in{{0, 4 * ms, 0}, {ms, 0, 0}, {2 * ms, 0, 0}, {9 * ms, 0, 0}}, "1@1 2@2 0@4 3@9"},
		{"what is due goes before what comes", []in{{0, 4 * ms, 0}, {4 * ms, 0, 0}}, "0@4 1@4"},
		{"a sooner one sets the timer anew", []in{{0, 9 * ms, 0}, {0, 3 * ms, 0}}, "1@3 0@9"},
		{"a rate spaces packets", []in{{0, 0, 100_000}, {0, 0, 100_000}, {0, 0, 100_000}, {50 * ms, 0, 100_000}}, "0@10 1@20 2@30 3@60"},
		{"a slow line is full", []in{{0, 0, 5000}, {0, 0, 5000}, {0, 0, 5000}, {150 * ms, 0, 5000}}, "0@200 1@400 3@600"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				got := ""
				p := &port{write: func(b []byte) { got += fmt.Sprintf(" %d@%d", b[0], time.Since(start)/ms) }}
				buf := make([]byte, 1000) // one for all: a port keeps none
				for i, in := range tt.in {
					time.Sleep(in.at - time.Since(start))
					synctest.Wait()
					buf[0] = byte(i)
					p.add(buf, in.detour, in.rate)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if got != " "+tt.want {
					t.Errorf("%v was brought as%s: want %s", tt.in, got, tt.want)
				}
				p.close()
				if p.add(buf, 0, 0) {
					t.Error("a closed port takes a packet")
				}
			})
		})
	}
}

// TestPortIsBounded: a host that cannot keep up costs no more than maxWaiting packets, and
// closing it loses them.
func TestPortIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		brought := 0
		p := &port{write: func([]byte) { brought++ }}
		taken := 0
		for range maxWaiting + 100 {
			if p.add(make([]byte, 100), time.Second, 0) {
				taken++
			}
		}
		time.Sleep(time.Second / 2)
		p.close()
		time.Sleep(time.Minute)
		if taken != maxWaiting || brought != 0 {
			t.Errorf("%d packets taken and %d brought: want %d and, once closed, none", taken, brought, maxWaiting)
		}
	})
}
