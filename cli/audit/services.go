package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// services judges what is announced.
func (j *judge) services() {
	for _, h := range j.order {
		if j.rules != nil {
			j.denied(h)
			j.narrow(h)
		}
		for _, a := range h.announced {
			j.announcement(a)
		}
	}
	j.contested()
	j.idents()
}

// denied tells of what h offers and may not, and of the line that would allow it.
func (j *judge) denied(h *holder) {
	var first *discovery.Decision
	var at Place
	var names, rights, aliases []string
	instances := make(map[string]bool)
	for _, a := range h.live() {
		for i := range a.Announcement.Actions {
			act := &a.Announcement.Actions[i]
			d := j.rules.Decide(h.cert, act.Sector, act.FullName())
			if d.Allowed || a.Announcement.BuiltIn(act) {
				continue
			}
			if first == nil {
				first, at = &d, a.Place
			}
			instances[a.Announcement.Ident] = true
			names = append(names, act.Sector+":"+act.FullName())
			rights = appendRight(rights, act)
			for _, name := range act.Aliases() {
				aliases = append(aliases, act.Sector+":"+act.Class+"."+name)
			}
		}
	}
	if first == nil {
		return
	}
	names, rights, aliases = distinct(names), distinct(rights), distinct(aliases)
	text := fmt.Sprintf("no rule lets %s offer %s: %s", h.name(), plural(len(names), "action"), some(names))
	if len(instances) > 1 {
		text += fmt.Sprintf(", at %d instances", len(instances))
	}
	if miss := first.NearMiss(); miss != "" {
		text += " (" + miss + ")"
	}
	f := j.add("service-denied", at, "%s", text)
	f.Fingerprint = h.cert.Fingerprint
	if len(rights) > 0 {
		f.Fix = "to allow it, " + j.rules.FixFor(h.cert, rights...)
	} else {
		f.Fix = "give the actions names of letters, digits and _: no rule can allow others"
	}
	if len(aliases) > 0 {
		j.add("alias-unauthorized", at, "%s has no right to actions whose aliases Rust callers find all the same: %s", h.name(), some(aliases)).Fingerprint = h.cert.Fingerprint
	}
}

// appendRight adds the token that allows an action to rights, where a rule can allow it.
func appendRight(rights []string, act *discovery.Action) []string {
	if !discovery.IsName(act.Sector) || !discovery.IsName(act.FullName()) {
		return rights
	}
	return append(rights, discovery.RightFor(act.Sector, act.FullName()))
}

// rights returns the tokens that allow what h announces.
func (h *holder) rights() (rights []string) {
	for _, a := range h.live() {
		for i := range a.Announcement.Actions {
			if act := &a.Announcement.Actions[i]; act.Class != "_meta" && !a.Announcement.BuiltIn(act) {
				rights = appendRight(rights, act)
			}
		}
	}
	return distinct(rights)
}

// distinct returns a list sorted, each text once whatever its letter case.
func distinct(list []string) []string {
	slices.SortFunc(list, func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a), strings.ToLower(b)), cmp.Compare(a, b))
	})
	return slices.CompactFunc(list, strings.EqualFold)
}

// narrow tells of actions that are allowed and whose aliases Perl callers may not use.
func (j *judge) narrow(h *holder) {
	var names []string
	var at Place
	line := 0
	for _, a := range h.live() {
		for i := range a.Announcement.Actions {
			act := &a.Announcement.Actions[i]
			if d := j.rules.Decide(h.cert, act.Sector, act.FullName()); !d.Allowed || d.Line == 0 {
				continue
			} else {
				line = d.Line
			}
			for _, name := range act.Aliases() {
				if alias := act.Class + "." + name; !j.rules.Decide(h.cert, act.Sector, alias).Allowed {
					names = append(names, act.Sector+":"+alias)
				}
			}
		}
	}
	if len(names) > 0 {
		at = Place{File: j.rules.File, Line: line}
		j.add("alias-narrow", at, "%s may be called by the action alone: Perl callers are denied %s", h.name(), some(distinct(names))).Fingerprint = h.cert.Fingerprint
	}
}

// announcement judges one announcement for itself.
func (j *judge) announcement(a Announced) {
	ann := a.Announcement
	fingerprint := ann.Certificate.Fingerprint
	switch size := len(discovery.Compress(ann.Packet())); {
	case size > j.limits.MaxDatagram:
		f := j.add("announcement-too-long", a.Place, "%d octets compressed: want at most %d, more cannot be sent at all", size, j.limits.MaxDatagram)
		f.Severity, f.Fingerprint = Error, fingerprint
	case size > j.limits.WarnDatagram:
		f := j.add("announcement-too-long", a.Place, "%d octets compressed, with %s and an RSA key of %d bits: want at most %d", size,
			plural(len(ann.Actions), "action"), ann.Certificate.Bits(), j.limits.WarnDatagram)
		f.Fingerprint = fingerprint
		if ann.Certificate.Bits() <= 2048 {
			f.Fix = "announce fewer actions in one service"
		}
	}
	if err := ann.Strict(); err != nil {
		j.add("announcement-not-strict", a.Place, "%v", err).Fingerprint = fingerprint
	}
	for _, w := range ann.Warnings {
		j.add("announcement-part", a.Place, "%s (%d times)", w.Text, w.Count).Fingerprint = fingerprint
	}
	if ahead := time.UnixMicro(ann.Timestamp).Sub(j.Now); ahead > j.limits.FutureSkew {
		j.add("timestamp-future", a.Place, "dated %s, %s ahead of our clock: want at most %v", date(time.UnixMicro(ann.Timestamp)), lasting(ahead), j.limits.FutureSkew).Fingerprint = fingerprint
	}
}

// An offer is one action of one name.
type offer struct {
	services  []string        // names of services that offer it
	spellings []string        // of the action
	place     Place           // of the first
	action    string          // as the first spells it
	class     string          // to put like with like
	seen      map[string]bool // services and spellings
}

// contested tells of actions that services of different names offer, and of those that
// are spelled in two ways.
func (j *judge) contested() {
	offers := make(map[string]*offer)
	var order []*offer
	for _, a := range j.Bus {
		ann := a.Announcement
		if ann.Withdrawn() {
			continue
		}
		for i := range ann.Actions {
			act := &ann.Actions[i]
			if act.Class == "_meta" || strings.HasPrefix(act.Class, "_meta.") {
				continue // everybody offers these
			}
			key := strings.ToLower(act.Sector+":"+act.FullName()) + "~" + strconv.Itoa(act.Version)
			o := offers[key]
			if o == nil {
				o = &offer{place: a.Place, action: act.Sector + ":" + act.FullName() + "~" + strconv.Itoa(act.Version),
					class: strings.ToLower(act.Sector + ":" + act.Class), seen: make(map[string]bool)}
				offers[key] = o
				order = append(order, o)
			}
			o.note(&o.services, "service ", ann.ServiceName())
			o.note(&o.spellings, "spelling ", act.Sector+":"+act.FullName())
		}
	}
	groups := make(map[string][]*offer)
	var keys []string
	for _, o := range order {
		slices.Sort(o.services)
		if len(o.spellings) > 1 {
			j.add("action-spelling", o.place, "one action, spelled %s", strings.Join(o.spellings, " and "))
		}
		if len(o.services) > 1 {
			key := o.class + " " + strings.Join(o.services, "\x00")
			if groups[key] == nil {
				keys = append(keys, key)
			}
			groups[key] = append(groups[key], o)
		}
	}
	for _, key := range keys {
		group := groups[key]
		var names, services []string
		for _, o := range group {
			names = append(names, o.action)
		}
		for _, s := range group[0].services {
			services = append(services, quote(s))
		}
		j.add("action-contested", group[0].place, "%s: offered by %s", some(distinct(names)), some(services))
	}
}

// note adds a text to a list, once.
func (o *offer) note(list *[]string, kind, text string) {
	if !o.seen[kind+text] {
		o.seen[kind+text] = true
		*list = append(*list, text)
	}
}

// idents tells of idents that two certificates announce.
func (j *judge) idents() {
	first := make(map[string]Announced)
	told := make(map[string]bool)
	for _, a := range j.Bus {
		ident, c := a.Announcement.Ident, a.Announcement.Certificate
		other, ok := first[ident]
		if !ok {
			first[ident] = a
			continue
		}
		if b := other.Announcement.Certificate; b.SHA256 != c.SHA256 && !told[ident] {
			told[ident] = true
			j.add("ident-shared", a.Place, "announced with certificate %s, and with %s", c.Fingerprint, b.Fingerprint)
		}
	}
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02") }

// lasting returns a duration as people say it.
func lasting(d time.Duration) string {
	switch {
	case d > 48*time.Hour:
		return plural(int(d/(24*time.Hour)), "day")
	case d > time.Hour:
		return d.Round(time.Minute).String()
	}
	return d.Round(time.Second).String()
}
