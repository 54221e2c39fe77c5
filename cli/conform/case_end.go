package conform

import (
	"strings"
)

// endCases judge PROTOCOL 2.4, 4.1, 4.8 and 5.1: how messages and connections end.
func endCases() []Case {
	cases := []Case{
		fatal(Case{
			ID: "2.4-n", Item: "12", Title: "an EOF with a body closes", Peers: measured(Pass, Fail, Pass),
			Why: "Octets of body in an EOF are lost on peers that do not look there.",
			Run: func(p *Probe) Result {
				r := p.Request()
				return p.closes(r.Head()+r.Data(text(7))+strings.Replace(r.EOF(), " 0\r\n", " 1\r\nx", 1), r)
			},
		}),
		{
			ID: "4.1-c", Item: "39", Level: Must, Title: "a reply within the window ends without ACKs",
			Want: "60000 octets and EOF, though nothing is acknowledged",
			Why:  "EOF need not wait for outstanding ACKs, and a requester that has all may send none.",
			Run: func(p *Probe) Result {
				p.holdAcks = true
				r := p.Request()
				p.Send(r.All(text(60000)))
				return p.passUnless("the whole reply came", p.ExpectEcho(r, text(60000)))
			},
		}, {
			ID: "5.1-a", Item: "50", Level: Must, Title: "a request that ends in TXERR does not count as complete",
			Want: "an error reply, and the connection stays usable", Peers: measured(Pass, Fail, Pass),
			Why: "Half an order is not an order.",
			Run: func(p *Probe) Result { return p.aborted("given up") },
		}, {
			ID: "5.1-b", Item: "50", Level: Should, Title: "the reply to a request that ends in TXERR has error_code transport",
			Want: "error_code transport", Peers: measured(NonStrict, NonStrict, Pass),
			Why: "It was not the action that said no.",
			Run: func(p *Probe) Result { return p.aborted("given up", "transport") },
		}, {
			ID: "4.1-d", Item: "16", Level: Must, Title: "a TXERR without text is an error all the same",
			Want: "an error reply, and the connection stays usable", Peers: measured(Fail, Fail, Fail),
			Why: "Perl can send one.",
			Run: func(p *Probe) Result { return p.aborted("") },
		}, {
			ID: "4.1-e", Item: "16", Level: Must, Title: "a TXERR with the text 0 is an error all the same",
			Want: "an error reply, and the connection stays usable", Peers: measured(Fail, Fail, Fail),
			Why: "Perl can send one; 0 is false there, so its own reader overlooks it.",
			Run: func(p *Probe) Result { return p.aborted("0") },
		}, {
			ID: "4.8-a", Item: "45", Level: Must, Title: "the end of our side ends the connection",
			Want: "the connection closes",
			Why:  "There is no half-close. A service that goes on for one who has left leaks connections.",
			Run: func(p *Probe) Result {
				if problem := p.StillUsable(); problem != "" {
					return p.Miss("%s", problem)
				}
				p.closeWrite()
				return p.mustClose()
			},
		},
		never(Case{
			ID: "2.4-w", Item: "12", Level: Must, Title: "no EOF of the service has a body",
			Why: "It closes the connection on most peers.",
		}, ruleEOFBody),
		never(Case{
			ID: "4.1-z", Item: "16", Level: Must, Title: "every TXERR of the service has a text other than 0",
			Why: "JavaScript closes the connection on one without.",
		}, ruleEmptyTXERR),
	}
	for i := range cases {
		cases[i].Section = SectionEnd
		cases[i].Paragraph, _, _ = strings.Cut(cases[i].ID, "-")
	}
	return cases
}

// aborted begins a request, ends it with TXERR and wants an error reply.
func (p *Probe) aborted(text string, codes ...string) Result {
	r := p.Request()
	p.Send(r.Head() + r.Data(`"half of`) + r.Abort(text))
	return p.refused(r, codes...)
}
