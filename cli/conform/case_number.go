package conform

import (
	"strings"

	"github.com/scampbus/scamp-go/packet"
)

// numberCases judge PROTOCOL 2.4: message numbers, and what may come when.
func numberCases() []Case {
	cases := []Case{
		fatal(Case{
			ID: "2.4-a", Item: "10", Title: "a first HEADER that is not 0 closes", Peers: measured(Pass, Pass, Pass),
			Why: whyNumbers,
			Run: func(p *Probe) Result {
				r := p.Request()
				r.No = 1
				return p.closes(r.All(text(7)), r)
			},
		}),
		fatal(Case{
			ID: "2.4-b", Item: "10", Title: "a gap in the numbers of HEADERs closes", Peers: measured(Pass, Pass, Pass),
			Why: whyNumbers,
			Run: func(p *Probe) Result {
				a, b := p.Request(), p.Request()
				b.No++
				return p.afterGood(a, b.All(text(7)), b)
			},
		}),
		fatal(Case{
			ID: "2.4-c", Item: "10", Title: "a HEADER that repeats a number closes", Peers: measured(Pass, Pass, Pass),
			Why: whyNumbers,
			Run: func(p *Probe) Result {
				a, b := p.Request(), p.Request()
				b.No = a.No
				return p.afterGood(a, b.All(text(7)), b)
			},
		}),
		fatal(Case{
			ID: "2.4-d", Item: "10", Title: "a second HEADER of an open message closes",
			Why: whyNumbers,
			Run: func(p *Probe) Result {
				r := p.Request()
				return p.closes(r.Head()+r.Head()+r.Data(text(7))+r.EOF(), r)
			},
		}),
		fatal(Case{
			ID: "2.4-e", Item: "11", Title: "DATA for a message never begun closes", Peers: measured(Pass, Pass, Pass),
			Why: whyOpen,
			Run: func(p *Probe) Result { return p.closes(wire(packet.KindData, 0, "7")) },
		}),
		fatal(Case{
			ID: "2.4-f", Item: "11", Title: "EOF for a message never begun closes", Peers: measured(Pass, Pass, Pass),
			Why: whyOpen,
			Run: func(p *Probe) Result { return p.closes(wire(packet.KindEOF, 0, "")) },
		}),
		fatal(Case{
			ID: "2.4-g", Item: "11", Title: "TXERR for a message never begun closes", Peers: measured(Pass, Pass, Pass),
			Why: whyOpen,
			Run: func(p *Probe) Result { return p.closes(wire(packet.KindTXERR, 0, "x")) },
		}),
		fatal(Case{
			ID: "2.4-h", Item: "11", Title: "DATA after the EOF of its message closes", Peers: measured(Pass, Pass, Pass),
			Why: whyOpen,
			Run: func(p *Probe) Result {
				a := p.Request()
				return p.afterGood(a, a.Data("7"))
			},
		}),
		fatal(Case{
			ID: "2.4-i", Item: "11", Title: "a second EOF closes",
			Why: whyOpen,
			Run: func(p *Probe) Result {
				a := p.Request()
				return p.afterGood(a, a.EOF())
			},
		}),
		fatal(Case{
			ID: "2.4-j", Item: "11", Title: "DATA after the TXERR of its message closes",
			Why: whyOpen,
			Run: func(p *Probe) Result {
				r := p.Request()
				return p.closes(r.Head() + r.Abort("given up") + r.Data("7"))
			},
		}),
		accepted(Case{
			ID: "2.4-k", Item: "18", Title: "two requests, their packets mixed, are put together rightly", Peers: measured(Pass, Pass, Pass),
			Why: "Many messages over one connection are what the protocol is for.",
			Run: func(p *Probe) Result {
				a, b := p.Request(), p.Request()
				p.Send(a.Head() + b.Head() + b.Data(`"b`) + a.Data(`"a`) + b.Data(`b"`) + a.Data(`a"`) + b.EOF() + a.EOF())
				return p.passUnless("both bodies came back", p.ExpectEcho(a, `"aa"`), p.ExpectEcho(b, `"bb"`), p.StillUsable())
			},
		}),
		never(Case{
			ID: "2.4-z", Item: "10", Level: Must, Title: "the HEADERs of the service count 0, 1, 2, …",
			Why: whyNumbers,
		}, ruleNumbers),
		never(Case{
			ID: "2.4-y", Item: "11", Level: Must, Title: "DATA, EOF and TXERR of the service belong to open messages",
			Why: whyOpen,
		}, ruleOpen),
	}
	for i := range cases {
		cases[i].Section = SectionNumbers
		cases[i].Paragraph, _, _ = strings.Cut(cases[i].ID, "-")
	}
	return cases
}

const (
	whyNumbers = "A number that is out of step means that octets were lost or that two writers share the connection."
	whyOpen    = "Octets that belong to no message belong to another one, on the other side."
)

// afterGood sends a correct request, and after its reply octets that must close.
func (p *Probe) afterGood(good *Request, octets string, not ...*Request) Result {
	p.Send(good.All(text(7)))
	if problem := p.ExpectEcho(good, text(7)); problem != "" {
		return p.Miss("the correct request before got %s", problem)
	}
	return p.closes(octets, not...)
}
