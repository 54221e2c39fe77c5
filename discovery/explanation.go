package discovery

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Reason says why an instance does not answer a query. A higher one came
// closer to answering it.
type Reason uint8

// Why an instance does not answer a query.
const (
	NoAction      Reason = iota // nobody offers the action
	OtherSector                 // it is offered in another sector
	OtherVersion                // in the sector, with another version
	OtherEnvelope               // so, with other envelopes
	OtherIdent                  // so, by another instance
	HasWithdrawn                // so, by an instance that withdrew
	HasExpired                  // so, by an instance that is not heard of any more
	HasObstacle                 // so, by an instance that may not be chosen at all
	NotAuthorized               // so, by an instance that no rule allows to
	Answers                     // it answers the query
)

// String returns the reason in a few words.
func (r Reason) String() string {
	names := [...]string{
		NoAction: "no such action", OtherSector: "other sector", OtherVersion: "other version",
		OtherEnvelope: "other envelope", OtherIdent: "other ident", HasWithdrawn: "withdrawn",
		HasExpired: "expired", HasObstacle: "not usable", NotAuthorized: "not authorized", Answers: "answers",
	}
	if int(r) < len(names) {
		return names[r]
	}
	return "unknown"
}

// An Offered is an instance that offers the action of a query, and why that is
// not what was asked for.
type Offered struct {
	Peer      *Peer
	Sector    string
	Action    string // real name in the announced spelling
	Version   int
	Envelopes []string
	Reason    Reason
	Decision  Decision      // of the rules
	Obstacle  string        // for HasObstacle
	Age       time.Duration // since it was last heard
}

// An Explanation says why Find returns what it returns.
type Explanation struct {
	Query  Query     // with every field filled in
	Reason Reason    // how close anybody came; Answers when Find is not empty
	Offers []Offered // who offers the action in some form, the closest first, at most maxOffered
	More   int       // how many are left out of Offers
	Near   []string  // names that look like the action, when nobody offers it; the nearest first
	Stale  string    // what is wrong with the cache file, if so
	Nobody bool      // no instance at all was ever heard, or read of
}

const (
	maxOffered = 32
	maxJudged  = 1_024  // announcements looked at, of those that have an action of the name
	maxLooked  = 50_000 // their actions looked at
)

// Explain says why Find returns nothing for q, or that it does not. The first call after
// a time, or after much has changed, goes through all that is held. The others cost well
// under a millisecond, however much that is: a call that fails in a loop keeps nobody
// else from the directory.
func (d *Directory) Explain(q Query) Explanation {
	q, ok := q.normal()
	e := Explanation{Query: q}
	x := d.index.Load()
	d.mu.Lock()
	rules, reader := d.rules, d.reader
	e.Nobody = len(d.instances) == 0
	d.mu.Unlock()
	if reader != nil {
		e.Stale = reader.State().trouble()
	}
	if !ok {
		return e
	}
	x, names := d.names.at(x)
	e.Offers, e.More = offers(q, names.find(q.Action), rules)
	if routes := x.find(q).live; len(routes) > 0 && e.Offers[0].Reason != Answers {
		e.Offers[0] = answering(routes[0], rules) // one of those not looked at
	}
	if len(e.Offers) > 0 {
		e.Reason = e.Offers[0].Reason
		d.age(e.Offers)
	} else {
		e.Near = names.like(q.Action)
	}
	return e
}

// age fills in how long ago each was last heard.
func (d *Directory) age(offers []Offered) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock.now()
	for i := range offers {
		if in := d.instances[offers[i].Peer.Instance]; in != nil {
			offers[i].Age = in.ageLocked(now)
		}
	}
}

// offers returns the closest of what views offer by the name of q, and how many more
// there are.
func offers(q Query, views []*view, rules *Authorized) (closest []Offered, more int) {
	var by [Answers + 1][]Offered // by reason, the first maxOffered of each
	all, judged, looked := 0, 0, 0
	if first, last := aimedAt(views, q.Ident); first < last {
		views = slices.Concat(views[first:last], views[:first], views[last:])
	}
	for _, v := range views {
		if judged++; judged > maxJudged || looked > maxLooked {
			all += len(views) - judged + 1
			break
		}
		ann := v.offering()
		looked += len(ann.Actions)
		for j := range ann.Actions {
			a := &ann.Actions[j]
			if !a.answersTo(q.Action) {
				continue
			}
			all++
			reason := v.reason(q, a, rules)
			if len(by[reason]) < maxOffered {
				by[reason] = append(by[reason], Offered{Peer: v.peer, Sector: a.Sector, Action: a.FullName(), Version: a.Version,
					Envelopes: a.Envelopes, Reason: reason, Obstacle: v.obstacle.String()})
			}
		}
	}
	for reason := range slices.Backward(by[:]) {
		closest = append(closest, by[reason][:min(len(by[reason]), maxOffered-len(closest))]...)
	}
	for i := range closest {
		o := &closest[i]
		o.Decision = rules.Decide(o.Peer.Certificate, o.Sector, o.Action)
	}
	slices.SortStableFunc(closest, func(a, b Offered) int {
		return cmp.Or(cmp.Compare(b.Reason, a.Reason), cmp.Compare(a.Peer.Ident, b.Peer.Ident), cmp.Compare(a.Version, b.Version))
	})
	return closest, all - len(closest)
}

// aimedAt returns which of views, in the order of their idents, are those of an ident
// or FINGERPRINT#ident, with any certificate.
func aimedAt(views []*view, ident string) (first, last int) {
	first, there := slices.BinarySearchFunc(views, ident, func(v *view, ident string) int { return cmp.Compare(v.peer.Ident, ident) })
	if _, rest, ok := strings.Cut(ident, "#"); ok && !there {
		return aimedAt(views, rest)
	}
	for last = first; last < len(views) && views[last].peer.Ident == ident; last++ {
	}
	return first, last
}

// answering is the offer of a route that Find returns.
func answering(r Route, rules *Authorized) Offered {
	return Offered{Peer: r.Peer, Sector: r.Sector, Action: r.Action, Version: r.Version, Envelopes: r.Envelopes,
		Reason: Answers, Decision: rules.Decide(r.Certificate, r.Sector, r.Action)}
}

// answersTo tells whether a is found by a name, its own or an alias.
func (a *Action) answersTo(name string) bool {
	if a.named(name) {
		return true
	}
	n := len(a.Class)
	if len(name) < n+2 || name[n:n+2] != "._" || !equalFoldASCII(a.Class, name[:n]) {
		return false
	}
	return slices.ContainsFunc(a.Aliases(), func(alias string) bool { return equalFoldASCII(alias, name[n+1:]) })
}

// reason judges how close a, an action of v by the name of q, comes to answering it.
func (v *view) reason(q Query, a *Action, rules *Authorized) Reason {
	switch {
	case !equalFoldASCII(a.Sector, q.Sector):
		return OtherSector
	case a.Version != q.Version:
		return OtherVersion
	case !slices.Contains(a.Envelopes, q.Envelope):
		return OtherEnvelope
	case !q.picks(v.peer):
		return OtherIdent
	case v.state == Withdrawn:
		return HasWithdrawn
	case v.state == Suspect:
		return HasExpired
	case v.obstacle != noObstacle:
		return HasObstacle
	case !rules.Decide(v.peer.Certificate, a.Sector, a.FullName()).Allowed:
		return NotAuthorized
	}
	return Answers
}

// String says it in one sentence, without the query and without a full stop.
func (e Explanation) String() string {
	text := e.sentence()
	if e.Reason == NotAuthorized {
		text += ": " + e.Offers[0].Decision.String()
	}
	if e.Stale != "" && e.Reason != Answers {
		text += "; " + e.Stale
	}
	return text
}

// Parts returns what String says, without the state of the cache file, in two parts: what
// is so, and what would cure it, if that is known.
func (e Explanation) Parts() (text, fix string) {
	text = e.sentence()
	if e.Reason == NotAuthorized {
		why, fix := e.Offers[0].Decision.Parts()
		return text + ": " + why, fix
	}
	return text, ""
}

func (e Explanation) sentence() string {
	switch e.Reason {
	case NoAction:
		text := "no service offers this action"
		if len(e.Near) > 0 {
			text += "; did you mean " + strings.Join(e.Near, " or ") + "?"
		}
		return text
	case OtherSector:
		return "no service offers this action in sector " + e.Query.Sector + ", but in " + e.list(func(o Offered) []string { return []string{o.Sector} })
	case OtherVersion:
		return "no service offers version " + strconv.Itoa(e.Query.Version) + " of this action, but version " +
			e.list(func(o Offered) []string { return []string{strconv.Itoa(o.Version)} })
	case OtherEnvelope:
		return "no service offers this action with envelope " + quoted(e.Query.Envelope) + ", but with " +
			e.list(func(o Offered) []string { return o.Envelopes })
	case OtherIdent:
		return "no service " + e.Query.whom() + " offers this action, but " + e.list(func(o Offered) []string { return []string{o.Peer.Ident} })
	}
	first := e.Offers[0]
	who := "offered by " + cut(first.Peer.Ident)
	if n := len(e.Offers) + e.More; n > 1 {
		who += fmt.Sprintf(" and %d more", n-1)
	}
	switch e.Reason {
	case HasWithdrawn:
		return who + ", but it withdrew"
	case HasExpired:
		return who + fmt.Sprintf(", but it was not heard of for %v", first.Age.Round(time.Second))
	case HasObstacle:
		return who + ", but " + first.Obstacle
	case NotAuthorized:
		return who + " but not authorized"
	}
	return who
}

// list returns what the closest offers have instead, each once.
func (e Explanation) list(of func(Offered) []string) string {
	var all []string
	for _, o := range e.Offers {
		if o.Reason == e.Reason {
			all = append(all, of(o)...)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	const most = 5
	if len(all) > most {
		all = append(all[:most], "...")
	}
	for i := range all {
		all[i] = cut(all[i])
	}
	return strings.Join(all, ", ")
}
