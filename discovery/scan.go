package discovery

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

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
