package discovery

import (
	"net/netip"
	"slices"
)

// picks tells whether q may be answered by the instance p, whatever that offers.
func (q *Query) picks(p *Peer) bool {
	return (q.Ident == "" || len(withIdent([]Route{{Peer: p}}, q.Ident)) > 0) &&
		(q.Service == "" || ServiceName(p.Ident) == q.Service) &&
		(q.Host == "" || sameHost(hostOf(p.Address), q.Host))
}

// sameHost compares hosts: addresses by what they mean, names without regard to ASCII
// case.
func sameHost(a, b string) bool {
	if equalFoldASCII(a, b) {
		return true
	}
	one, err := netip.ParseAddr(a)
	other, failed := netip.ParseAddr(b)
	return err == nil && failed == nil && one.Unmap() == other.Unmap()
}

// pick returns those of routes that q may be answered by. They are copied unless
// that is all of them.
func (q *Query) pick(routes []Route) []Route {
	if q.Ident != "" {
		routes = withIdent(routes, q.Ident)
	}
	if q.Service == "" && q.Host == "" || !slices.ContainsFunc(routes, func(r Route) bool { return !q.picks(r.Peer) }) {
		return routes
	}
	var picked []Route
	for _, r := range routes {
		if q.picks(r.Peer) {
			picked = append(picked, r)
		}
	}
	return picked
}

// anything tells whether q says nothing about actions.
func (q *Query) anything() bool {
	return q.Action == "" && q.Sector == "" && q.Version == 0 && q.Envelope == ""
}

// covers tells whether an action fits q by all but its name; what q leaves open does.
func (q *Query) covers(sector string, version int, envelopes []string) bool {
	return (q.Sector == "" || equalFoldASCII(q.Sector, sector)) && (q.Version == 0 || q.Version == version) &&
		(q.Envelope == "" || slices.Contains(envelopes, q.Envelope))
}

// announcedBy tells whether an announcement offers something that fits q, allowed or not.
// The query is a normal one, or one without an action, which means nothing built in.
func (q *Query) announcedBy(a *Announcement) bool {
	return q.anything() || slices.ContainsFunc(a.Actions, func(act Action) bool {
		return q.covers(act.Sector, act.Version, act.Envelopes) && (act.hasName(q.Action) || q.Action == "" && !a.BuiltIn(&act))
	})
}

// hasName tells whether a is found by this full name, or by an alias that is.
func (a *Action) hasName(name string) bool {
	return equalFoldASCII(a.FullName(), name) || slices.ContainsFunc(a.Aliases(), func(alias string) bool {
		return equalFoldASCII(a.Class+"."+alias, name)
	})
}
