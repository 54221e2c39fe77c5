package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/scampbus/scamp-go/discovery"
)

// judgeRules tells what is odd about each rule, seen beside the certificates and what
// is announced.
func (j *judge) judgeRules() {
	if j.rules == nil {
		return
	}
	holders := make(map[string]*holder)
	for _, h := range j.order {
		holders[h.cert.Fingerprint], holders[h.cert.SHA256Text()] = h, h
	}
	rules := j.rules.Rules()
	misnamed := j.misnamed(j.rules)
	strangers := 0 // rules by SHA-256 of certificates that were not seen
	for i := range rules {
		if bySHA256(&rules[i]) && holders[rules[i].Certificate] == nil {
			strangers++
		}
	}
	for i := range rules {
		rule, h := &rules[i], holders[rules[i].Certificate]
		at := Place{File: j.rules.File, Line: rule.Line}
		j.shape(rule, h, at)
		j.short(rule, h, strangers, at)
		j.use(rule, h, misnamed, at)
	}
}

func bySHA256(rule *discovery.Rule) bool { return strings.HasPrefix(rule.Certificate, "sha256:") }

// shape judges the tokens of a rule.
func (j *judge) shape(rule *discovery.Rule, h *holder, at Place) {
	if len(rule.Tokens) == 0 {
		j.add("rule-empty", at, "the rule of %s allows nothing", who(rule, h)).Fingerprint = fingerprint(h)
	}
	for i, text := range rule.Tokens {
		t := rule.Token(i)
		switch {
		case t.All && j.policy():
			f := j.add("rule-too-broad", at, "%s allows %s every action of sector %s", quote(text), who(rule, h), quote(t.Sector))
			f.Fingerprint = fingerprint(h)
			if classes := h.classes(t.Sector); len(classes) > 0 {
				f.Fix = "instead of " + quote(text) + ", name what the service offers: " + strings.Join(classes, ", ")
			}
		case alias(t.Prefix) && (h == nil || !used(h.live(), t)):
			j.add("token-alias", at, "%s names an alias: rules judge the real name of the action", quote(text)).Fingerprint = fingerprint(h)
		}
	}
}

// policy reports whether rules are judged that work, and should be others. Who asks
// whether a configuration is in order does not want to hear of it.
func (j *judge) policy() bool { return j.Settings == nil }

// alias reports whether a name ends with one of the names that flags give an action.
func alias(name string) bool {
	base := strings.ToLower(name[strings.LastIndexByte(name, '.')+1:])
	return base == "_create" || base == "_read" || base == "_update" || base == "_destroy"
}

// who returns the certificate of a rule as people know it.
func who(rule *discovery.Rule, h *holder) string {
	if h != nil {
		return h.name()
	}
	return rule.Certificate
}

func fingerprint(h *holder) string {
	if h == nil {
		return ""
	}
	return h.cert.Fingerprint
}

// classes returns what h offers in a sector, as tokens of a rule.
func (h *holder) classes(sector string) []string {
	if h == nil {
		return nil
	}
	var tokens []string
	for _, a := range h.live() {
		for i := range a.Announcement.Actions {
			if act := &a.Announcement.Actions[i]; strings.EqualFold(act.Sector, sector) && act.Class != "_meta" && !a.Announcement.BuiltIn(act) {
				tokens = append(tokens, discovery.RightFor(act.Sector, act.FullName()))
			}
		}
	}
	slices.Sort(tokens)
	return slices.Compact(tokens)
}

// short judges rules that name a certificate by its SHA-1.
func (j *judge) short(rule *discovery.Rule, h *holder, strangers int, at Place) {
	if bySHA256(rule) {
		return
	}
	long := false // there is a line by SHA-256 as well
	if h != nil {
		decides, _ := j.rules.RuleFor(h.cert)
		long = bySHA256(&decides)
	} else {
		long = strangers > 0 // it may be one of those
	}
	switch {
	case long:
		return
	case j.Config.RequireSHA256:
		f := j.add("rule-ignored", at, "the rule names %s by SHA-1, which bus.require_sha256 ignores", who(rule, h))
		f.Fingerprint = fingerprint(h)
		if h != nil {
			f.Fix = fmt.Sprintf("add the line %q", j.longLine(rule, h))
		}
	case j.policy():
		f := j.add("rule-sha1-only", at, "the rule names %s by SHA-1 alone", who(rule, h))
		f.Fingerprint = fingerprint(h)
		if h != nil {
			f.Fix = fmt.Sprintf("add below it the line %q", j.longLine(rule, h))
		}
	}
}

// longLine returns the line by SHA-256 that says what a rule by SHA-1 says, without what
// is too broad in it where it is known what the service offers.
func (j *judge) longLine(rule *discovery.Rule, h *holder) string {
	var tokens []string
	for i, text := range rule.Tokens {
		t := rule.Token(i)
		if classes := h.classes(t.Sector); t.All && j.policy() && len(classes) > 0 {
			tokens = append(tokens, classes...)
			continue
		}
		tokens = append(tokens, text)
	}
	return h.cert.SHA256Text() + " " + strings.Join(tokens, ", ")
}

// use tells of rules and tokens that nobody uses. It needs to know what is announced.
func (j *judge) use(rule *discovery.Rule, h *holder, misnamed map[int]misnaming, at Place) {
	if j.Bus == nil {
		return
	}
	if h == nil {
		if meant, ok := misnamed[rule.Line]; ok {
			f := j.add("fingerprint-near-miss", at, "%s is the fingerprint of nobody, and differs a little from that of %s, which no rule names", rule.Certificate, meant.of.name())
			f.Fingerprint, f.Fix = meant.of.cert.Fingerprint, meant.fix
			return
		}
		j.add("rule-unused", at, "no announcement and no certificate here belongs to %s", rule.Certificate)
		return
	}
	decides, _ := j.rules.RuleFor(h.cert)
	live := h.live()
	if decides.Line != rule.Line || len(live) == 0 {
		return // another line decides, or it is down
	}
	for i, text := range rule.Tokens {
		t := rule.Token(i)
		if used(live, t) || t.Prefix == "" || alias(t.Prefix) {
			continue
		}
		if act, why := j.nearAction(live, h.cert, t); act != nil {
			f := j.add("token-near-miss", at, "%s does not allow %s the action %s:%s, which it offers: %s", quote(text), h.name(), act.Sector, act.FullName(), why)
			f.Fingerprint, f.Fix = h.cert.Fingerprint, "write "+discovery.RightFor(act.Sector, act.FullName())+" or "+act.Sector+":"+act.FullName()
			continue
		}
		if discovery.IsName(t.Sector) && discovery.IsName(t.Prefix) { // else it is told of as no right
			j.add("token-unused", at, "%s matches nothing that %s announces", quote(text), h.name()).Fingerprint = h.cert.Fingerprint
		}
	}
}

func used(live []Announced, t discovery.Token) bool {
	for _, a := range live {
		for i := range a.Announcement.Actions {
			if act := &a.Announcement.Actions[i]; t.Matches(act.Sector, act.FullName()) {
				return true
			}
		}
	}
	return false
}

// nearAction returns an action that is announced and not allowed, and that the token
// misses by a little.
func (j *judge) nearAction(live []Announced, c *discovery.Certificate, t discovery.Token) (*discovery.Action, string) {
	for _, a := range live {
		for i := range a.Announcement.Actions {
			act := &a.Announcement.Actions[i]
			if why := t.Misses(act.Sector, act.FullName()); why != "" && !a.Announcement.BuiltIn(act) && !j.rules.Decide(c, act.Sector, act.FullName()).Allowed {
				return act, why
			}
		}
	}
	return nil, ""
}

// compareHolders puts certificates in order.
func compareHolders(a, b *holder) int { return cmp.Compare(a.cert.SHA256Text(), b.cert.SHA256Text()) }
