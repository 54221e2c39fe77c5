package discovery

import (
	"encoding/hex"
	"fmt"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Rule is one line of the file.
type Rule struct {
	Line        int      // counted from 1
	Certificate string   // "AA:BB:..." or "sha256:" and 64 hex digits, in our spelling
	Tokens      []string // as they stand in the file
	parts       []Token  // the same, taken apart
}

// Match returns which of the Tokens lets the certificate offer the action in the
// sector, the first that does, or -1. It knows nothing of _meta and of the other
// lines: Decide judges.
func (r *Rule) Match(sector, action string) int {
	if strings.Contains(sector, ":") || strings.Contains(action, ":") {
		return -1
	}
	for i := range r.parts {
		if r.parts[i].Matches(sector, action) {
			return i
		}
	}
	return -1
}

// Gives says whether the line gives any right: a fingerprint alone does not, nor do tokens
// that no name can match, such as patterns.
func (r *Rule) Gives() bool {
	return slices.ContainsFunc(r.Tokens, func(text string) bool {
		_, _, kind := parseToken(text)
		return kind != TokenNoRight
	})
}

// Token returns one of the Tokens taken apart.
func (r *Rule) Token(i int) Token { return r.parts[i] }

// A Token is a right: all actions of a sector, or those below a prefix.
type Token struct {
	Sector string // main if the file names none
	Prefix string // an action, or whole parts of its beginning
	All    bool   // sector:ALL
}

// Matches compares sector:action, neither of which may hold a colon, with t
// (PROTOCOL 9.2).
func (t *Token) Matches(sector, action string) bool {
	if !equalFoldASCII(t.Sector, sector) {
		return false
	}
	if t.All {
		return true
	}
	n := len(t.Prefix)
	return n > 0 && len(action) >= n && equalFoldASCII(t.Prefix, action[:n]) && (len(action) == n || action[n] == '.')
}

// A LineKind says what kind of thing a LineWarning tells.
type LineKind uint8

// What a LineWarning tells.
const (
	LineSkipped   LineKind = iota // the line is no rule, and gives no right
	LineReplaces                  // the line replaces an earlier one of the same certificate
	LineLowerCase                 // its fingerprint is in lower case, which others do not read
	TokenNoRight                  // a token gives no right
	TokenClassALL                 // a token stands for a class named ALL, not for a whole sector
	LineUnended                   // the last line has no line feed: it may be a part of one
)

// String returns the kind in a few words.
func (k LineKind) String() string {
	names := [...]string{LineSkipped: "line skipped", LineReplaces: "line replaces another", LineLowerCase: "fingerprint in lower case",
		TokenNoRight: "token gives no right", TokenClassALL: "token names a class ALL",
		LineUnended: "last line without line feed"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

// A LineWarning tells of a line, or a part of one, that gives no right or gives
// it in an unusual way.
type LineWarning struct {
	File string
	Line int // counted from 1
	Kind LineKind
	Text string // foreign text in it is quoted and cut
}

// String returns "file:line: text".
func (w LineWarning) String() string { return fmt.Sprintf("%s:%d: %s", w.File, w.Line, w.Text) }

// parseLine reads one line, and returns false when it holds no rule.
func (z *Authorized) parseLine(number int, whole string) (Rule, bool) {
	line, _, _ := strings.Cut(whole, "#")
	line = strings.Trim(line, blanks)
	if line == "" {
		return Rule{}, false
	}
	first, rest := cutWord(line)
	rule := Rule{Line: number}
	var ok bool
	if rule.Certificate, ok = certificateName(first); !ok {
		z.skip(number, line, halfNamed(whole), "line skipped: %s: want a fingerprint of 20 hex pairs with colons, or sha256: and 64 hex digits", quoted(first))
		return Rule{}, false
	}
	if outlandish(line) {
		// It takes the place of an earlier line, which may have given more.
		z.skip(number, line, true, "line gives no right: want text in UTF-8 without control characters")
		return rule, true
	}
	if !strings.HasPrefix(rule.Certificate, sha256Prefix) && rule.Certificate != first {
		z.warn(LineLowerCase, number, "fingerprint in lower case: want upper case, other implementations ignore the line")
	}
	for text := range tokenTexts(rest) {
		t, doubt, kind := parseToken(text)
		if doubt != "" {
			z.warn(kind, number, "token %s: %s", quoted(text), doubt)
		}
		rule.Tokens = append(rule.Tokens, text)
		rule.parts = append(rule.parts, t)
	}
	z.usable++
	return rule, true
}

// cutWord returns the first word of a line, and the tokens behind it.
func cutWord(line string) (first, rest string) {
	if i := strings.IndexAny(line, blanks); i >= 0 {
		return line[:i], line[i:]
	}
	return line, ""
}

// tokenTexts returns what is between the commas, but for nothing.
func tokenTexts(rest string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for text := range strings.SplitSeq(rest, ",") {
			if text = strings.Trim(text, blanks); text != "" && !yield(text) {
				return
			}
		}
	}
}

// A skippedLine is one that could not be read as a rule.
type skippedLine struct {
	LineWarning        // why not
	line        string // without comment
}

// skip notes a line that is no rule, for Damage too.
func (z *Authorized) skip(number int, line string, names bool, why string, args ...any) {
	z.warn(LineSkipped, number, why, args...)
	z.skipped = append(z.skipped, skippedLine{z.Warnings[len(z.Warnings)-1], line})
	z.revoking = z.revoking || names
	z.foreign = z.foreign || !utf8.ValidString(line) || strings.IndexByte(line, 0) >= 0
}

// halfNamed tells whether a line holds half of a fingerprint by SHA-1 or more, with colons
// or without: so much is left wherever one digit of it was lost or mistyped.
func halfNamed(line string) bool {
	digits, pairs := 0, 0 // in a row, the pairs each behind a colon
	for rest := line; rest != ""; {
		switch {
		case len(rest) > 2 && rest[0] == ':' && hexDigit(rest[1]) && hexDigit(rest[2]):
			digits, pairs, rest = 2, pairs+1, rest[3:]
		case hexDigit(rest[0]):
			digits, pairs, rest = digits+1, 0, rest[1:]
		default:
			digits, pairs, rest = 0, 0, rest[1:]
		}
		if digits == 20 || pairs == 9 {
			return true
		}
	}
	return false
}

// outlandish tells whether a line holds what no line may.
func outlandish(line string) bool {
	return !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// blanks may stand around the parts of a line. CR is one, for files that were
// edited on Windows.
const blanks = " \t\r\n"

// certificateName returns the first word of a rule in our spelling.
func certificateName(word string) (string, bool) {
	if digits, ok := strings.CutPrefix(word, sha256Prefix); ok {
		sum, err := hex.DecodeString(strings.ReplaceAll(digits, ":", ""))
		return sha256Prefix + hex.EncodeToString(sum), err == nil && len(sum) == 32
	}
	if len(word) != 59 {
		return "", false
	}
	for i := 0; i < len(word); i++ {
		if colon := i%3 == 2; colon != (word[i] == ':') || !colon && !hexDigit(word[i]) {
			return "", false
		}
	}
	return strings.ToUpper(word), true
}

func hexDigit(b byte) bool { return '0' <= b && b <= '9' || 'a' <= b|0x20 && b|0x20 <= 'f' }

// ParseToken takes a token of a rule apart.
func ParseToken(text string) Token {
	t, _, _ := parseToken(text)
	return t
}

// parseToken takes a token apart, and says what is doubtful about it.
func parseToken(text string) (t Token, doubt string, kind LineKind) {
	sector, prefix, ok := strings.Cut(text, ":")
	if !ok {
		sector, prefix = defaultSector, text
	}
	t = Token{Sector: sector, Prefix: prefix, All: ok && sector != "" && prefix == everything}
	switch {
	case prefix == "":
		return t, "gives no right: want an action, a class or ALL after the colon", TokenNoRight
	case !IsName(sector) || !IsName(prefix) || strings.HasSuffix(prefix, "."):
		return t, "gives no right: want [sector:]Class or [sector:]Class.action, without patterns", TokenNoRight
	case !ok && prefix == everything:
		return t, "stands for a class ALL of sector main: want main:ALL for all of main", TokenClassALL
	case equalFoldASCII(prefix, everything) && !t.All:
		return t, "stands for a class " + prefix + ": want ALL in upper case for all of the sector", TokenClassALL
	}
	return t, "", 0
}
