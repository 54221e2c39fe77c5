package discovery

import (
	"fmt"
	"strings"
)

// NearMiss returns what in the file comes closest to allowing a denied action,
// or "" when nothing does: a token that differs a little, a line that was replaced,
// a fingerprint that differs a little, a line that is no rule, or the certificate
// that may offer the action instead.
func (d Decision) NearMiss() string {
	if d.Allowed || d.certificate == nil {
		return ""
	}
	if strings.HasPrefix(lowerASCII(d.action), metaClass) {
		return "everybody may " + d.verb() + " " + metaClass + "*, spelled exactly so"
	}
	if d.z == nil {
		return ""
	}
	if d.Reason == reasonSHA1 {
		return fmt.Sprintf("line %d names its SHA-1, which bus.require_sha256 ignores", d.z.bySHA1[d.certificate.Fingerprint].Line)
	}
	for _, look := range []func() string{d.nearToken, d.overruled, d.skipped, d.mistyped, d.unread, d.otherCertificate} {
		if why := look(); why != "" {
			return why
		}
	}
	return ""
}

// nearToken looks for a token of the certificate's own line.
func (d Decision) nearToken() string {
	rule := d.z.rule(d.certificate)
	if rule == nil {
		return ""
	}
	for i := range rule.parts {
		if why := rule.parts[i].Misses(d.sector, d.action); why != "" {
			return fmt.Sprintf("line %d says %s: %s", rule.Line, quoted(rule.Tokens[i]), why)
		}
	}
	return ""
}

// overruled looks for a line of the certificate that another one takes the place of.
func (d Decision) overruled() string {
	rule := d.z.rule(d.certificate)
	if rule == nil {
		return ""
	}
	names := [...]string{d.certificate.SHA256Text(), d.certificate.Fingerprint}
	for i := len(d.z.replaced) - 1; i >= 0; i-- {
		earlier := &d.z.replaced[i]
		counts := earlier.Certificate == names[0] || earlier.Certificate == names[1] && !d.z.RequireSHA256
		if counts && earlier.Match(d.sector, d.action) >= 0 {
			return fmt.Sprintf("line %d allows it, but a later line of the same certificate replaces it, and line %d decides", earlier.Line, rule.Line)
		}
	}
	if short := d.z.bySHA1[d.certificate.Fingerprint]; short != nil && short != rule && short.Match(d.sector, d.action) >= 0 {
		return fmt.Sprintf("line %d allows it by SHA-1, but line %d names the whole certificate and decides alone", short.Line, rule.Line)
	}
	return ""
}

// skipped looks for a line that was to name the certificate, and is no rule.
func (d Decision) skipped() string {
	names := namesOf(d.certificate)
	for _, line := range d.z.skipped {
		if line.meant(names) != "" {
			return line.String()
		}
	}
	return ""
}

// unread looks for any line that is no rule: whom it was to name nobody knows.
func (d Decision) unread() string {
	if len(d.z.skipped) == 0 {
		return ""
	}
	text := d.z.skipped[0].String()
	if more := len(d.z.skipped) - 1; more > 0 {
		text += fmt.Sprintf("; and %d more such lines", more)
	}
	return text
}

// mistyped looks for a fingerprint that differs a little. That comes before another
// certificate.
func (d Decision) mistyped() string {
	names := namesOf(d.certificate)
	for i := range d.z.rules {
		rule := &d.z.rules[i]
		if name := rule.meant(names); name != "" {
			return fmt.Sprintf("line %d names %s, which differs in %d characters", rule.Line, rule.Certificate, differences(rule.Certificate, name))
		}
	}
	return ""
}

// otherCertificate looks for one that has a right to the action.
func (d Decision) otherCertificate() string {
	for i := range d.z.rules {
		rule := &d.z.rules[i]
		if d.z.RequireSHA256 && !strings.HasPrefix(rule.Certificate, sha256Prefix) {
			continue
		}
		if j := rule.Match(d.sector, d.action); j >= 0 && !rule.parts[j].All { // all of a sector says nothing about this action
			return fmt.Sprintf("line %d lets %s %s it by %s", rule.Line, rule.Certificate, d.verb(), quoted(rule.Tokens[j]))
		}
	}
	return ""
}

// Misses says in what little t misses an action that it does not match, or "" when
// it is about something else.
func (t *Token) Misses(sector, action string) string {
	if !equalFoldASCII(t.Sector, sector) {
		// A token for all of a sector is about this one only if it is nearly its name.
		if t.Matches(t.Sector, action) && (!t.All || Distance(lowerASCII(t.Sector), lowerASCII(sector), 2) <= 2) {
			return "sector " + quoted(t.Sector) + ", not " + quoted(sector)
		}
		return ""
	}
	action = lowerASCII(action)
	prefix := lowerASCII(t.Prefix)
	switch {
	case prefix == "":
		return ""
	case prefix == lowerASCII(everything):
		return "all of the sector is " + quoted(sector+":"+everything)
	case !IsName(prefix):
		literal := strings.TrimRight(prefix[:nameLength(prefix)], ".")
		if literal != "" && strings.HasPrefix(action, literal) {
			return "a token is a name and nothing else: no pattern, and a comma before the next one"
		}
		return ""
	case strings.HasPrefix(action, strings.TrimRight(prefix, ".")):
		return "a token covers whole parts of a name, and ends without a dot"
	case strings.HasPrefix(prefix, action+"."):
		return "longer than the action"
	}
	// Compare with as many parts of the name as the token has.
	parts := strings.SplitAfter(action, ".")
	head := strings.Join(parts[:min(len(parts), strings.Count(prefix, ".")+1)], "")
	if len(prefix) > 3 && Distance(prefix, strings.TrimSuffix(head, "."), 2) <= 2 {
		return "spelled a little otherwise"
	}
	return ""
}

// nameLength returns how many octets of s at its beginning a name may have.
func nameLength(s string) int {
	for i := range len(s) {
		if lowerName[s[i]] == 0 {
			return i
		}
	}
	return len(s)
}
