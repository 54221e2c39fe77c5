package discovery

import (
	"fmt"
	"slices"
	"strings"
)

// String explains the decision in one sentence. A denial says what was nearest
// to allowing it, and the line that would.
func (d Decision) String() string {
	name := d.sector + ":" + d.action
	switch {
	case d.Allowed && d.Rule == metaClass:
		return fmt.Sprintf("everybody may offer %s: the class _meta needs no rule", quoted(name))
	case d.Allowed:
		return fmt.Sprintf("%s may offer %s: %s:%d says %s", d.who(), quoted(name), d.file(), d.Line, quoted(d.Rule))
	case d.Reason == reasonColon:
		return fmt.Sprintf("nobody may offer %s: sector and action must be without a colon", quoted(name))
	case !indexable(d.sector, 255) || !indexable(d.action, 255):
		return fmt.Sprintf("no rule lets %s offer %s: want names of A-Z a-z 0-9 _ . -", d.who(), quoted(name))
	}
	text := fmt.Sprintf("no rule lets %s offer %s; %s", d.who(), name, d.advice())
	if miss := d.NearMiss(); miss != "" {
		text += " (" + miss + ")"
	}
	return text
}

// who returns the certificate as people know it.
func (d Decision) who() string {
	if d.certificate == nil {
		return "an unknown certificate"
	}
	return d.certificate.Fingerprint
}

func (d Decision) file() string {
	if d.File == "" {
		return authorizedName
	}
	return d.File
}

// advice returns what to write into the file. A certificate that has a line must
// not get a second one, which would replace the first.
func (d Decision) advice() string {
	if d.certificate == nil {
		return "want a certificate that a rule can name"
	}
	class := d.action
	if i := strings.LastIndexByte(class, '.'); i > 0 {
		class = class[:i]
	}
	right := d.sector + ":" + class
	switch rule := d.z.rule(d.certificate); {
	case rule == nil && d.Reason == reasonSHA1:
		// The tokens of the line by SHA-1 hold, once its certificate is named in full.
		tokens := d.z.bySHA1[d.certificate.Fingerprint].with(right, d.sector, d.action)
		return fmt.Sprintf("add %q to %s", d.certificate.SHA256Text()+" "+tokens, d.file())
	case rule == nil && d.z != nil && d.z.RequireSHA256:
		return fmt.Sprintf("add %q to %s", d.certificate.SHA256Text()+" "+right, d.file())
	case rule == nil:
		return fmt.Sprintf("add %q to %s", d.certificate.Fingerprint+" "+right, d.file())
	case len(rule.Tokens) > mostTokensShown:
		return fmt.Sprintf("append %q to %s:%d", ", "+right, d.file(), rule.Line)
	default:
		return fmt.Sprintf("change %s:%d to %q", d.file(), rule.Line, rule.Certificate+" "+rule.with(right, d.sector, d.action))
	}
}

// mostTokensShown bounds the line that an explanation spells out.
const mostTokensShown = 8

// with returns the tokens of a rule, and right if they lack it.
func (r *Rule) with(right, sector, action string) string {
	tokens := strings.Join(r.Tokens, ", ")
	switch {
	case slices.ContainsFunc(r.parts, func(t token) bool { return t.matches(sector, action) }):
		return tokens
	case tokens == "":
		return right
	}
	return tokens + ", " + right
}

// NearMiss returns what in the file comes closest to allowing a denied action,
// or "" when nothing does: a token that differs a little, a fingerprint that
// differs a little, or the certificate that may offer the action instead.
func (d Decision) NearMiss() string {
	if d.Allowed || d.z == nil || d.certificate == nil {
		return ""
	}
	if d.Reason == reasonSHA1 {
		return fmt.Sprintf("line %d names its SHA-1, which bus.require_sha256 ignores", d.z.bySHA1[d.certificate.Fingerprint].Line)
	}
	if rule := d.z.rule(d.certificate); rule != nil {
		for i := range rule.parts {
			if why := d.nearToken(&rule.parts[i]); why != "" {
				return fmt.Sprintf("line %d says %s: %s", rule.Line, quoted(rule.Tokens[i]), why)
			}
		}
	}
	// A typing mistake in the fingerprint comes before another certificate.
	for i := range d.z.rules {
		rule := &d.z.rules[i]
		if n := differences(rule.Certificate, d.certificate.Fingerprint); 0 < n && n <= 3 {
			return fmt.Sprintf("line %d names %s, which differs in %d characters", rule.Line, rule.Certificate, n)
		}
	}
	for i := range d.z.rules {
		rule := &d.z.rules[i]
		if d.z.RequireSHA256 && !strings.HasPrefix(rule.Certificate, sha256Prefix) {
			continue
		}
		for j := range rule.parts {
			if rule.parts[j].matches(d.sector, d.action) {
				return fmt.Sprintf("line %d lets %s offer it by %s", rule.Line, rule.Certificate, quoted(rule.Tokens[j]))
			}
		}
	}
	return ""
}

// nearToken says in what little a token misses the action, or "".
func (d Decision) nearToken(t *token) string {
	if !equalFoldASCII(t.sector, d.sector) {
		if t.matches(t.sector, d.action) {
			return "sector " + quoted(t.sector) + ", not " + quoted(d.sector)
		}
		return ""
	}
	action, prefix := lowerASCII(d.action), lowerASCII(t.prefix)
	switch {
	case prefix == "":
		return ""
	case prefix == lowerASCII(everything):
		return "all of the sector is " + quoted(d.sector+":"+everything)
	case strings.HasPrefix(action, prefix):
		return "a token covers whole parts of a name"
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

// differences counts the places in which two texts of one length differ; others
// differ in all.
func differences(a, b string) int {
	n := 0
	if len(a) != len(b) {
		return max(len(a), len(b))
	}
	for i := range len(a) {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}
