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
}

const (
	maxOffered = 32
	maxNear    = 3
	maxNames   = 50_000 // names compared to find those near; more are not looked at
)

// Explain says why Find returns nothing for q, or that it does not. It looks at
// everything that is held, so it is for errors and for people. It takes the
// directory's lock only to make a list.
func (d *Directory) Explain(q Query) Explanation {
	q, ok := q.normal()
	e := Explanation{Query: q}
	d.mu.Lock()
	rules, now := d.rules, d.clock.now()
	reader := d.reader
	held := make([]heldView, 0, len(d.instances))
	for _, in := range d.instances {
		if in.view != nil {
			held = append(held, heldView{d.entryLocked(in, now), in.view.offering()})
		}
	}
	d.mu.Unlock()
	if reader != nil {
		e.Stale = reader.State().trouble()
	}
	if !ok {
		return e
	}
	for i := range held {
		for j := range held[i].offers.Actions {
			if o, ok := offered(q, &held[i].Entry, &held[i].offers.Actions[j], rules); ok {
				e.Offers = append(e.Offers, o)
			}
		}
	}
	slices.SortFunc(e.Offers, func(a, b Offered) int {
		return cmp.Or(cmp.Compare(b.Reason, a.Reason), cmp.Compare(a.Peer.Ident, b.Peer.Ident), cmp.Compare(a.Version, b.Version))
	})
	if len(e.Offers) > 0 {
		e.Reason = e.Offers[0].Reason
	} else {
		e.Near = near(q.Action, held)
	}
	if extra := len(e.Offers) - maxOffered; extra > 0 {
		e.Offers, e.More = e.Offers[:maxOffered], extra
	}
	return e
}

// A heldView is an entry and the announcement that says what it offers, or
// offered before it withdrew.
type heldView struct {
	Entry
	offers *Announcement
}

// offered judges one announced action, which is of no interest when it has
// another name.
func offered(q Query, held *Entry, a *Action, rules *Authorized) (Offered, bool) {
	name := a.FullName()
	if !equalFoldASCII(name, q.Action) && !slices.ContainsFunc(a.Aliases(), func(alias string) bool {
		return equalFoldASCII(a.Class+"."+alias, q.Action)
	}) {
		return Offered{}, false
	}
	o := Offered{
		Peer: held.Peer, Sector: a.Sector, Action: name, Version: a.Version, Envelopes: a.Envelopes,
		Decision: rules.Decide(held.Peer.Certificate, a.Sector, name), Obstacle: held.Obstacle, Age: held.Age,
	}
	switch {
	case !equalFoldASCII(a.Sector, q.Sector):
		o.Reason = OtherSector
	case a.Version != q.Version:
		o.Reason = OtherVersion
	case !slices.Contains(a.Envelopes, q.Envelope):
		o.Reason = OtherEnvelope
	case q.Ident != "" && len(withIdent([]Route{{Peer: held.Peer}}, q.Ident)) == 0:
		o.Reason = OtherIdent
	case held.State == Withdrawn:
		o.Reason = HasWithdrawn
	case held.State == Suspect:
		o.Reason = HasExpired
	case held.Obstacle != "":
		o.Reason = HasObstacle
	case !o.Decision.Allowed:
		o.Reason = NotAuthorized
	default:
		o.Reason = Answers
	}
	return o, true
}

// String says it in one sentence, without the query and without a full stop.
func (e Explanation) String() string {
	text := e.sentence()
	if e.Stale != "" && e.Reason != Answers {
		text += "; " + e.Stale
	}
	return text
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
		return "no service " + quoted(e.Query.Ident) + " offers this action, but " + e.list(func(o Offered) []string { return []string{o.Peer.Ident} })
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
		return who + " but not authorized: " + first.Decision.String()
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

// near returns the announced names that look most like name: the same letters
// but for a few, or the same action in another class.
func near(name string, held []heldView) []string {
	best := make(map[string]int)
	looked := 0
	want := lowerASCII(name)
	most := min(2+len(want)/8, 5)
	for i := range held {
		for j := range held[i].offers.Actions {
			a := &held[i].offers.Actions[j]
			full := a.FullName()
			if _, ok := best[full]; ok {
				continue
			}
			if looked++; looked > maxNames {
				return nearest(best)
			}
			d := Distance(want, lowerASCII(full), most)
			if d > most && strings.HasSuffix(want, "."+lowerASCII(a.Name)) {
				d = most
			}
			if d <= most {
				best[full] = d
			}
		}
	}
	return nearest(best)
}

func nearest(best map[string]int) []string {
	names := make([]string, 0, len(best))
	for name := range best {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(best[a], best[b]), cmp.Compare(a, b)) })
	return names[:min(len(names), maxNear)]
}
