package discovery

import (
	"fmt"
	"strings"
)

// countClasses returns the number of actions in element 7.
func (p *parser) countClasses(v value) (int, error) {
	if v.null() {
		return 0, nil
	}
	if !v.is('[') {
		return 0, p.malformed("classes", v, "an array or null")
	}
	n := 0
	for classes := v.items(); classes.more(); {
		if classes.enter('[') {
			n += max(0, classes.count()-1) // the name is not an action
		} else {
			classes.next()
		}
		if n > p.limits.MaxActions {
			return 0, refuse(countBadVector, "announcement from %s: more than %d actions: want at most that", quoted(p.a.Ident), p.limits.MaxActions)
		}
	}
	return n, nil
}

// classes reads element 7: lists of a class name and actions. What is malformed
// is left out with a warning.
func (p *parser) classes(v value) {
	if v.null() {
		return
	}
	var flags listReader
	for classes := v.items(); classes.more(); {
		start := classes.rest
		name, ok := className(&classes)
		if !ok {
			if w := p.warn(countMalformed); w != nil {
				w.Text = fmt.Sprintf("class %s left out: want an array that starts with its name", quoted(start[:len(start)-len(classes.rest)]))
			}
			continue
		}
		for classes.more() {
			item, _ := classes.next()
			if action, ok := readAction(item, &flags); ok {
				action.Sector, action.Class, action.Envelopes = p.a.Sector, name, p.a.Envelopes
				p.add(action)
			} else if w := p.warn(countMalformed); w != nil {
				w.Text = fmt.Sprintf("action %s of class %s left out: want a name, flags and a version", quoted(string(item)), quoted(name))
			}
		}
	}
}

// className enters a class and returns its name, or skips what is no class.
func className(classes *cursor) (name string, ok bool) {
	if !classes.enter('[') {
		classes.next()
		return "", false
	}
	first, _ := classes.next()
	if name, ok = first.string(); !ok && first != "" {
		classes.count()
	}
	return name, ok
}

// readAction reads [name, flags, version], of which the last two may be missing.
func readAction(v value, flags *listReader) (a Action, ok bool) {
	if !v.is('[') {
		return Action{}, false
	}
	items := v.items()
	name, _ := items.next()
	list, hasFlags := items.next()
	version, hasVersion := items.next()
	_, more := items.next()
	a.Version = 1
	if a.Name, ok = name.string(); !ok || more {
		return Action{}, false
	}
	if hasFlags && !list.null() {
		if a.Flags, ok = flags.split(list); !ok {
			return Action{}, false
		}
	}
	if hasVersion {
		a.Version, ok = version.version()
	}
	return a, ok
}

// version reads a version: a number, or a decimal string as Perl writes it.
func (v value) version() (int, bool) {
	if s, ok := v.string(); ok {
		if s == "" || strings.Trim(s, "0123456789") != "" {
			return 0, false
		}
		v = value(s)
	}
	n, ok := v.integer()
	return n, ok && n >= 1
}

// add appends an action, if it may be found at all (PROTOCOL 7.5).
func (p *parser) add(a Action) {
	most := p.limits.MaxName
	if !indexable(a.Sector, most) || !indexable(a.Class, most) || !indexable(a.Name, most) || strings.Contains(a.Name, ".") {
		if w := p.warn(countBadName); w != nil {
			w.Text = fmt.Sprintf("action %s of class %s in sector %s left out: want names of A-Z a-z 0-9 _ . - and no dot in the action",
				quoted(a.Name), quoted(a.Class), quoted(a.Sector))
		}
		return
	}
	p.a.Actions = append(p.a.Actions, a)
}

// A column is a vector of the extension object, all of which have one length.
type column int

const (
	acname column = iota
	acns
	acsec
	acenv
	acver
	acflag
	accompat
	columnCount
)

// columnTypes are the vectors in the order of the constants.
var columnTypes = [columnCount]struct {
	name     string
	kind     vectorKind
	required bool
}{
	acname:   {"acname", ofStrings, false},
	acns:     {"acns", ofStrings, true},
	acsec:    {"acsec", ofStrings, true},
	acenv:    {"acenv", ofStrings, true},
	acver:    {"acver", ofIntegers, false},
	acflag:   {"acflag", ofStrings, false},
	accompat: {"accompat", ofIntegers, false},
}

// columns checks the vectors of an extension object and returns their length.
// Without acname there are no actions, whatever else there is.
func (p *parser) columns(m members, most int) (columns [columnCount]vector, n int, err error) {
	if m["acname"] == "" {
		return columns, 0, nil
	}
	for i, t := range columnTypes {
		v, present := m[t.name]
		if present {
			if columns[i], err = newVector(v, t.kind, most); err != nil {
				return columns, 0, &Error{Counter: countBadVector, Text: "announcement from " + quoted(p.a.Ident) + ": vector " + t.name, Err: err}
			}
		}
		if column(i) == acname {
			n = columns[i].len
		}
		if columns[i].len != n && (present || t.required) {
			return columns, 0, refuse(countBadVector, "announcement from %s: vector %s of %d values: want %d as acname",
				quoted(p.a.Ident), t.name, columns[i].len, n)
		}
	}
	return columns, n, nil
}

// expand reads the n actions of the extension object.
func (p *parser) expand(columns [columnCount]vector, n int) {
	var readers [columnCount]runReader
	for i := range columns {
		readers[i] = columns[i].read()
	}
	var flags, envelopes listReader
	for range n {
		var v [columnCount]value
		for i := range readers {
			v[i] = readers[i].next()
		}
		a := Action{Version: 1}
		a.Name, _ = v[acname].string()
		a.Class, _ = v[acns].string()
		a.Sector, _ = v[acsec].string()
		if v[acver] != "" {
			a.Version, _ = v[acver].integer()
		}
		if level, _ := v[accompat].integer(); v[accompat] != "" && level != 1 {
			continue // made for readers newer than we are
		}
		var ok, fits bool
		a.Envelopes, ok = envelopes.split(v[acenv])
		a.Flags, fits = flags.split(v[acflag])
		if !ok || !fits && v[acflag] != "" {
			if w := p.warn(countMalformed); w != nil {
				w.Text = fmt.Sprintf("action %s of class %s left out: want at most %d flags and envelopes", quoted(a.Name), quoted(a.Class), maxList)
			}
			continue
		}
		p.add(a)
	}
}

// A listReader splits comma lists and remembers the last one: neighbours mostly
// have the same one, and then share it.
type listReader struct {
	raw  value
	list []string
}

// split returns the parts of a JSON string that are not empty, and false when v
// is no string or has too many of them.
func (c *listReader) split(v value) ([]string, bool) {
	if v == c.raw && v != "" {
		return c.list, true
	}
	text, ok := v.string()
	if !ok || strings.Count(text, ",") >= maxList {
		return nil, false
	}
	var list []string
	for part := range strings.SplitSeq(text, ",") {
		if part != "" {
			list = append(list, part)
		}
	}
	c.raw, c.list = v, list
	return list, true
}
