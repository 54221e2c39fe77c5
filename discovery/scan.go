package discovery

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// The JSON of an announcement is read by hand, because a deep or repeated
// structure must cost one pass and no memory (THREATS D9, D10, E16). One pass
// checks all of it; after that values are cut out of the text, which is never
// copied: every string without an escape is a part of it.

// checkJSON says what is wrong with text as one JSON value on one line of
// printable ASCII, at most depth levels deep.
func checkJSON(text string, depth int) error {
	c := checker{text: text, depth: depth}
	at := c.value(c.blanks(0), 0)
	if at >= 0 {
		if at = c.blanks(at); at < len(text) {
			at = c.fail(at, "text after the value: want nothing")
		}
	}
	if at < 0 {
		return fmt.Errorf("octet %d: %s", c.failedAt, c.what)
	}
	return nil
}

// A checker goes through a text once. Its methods take the place where
// something starts and return the place behind it, or -1 after fail: the place
// stays in a register, which halves the time of a bomb.
type checker struct {
	text  string
	depth int

	failedAt int
	what     string
}

func (c *checker) fail(at int, what string) int {
	c.failedAt, c.what = at, what
	return -1
}

// blanks skips blanks. Other white space is no printable ASCII.
func (c *checker) blanks(at int) int {
	for at < len(c.text) && c.text[at] == ' ' {
		at++
	}
	return at
}

// octet returns the octet at a place, or 0 at the end.
func (c *checker) octet(at int) byte {
	if at < len(c.text) {
		return c.text[at]
	}
	return 0
}

func (c *checker) value(at, level int) int {
	switch b := c.octet(at); {
	case b == '"':
		return c.string(at + 1)
	case b == '[' || b == '{':
		if level == c.depth {
			return c.fail(at, "nested too deep")
		}
		return c.container(at, level+1)
	case b == '-' || '0' <= b && b <= '9':
		return c.number(at)
	}
	for _, word := range []string{"null", "true", "false"} {
		if strings.HasPrefix(c.text[at:], word) {
			return at + len(word)
		}
	}
	return c.fail(at, "want a value")
}

func (c *checker) container(at, level int) int {
	first := c.text[at]
	last := first + 2 // the closing bracket of either kind
	at = c.blanks(at + 1)
	if c.octet(at) == last {
		return at + 1
	}
	for {
		if first == '{' {
			if at = c.name(at); at < 0 {
				return at
			}
		}
		if at = c.value(at, level); at < 0 {
			return at
		}
		at = c.blanks(at)
		switch c.octet(at) {
		case last:
			return at + 1
		case ',':
			at = c.blanks(at + 1)
		default:
			return c.fail(at, "want a comma or "+string(rune(last)))
		}
	}
}

// name checks the name of a member and the colon, and goes to its value.
func (c *checker) name(at int) int {
	if c.octet(at) != '"' {
		return c.fail(at, "want the name of a member")
	}
	if at = c.string(at + 1); at < 0 {
		return at
	}
	if at = c.blanks(at); c.octet(at) != ':' {
		return c.fail(at, "want a colon")
	}
	return c.blanks(at + 1)
}

// string checks a string from behind its first quote.
func (c *checker) string(at int) int {
	for text := c.text; at < len(text); at++ {
		switch kinds[text[at]] {
		case quote:
			return at + 1
		case foreign:
			return c.fail(at, "want printable ASCII")
		case escape:
			_, size, what := unescape(text[at:])
			if what != "" {
				return c.fail(at, what)
			}
			at += size - 1
		}
	}
	return c.fail(at, "string without an end")
}

func (c *checker) number(at int) int {
	start := at
	if c.text[at] == '-' {
		at++
	}
	switch c.octet(at) {
	case '0':
		at++ // and no digit after it
	default:
		if at = c.digits(at); at < 0 {
			return at
		}
	}
	if c.octet(at) == '.' {
		if at = c.digits(at + 1); at < 0 {
			return at
		}
	}
	exponent := c.octet(at)|0x20 == 'e'
	if exponent {
		if at++; c.octet(at) == '+' || c.octet(at) == '-' {
			at++
		}
		if at = c.digits(at); at < 0 {
			return at
		}
	}
	// The length first: to read a number costs more than its length.
	if at-start > maxNumber {
		return c.fail(start, "number too long")
	}
	if !exponent {
		return at // so few digits are always in range
	}
	if _, err := strconv.ParseFloat(c.text[start:at], 64); err != nil {
		return c.fail(start, "number out of range")
	}
	return at
}

// digits skips one digit or more.
func (c *checker) digits(at int) int {
	start := at
	for at < len(c.text) && '0' <= c.text[at] && c.text[at] <= '9' {
		at++
	}
	if at == start {
		return c.fail(at, "want a digit")
	}
	return at
}

// unescape reads the escape at the start of s, both halves of a surrogate pair
// together. It returns its size, or what is wrong.
func unescape(s string) (r rune, size int, what string) {
	if len(s) < 2 {
		return 0, 0, "string without an end"
	}
	switch b := s[1]; b {
	case '"', '\\', '/':
		return rune(b), 2, ""
	case 'b':
		return '\b', 2, ""
	case 'f':
		return '\f', 2, ""
	case 'n':
		return '\n', 2, ""
	case 'r':
		return '\r', 2, ""
	case 't':
		return '\t', 2, ""
	case 'u':
		high, ok := unit(s)
		if !ok {
			return 0, 0, "want four hex digits"
		}
		if !utf16.IsSurrogate(high) {
			return high, 6, ""
		}
		low, ok := unit(s[6:])
		if pair := utf16.DecodeRune(high, low); ok && pair != utf8.RuneError {
			return pair, 12, ""
		}
		return 0, 0, "lone surrogate: want a pair"
	}
	return 0, 0, "want an escape of JSON"
}

// unit reads \uXXXX.
func unit(s string) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, b := range []byte(s[2:6]) {
		switch {
		case '0' <= b && b <= '9':
			r = r<<4 | rune(b-'0')
		case 'a' <= b|0x20 && b|0x20 <= 'f':
			r = r<<4 | rune(b|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// The kinds of octets that matter to whoever looks for the end of a value.
const (
	plain   = iota
	quote   // "
	escape  // \\
	open    // [ {
	closed  // ] }
	between // , : and blank
	foreign // no printable ASCII
)

var kinds = func() (k [256]byte) {
	for b := range k {
		if b < 0x20 || b > 0x7e {
			k[b] = foreign
		}
	}
	k['"'], k['\\'], k['['], k['{'], k[']'], k['}'] = quote, escape, open, open, closed, closed
	k[','], k[':'], k[' '] = between, between, between
	return k
}()

// A value is the text of one JSON value that checkJSON has passed.
type value string

func (v value) is(first byte) bool { return len(v) > 0 && v[0] == first }
func (v value) null() bool         { return v.is('n') }

// string returns the text of a JSON string.
func (v value) string() (string, bool) {
	if !v.is('"') {
		return "", false
	}
	raw := string(v[1 : len(v)-1])
	i := strings.IndexByte(raw, '\\')
	if i < 0 {
		return raw, true
	}
	var b strings.Builder
	for ; i >= 0; i = strings.IndexByte(raw, '\\') {
		b.WriteString(raw[:i])
		r, size, what := unescape(raw[i:])
		if what != "" {
			return "", false
		}
		b.WriteRune(r)
		raw = raw[i+size:]
	}
	b.WriteString(raw)
	return b.String(), true
}

// number returns a JSON number.
func (v value) number() (float64, bool) {
	if !v.is('-') && (len(v) == 0 || v[0] < '0' || v[0] > '9') {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(v), 64)
	return f, err == nil
}

// integer returns a JSON number that is a whole one from 0 to 2^31-1, however
// it is written.
func (v value) integer() (int, bool) {
	if len(v) < 10 { // mostly: a few digits
		n := 0
		for i := 0; i < len(v) && '0' <= v[i] && v[i] <= '9'; i++ {
			if n = 10*n + int(v[i]-'0'); i == len(v)-1 {
				return n, true
			}
		}
	}
	f, ok := v.number()
	if !ok || f < 0 || f > math.MaxInt32 || f != math.Trunc(f) {
		return 0, false
	}
	return int(f), true
}

// integerLiteral reports whether v is a number without point and exponent.
func (v value) integerLiteral() bool {
	_, ok := v.number()
	return ok && !strings.ContainsAny(string(v), ".eE")
}

// A cursor walks forward through the items of an array or the members of an
// object. Where the text is long it enters what is inside, because to skip a
// value is to read it.
type cursor struct{ rest string }

// items returns a cursor into an array or object.
func (v value) items() cursor { return cursor{string(v[1:])} }

// next returns the next item. After the last one it returns none, and moves on
// behind the end of the array.
func (c *cursor) next() (value, bool) {
	if !c.more() {
		return "", false
	}
	n := valueLen(c.rest)
	v := value(c.rest[:n])
	c.rest = c.rest[n:]
	return v, true
}

// more moves to the next item and reports whether there is one.
func (c *cursor) more() bool {
	s := c.rest
	for len(s) > 0 && kinds[s[0]] == between {
		s = s[1:]
	}
	if s != "" && kinds[s[0]] != closed {
		c.rest = s
		return true
	}
	if s != "" {
		s = s[1:]
	}
	c.rest = s
	return false
}

// enter moves into the next item, if it starts with that bracket. The caller
// then goes on until there is no more, and is behind the item.
func (c *cursor) enter(bracket byte) bool {
	if !c.more() || c.rest[0] != bracket {
		return false
	}
	c.rest = c.rest[1:]
	return true
}

// count goes to the end of the array and returns the number of items.
func (c *cursor) count() int {
	n := 0
	for c.more() {
		c.rest = c.rest[valueLen(c.rest):]
		n++
	}
	return n
}

// member returns the next member of an object.
func (c *cursor) member() (name string, v value, ok bool) {
	raw, ok := c.next()
	if !ok {
		return "", "", false
	}
	name, _ = raw.string()
	v, ok = c.next()
	return name, v, ok
}

// valueLen returns the length of the value at the start of s.
func valueLen(s string) int {
	level := 0
	for i := 0; i < len(s); i++ {
		switch kinds[s[i]] {
		case quote:
			for i++; s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
			if level == 0 {
				return i + 1
			}
		case open:
			level++
		case closed:
			if level--; level <= 0 {
				return i + 1 + level // a scalar ends before the bracket
			}
		case between:
			if level == 0 {
				return i
			}
		}
	}
	return len(s)
}

// trimmed returns the one value of a text that checkJSON has passed.
func trimmed(text string) value { return value(strings.Trim(text, " ")) }
