package packet

import (
	"bytes"
	"strconv"
)

// A scanner walks through one JSON text that lies in memory, which must be
// valid UTF-8. It takes what RFC 8259 allows and nothing else, refuses escapes
// that stand for half a character, and allocates nothing. After the first
// mistake every method does nothing: callers look at want once, at the end.
type scanner struct {
	data     []byte
	pos      int
	maxDepth int    // containers within each other
	want     string // what should have stood at pos; set by the first mistake
}

// A value is one JSON value as it stands in the text.
type value struct {
	kind    valueKind
	escaped bool   // a string with a backslash in it
	raw     []byte // the text, with the quotes of a string
}

type valueKind uint8

const (
	kindNone valueKind = iota // after a mistake
	kindNull
	kindTrue
	kindFalse
	kindNumber
	kindString
	kindArray
	kindObject
)

// is reports whether v is the string text.
func (v value) is(text string) bool {
	if v.kind != kindString {
		return false
	}
	own := v.raw[1 : len(v.raw)-1]
	if v.escaped {
		own = appendUnquoted(nil, own)
	}
	return string(own) == text
}

// integer returns the number v, when it has neither fraction nor exponent and
// fits.
func (v value) integer() (int64, bool) {
	if v.kind != kindNumber {
		return 0, false
	}
	return decimal(v.raw)
}

// decimal reads an integer as JSON writes it, which must be all of text.
func decimal(text []byte) (int64, bool) {
	digits := bytes.TrimPrefix(text, []byte{'-'})
	n, count := number(digits)
	if count == 0 || count != len(digits) || n >= 1<<63 {
		return 0, false
	}
	if len(digits) < len(text) {
		return -int64(n), true
	}
	return int64(n), true
}

func (s *scanner) fail(want string) {
	if s.want == "" {
		s.want = want
	}
}

// space skips white space.
func (s *scanner) space() {
	for s.pos < len(s.data) && isSpace(s.data[s.pos]) {
		s.pos++
	}
}

func isSpace(c byte) bool {
	return c <= ' ' && (c == ' ' || c == '\n' || c == '\r' || c == '\t')
}

// take consumes c if it is next.
func (s *scanner) take(c byte) bool {
	if s.want != "" || s.pos == len(s.data) || s.data[s.pos] != c {
		return false
	}
	s.pos++
	return true
}

// end reports whether nothing but white space is left and all was well.
func (s *scanner) end() bool {
	s.space()
	if s.pos < len(s.data) {
		s.fail("nothing after the value")
	}
	return s.want == ""
}

// open consumes the bracket of a container that is inside depth-1 others.
func (s *scanner) open(bracket byte, depth int) {
	if depth > s.maxDepth {
		s.fail("at most " + strconv.Itoa(s.maxDepth) + " levels of nesting")
		return
	}
	if !s.take(bracket) {
		s.fail("an object")
	}
}

// more reports whether the container that ends in bracket has another element
// after its first n; if not, it consumes the bracket.
func (s *scanner) more(bracket byte, n int) bool {
	if s.want != "" {
		return false
	}
	s.space()
	var c byte
	if s.pos < len(s.data) {
		c = s.data[s.pos]
	}
	switch {
	case c == bracket:
		s.pos++
		return false
	case n == 0:
		return true
	case c == ',':
		s.pos++
		s.space()
		return true
	}
	s.fail("a comma or the end of the object or array")
	return false
}

// name consumes the name of a member and its colon.
func (s *scanner) name() value {
	start := s.pos
	if s.want != "" || s.pos == len(s.data) || s.data[s.pos] != '"' {
		s.fail("the name of a member")
		return value{}
	}
	v := value{kind: kindString, escaped: s.text()}
	v.raw = s.data[start:s.pos]
	s.space()
	if !s.take(':') {
		s.fail("a colon")
		return value{}
	}
	return v
}

// value consumes a value that is inside depth containers.
func (s *scanner) value(depth int) value {
	s.space()
	if s.want != "" || s.pos == len(s.data) {
		s.fail("a value")
		return value{}
	}
	start := s.pos
	var v value
	switch c := s.data[s.pos]; c {
	case '"':
		v.kind = kindString
		v.escaped = s.text()
	case '{':
		v.kind = kindObject
		s.open(c, depth+1)
		for n := 0; s.more('}', n); n++ {
			s.name()
			s.value(depth + 1)
		}
	case '[':
		v.kind = kindArray
		s.open(c, depth+1)
		for n := 0; s.more(']', n); n++ {
			s.value(depth + 1)
		}
	case 'n':
		v.kind = kindNull
		s.word("null")
	case 't':
		v.kind = kindTrue
		s.word("true")
	case 'f':
		v.kind = kindFalse
		s.word("false")
	default:
		v.kind = kindNumber
		s.number()
	}
	if s.want != "" {
		return value{}
	}
	v.raw = s.data[start:s.pos]
	return v
}

func (s *scanner) word(word string) {
	if !bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
		s.fail("a value")
		return
	}
	s.pos += len(word)
}

func (s *scanner) number() {
	s.take('-')
	if !s.take('0') {
		s.digits("a value")
	}
	if s.take('.') {
		s.digits("a digit")
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		s.digits("a digit")
	}
}

// digits consumes at least one digit.
func (s *scanner) digits(want string) {
	start := s.pos
	for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
		s.pos++
	}
	if s.pos == start {
		s.fail(want)
	}
}
