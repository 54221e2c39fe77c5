package conform

import (
	"path"
	"slices"
	"strings"
)

// Cases returns the cases that judge services, in the order of the card. The slice is the
// caller's.
func Cases() []Case {
	return withSources(slices.Concat(tlsCases(), lineCases(), headerCases(), memberCases(), numberCases(), dataCases(),
		windowCases(), ackCases(), endCases(), pingCases(), correlationCases(), extensionCases(), errorCases(), limitCases(),
		idleCases(), hostileCases()))
}

// Select returns the cases of the named sections whose id matches one of the patterns:
// an id ("4.4-a"), a paragraph ("4.4", which includes "4.4-a"), or either with '*' and
// '?'. No sections means all of them, as do no patterns.
func Select(cases []Case, sections []Section, patterns []string) []Case {
	return slices.DeleteFunc(slices.Clone(cases), func(c Case) bool {
		return len(sections) > 0 && !slices.Contains(sections, c.Section) ||
			len(patterns) > 0 && !slices.ContainsFunc(patterns, c.matches)
	})
}

func (c Case) matches(pattern string) bool {
	for _, name := range []string{c.ID, c.Paragraph} {
		if ok, _ := path.Match(strings.TrimSpace(pattern), name); ok {
			return true
		}
	}
	return false
}

// Texts that many cases share.
const (
	wantClosed  = "the connection closes, and nothing is answered"
	wantEcho    = "the body comes back, and the connection stays usable"
	wantIgnored = "nothing comes, and the connection stays usable"
	wantNone    = "no exception in the whole run"
)

// fatal completes a case whose octets must end the connection (PROTOCOL 2.4).
func fatal(c Case) Case {
	c.Level = Must
	c.Want = wantClosed
	return c
}

// accepted completes a case whose request must be answered.
func accepted(c Case) Case {
	if c.Level == 0 {
		c.Level = Must
	}
	c.Want = wantEcho
	return c
}

// never makes a case of a rule for all that the service writes.
func never(c Case, r rule) Case {
	c.Last, c.Want = true, wantNone
	c.Run = func(p *Probe) Result {
		// When it is the only case of the run, it has something to look at: a body
		// that is acknowledged, an echo, a refusal.
		a, b := p.Request(), p.Request().With("action", `"Conform.noSuchAction"`)
		p.Send(a.Head() + a.Data(text(40000)))
		p.awaitFor(p.run.Quiet, func() bool { return p.lastAck(a.No) == 40000 })
		p.Send(a.EOF() + b.All(text(100)))
		p.Expect(a)
		p.Expect(b)
		if slices.Contains(lateRules, r) {
			p.Quiet()
		}
		return p.run.watch.verdict(p, r)
	}
	return c
}

// lateRules are broken by packets that nobody waits for.
var lateRules = []rule{ruleOpen, ruleKinds, ruleOneReply, ruleUnaskedPing}
