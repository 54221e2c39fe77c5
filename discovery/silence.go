package discovery

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// silentIntervals is how many intervals without a datagram are silence.
const silentIntervals = 3

// maxSilence is how long a silence may be at most before it is told.
const maxSilence = time.Hour

// A silence knows whether a carrier hears what it should. Each datagram that we
// send comes back to us, so what we sent and did not hear was dropped on this very
// host; where we send nothing, silence may also mean that there is nobody.
type silence struct {
	mu     sync.Mutex       // protects all below
	limit  time.Duration    // of silence; longer after each one that ended by itself
	since  time.Time        // when somebody began to listen, an interface was left, or the first was used; zero when nobody listens
	last   time.Time        // when anything was heard
	ours   map[Iface]*voice // where we may send
	told   bool             // all is silent, and that was told
	muffle []Iface          // where not even we are heard, and that was told; in order
}

// A voice is ours on one interface, as we hear it.
type voice struct {
	heard   time.Time // when anything was heard there; zero when never
	unheard time.Time // when the first datagram was sent that was not heard; zero when there is none
	sent    int       // since then
}

func newSilence(interval time.Duration) silence {
	return silence{limit: silentIntervals * cmp.Or(interval, 5*time.Second), ours: make(map[Iface]*voice)}
}

// listen says that somebody waits for datagrams.
func (s *silence) listen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		s.since = time.Now()
	}
}

// use says that we may send on an interface from now on. Where there was none before,
// nothing could be heard.
func (s *silence) use(iface Iface) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ours) == 0 && !s.since.IsZero() {
		s.since = time.Now()
	}
	if s.ours[iface] == nil {
		s.ours[iface] = new(voice)
	}
}

// sent says that we sent a datagram on an interface. It may have been left while we did:
// then nobody waits to hear that.
func (s *silence) sent(iface Iface) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.ours[iface]
	if v == nil {
		return
	}
	if v.unheard.IsZero() {
		v.unheard = time.Now()
	}
	v.sent++
}

// heard says that a datagram came in by an interface.
func (s *silence) heard(at Iface) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = time.Now()
	for iface, v := range s.ours {
		if iface.Name == at.Name || iface.Index != 0 && iface.Index == at.Index {
			v.heard, v.unheard, v.sent = s.last, time.Time{}, 0
		}
	}
}

// forget says that an interface is used no longer. What was not heard may have been its
// fault.
func (s *silence) forget(iface Iface) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ours, iface)
	if !s.since.IsZero() {
		s.since = time.Now()
	}
}

// A silenceChange is what has to be told about silence: each beginning and each
// end once.
type silenceChange struct {
	all, allOver         bool
	muffled, muffledOver []Iface
	quiet                time.Duration // since anything was heard
}

// look says what changed since the last look.
func (s *silence) look() (c silenceChange) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		return c
	}
	var muffle []Iface
	waiting := false // for our own
	for iface, v := range s.ours {
		waiting = waiting || v.sent > 0
		from := v.unheard
		if from.Before(s.since) {
			from = s.since
		}
		if v.sent >= silentIntervals && now.Sub(from) >= s.limit {
			muffle = append(muffle, iface)
		}
	}
	slices.SortFunc(muffle, func(a, b Iface) int { return cmp.Compare(a.String(), b.String()) })
	c.muffled, c.muffledOver = without(muffle, s.muffle), without(s.muffle, muffle)
	c.muffledOver = slices.DeleteFunc(c.muffledOver, func(i Iface) bool { return s.ours[i] == nil }) // it is gone
	s.muffle = muffle
	c.quiet = s.quietLocked()
	all := c.quiet >= s.limit && !waiting && len(s.ours) > 0                                // else that will say it better
	c.all, c.allOver = all && !s.told, s.told && c.quiet < s.limit && s.last.After(s.since) // not because an interface was left
	s.told = all || s.told && !c.allOver
	if c.allOver {
		// Services may announce themselves less often than we do: say so once, not again
		// and again.
		s.limit = min(2*s.limit, maxSilence)
	}
	return c
}

// trouble says what is silent now, "" when nothing is.
func (s *silence) trouble() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.muffle) > 0:
		return "not even our own announcements are heard on " + ifaceList(s.muffle)
	case s.told && s.quietLocked() >= s.limit:
		return fmt.Sprintf("no announcement was heard for %v", s.quietLocked().Round(time.Second))
	}
	return ""
}

// quietLocked returns for how long nothing was heard.
func (s *silence) quietLocked() time.Duration {
	if s.last.After(s.since) {
		return time.Since(s.last)
	}
	return time.Since(s.since)
}

// Trouble says in one sentence why announcements may not come through, "" when
// nothing speaks for that. It is for errors: "nobody offers this" has another cure
// when nobody can be heard.
func (m *Multicast) Trouble() string {
	now := m.use.Load()
	if len(now.ifaces) > 0 {
		return m.silence.trouble()
	}
	var why []string
	for _, p := range now.problems {
		why = append(why, p.Error())
	}
	return "no interface for announcements: " + cmp.Or(strings.Join(why, "; "), "none is configured")
}

// listenUp reports silence when it begins and when it ends.
func (m *Multicast) listenUp() {
	c := m.silence.look()
	group := m.group.String()
	if len(c.muffled) > 0 {
		m.counters.add(countSilent, 1)
		m.report.say(slog.LevelWarn, countSilent, "not even our own announcements are heard: does a firewall of this host drop UDP to the group?",
			"on", ifaceList(c.muffled), "group", group, "for", m.silence.limit)
	}
	if len(c.muffledOver) > 0 {
		m.report.say(slog.LevelInfo, countSilent+" over", "our own announcements are heard again", "on", ifaceList(c.muffledOver))
	}
	ifaces := m.use.Load().ifaces
	switch {
	case c.allOver:
		m.report.say(slog.LevelInfo, countSilent+" over", "announcements are heard again", "on", ifaceList(ifaces))
	case c.all:
		m.counters.add(countSilent, 1)
		m.report.say(slog.LevelWarn, countSilent, likelyReason(ifaces), "on", ifaceList(ifaces), "group", group, "for", c.quiet.Round(time.Second))
	}
}

// likelyReason says why nobody may be heard, what is cheapest to check first.
func likelyReason(ifaces []Iface) string {
	if !slices.ContainsFunc(ifaces, func(i Iface) bool { return !i.loopback() }) {
		return "no announcement is heard: only services of this host can be on loopback; does one run, and does it announce on 127.0.0.1?"
	}
	return "no announcement is heard: does a service run with the same group and port? does a firewall drop them? does a switch snoop IGMP without a querier?"
}
