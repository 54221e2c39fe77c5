package discovery

import (
	"fmt"
	"slices"
	"strings"
)

// String explains the decision in one sentence. A denial says what was nearest
// to allowing it, and the line that would.
func (d Decision) String() string {
	text, fix := d.parts()
	if fix == "" {
		return text
	}
	text += "; " + fix
	if miss := d.NearMiss(); miss != "" {
		text += " (" + miss + ")"
	}
	return text
}

// Parts returns what String says in two parts: what is so, and what to write into the
// file for it to be allowed. A decision that no line would change has no fix.
func (d Decision) Parts() (text, fix string) {
	text, fix = d.parts()
	if fix != "" {
		if miss := d.NearMiss(); miss != "" {
			text += " (" + miss + ")"
		}
	}
	return text, fix
}

func (d Decision) parts() (text, fix string) {
	name := d.sector + ":" + d.action
	switch {
	case d.Allowed && d.Rule == metaClass:
		return fmt.Sprintf("everybody may %s %s: the class _meta needs no rule", d.verb(), quoted(name)), ""
	case d.Allowed:
		return fmt.Sprintf("%s may %s %s: %s:%d says %s", d.who(), d.verb(), quoted(name), d.file(), d.Line, quoted(d.Rule)), ""
	case d.Reason == reasonColon:
		return fmt.Sprintf("nobody may %s %s: sector and action must be without a colon", d.verb(), quoted(name)), ""
	case !IsName(d.sector) || !IsName(d.action):
		return fmt.Sprintf("no rule lets %s %s %s: want names of A-Z a-z 0-9 _ . -", d.who(), d.verb(), quoted(name)), ""
	}
	return fmt.Sprintf("no rule lets %s %s %s", d.who(), d.verb(), cut(name)), d.advice()
}

// who returns the certificate as people know it.
func (d Decision) who() string {
	switch {
	case d.certificate != nil:
	case d.verb() == "call":
		return "a caller without a certificate"
	default:
		return "an unknown certificate"
	}
	return d.certificate.Fingerprint
}

// verb is what the decision is about.
func (d Decision) verb() string {
	if d.z != nil && d.z.Callers {
		return "call"
	}
	return "offer"
}

func (d Decision) file() string { return d.z.file() }

// file is the file as texts about it name it.
func (z *Authorized) file() string {
	if z == nil || z.File == "" {
		return authorizedName
	}
	return z.File
}

// mostTokensShown bounds the line that an explanation spells out.
const mostTokensShown = 8

// advice returns what to write into the file. A certificate that has a line must
// not get a second one, which would replace the first.
func (d Decision) advice() string {
	switch {
	case d.certificate != nil:
	case d.verb() == "call":
		return "want a caller that shows a certificate, which a rule can name"
	default:
		return "want a certificate that a rule can name"
	}
	return d.z.FixFor(d.certificate, RightFor(d.sector, d.action))
}

// FixFor says what to write into the file for c to have rights that it lacks, each a
// sector, a colon and a class, an action or ALL.
func (z *Authorized) FixFor(c *Certificate, rights ...string) string {
	if line, fix := z.Misnamed(c); fix != "" {
		switch lacks := line.Lacks(rights...); {
		case len(lacks) == 0:
			return fix
		case len(line.Tokens) > mostTokensShown:
			return fmt.Sprintf("%s, and append %q", fix, ", "+strings.Join(lacks, ", "))
		default: // a line of its own would take the rights of this one away, once that is mended
			return fmt.Sprintf("change %s:%d to %q", z.file(), line.Line, line.Certificate+" "+strings.Join(append(slices.Clone(line.Tokens), lacks...), ", "))
		}
	}
	if rule := z.rule(c); rule != nil && len(rule.Tokens) > mostTokensShown {
		return fmt.Sprintf("append %q to %s:%d", ", "+strings.Join(rule.Lacks(rights...), ", "), z.file(), rule.Line)
	}
	text, line := z.LineFor(c, rights...)
	switch {
	case line > 0:
		return fmt.Sprintf("change %s:%d to %q", z.file(), line, text)
	case z == nil:
		return fmt.Sprintf("there is no rules file: set bus.authorized_services, and have the line %q in the file", text)
	case z.trouble != nil:
		return fmt.Sprintf("%v: mend that, and have the line %q in the file", z.trouble, text)
	}
	return fmt.Sprintf("add %q to %s", text, z.file())
}

// RightFor returns the token that allows the class of an action, and so the action;
// the action alone where the token of its class would mean the whole sector.
func RightFor(sector, action string) string {
	if i := strings.LastIndexByte(action, '.'); i > 0 && action[:i] != everything {
		action = action[:i]
	}
	return sector + ":" + action
}

// LineFor returns the line that lets c have rights beside those that it has, each
// a sector, a colon and a class, an action or ALL; and which line of the file it
// must take the place of: 0 means that it is to be added.
func (z *Authorized) LineFor(c *Certificate, rights ...string) (text string, line int) {
	name := c.Fingerprint
	var tokens []string
	rule := z.rule(c)
	switch {
	case rule != nil:
		name, line = rule.Certificate, rule.Line
	case z != nil && z.RequireSHA256:
		// The tokens of the line by SHA-1 hold, once its certificate is named in full.
		name, rule = c.SHA256Text(), z.bySHA1[c.Fingerprint]
	}
	if rule != nil {
		tokens = append(tokens, rule.Tokens...)
	}
	tokens = append(tokens, rule.Lacks(rights...)...)
	return strings.TrimSpace(name + " " + strings.Join(tokens, ", ")), line
}

// Lacks returns those of rights that neither r nor another one of them gives, in their
// order. A nil rule gives nothing.
func (r *Rule) Lacks(rights ...string) []string {
	var lacking []string
	for i, right := range rights {
		t := ParseToken(right)
		given := r != nil && r.Covers(t)
		for k := 0; k < len(rights) && !given; k++ {
			other := ParseToken(rights[k])
			given = k != i && other.Covers(t) && (k < i || !t.Covers(other)) // of equal ones the first
		}
		if !given {
			lacking = append(lacking, right)
		}
	}
	return lacking
}

// Covers reports whether the rule gives all that t would give.
func (r *Rule) Covers(t Token) bool {
	return slices.ContainsFunc(r.parts, func(have Token) bool { return have.Covers(t) })
}

// Covers reports whether t gives all that other would give.
func (t *Token) Covers(other Token) bool {
	return other.All && t.All && equalFoldASCII(other.Sector, t.Sector) || !other.All && t.Matches(other.Sector, other.Prefix)
}
