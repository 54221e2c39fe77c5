package discovery

import (
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
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
	// Callers says that the rules are about who may call, key service.callers.
	// Decisions are the same and say so in their words. Set it before the first
	// Decide.
	Callers bool

	File     string // as decisions name it
	Warnings []LineWarning

	trouble  error         // why there are none: the file could never be used
	rules    []Rule        // in the order of the file, replaced ones left out
	replaced []Rule        // those left out
	skipped  []skippedLine // those that are no rules
	usable   int           // lines that are rules
	revoking bool          // a skipped line names a certificate, or part of one
	foreign  bool          // a skipped line is no text
	bySHA1   map[string]*Rule
	bySHA256 map[[32]byte]*Rule
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
		return nil, refuse(countAuthz, "rules %s: no octet in it: want rules, or a comment alone to allow nothing", quoted(file))
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
	if text[len(text)-1] != '\n' && len(z.rules) > 0 && z.rules[len(z.rules)-1].Line == number {
		z.warn(LineUnended, number, "the last line has no line feed: want one, or nobody can tell whether the line was cut off")
	}
	z.index()
	return z, nil
}

// Damage says why the rules are none, nil when they may be. A file with lines, and not one
// rule among them, is damaged if no line names a certificate, or one is no text: it is then
// more likely of another kind, or was spoiled on its way, than meant to take every right
// away. A skipped line that holds a fingerprint, or half of one, was a rule once, so it does
// take it away (PROTOCOL 9.1), and so do comments alone, or a fingerprint without a token.
//
// That an AuthorizedReader takes a damaged file as one that cannot be read is our reading of
// PROTOCOL 9.2, which does not speak of such files.
func (z *Authorized) Damage() error {
	if z == nil || z.usable > 0 || len(z.skipped) == 0 || z.revoking && !z.foreign {
		return nil
	}
	first := z.skipped[0]
	return refuse(countAuthz, "rules %s: not one rule in it, and line %d is the first that is none (%s): want a rule in UTF-8, or nothing but comments to allow nothing",
		quoted(z.File), first.Line, first.Text)
}

// index builds the tables. The last line of a certificate replaces its earlier
// ones: they are not merged (PROTOCOL 9.1).
func (z *Authorized) index() {
	last := make(map[string]int, len(z.rules))
	for i, rule := range z.rules {
		if earlier, twice := last[rule.Certificate]; twice {
			z.warn(LineReplaces, rule.Line, "replaces line %d, which names the same certificate: want one line", z.rules[earlier].Line)
		}
		last[rule.Certificate] = i
	}
	kept := make([]Rule, 0, len(last))
	for i, rule := range z.rules {
		if last[rule.Certificate] == i {
			kept = append(kept, rule)
		} else {
			z.replaced = append(z.replaced, rule)
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

func (z *Authorized) warn(kind LineKind, line int, format string, args ...any) {
	z.Warnings = append(z.Warnings, LineWarning{File: z.File, Line: line, Kind: kind, Text: fmt.Sprintf(format, args...)})
}

// Rules returns the lines that count, in the order of the file. The slice is
// shared and must not be changed.
func (z *Authorized) Rules() []Rule {
	if z == nil {
		return nil
	}
	return z.rules
}

// Replaced returns the lines that a later one of the same certificate replaces,
// in the order of the file. They give no right. The slice is shared and must not
// be changed.
func (z *Authorized) Replaced() []Rule {
	if z == nil {
		return nil
	}
	return z.replaced
}

// RuleFor returns the line that decides for c, and whether there is one. A line
// by SHA-256 decides alone: that by SHA-1 beside it is there for older readers
// (PROTOCOL 18).
func (z *Authorized) RuleFor(c *Certificate) (Rule, bool) {
	if rule := z.rule(c); rule != nil {
		return *rule, true
	}
	return Rule{}, false
}

// Named reports whether a rule names the certificate. Such certificates are
// verified and stored first (PROTOCOL 8.2).
func (z *Authorized) Named(c *Certificate) bool { return z.rule(c) != nil }

// names is Named for a certificate of which nothing but its octets is known.
func (z *Authorized) names(id identity) bool { return z.lineOf(id) != nil }

// rule is RuleFor without a copy; nil for none.
func (z *Authorized) rule(c *Certificate) *Rule {
	if c == nil {
		return nil
	}
	return z.lineOf(identity{c.SHA256, c.Fingerprint})
}

// lineOf returns the line that decides for an identity, or nil. A sha256 line
// decides alone: the SHA-1 line beside it is there for older readers (PROTOCOL 18).
func (z *Authorized) lineOf(id identity) *Rule {
	if z == nil {
		return nil
	}
	if rule := z.bySHA256[id.sha256]; rule != nil {
		return rule
	}
	if z.RequireSHA256 {
		return nil
	}
	return z.bySHA1[id.fingerprint]
}
