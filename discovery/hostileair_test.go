package discovery_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// TestHostileAir: fifty honest services come, change, withdraw and go while somebody
// sends everything that is hostile, in floods that use up every budget. At every step
// all that are honest and alive are found, nobody else is, and each at an address it
// said itself. SCAMP_TEST_LONG makes it a hundred seeds.
func TestHostileAir(t *testing.T) {
	seeds := 1
	if long() {
		seeds = 100
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { newHostileAir(t, uint64(seed+1)).run(2) })
	}
}

// An honest is a service that tells the truth.
type honest struct {
	service
	packet    []byte        // what it repeats
	next      time.Duration // when, from the start
	since     time.Duration // when it began to say so
	addresses []string      // all it ever said
	alive     bool
	offers    bool // it is not withdrawn
	found     bool // it was, since it offers; from then on it must be
}

type hostileAir struct {
	t        *testing.T
	seed     uint64
	random   *rand.Rand
	d        *discovery.Directory
	carrier  *discovery.Loopback
	services []*honest
	air      *air
	ring     [][]byte
	sent     int // hostile datagrams
	start    time.Time
}

const (
	hostileStep = 100 * time.Millisecond
	// mostLate is how late news may be: a flood lasts as long, so that some of it has to
	// come through. Each service speaks once in 5 s, and a goodbye as well.
	mostLate = 20 * time.Second
)

func newHostileAir(t *testing.T, seed uint64) *hostileAir {
	h := &hostileAir{
		t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 7)), start: time.Now(),
		// A tenth of the usual rates, so that a tenth of a flood uses them up.
		d: newDirectory(t, &discovery.DirectoryOptions{Authorized: rules("main:Rogue"),
			Limits: discovery.Limits{VerifyRate: 40, VerifyRateUnknown: 5, MaxUnknown: 20, MaxReplayUnknown: 100, NegativeCache: 800}}),
		carrier: discovery.NewLoopback(),
	}
	run(t, discovery.NewObserver(h.carrier.Join(), h.d, nil).Run)
	var heard [][]byte
	for i := range 50 {
		s := &honest{service: service{ident: fmt.Sprintf("honest%d:AAECAwQFBgcICQoLDA0ODxAR", i), at: epoch}, alive: true}
		s.say(0, true)
		s.next = time.Duration(h.random.Int64N(int64(5 * time.Second)))
		h.services = append(h.services, s)
		heard = append(heard, s.announce().Packet())
	}
	h.air = newAir(t, seed, heard)
	for i := range 960 {
		h.ring = append(h.ring, attacks[i%len(attacks)].make(h.air))
	}
	return h
}

// say changes what s says.
func (s *honest) say(at time.Duration, offers bool) {
	s.found = s.found && offers
	s.offers, s.next, s.since = offers, at, at
	s.weight = map[bool]int{true: 0, false: -1}[offers]
	s.at = s.at.Add(time.Second)
	s.address = fmt.Sprintf("beepish+tls://10.0.0.5:%d", 30_000+len(s.addresses))
	s.addresses = append(s.addresses, strings.TrimPrefix(s.address, "beepish+tls://"))
	s.packet = s.datagram()
}

// want returns the address at which s is to be found as long as it lives, "" for none.
func (s *honest) want() string {
	if !s.offers {
		return ""
	}
	return s.addresses[len(s.addresses)-1]
}

// run lets the air be calm, then full, a few times.
func (h *hostileAir) run(times int) {
	h.phase(6*time.Second, 0)
	for range times {
		h.phase(20*time.Second, 45) // 450 a second, of 160 that are looked at
		h.phase(12*time.Second, 0)
		h.settled()
		h.change()
	}
	if n := h.d.Stats().Counters; n["observer_overrun"] == 0 || n["verify_limited"] == 0 || n["announce_over_budget"] == 0 || n["verify_cached"] == 0 {
		h.t.Errorf("seed %d: counters %v: want every budget used up, or this shows nothing", h.seed, n)
	}
}

// phase goes on for a time, with so many hostile datagrams a step.
func (h *hostileAir) phase(length time.Duration, hostile int) {
	for end := time.Since(h.start) + length; time.Since(h.start) < end; time.Sleep(hostileStep) {
		now := time.Since(h.start)
		var packets [][]byte
		for _, s := range h.services {
			if s.alive && s.next <= now {
				packets = append(packets, s.packet)
				s.next = now + 5*time.Second
			}
		}
		for range hostile {
			packets = append(packets, variant(h.ring[h.random.IntN(len(h.ring))], h.sent/len(h.ring)))
			h.sent++
		}
		h.random.Shuffle(len(packets), func(i, j int) { packets[i], packets[j] = packets[j], packets[i] })
		for _, p := range packets {
			h.carrier.Send(h.t.Context(), discovery.Iface{}, p)
		}
		if s := h.services[h.random.IntN(len(h.services))]; hostile > 0 && h.random.IntN(10) == 0 && s.alive && s.offers {
			h.ring[h.random.IntN(len(h.ring))] = s.packet // somebody repeats later what it said before
			s.say(now, true)
		}
		synctest.Wait()
		if now >= 6*time.Second {
			h.compare()
		}
	}
}

// compare holds what is found against what is true.
func (h *hostileAir) compare() {
	found := make(map[string]string)
	for _, r := range h.d.Find(discovery.Query{Action: "Sample.echo"}) {
		i := slices.IndexFunc(h.services, func(s *honest) bool { return s.ident == r.Ident })
		if i < 0 || r.Certificate.SHA256 != mustCertificate("sample").SHA256 || !slices.Contains(h.services[i].addresses, r.Address) {
			h.t.Fatalf("seed %d, %v: %s at %s of %s is found: want honest services only", h.seed, time.Since(h.start), r.Ident, r.Address, r.Certificate.Fingerprint)
		}
		found[r.Ident] = r.Address
	}
	for _, s := range h.services {
		if s.found && found[s.ident] == "" {
			h.t.Fatalf("seed %d, %v: %s is not found any more: want every honest service that is alive", h.seed, time.Since(h.start), s.ident)
		}
		s.found = s.alive && s.offers && found[s.ident] != ""
		if late := time.Since(h.start) - s.since; s.alive && found[s.ident] != s.want() && late > mostLate {
			h.t.Fatalf("seed %d, %v: %s is found at %q after %v: want %q", h.seed, time.Since(h.start), s.ident, found[s.ident], late, s.want())
		}
	}
}

// settled holds that after a calm time everything is exactly as it is said now.
func (h *hostileAir) settled() {
	found := make(map[string]string)
	for _, r := range h.d.Find(discovery.Query{Action: "Sample.echo"}) {
		found[r.Ident] = r.Address
	}
	for _, s := range h.services {
		want := ""
		if s.alive {
			want = s.want()
		}
		if found[s.ident] != want {
			h.t.Fatalf("seed %d, %v: %s is found at %q: want %q", h.seed, time.Since(h.start), s.ident, found[s.ident], want)
		}
	}
}

// change lets some services change, withdraw, come back or die.
func (h *hostileAir) change() {
	now := time.Since(h.start)
	for _, s := range h.services {
		switch n := h.random.IntN(10); {
		case !s.alive:
			s.alive = true
			s.say(now, true)
		case n < 3 && s.offers:
			s.say(now, true)
		case n == 3:
			s.say(now, !s.offers)
		case n == 4:
			s.alive, s.found = false, false
		}
	}
}
