package discovery

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"weak"
)

// A State says what may be done with an instance.
type State uint8

// What may be done with an instance.
const (
	Live      State = iota // it may be chosen
	Suspect                // silent for more than 2.1 intervals: only if nothing else is left
	Withdrawn              // it asked not to be used
)

// String returns the name of s.
func (s State) String() string {
	names := [...]string{Live: "live", Suspect: "suspect", Withdrawn: "withdrawn"}
	if int(s) < len(names) {
		return names[s]
	}
	return "unknown"
}

// An obstacle keeps a whole instance from being chosen.
type obstacle uint8

const (
	noObstacle      obstacle = iota
	collision                // another certificate has the same SHA-1 (PROTOCOL 18)
	foreignLoopback          // a loopback address, heard on a real interface (THREATS D22)
)

// String returns why, for people.
func (o obstacle) String() string {
	names := [...]string{noObstacle: "", collision: "two certificates have its SHA-1 fingerprint, so neither is believed",
		foreignLoopback: "its address is a loopback one, and it was heard from another host"}
	return names[o]
}

// A view is what an announcement means under rules. It is made outside of all
// locks and never changes once it is shown.
type view struct {
	in       *instance                // set when it is shown; what it points to belongs to whoever holds mu
	rules    weak.Pointer[Authorized] // under which it was made; other rules that give the same rights leave it as it is
	peer     *Peer
	ann      *Announcement
	state    State
	obstacle obstacle
	future   bool
	before   *Announcement // of one that withdrew: what it offered, for people; may be nil
	denied   int           // actions that the rules do not allow
	entries  []entry       // what Find may return
}

// entriesPerAction bounds the entries of one announcement: a name, at most four
// aliases and a few envelopes for each of its actions.
const entriesPerAction = 16

// see makes the view of a.
func (d *Directory) see(a *Announcement, z *Authorized, s State, o obstacle, future bool) *view {
	v := &view{
		peer: &Peer{
			Instance:    Instance{SHA256: a.Certificate.SHA256, Ident: a.Ident},
			Certificate: a.Certificate,
			Ident:       a.Ident,
			Address:     a.HostPort(),
			Scheme:      a.Scheme(),
			Interval:    a.Interval,
			Timestamp:   a.Timestamp,
			GoDialect:   a.GoDialect(),
		},
		rules: weak.Make(z), ann: a, state: s, obstacle: o, future: future,
	}
	if s == Withdrawn {
		return v
	}
	offers := make([]Offer, 0, len(a.Actions))
	m := entryMaker{view: v, most: entriesPerAction * d.limits.MaxActions}
	v.entries = make([]entry, 0, len(a.Actions))
	var names strings.Builder
	names.Grow(fullNames(a.Actions))
	for i := range a.Actions {
		action := &a.Actions[i]
		offer, ok := offerOf(a, action, &names, z)
		if !ok {
			v.denied++
			continue
		}
		offers = append(offers, offer)
		shared := &offers[len(offers)-1]
		m.enter(shared, shared.Action)
		for _, alias := range action.Aliases() {
			m.enter(shared, action.Class+"."+alias)
		}
	}
	m.finish(d.seed)
	if o != noObstacle {
		v.entries = nil
	}
	return v
}

// fullNames returns how long the full names of all actions are together.
func fullNames(actions []Action) int {
	n := 0
	for i := range actions {
		n += len(actions[i].Class) + 1 + len(actions[i].Name)
	}
	return n
}

// offerOf returns an action as an offer, if the rules allow it. Its full name becomes a
// part of names, so that one allocation serves all of them.
func offerOf(a *Announcement, action *Action, names *strings.Builder, z *Authorized) (Offer, bool) {
	c := a.Certificate
	start := names.Len()
	names.WriteString(action.Class)
	names.WriteByte('.')
	names.WriteString(action.Name)
	name := names.String()[start:]
	decision := z.Decide(c, action.Sector, name)
	if !decision.Allowed {
		return Offer{}, false
	}
	if strings.HasPrefix(name, metaClass) {
		// Everybody may offer this. Rules ignore case and the exemption does not,
		// so another spelling asks whether a rule allows it as well.
		decision = z.Decide(c, action.Sector, strings.ToUpper(name))
	}
	timeout, _ := action.Timeout()
	return Offer{
		Sector:    action.Sector,
		Action:    name,
		Version:   action.Version,
		Envelopes: action.Envelopes,
		Flags:     action.Flags,
		Timeout:   timeout,
		NoAuth:    action.NoAuth(),
		Rule:      decision.Allowed,
		BuiltIn:   a.BuiltIn(action),
	}, true
}

// An entryMaker makes the entries of one view.
type entryMaker struct {
	view *view
	most int
	text []byte          // the keys of all entries, one behind the other
	ends []int           // of each in text
	keys map[string]bool // those made, once there are too many to look through
}

// fewEntries is how many entries are looked through one by one.
const fewEntries = 32

// enter adds the entries of an offer under a name. What was entered before
// stays: nobody gets more picks by saying a thing twice.
func (m *entryMaker) enter(o *Offer, name string) {
	for _, envelope := range o.Envelopes {
		start := len(m.text)
		text, ok := appendKey(m.text, o.Sector, name, o.Version, envelope)
		key := text[start:]
		if !ok || m.has(key) || len(m.ends) >= m.most {
			continue
		}
		m.text, m.ends = text, append(m.ends, len(text))
		m.view.entries = append(m.view.entries, entry{route: Route{Peer: m.view.peer, Offer: o}})
		if m.keys != nil {
			m.keys[string(key)] = true
		}
	}
}

// key returns the key of an entry that was made.
func (m *entryMaker) key(i int) []byte {
	start := 0
	if i > 0 {
		start = m.ends[i-1]
	}
	return m.text[start:m.ends[i]]
}

func (m *entryMaker) has(key []byte) bool {
	if m.keys != nil {
		return m.keys[string(key)]
	}
	for i := range m.ends {
		if bytes.Equal(m.key(i), key) {
			return true
		}
	}
	if len(m.ends) >= fewEntries {
		m.keys = make(map[string]bool, 2*len(m.ends))
		for i := range m.ends {
			m.keys[string(m.key(i))] = true
		}
	}
	return false
}

// finish gives the entries their keys, all parts of one text.
func (m *entryMaker) finish(s seed) {
	text := string(m.text)
	start := 0
	for i, end := range m.ends {
		e := &m.view.entries[i]
		e.key, e.shard = text[start:end], s.shardOf(m.text[start:end])
		start = end
	}
}

// useful tells whether v may be chosen for anything that is not built in.
func (v *view) useful() bool {
	return slices.ContainsFunc(v.entries, func(e entry) bool { return !e.route.BuiltIn })
}

// as returns v in another state.
func (v *view) as(s State) *view {
	w := *v
	w.state = s
	return &w
}

// offering returns the announcement that says what v offers, or offered before
// it withdrew.
func (v *view) offering() *Announcement {
	if v.state == Withdrawn && v.before != nil && len(v.ann.Actions) == 0 {
		return v.before
	}
	return v.ann
}

// loopbackAddress tells whether a announces an address that means another host
// to everybody who reads it.
func loopbackAddress(a *Announcement) bool {
	host := a.HostPort()
	if p, err := netip.ParseAddrPort(host); err == nil {
		return p.Addr().Unmap().IsLoopback()
	}
	return equalFoldASCII(strings.TrimSuffix(host[:strings.LastIndexByte(host, ':')], "."), "localhost")
}
