package conform

import (
	"strings"
)

// errorCases judge PROTOCOL 5.2 to 5.5: how a service says no.
func errorCases() []Case {
	const refusal = "an error reply, and the connection stays usable"
	var cases []Case
	for _, e := range []struct {
		id, item, title string
		level           Level
		change          func(*Request) *Request
		codes           []string
		why             string
		peers           Peers
	}{
		{"5.2-a", "", "an action that is not offered is an error", Must, with("action", `"Conform.noSuchAction"`), nil,
			"A caller that gets a reply which says yes acts on it.", measured(Pass, Fail, Pass)},
		{"5.2-b", "", "an action that is missing is an error", Must, without("action"), nil, "As an action that is not offered.", measured(Pass, Fail, Pass)},
		{"5.3-a", "", "the code for an action that is not offered is no_action", Should, with("action", `"Conform.noSuchAction"`), []string{"no_action"},
			"Programs decide by codes, not by texts.", measured(NonStrict, NonStrict, NonStrict)},
		{"5.3-b", "", "a version that is not offered is an error", Must, with("version", "987"), nil,
			"Two versions of an action are unrelated.", measured(Pass, Fail, Fail)},
		{"5.3-c", "", "an envelope that is not offered is an error", Should, with("envelope", `"conform"`), nil,
			"The handler would get a body it cannot read.", measured(NonStrict, NonStrict, NonStrict)},
		{"3.5-g", "29", "an action of a wrong type is an error of that request alone", Must, with("action", "17"), []string{"bad_request", "no_action"},
			whyMember, Peers{}},
		{"3.5-h", "29", "a version of a wrong type is an error of that request alone", Must, with("version", "[1]"), nil, whyMember, Peers{}},
		{"3.5-i", "29", "a client_id that is no number is an error of that request alone", Must, with("client_id", `"abc"`), nil, whyMember, measured(Fail, Fail, Fail)},
		{"3.5-j", "29", "a client_id with a fraction is an error of that request alone", Must, with("client_id", "1.5"), nil, whyMember, measured(Fail, Fail, Fail)},
		{"3.5-k", "29", "a ticket of a wrong type is an error of that request alone", Must, with("ticket", "17"), nil, whyMember, measured(Fail, Fail, Fail)},
		{"3.5-l", "29", "the code for a member of a wrong type is bad_request", Should, with("action", "17"), []string{"bad_request"}, "Programs decide by codes, not by texts.", Peers{}},
	} {
		cases = append(cases, Case{
			ID: e.id, Item: e.item, Level: e.level, Title: e.title, Why: e.why, Peers: e.peers, Want: refusal,
			Run: func(p *Probe) Result {
				r := e.change(p.Request())
				p.Send(r.All(text(7)))
				return p.refused(r, e.codes...)
			},
		})
	}
	cases = append(cases, []Case{
		{
			ID: "5.2-c", Level: Must, Title: "a refusal is a header with error_code and error, an empty body and EOF",
			Want: "error_code and error in the header, no DATA, EOF", Peers: measured(Fail, Fail, Fail),
			Why: "TXERR means that infrastructure failed; programs treat it as a broken connection.",
			Run: refusalForm,
		}, {
			ID: "5.2-d", Level: Must, Title: "the body of a request that is refused is drained",
			Want: "300000 octets are acknowledged, and the connection stays usable",
			Why:  "Otherwise its sender waits for ever at the end of its window.",
			Run: func(p *Probe) Result {
				s := &stalled{r: p.Request().With("action", `"Conform.noSuchAction"`), body: text(300000)}
				p.Send(s.r.Head())
				p.upload(s)
				if s.sent < len(s.body) {
					return p.Miss("stopped after %d octets, %d of them acknowledged; %s", s.sent, p.lastAck(s.r.No), p.state())
				}
				return p.passUnless("all was taken, and the connection is usable", p.StillUsable())
			},
		}, {
			ID: "5.5-a", Level: Should, Title: "no_action carries no dispatch_failure for one who sent no ext",
			Want: "no error_data with dispatch_failure true",
			Why:  "Old requesters mark an instance failed for minutes when they see it.",
			Run:  func(p *Probe) Result { return p.dispatchFailure("", false) },
		}, {
			ID: "5.5-b", Level: Should, Title: "no_action carries dispatch_failure for one who sent ext",
			Want: "error_data with dispatch_failure true",
			Why:  "It tells the caller that nothing ran.",
			Run:  func(p *Probe) Result { return p.dispatchFailure(`{"v":1}`, true) },
		}, accepted(Case{
			ID: "12.2-a", Title: "actions match in any letter case", Peers: measured(Pass, Fail, Pass),
			Why: "Old callers write them as they like.",
			Run: func(p *Probe) Result {
				r := p.Request().With("action", quoted(swapCase(p.run.Action.Name)))
				return p.echoes(r, text(7))
			},
		}),
	}...)
	for i := range cases {
		cases[i].Section = SectionErrors
		cases[i].Paragraph, _, _ = strings.Cut(cases[i].ID, "-")
	}
	return cases
}

const whyMember = "One bad request must not end all others on the connection."

// refuse asks for an action that nobody has.
func (p *Probe) refuse(ext string) (m *Message, problem string) {
	r := p.Request().With("action", `"Conform.noSuchAction"`)
	if ext != "" {
		r.With("ext", ext)
	}
	p.Send(r.All(text(7)))
	return p.Expect(r)
}

func refusalForm(p *Probe) Result {
	m, problem := p.refuse("")
	switch {
	case problem != "":
		return p.Miss("%s", problem)
	case m.Broken || m.Header.ErrorCode == "" || m.Header.Error == "" || len(m.Body) > 0:
		return p.Miss("%s", m)
	}
	return p.Pass(m.String())
}

func (p *Probe) dispatchFailure(ext string, want bool) Result {
	m, problem := p.refuse(ext)
	switch {
	case problem != "":
		return p.Miss("%s", problem)
	case !m.Failed() || m.Header.ErrorCode != "no_action":
		return p.Skip("the refusal is no no_action: %s", m)
	case want && m.Header.Ext.V == 0:
		return p.Skip("the service knows no extensions")
	case m.Header.DispatchFailure() != want:
		return p.Miss("%s", m)
	}
	return p.Pass(m.String())
}

// swapCase turns small ASCII letters into capitals and the other way round.
func swapCase(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z':
			return c - 'a' + 'A'
		case 'A' <= c && c <= 'Z':
			return c - 'A' + 'a'
		}
		return c
	}, s)
}
