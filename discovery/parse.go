package discovery

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"
	"unsafe"
)

const (
	arrayVersion  = 3 // element 0 of the array form
	newestVersion = 4 // vmaj of the object form
)

// form is an announcement taken apart, before anything in it has a meaning:
// the array form and the object form differ up to here only.
type form struct {
	ident, sector, weight, interval, address, classes, timestamp value

	envelopes []value // the strings of element 6
	extension members // the last object of element 6
}

// members are the members of an extension object.
type members map[string]value

// fewOctets is how long a JSON may be that is copied before it is read: most are
// shorter. A longer one is read twice, so that what a bomb costs is time only.
const fewOctets = 4 << 10

// parseSigned reads the JSON of an announcement. It keeps a copy of json.
func (l Limits) parseSigned(json, signature []byte, c *Certificate, verified bool) (*Announcement, error) {
	p := parser{limits: l.WithDefaults(), a: &Announcement{Certificate: c}}
	foreign := unsafe.String(unsafe.SliceData(json), len(json))
	if err := checkJSON(foreign, p.limits.MaxAnnounceDepth); err != nil {
		return nil, &Error{Counter: countBadJSON, Text: "announcement " + quoted(foreign), Err: err}
	}
	if len(json) > fewOctets {
		if err := p.parse(foreign, false); err != nil {
			return nil, err
		}
		p.a = &Announcement{Certificate: c}
	}
	p.a.seal = &seal{json: string(json), signature: signature}
	p.a.seal.verified.Store(verified)
	if err := p.parse(p.a.seal.json, true); err != nil {
		return nil, err
	}
	return p.a, nil
}

type parser struct {
	limits Limits
	a      *Announcement
}

// parse reads json, which is one JSON value, into p.a, whose strings are then parts of
// it. Unless all is set, it checks everything and leaves out the actions.
func (p *parser) parse(json string, all bool) error {
	var f form
	var err error
	switch v := trimmed(json); {
	case v.is('['):
		f, err = arrayForm(v)
	case v.is('{'):
		f, err = objectForm(v)
	default:
		err = refuse(countMalformed, "announcement %s: want an array or an object", quoted(json))
	}
	if err != nil {
		return err
	}
	if err := p.scalars(f); err != nil {
		return err
	}
	plain, err := p.countClasses(f.classes)
	if err != nil {
		return err
	}
	columns, extended, err := p.columns(f.extension, p.limits.MaxActions-plain)
	if err != nil || !all || plain+extended == 0 {
		return err
	}
	p.a.Actions = make([]Action, 0, plain+extended)
	p.classes(f.classes)
	p.expand(columns, extended)
	return nil
}

// arrayForm takes the nine elements of PROTOCOL 7.3 apart.
func arrayForm(v value) (f form, err error) {
	var version value
	elements := []*value{&version, &f.ident, &f.sector, &f.weight, &f.interval, &f.address, nil, &f.classes, &f.timestamp}
	n := 0
	for items := v.items(); items.more(); n++ {
		if n < len(elements) && elements[n] == nil && items.enter('[') {
			if err := f.elementSix(&items); err != nil {
				return form{}, err
			}
			continue
		}
		item, _ := items.next()
		switch {
		case n >= len(elements):
		case elements[n] == nil:
			return form{}, refuse(countMalformed, "announcement: envelopes %s: want an array", quoted(string(item)))
		default:
			*elements[n] = item
		}
	}
	if n != len(elements) {
		return form{}, refuse(countMalformed, "announcement: array of %d elements: want %d", n, len(elements))
	}
	if number, ok := version.number(); !ok || number != arrayVersion {
		return form{}, refuse(countMalformed, "announcement: version %s: want %d", quoted(string(version)), arrayVersion)
	}
	return f, nil
}

// elementSix reads envelopes and the extension object, of which the last one
// counts, and ignores what else there is.
func (f *form) elementSix(items *cursor) error {
	var err error
	for items.more() {
		if items.enter('{') {
			f.extension, err = readMembers(items)
			continue
		}
		item, _ := items.next()
		if !item.is('"') {
			continue
		}
		if len(f.envelopes) == maxList {
			return refuse(countMalformed, "announcement: more than %d envelopes: want fewer", maxList)
		}
		f.envelopes = append(f.envelopes, item)
	}
	return err
}

// objectForm takes the object form of PROTOCOL 7.4 apart, which Perl can send.
func objectForm(v value) (form, error) {
	items := v.items()
	m, err := readMembers(&items)
	if err != nil {
		return form{}, err
	}
	if major, ok := m["vmaj"].number(); !ok || major > newestVersion {
		return form{}, &Error{Counter: countMalformed, Quiet: true,
			Text: fmt.Sprintf("announcement: vmaj %s: want a number up to %d", quoted(string(m["vmaj"])), newestVersion)}
	}
	if !m["env"].is('[') {
		return form{}, refuse(countMalformed, "announcement: member env %s: want an array", quoted(string(m["env"])))
	}
	f := form{ident: m["ident"], sector: m["sector"], weight: m["wgt"], interval: m["intvl"], address: m["uri"],
		classes: cmp.Or(m["v3actions"], "null"), timestamp: m["ts"]}
	envelopes := m["env"].items()
	err = f.elementSix(&envelopes)
	f.extension = m
	return f, err
}

// readMembers goes to the end of an object and returns its members. It reads on
// when it has found a mistake, so that the cursor ends where it should.
func readMembers(items *cursor) (members, error) {
	m := make(members, 16)
	var err error
	for {
		name, v, ok := items.member()
		if !ok {
			return m, err
		}
		if _, twice := m[name]; twice {
			err = refuse(countBadJSON, "announcement: member %s twice: want it once", quoted(name))
		} else if len(m) == maxMembers {
			err = refuse(countBadJSON, "announcement: more than %d members: want the known ones", maxMembers)
		} else {
			m[name] = v
		}
	}
}

// scalars reads all but the actions.
func (p *parser) scalars(f form) error {
	a, l := p.a, p.limits
	var ok bool
	if a.Ident, ok = f.ident.string(); !ok || a.Ident == "" {
		return refuse(countMalformed, "announcement: ident %s: want a string that is not empty", quoted(string(f.ident)))
	}
	if len(a.Ident) > l.MaxIdent {
		return refuse(countBadName, "announcement: ident %q of %d octets: want at most %d", cut(a.Ident), len(a.Ident), l.MaxIdent)
	}
	if a.Sector, ok = f.sector.string(); !ok {
		return p.malformed("sector", f.sector, "a string")
	}
	weight, ok := f.weight.number()
	if !ok {
		return p.malformed("weight", f.weight, "a number")
	}
	// Rounded up, because only 0 means do not use me.
	a.Weight = int(math.Ceil(min(max(weight, 0), float64(l.MaxWeight))))
	if weight < 0 || weight > float64(l.MaxWeight) {
		if w := p.warn(countWeightClamped); w != nil {
			w.Text = fmt.Sprintf("weight %s counts as %d", f.weight, a.Weight)
		}
	}
	// Anything but a number is a missing interval (PROTOCOL 7.8).
	interval, _ := f.interval.number()
	const most = 1e12 // milliseconds, 31 years
	a.Interval = time.Duration(min(max(interval, -most), most) * float64(time.Millisecond))
	if effective := l.EffectiveInterval(a.Interval); effective != a.Interval {
		if w := p.warn(countIntervalClamped); w != nil {
			w.Text = fmt.Sprintf("interval %s ms counts as %v", quoted(string(f.interval)), effective)
		}
	}
	if a.Address, ok = f.address.string(); !ok {
		return p.malformed("address", f.address, "a string")
	}
	if err := checkAddress(a.Address, l.MaxURI); err != nil {
		return &Error{Counter: countBadName, Text: "announcement from " + quoted(a.Ident) + ": address " + quoted(a.Address), Err: err}
	}
	if a.Timestamp, ok = f.timestamp.timestamp(); !ok {
		return p.malformed("timestamp", f.timestamp, "a number that is not negative")
	}
	a.fractionalSeconds = a.Timestamp < secondsBelow*1e6 && strings.Contains(string(f.timestamp), ".")
	p.readEnvelopes(f.envelopes)
	return nil
}

// readEnvelopes reads the envelopes of all actions that name none.
func (p *parser) readEnvelopes(list []value) {
	for _, v := range list {
		envelope, _ := v.string()
		if envelope == "" || len(envelope) > p.limits.MaxName {
			if w := p.warn(countBadName); w != nil {
				w.Text = fmt.Sprintf("envelope %s ignored: want 1 to %d octets", quoted(envelope), p.limits.MaxName)
			}
			continue
		}
		p.a.Envelopes = append(p.a.Envelopes, envelope)
	}
}

// Bounds of PROTOCOL 7.9: a timestamp below the first is in seconds, below the
// second in milliseconds, otherwise in microseconds.
const (
	secondsBelow = 1e11
	millisBelow  = 1e14
)

// timestamp returns a timestamp in microseconds, and false when it is negative
// or no number. What is too large for the type becomes its largest value.
func (v value) timestamp() (int64, bool) {
	f, ok := v.number()
	switch {
	case !ok || f < 0:
		return 0, false
	case f < secondsBelow:
		f *= 1e6
	case f < millisBelow:
		f *= 1e3
	}
	if f >= math.MaxInt64 {
		return math.MaxInt64, true
	}
	return int64(math.Round(f)), true
}

// malformed refuses the announcement for one element.
func (p *parser) malformed(what string, v value, want string) error {
	return refuse(countMalformed, "announcement from %q: %s %s: want %s", cut(p.a.Ident), what, quoted(string(v)), want)
}

// warn notes that something does not count as it was sent. It returns the
// warning the first time only, to be given a text: there may be thousands.
func (p *parser) warn(counter string) *Warning {
	for i := range p.a.Warnings {
		if p.a.Warnings[i].Counter == counter {
			p.a.Warnings[i].Count++
			return nil
		}
	}
	p.a.Warnings = append(p.a.Warnings, Warning{Counter: counter, Count: 1})
	return &p.a.Warnings[len(p.a.Warnings)-1]
}
