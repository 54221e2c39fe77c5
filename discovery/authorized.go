package discovery

import (
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	authorizedName = "authorized_services" // the file, when the caller does not say
	sha256Prefix   = "sha256:"
	metaClass      = "_meta." // whoever signs may offer this (PROTOCOL 9.2)
	everything     = "ALL"    // sector:ALL
)

// An Authorized is the content of one authorized_services file: which
// certificate may offer which actions (PROTOCOL 9). It is read as a whole and
// never changes, so it is safe for concurrent use. A nil Authorized is that of
// a bus without rules: it allows nothing but _meta.
type Authorized struct {
	// RequireSHA256 ignores the rules that name a certificate by SHA-1, key
	// bus.require_sha256. Set it before the first Decide.
	RequireSHA256 bool

	File     string // as decisions name it
	Warnings []LineWarning

	rules    []Rule // in the order of the file, replaced ones left out
	bySHA1   map[string]*Rule
	bySHA256 map[[32]byte]*Rule
}

// A LineWarning tells of a line, or a part of one, that gives no right or gives
// it in an unusual way.
type LineWarning struct {
	File string
	Line int // counted from 1
	Text string
}

// String returns "file:line: text".
func (w LineWarning) String() string { return fmt.Sprintf("%s:%d: %s", w.File, w.Line, w.Text) }

// A Rule is one line of the file.
type Rule struct {
	Line        int      // counted from 1
	Certificate string   // "AA:BB:..." or "sha256:" and 64 hex digits, in our spelling
	Tokens      []string // as they stand in the file
	parts       []token  // the same, taken apart
}

// A token is a right: all actions of a sector, or those below a prefix.
type token struct {
	sector, prefix string
	all            bool
}

// ParseAuthorized reads a rule file with the default limits.
func ParseAuthorized(r io.Reader) (*Authorized, error) {
	return Limits{}.ParseAuthorized(r, authorizedName)
}

// ParseAuthorized reads a rule file. A line that is not a rule is skipped and
// reported in Warnings; it never gives a right. The whole file is refused when
// it cannot be read, has no octet or passes a limit: half a file could be one
// without its revocations, so the caller keeps the last good one (PROTOCOL 9.2).
func (l Limits) ParseAuthorized(r io.Reader, file string) (*Authorized, error) {
	l = l.WithDefaults()
	text, err := io.ReadAll(io.LimitReader(r, int64(l.MaxAuthzFile)+1))
	switch {
	case err != nil:
		return nil, &Error{Counter: countAuthz, Text: "rules " + quoted(file), Err: err}
	case len(text) == 0:
		return nil, refuse(countAuthz, "rules %s: no octet in it: want at least a comment", quoted(file))
	case len(text) > l.MaxAuthzFile:
		return nil, refuse(countAuthz, "rules %s: want at most %d octets", quoted(file), l.MaxAuthzFile)
	}
	z := &Authorized{File: file, bySHA1: map[string]*Rule{}, bySHA256: map[[32]byte]*Rule{}}
	number := 0
	for line := range strings.Lines(string(text)) {
		if number++; number > l.MaxAuthzLines {
			return nil, refuse(countAuthz, "rules %s: want at most %d lines", quoted(file), l.MaxAuthzLines)
		}
		rule, ok := z.parseLine(number, line)
		if len(rule.Tokens) > l.MaxAuthzTokens {
			return nil, refuse(countAuthz, "rules %s: line %d of %d tokens: want at most %d", quoted(file), number, len(rule.Tokens), l.MaxAuthzTokens)
		}
		if ok {
			z.rules = append(z.rules, rule)
		}
	}
	z.index()
	return z, nil
}

// parseLine reads one line, and returns false when it holds no rule.
func (z *Authorized) parseLine(number int, line string) (Rule, bool) {
	line, _, _ = strings.Cut(line, "#")
	line = strings.Trim(line, blanks)
	if line == "" {
		return Rule{}, false
	}
	if !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		z.warn(number, "line skipped: want text in UTF-8 without control characters")
		return Rule{}, false
	}
	first, rest := line, ""
	if i := strings.IndexAny(line, blanks); i >= 0 {
		first, rest = line[:i], line[i:]
	}
	rule := Rule{Line: number}
	var ok bool
	if rule.Certificate, ok = certificateName(first); !ok {
		z.warn(number, "line skipped: %s: want a fingerprint of 20 hex pairs with colons, or sha256: and 64 hex digits", quoted(first))
		return Rule{}, false
	}
	if !strings.HasPrefix(rule.Certificate, sha256Prefix) && rule.Certificate != first {
		z.warn(number, "fingerprint in lower case: want upper case, other implementations ignore the line")
	}
	for text := range strings.SplitSeq(rest, ",") {
		if text = strings.Trim(text, blanks); text == "" {
			continue
		}
		t, doubt := parseToken(text)
		if doubt != "" {
			z.warn(number, "token %s: %s", quoted(text), doubt)
		}
		rule.Tokens = append(rule.Tokens, text)
		rule.parts = append(rule.parts, t)
	}
	return rule, true
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

// parseToken takes a token apart, and says what is doubtful about it.
func parseToken(text string) (t token, doubt string) {
	sector, prefix, ok := strings.Cut(text, ":")
	if !ok {
		sector, prefix = defaultSector, text
	}
	t = token{sector: sector, prefix: prefix, all: ok && sector != "" && prefix == everything}
	switch {
	case prefix == "":
		doubt = "gives no right: want an action, a class or ALL after the colon"
	case !indexable(sector, 255) || !indexable(prefix, 255) || strings.HasSuffix(prefix, "."):
		doubt = "gives no right: want [sector:]Class or [sector:]Class.action, without patterns"
	case !ok && prefix == everything:
		doubt = "stands for a class ALL of sector main: want main:ALL for all of main"
	case ok && equalFoldASCII(prefix, everything) && !t.all:
		doubt = "stands for a class " + prefix + ": want ALL in upper case for all of the sector"
	}
	return t, doubt
}

// index builds the tables. The last line of a certificate replaces its earlier
// ones: they are not merged (PROTOCOL 9.1).
func (z *Authorized) index() {
	last := make(map[string]int, len(z.rules))
	for i, rule := range z.rules {
		if earlier, twice := last[rule.Certificate]; twice {
			z.warn(rule.Line, "replaces line %d, which names the same certificate: want one line", z.rules[earlier].Line)
		}
		last[rule.Certificate] = i
	}
	kept := make([]Rule, 0, len(last))
	for i, rule := range z.rules {
		if last[rule.Certificate] == i {
			kept = append(kept, rule)
		}
	}
	z.rules = kept
	for i := range kept {
		name := kept[i].Certificate
		if digits, ok := strings.CutPrefix(name, sha256Prefix); ok {
			var sum [32]byte
			hex.Decode(sum[:], []byte(digits))
			z.bySHA256[sum] = &kept[i]
		} else {
			z.bySHA1[name] = &kept[i]
		}
	}
	slices.SortStableFunc(z.Warnings, func(a, b LineWarning) int { return a.Line - b.Line })
}

func (z *Authorized) warn(line int, format string, args ...any) {
	z.Warnings = append(z.Warnings, LineWarning{File: z.File, Line: line, Text: fmt.Sprintf(format, args...)})
}

// Rules returns the lines that count, in the order of the file. The slice is
// shared and must not be changed.
func (z *Authorized) Rules() []Rule {
	if z == nil {
		return nil
	}
	return z.rules
}

// Named reports whether a rule names the certificate. Such certificates are
// verified and stored first (PROTOCOL 8.2).
func (z *Authorized) Named(c *Certificate) bool { return z.rule(c) != nil }

// rule returns the line that decides for c, or nil. A sha256 line decides alone:
// the SHA-1 line beside it is there for older readers (PROTOCOL 18).
func (z *Authorized) rule(c *Certificate) *Rule {
	if z == nil || c == nil {
		return nil
	}
	if rule := z.bySHA256[c.SHA256]; rule != nil {
		return rule
	}
	if z.RequireSHA256 {
		return nil
	}
	return z.bySHA1[c.Fingerprint]
}
