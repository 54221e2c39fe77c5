package discovery

import (
	"cmp"
	"math"
)

// Strict says what in an announcement would make old readers lose more than
// this announcement, or returns nil: an old Go reader gives up the whole cache
// file, an old Perl one exits (PROTOCOL 8.4). A writer of cache files leaves
// such an announcement out; our own readers take it.
func (a *Announcement) Strict() error {
	if a.seal == nil {
		return a.notStrict("no signature", "a signed announcement")
	}
	if len(a.seal.json) >= mostJSON {
		return a.notStrict("a JSON line that is too long", "fewer than 65536 octets")
	}
	v := trimmed(a.seal.json)
	if !v.is('[') {
		return a.notStrict("object form", "the array form")
	}
	var e [9]value
	items := v.items()
	for i := range e {
		e[i], _ = items.next()
	}
	switch {
	case e[0] != "3":
		return a.notStrict("version "+quoted(string(e[0])), "3")
	case !e[3].strictInteger():
		return a.notStrict("weight "+quoted(string(e[3])), "an integer of 32 bits without point and exponent")
	case !e[4].strictInteger():
		return a.notStrict("interval "+quoted(string(e[4])), "an integer of 32 bits without point and exponent")
	case e[7].null():
		return nil
	}
	for classes := e[7].items(); classes.more(); {
		start := classes.rest
		if name, ok := className(&classes); !ok || !classes.more() {
			return a.notStrict("class "+quoted(cmp.Or(name, start)), "a name and at least one action")
		}
		for classes.more() {
			if action, _ := classes.next(); !strictAction(action) {
				return a.notStrict("action "+quoted(string(action)), "a name, flags, and a whole number as version if any")
			}
		}
	}
	return nil
}

// strictInteger reports whether v is a number that every reader takes: the strictest
// give up a file for one that is too large for their integers.
func (v value) strictInteger() bool {
	n, ok := v.number()
	return ok && v.integerLiteral() && math.MinInt32 <= n && n <= math.MaxInt32
}

func strictAction(action value) bool {
	if !action.is('[') {
		return false
	}
	items := action.items()
	name, _ := items.next()
	flags, _ := items.next()
	if !name.is('"') || !flags.is('"') {
		return false
	}
	version, versioned := items.next()
	if !versioned {
		return true
	}
	_, whole := version.version()
	return whole && (version.is('"') || version.integerLiteral()) && !items.more()
}

func (a *Announcement) notStrict(what, want string) error {
	return refuse(countNotStrict, "announcement from %s is not in strict form: %s: want %s", quoted(a.Ident), what, want)
}
