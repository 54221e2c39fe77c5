package packet

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
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
	if v.escaped {
		return string(v.appendText(nil)) == text
	}
	return string(v.raw[1:len(v.raw)-1]) == text
}

// appendText appends what the string v stands for to b.
func (v value) appendText(b []byte) []byte {
	text := v.raw[1 : len(v.raw)-1]
	if v.escaped {
		return appendUnquoted(b, text)
	}
	return append(b, text...)
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
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
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
	if s.take(bracket) {
		return false
	}
	if n > 0 {
		if !s.take(',') {
			s.fail("a comma or the end of the object or array")
			return false
		}
		s.space()
	}
	return true
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

// text consumes a string, whose quote is next, and reports whether it has a
// backslash in it.
func (s *scanner) text() (escaped bool) {
	s.pos++
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return escaped
		case c == '\\':
			escaped = true
			if !s.escape() {
				return true
			}
		case c < ' ':
			s.fail("no control character in a string")
			return escaped
		default:
			s.pos++
		}
	}
	s.fail("the end of a string")
	return escaped
}

// escape consumes one escape, or the two that make one character.
func (s *scanner) escape() bool {
	r, n := unescape(s.data[s.pos:])
	if n == 0 {
		s.fail("an escape")
		return false
	}
	if utf16.IsSurrogate(r) {
		s.fail("both halves of a character")
		return false
	}
	s.pos += n
	return true
}

// unescape reads the escape that b starts with, or the two that make one
// character, and tells its length: 0 when it is none. Half a character is
// returned as it is.
func unescape(b []byte) (r rune, n int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch b[1] {
	case '"', '\\', '/':
		return rune(b[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r, ok := unhex(b)
		if !ok {
			return 0, 0
		}
		if utf16.IsSurrogate(r) {
			if low, ok := unhex(b[6:]); ok {
				if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
					return both, 12
				}
			}
		}
		return r, 6
	}
	return 0, 0
}

// unhex reads the \uXXXX that b starts with.
func unhex(b []byte) (r rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// appendUnquoted appends to b what stands between the quotes of a string that
// a scanner has accepted.
func appendUnquoted(b, text []byte) []byte {
	for len(text) > 0 {
		i := bytes.IndexByte(text, '\\')
		if i < 0 {
			return append(b, text...)
		}
		b = append(b, text[:i]...)
		r, n := unescape(text[i:])
		b = utf8.AppendRune(b, r)
		text = text[i+n:]
	}
	return b
}
