package discovery

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unsafe"
)

const (
	arrayVersion  = 3 // element 0 of the array form
	newestVersion = 4 // vmaj of the extension object and of the object form
	arrayElements = 9
)

// form is an announcement taken apart, before anything in it has a meaning:
// the array form and the object form differ up to here only.
type form struct {
	ident, sector, weight, interval, address, envelopes, classes, timestamp value
	extension                                                               members
}

// members are the known members of an extension object.
type members map[string]value

// parseSigned reads the JSON of an announcement. It keeps a copy of json, made
// when nothing can be refused any more: what a bomb costs is time only.
func (l Limits) parseSigned(json, signature []byte, c *Certificate, verified bool) (*Announcement, error) {
	p := parser{limits: l.WithDefaults(), a: &Announcement{Certificate: c}}
	if err := p.parse(unsafe.String(unsafe.SliceData(json), len(json)), false); err != nil {
		return nil, err
	}
	p.a = &Announcement{Certificate: c, seal: &seal{json: string(json), signature: signature}}
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

// parse reads json into p.a, whose strings are then parts of it. Unless again is
// set, it checks everything and leaves out the actions.
func (p *parser) parse(json string, again bool) error {
	if !again {
		if err := checkJSON(json, p.limits.MaxAnnounceDepth); err != nil {
			return &Error{Counter: countBadJSON, Text: "announcement " + quoted(json), Err: err}
		}
	}
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
	if err != nil || !again || plain+extended == 0 {
		return err
	}
	p.a.Actions = make([]Action, 0, plain+extended)
	p.classes(f.classes)
	p.expand(columns, extended)
	return nil
}

// arrayForm takes the nine elements of PROTOCOL 7.3 apart.
func arrayForm(v value) (form, error) {
	var e [arrayElements]value
	n := 0
	for items := v.items(); ; n++ {
		item, ok := items.next()
		if !ok {
			break
		}
		if n < len(e) {
			e[n] = item
		}
	}
	if n != arrayElements {
		return form{}, refuse(countMalformed, "announcement: array of %d elements: want %d", n, arrayElements)
	}
	if version, ok := e[0].number(); !ok || version != arrayVersion {
		return form{}, refuse(countMalformed, "announcement: version %s: want %d", quoted(string(e[0])), arrayVersion)
	}
	f := form{ident: e[1], sector: e[2], weight: e[3], interval: e[4], address: e[5], envelopes: e[6], classes: e[7], timestamp: e[8]}
	if !f.envelopes.is('[') {
		return form{}, refuse(countMalformed, "announcement: envelopes %s: want an array", quoted(string(f.envelopes)))
	}
	// The last object among the envelopes is the extension.
	var extension value
	for items := f.envelopes.items(); ; {
		item, ok := items.next()
		if !ok {
			break
		}
		if item.is('{') {
			extension = item
		}
	}
	if extension == "" {
		return f, nil
	}
	var err error
	f.extension, err = readMembers(extension) // the elements count, not its members of the same meaning
	return f, err
}

// objectForm takes the object form of PROTOCOL 7.4 apart, which Perl can send.
func objectForm(v value) (form, error) {
	m, err := readMembers(v)
	if err != nil {
		return form{}, err
	}
	if major, ok := m["vmaj"].number(); !ok || major > newestVersion {
		return form{}, &Error{Counter: countMalformed, Quiet: true,
			Text: "announcement: vmaj " + quoted(string(m["vmaj"])) + ": want a number up to 4"}
	}
	f := form{ident: m["ident"], sector: m["sector"], weight: m["wgt"], interval: m["intvl"], address: m["uri"],
		envelopes: m["env"], classes: m["v3actions"], timestamp: m["ts"], extension: m}
	if !f.envelopes.is('[') {
		return form{}, refuse(countMalformed, "announcement: member env %s: want an array", quoted(string(f.envelopes)))
	}
	if f.classes == "" {
		f.classes = "null"
	}
	return f, nil
}

// readMembers returns the members of an extension object or of the object form.
func readMembers(v value) (members, error) {
	m := make(members, 16)
	for items := v.items(); ; {
		name, member, ok := items.member()
		if !ok {
			return m, nil
		}
		if _, twice := m[name]; twice {
			return nil, refuse(countBadJSON, "announcement: member %q twice: want it once", cut(name))
		}
		if len(m) == maxMembers {
			return nil, refuse(countBadJSON, "announcement: more than %d members: want the known ones", maxMembers)
		}
		m[name] = member
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
	const most = float64(math.MaxInt64 / 2 / time.Millisecond)
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
	return p.envelopes(f.envelopes)
}

// envelopes reads the strings of element 6 and ignores what else is there.
func (p *parser) envelopes(v value) error {
	for items := v.items(); ; {
		item, more := items.next()
		if !more {
			return nil
		}
		envelope, ok := item.string()
		switch {
		case !ok:
		case envelope == "" || len(envelope) > p.limits.MaxName:
			if w := p.warn(countBadName); w != nil {
				w.Text = fmt.Sprintf("envelope %s ignored: want 1 to %d octets", quoted(envelope), p.limits.MaxName)
			}
		case len(p.a.Envelopes) == maxList:
			return refuse(countMalformed, "announcement from %q: more than %d envelopes: want fewer", cut(p.a.Ident), maxList)
		default:
			p.a.Envelopes = append(p.a.Envelopes, envelope)
		}
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
