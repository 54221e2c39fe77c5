package packet

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// plain has the octets that stand for themselves in every string, read or
// written: printable ASCII without the quote and the backslash.
var plain = func() (t [256]bool) {
	for c := ' '; c <= '~'; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// text consumes a string, whose quote is next, and reports whether it has a
// backslash in it.
func (s *scanner) text() (escaped bool) {
	for s.pos++; s.pos < len(s.data); {
		s.pos += plainPrefix(s.data[s.pos:])
		if s.pos == len(s.data) {
			break
		}
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return escaped
		case c == '\\':
			escaped = true
			s.escape()
		case c < ' ':
			s.fail("no control character in a string")
		default: // a part of a longer character, or DEL
			s.pos++
		}
		if s.want != "" {
			return escaped
		}
	}
	s.fail("the end of a string")
	return escaped
}

// plainPrefix returns how many octets at the start of b are plain.
func plainPrefix(b []byte) int {
	for i, c := range b {
		if !plain[c] {
			return i
		}
	}
	return len(b)
}

// escape consumes one escape, or the two that make one character.
func (s *scanner) escape() {
	r, n := unescape(s.data[s.pos:])
	switch {
	case n == 0:
		s.fail("an escape")
	case utf16.IsSurrogate(r):
		s.fail("both halves of a character")
	default:
		s.pos += n
	}
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

const hexDigits = "0123456789abcdef"

// appendQuoted appends text as a JSON string to b. Octets that are not UTF-8
// become U+FFFD, control characters become escapes.
func appendQuoted(b []byte, text string) []byte {
	b = append(b, '"')
	done := 0 // octets of text that are in b
	for i := 0; i < len(text); {
		c := text[i]
		if plain[c] {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRuneInString(text[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		b = append(b, text[done:i]...)
		b = appendEscape(b, c)
		i++
		done = i
	}
	b = append(b, text[done:]...)
	return append(b, '"')
}

func appendEscape(b []byte, c byte) []byte {
	if c >= utf8.RuneSelf {
		return utf8.AppendRune(b, utf8.RuneError)
	}
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, `\n`...)
	case '\r':
		return append(b, `\r`...)
	case '\t':
		return append(b, `\t`...)
	}
	return append(b, `\u00`+hexDigits[c>>4:c>>4+1]+hexDigits[c&15:c&15+1]...)
}
