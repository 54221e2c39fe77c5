package conform

import (
	"slices"
	"strings"

	"github.com/scampbus/scamp-go/packet"
)

// pingCases judge PROTOCOL 4.7.
func pingCases() []Case {
	cases := []Case{
		{
			ID: "4.7-a", Item: "17", Title: "PING is answered by PONG",
			Want: `PONG 0 0\r\nEND\r\n`, Peers: measured(Pass, Fail, Fail),
			Why: "A requester that may send PING takes silence for a dead connection.",
			Run: func(p *Probe) Result {
				p.Send(wire(packet.KindPING, 0, ""))
				return p.pong(0)
			},
		}, {
			ID: "4.7-b", Item: "17", Title: "PONG has the number of the PING, whose body is ignored",
			Want: `PONG 7 0\r\nEND\r\n`, Peers: measured(Pass, Fail, Fail),
			Why: "The number tells which PING is meant.",
			Run: func(p *Probe) Result {
				p.Send(wire(packet.KindPING, 7, "body"))
				return p.pong(7)
			},
		}, {
			ID: "4.7-c", Item: "17", Title: "PING within a message is answered, and the message goes on",
			Want: "PONG, and the body comes back",
			Why:  "A heartbeat runs while long bodies are sent.",
			Run: func(p *Probe) Result {
				r := p.Request()
				p.Send(r.Head() + r.Data(`"half`) + wire(packet.KindPING, 0, "") + r.Data(` and half"`) + r.EOF())
				if problem := p.ExpectEcho(r, `"half and half"`); problem != "" {
					return p.Miss("%s", problem)
				}
				return p.pong(0)
			},
		}, {
			ID: "4.7-d", Item: "17", Title: "PING is answered while a reply waits for its window",
			Want: "PONG, though nothing is acknowledged",
			Why:  "Otherwise a slow reader looks like a dead service.",
			Run: func(p *Probe) Result {
				if _, problem := p.stall(stallBody, ""); problem != "" {
					return p.Miss("%s", problem)
				}
				p.Send(wire(packet.KindPING, 3, ""))
				return p.pong(3)
			},
		}, {
			ID: "4.7-e", Item: "17", Title: "a PONG that nobody asked for is ignored",
			Want: wantIgnored, Peers: measured(Pass, Fail, Fail),
			Why: "It harms nobody.",
			Run: func(p *Probe) Result { return p.ignored(wire(packet.KindPONG, 0, "")) },
		},
		never(Case{
			ID: "4.7-z", Item: "17", Title: "the service sends no PING, and no PONG, to one who sent no PING and no ext",
			Why: "Perl, C# and Go close the connection on it.",
		}, ruleUnaskedPing),
	}
	for i := range cases {
		cases[i].Section, cases[i].Level = SectionPing, Must
		cases[i].Paragraph, _, _ = strings.Cut(cases[i].ID, "-")
	}
	return cases
}

// pong wants a PONG with that number, and a connection that goes on.
func (p *Probe) pong(no uint64) Result {
	if !p.Await(func() bool { return len(p.pongs) > 0 }) {
		return p.Miss("no PONG; %s", p.state())
	}
	if !slices.Equal(p.pongs, []uint64{no}) {
		return p.Miss("PONGs with the numbers %v, want %d", p.pongs, no)
	}
	return p.passUnless("it was answered, and the connection is usable", p.StillUsable())
}
