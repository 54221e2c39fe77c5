package discovery

import "strings"

// A Decision says whether a certificate may offer an action, or call it, and which
// line of the file says so. String explains it.
type Decision struct {
	Allowed bool
	File    string
	Line    int    // of the rule of that certificate; 0 when it has none
	Rule    string // allowed: the token that matches
	Reason  string // denied: why, in a few words

	z              *Authorized
	certificate    *Certificate
	sector, action string
}

// Reasons for a denial.
const (
	reasonColon   = "a name with a colon"
	reasonNoRule  = "no rule for the certificate"
	reasonSHA1    = "only a rule by SHA-1, and bus.require_sha256 is on"
	reasonNoMatch = "no token of the rule matches"
)

// Decide reports whether the certificate c may offer the action in the sector
// (PROTOCOL 9.2), or call it where the rules are those of callers. The action is the announced name, never an alias. Decide costs
// one lookup and a comparison for each token, and allocates nothing.
func (z *Authorized) Decide(c *Certificate, sector, action string) Decision {
	d := Decision{z: z, certificate: c, sector: sector, action: action}
	if z != nil {
		d.File = z.File
	}
	if strings.HasPrefix(action, metaClass) {
		d.Allowed, d.Rule = true, metaClass
		return d
	}
	if strings.Contains(sector, ":") || strings.Contains(action, ":") {
		d.Reason = reasonColon
		return d
	}
	rule := z.rule(c)
	if rule == nil {
		d.Reason = reasonNoRule
		if z != nil && c != nil && z.bySHA1[c.Fingerprint] != nil {
			d.Reason = reasonSHA1
		}
		return d
	}
	d.Line = rule.Line
	if i := rule.Match(sector, action); i >= 0 {
		d.Allowed, d.Rule = true, rule.Tokens[i]
		return d
	}
	d.Reason = reasonNoMatch
	return d
}
