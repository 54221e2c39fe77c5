package discovery

import (
	"errors"
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
	c.spaces()
	err := c.value(0)
	c.spaces()
	if err == nil && c.at < len(text) {
		err = errors.New("text after the value: want nothing")
	}
	if err != nil {
		return fmt.Errorf("octet %d: %w", c.at, err)
	}
	return nil
}

type checker struct {
	text  string
	at    int
	depth int
}

// spaces skips blanks. Other white space is no printable ASCII.
func (c *checker) spaces() {
	for c.at < len(c.text) && c.text[c.at] == ' ' {
		c.at++
	}
}

// peek returns the octet at hand, or 0 at the end.
func (c *checker) peek() byte {
	if c.at < len(c.text) {
		return c.text[c.at]
	}
	return 0
}

func (c *checker) value(level int) error {
	switch b := c.peek(); {
	case b == '[' || b == '{':
		if level == c.depth {
			return fmt.Errorf("nested too deep: want at most %d levels", c.depth)
		}
		return c.container(b, level+1)
	case b == '"':
		return c.string()
	case b == '-' || '0' <= b && b <= '9':
		return c.number()
	}
	for _, word := range []string{"null", "true", "false"} {
		if strings.HasPrefix(c.text[c.at:], word) {
			c.at += len(word)
			return nil
		}
	}
	return errors.New("want a value")
}

func (c *checker) container(open byte, level int) error {
	last := open + 2 // the closing bracket of either kind
	c.at++
	c.spaces()
	if c.peek() == last {
		c.at++
		return nil
	}
	for {
		if open == '{' {
			if c.peek() != '"' {
				return errors.New("want the name of a member")
			}
			if err := c.string(); err != nil {
				return err
			}
			c.spaces()
			if c.peek() != ':' {
				return errors.New("want a colon")
			}
			c.at++
			c.spaces()
		}
		if err := c.value(level); err != nil {
			return err
		}
		c.spaces()
		switch c.peek() {
		case last:
			c.at++
			return nil
		case ',':
			c.at++
			c.spaces()
		default:
			return fmt.Errorf("want a comma or %q", last)
		}
	}
}

func (c *checker) string() error {
	for c.at++; c.at < len(c.text); c.at++ {
		switch b := c.text[c.at]; {
		case b == '"':
			c.at++
			return nil
		case b < 0x20 || b > 0x7e:
			return errors.New("want printable ASCII")
		case b == '\\':
			_, size, err := unescape(c.text[c.at:])
			if err != nil {
				return err
			}
			c.at += size - 1
		}
	}
	return errors.New("string without an end")
}

// unescape reads the escape at the start of s, both halves of a surrogate pair
// together, and returns its size.
func unescape(s string) (r rune, size int, err error) {
	if len(s) < 2 {
		return 0, 0, errors.New("string without an end")
	}
	switch b := s[1]; b {
	case '"', '\\', '/':
		return rune(b), 2, nil
	case 'b':
		return '\b', 2, nil
	case 'f':
		return '\f', 2, nil
	case 'n':
		return '\n', 2, nil
	case 'r':
		return '\r', 2, nil
	case 't':
		return '\t', 2, nil
	case 'u':
		high, ok := unit(s)
		if !ok {
			return 0, 0, errors.New("want four hex digits")
		}
		if !utf16.IsSurrogate(high) {
			return high, 6, nil
		}
		low, ok := unit(s[6:])
		if pair := utf16.DecodeRune(high, low); ok && pair != utf8.RuneError {
			return pair, 12, nil
		}
		return 0, 0, errors.New("lone surrogate: want a pair")
	}
	return 0, 0, errors.New("want an escape of JSON")
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

func (c *checker) number() error {
	start := c.at
	if c.peek() == '-' {
		c.at++
	}
	switch b := c.peek(); {
	case b == '0':
		c.at++
	case !c.digits():
		return errors.New("want a digit")
	}
	if c.peek() == '.' {
		c.at++
		if !c.digits() {
			return errors.New("want a digit after the point")
		}
	}
	if c.peek()|0x20 == 'e' {
		c.at++
		if b := c.peek(); b == '+' || b == '-' {
			c.at++
		}
		if !c.digits() {
			return errors.New("want a digit in the exponent")
		}
	}
	// The length first: reading a number costs more than its length.
	if c.at-start > maxNumber {
		return fmt.Errorf("number of %d characters: want at most %d", c.at-start, maxNumber)
	}
	if _, err := strconv.ParseFloat(c.text[start:c.at], 64); err != nil {
		return errors.New("number out of range")
	}
	return nil
}

func (c *checker) digits() bool {
	start := c.at
	for c.at < len(c.text) && '0' <= c.text[c.at] && c.text[c.at] <= '9' {
		c.at++
	}
	return c.at > start
}

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
		r, size, err := unescape(raw[i:])
		if err != nil {
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

// A cursor walks through the items of an array or the members of an object.
type cursor struct{ rest string }

// items returns a cursor into an array or object.
func (v value) items() cursor { return cursor{string(v[1:])} }

// count returns the number of items of an array.
func (v value) count() int {
	n := 0
	for items := v.items(); ; n++ {
		if _, more := items.next(); !more {
			return n
		}
	}
}

// next returns the next item of an array.
func (c *cursor) next() (value, bool) {
	s := strings.TrimLeft(c.rest, " ,")
	if s == "" || s[0] == ']' || s[0] == '}' {
		c.rest = ""
		return "", false
	}
	n := valueLen(s)
	c.rest = s[n:]
	return value(s[:n]), true
}

// member returns the next member of an object.
func (c *cursor) member() (name string, v value, ok bool) {
	raw, ok := c.next()
	if !ok {
		return "", "", false
	}
	name, _ = raw.string()
	s := strings.TrimLeft(c.rest, " :")
	n := valueLen(s)
	c.rest = s[n:]
	return name, value(s[:n]), true
}

// valueLen returns the length of the value at the start of s.
func valueLen(s string) int {
	level := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			for i++; s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
			if level == 0 {
				return i + 1
			}
		case '[', '{':
			level++
		case ']', '}':
			if level--; level <= 0 {
				return i + 1 + level // a scalar ends before the bracket
			}
		case ',', ' ', ':':
			if level == 0 {
				return i
			}
		}
	}
	return len(s)
}

// trimmed returns the one value of a text that checkJSON has passed.
func trimmed(text string) value { return value(strings.Trim(text, " ")) }
