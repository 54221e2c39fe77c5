package scamp

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// A sighting is what was seen on the way of one call. The error of a call keeps it, and
// makes a Ladder of it when somebody asks: calls may fail in a loop, and few are looked
// into.
type sighting struct {
	bus   *Bus            // nil for a Client, which asks no directory
	query discovery.Query // every field filled in
	rules *discovery.Authorized
	cache *discovery.CacheState // nil if no file is followed
	deaf  string                // why nobody may be heard; looked at only when nobody was found
	hear  string                // what would cure that
	alone string                // what may be wrong where nobody at all was heard; as deaf
	why   *discovery.Explanation
	route discovery.Route // to the instance chosen; its Peer is nil if there is none
	entry discovery.Entry // of that instance, or of the one that came closest
	held  bool            // entry is set

	local   bool // the instance is a service of this process
	linked  bool // a connection was there
	reused  bool
	connect time.Duration // for TCP, if it was timed apart
	shook   time.Duration // for TLS, or for both
	state   tls.ConnectionState

	// Seen by Why alone.
	probed  bool
	refused []discovery.RefusedRecord
	counts  map[string]uint64 // of what the directory refused
}

// sighting begins with what the bus knows.
func (b *Bus) sighting(q discovery.Query) *sighting {
	s := &sighting{bus: b, query: q, rules: b.dir.Authorized()}
	if b.cache != nil {
		state := b.cache.State()
		s.cache = &state
	}
	return s
}

// sighting is what an attempt saw.
func (a *attempt) sighting() *sighting {
	q := discovery.Query{Sector: a.route.Sector, Action: a.route.Action, Version: a.route.Version}
	s := new(sighting)
	if a.bus != nil {
		s = a.bus.sighting(q)
	}
	s.query = q
	s.chose(a.route)
	s.local = a.local != nil
	s.linked = s.local // nothing is in the way
	if a.link != nil {
		s.linked, s.reused, s.shook, s.state = true, a.reused, a.link.took, a.link.state
	}
	return s
}

// chose notes the instance that a request goes to.
func (s *sighting) chose(r discovery.Route) {
	s.route = r
	if s.bus != nil {
		s.entry, s.held = s.bus.dir.Entry(r.Instance)
	}
}

// explained notes why nobody can be asked.
func (s *sighting) explained(why discovery.Explanation) {
	s.why, s.query = &why, why.Query
	if why.Reason >= discovery.HasWithdrawn {
		s.entry, s.held = s.bus.dir.Entry(why.Offers[0].Peer.Instance)
	}
	if s.cache == nil {
		s.deaf, s.hear = s.bus.deaf()
		s.alone = s.bus.alone()
	}
}

// configured says whether there is anything that could allow somebody to be called.
func (s *sighting) configured() bool {
	if s.bus == nil || s.rules != nil || s.bus.opts.Carriers != nil {
		return true
	}
	cfg := s.bus.cfg
	return cfg.File != "" || cfg.AuthorizedServices != "" || cfg.CachePath != ""
}

// failedAt returns the rung that err is about; empty if err is nil.
func (s *sighting) failedAt(err error) string {
	var step *stepError
	var dns *net.DNSError
	switch {
	case err == nil:
		return ""
	case s.why != nil:
		return s.missedAt()
	case s.route.Peer == nil:
		return RungFound // Filter left nobody
	case errors.As(err, &dns) && !s.linked:
		return RungAddress
	case errors.Is(err, ErrPin):
		return RungPin
	case errors.As(err, &step) && step.step == stepTLS:
		return RungTLS
	case !s.linked && !errors.Is(err, errRequestBody):
		return RungTCP
	}
	return RungReply
}

// missedAt returns the rung on which the way to an instance ends.
func (s *sighting) missedAt() string {
	switch reason := s.why.Reason; {
	case reason == discovery.NotAuthorized && s.configured():
		return RungRule
	case reason == discovery.HasObstacle && !foreignLoopback(s.why.Offers[0].Peer.Address):
		return RungRule // two certificates with one SHA-1
	case reason == discovery.HasObstacle:
		return RungAddress
	case reason == discovery.HasExpired:
		return RungExpiry
	case reason == discovery.HasWithdrawn:
		return RungWeight
	case len(s.refused) > 0 && s.refused[0].Replay:
		return RungReplay
	case len(s.refused) > 0:
		return RungSignature
	case !s.configured():
		return RungConfig
	case s.why.Stale != "" || s.deaf != "":
		return RungSource
	}
	return RungFound
}

// foreignLoopback says whether an address means another host to everybody who reads it.
func foreignLoopback(address string) bool {
	p, err := netip.ParseAddrPort(address)
	return err != nil || p.Addr().Unmap().IsLoopback()
}
