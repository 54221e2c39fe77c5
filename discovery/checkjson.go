package discovery

import (
	"fmt"
	"strconv"
	"strings"
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
