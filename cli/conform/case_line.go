package conform

import (
	"fmt"
	"strings"

	"github.com/scampbus/scamp-go/packet"
)

// lineCases judge PROTOCOL 2.1 to 2.3: how packets are cut out of the stream.
func lineCases() []Case {
	cases := []Case{
		{
			ID: "2.1-a", Title: "the service says nothing before it is asked", Level: Must,
			Want: "no packet, and an open connection",
			Why:  "There is no greeting. A requester takes the first packet for the start of a reply.",
			Run: func(p *Probe) Result {
				if !p.Quiet() {
					return p.Miss("%s after %s", p.state(), strings.Join(p.got.list(), " "))
				}
				if problem := p.StillUsable(); problem != "" {
					return p.Miss("%s", problem)
				}
				if len(p.messages) > 1 || p.pings+len(p.pongs) > 0 {
					return p.Miss("something came: %s", strings.Join(p.got.list(), " "))
				}
				return p.Pass("nothing came, and the connection is usable")
			},
		},
		accepted(Case{
			ID: "2.1-b", Item: "9", Title: "body octets that look like packets are body",
			Why: "A parser that looks for END in a body cuts messages in two.",
			Run: func(p *Probe) Result {
				r := p.Request()
				return p.echoes(r, "\"END\r\nEOF 0 0\r\nEND\r\n\"")
			},
		}),
		accepted(Case{
			ID: "2.3-a", Item: "2", Title: "a request in pieces of one octet is understood", Peers: measured(Pass, Pass, Pass),
			Why: "TCP and TLS cut the stream where they like.",
			Run: func(p *Probe) Result {
				r := p.Request()
				p.dribble(r.All(text(7)), 1)
				return p.passUnless("the body came back, and the connection is usable", p.ExpectEcho(r, text(7)), p.StillUsable())
			},
		}),
		accepted(Case{
			ID: "2.3-b", Item: "3", Title: "several requests in one write are all served",
			Why: "A reader that handles one packet a read leaves the rest until the next, which may never come.",
			Run: func(p *Probe) Result {
				a, b, c := p.Request(), p.Request(), p.Request()
				p.Send(a.All(`"a"`) + b.All(`"b"`) + c.All(`"c"`))
				return p.passUnless("all three bodies came back", p.ExpectEcho(a, `"a"`), p.ExpectEcho(b, `"b"`), p.ExpectEcho(c, `"c"`))
			},
		}),
		accepted(Case{
			ID: "2.3-c", Item: "4", Title: "a header line in two parts is waited for",
			Why: "A line may be cut by TCP at any place, and the second half may take its time.",
			Run: func(p *Probe) Result {
				r := p.Request()
				all := r.All(text(7))
				p.sending(all)
				p.note(visible(all) + " (a pause after the first 8 octets)")
				p.write(all[:8])
				if !p.Quiet() {
					return p.Miss("%s after 8 octets", p.state())
				}
				p.write(all[8:])
				return p.passUnless("the body came back", p.ExpectEcho(r, text(7)), p.StillUsable())
			},
		}),
		fatal(Case{
			ID: "2.3-d", Item: "4", Title: "79 octets without a line feed wait, 80 close",
			Why: "Without an end to the line a peer could fill memory with it.",
			Run: func(p *Probe) Result {
				p.Send(strings.Repeat("H", 79))
				if !p.Quiet() {
					return p.Miss("%s after 79 octets", p.state())
				}
				return p.closes("H")
			},
		}),
		accepted(Case{
			ID: "2.2-a", Item: "6", Title: "a DATA of 131072 octets is taken", Peers: measured(Pass, Pass, Pass),
			Why: "It is the largest that all peers agree on; C# sends as much.",
			Run: func(p *Probe) Result {
				r := p.Request()
				return p.echoes(r, text(131072))
			},
		}),
		fatal(Case{
			ID: "2.2-b", Item: "6", Title: "a DATA of 131073 octets closes at its line", Peers: measured(Pass, Fail, Fail),
			Why: "Whoever waits for the body has to find room for what a stranger says.",
			Run: func(p *Probe) Result {
				r := p.Request()
				return p.closes(r.Head()+string(packet.AppendLine(nil, packet.KindData, r.No, 131073)), r)
			},
		}),
		accepted(Case{
			ID: "2.2-c", Item: "6", Title: "a HEADER of 65536 octets is taken",
			Why: "Tickets and HTTP headers make headers large.",
			Run: func(p *Probe) Result {
				r := p.Request()
				return p.echoes(padded(r, 65536), text(7))
			},
		}),
		fatal(Case{
			ID: "2.2-d", Item: "6", Title: "a HEADER of 65537 octets closes at its line", Peers: measured(Fail, Fail, Fail),
			Why: "Headers are held in memory whole, and many may wait at once.",
			Run: func(p *Probe) Result {
				r := p.Request()
				return p.closes(string(packet.AppendLine(nil, packet.KindHeader, r.No, 65537)), r)
			},
		}),
		never(Case{
			ID: "2.1-z", Item: "1", Title: "all that the service writes is packets", Level: Must,
			Why: "Strict readers close at the first octet that breaks the grammar.",
		}, ruleGrammar),
		never(Case{
			ID: "2.2-z", Title: "no HEADER of the service is above 32768 octets", Level: Must,
			Why: "What some peers accept at most is twice that; half of it leaves room.",
		}, ruleHeaderSize),
	}
	cases = append(cases, formCases()...)
	for i := range cases {
		cases[i].Section = SectionLine
		cases[i].Paragraph, _, _ = strings.Cut(cases[i].ID, "-")
	}
	return cases
}

// padded makes the body of the HEADER so many octets long.
func padded(r *Request, octets int) *Request {
	r.With("padding", `""`)
	return r.With("padding", `"`+strings.Repeat("x", octets-len(r.JSON()))+`"`)
}

// formCases take a correct request and make one packet of it wrong in one respect, so
// that a service that overlooks it answers.
func formCases() []Case {
	var cases []Case
	for _, f := range []struct {
		id, item, title string
		packet          func(r *Request) string // in the place of the EOF of a request, or before it
		why             string
		peers           Peers
	}{
		{"2.1-c", "5", "a bare LF ends no line", instead("EOF %d 0\nEND\r\n"), whyStrict, measured(Pass, Fail, Pass)},
		{"2.1-d", "5", "two spaces close", instead("EOF  %d 0\r\nEND\r\n"), whyStrict, measured(Pass, Fail, Pass)},
		{"2.1-e", "5", "a leading space closes", instead(" EOF %d 0\r\nEND\r\n"), whyStrict, Peers{}},
		{"2.1-f", "5", "a trailing space closes", instead("EOF %d 0 \r\nEND\r\n"), whyStrict, measured(Pass, Fail, Pass)},
		{"2.1-g", "5", "a tab between fields closes", instead("EOF\t%d 0\r\nEND\r\n"), whyStrict, Peers{}},
		{"2.1-h", "5", "a line of two fields closes", instead("EOF %d\r\nEND\r\n"), whyStrict, Peers{}},
		{"2.1-i", "5", "a line of four fields closes", instead("EOF %d 0 0\r\nEND\r\n"), whyStrict, Peers{}},
		{"2.1-j", "5", "a leading zero in the message number closes", instead("EOF 0%d 0\r\nEND\r\n"), whyNumber, measured(Fail, Fail, Pass)},
		{"2.1-k", "5", "a leading zero in the length closes", instead("EOF %d 00\r\nEND\r\n"), whyNumber, Peers{}},
		{"2.1-l", "5", "a sign before the message number closes", instead("EOF +%d 0\r\nEND\r\n"), whyNumber, measured(Pass, Pass, Pass)},
		{"2.1-m", "5", "a sign before the length closes", instead("DATA %[1]d +1\r\n7END\r\nEOF %[1]d 0\r\nEND\r\n"), whyNumber, Peers{}},
		{"2.1-n", "5", "a length in hexadecimal closes", instead("DATA %[1]d 0x1\r\n7END\r\nEOF %[1]d 0\r\nEND\r\n"), whyNumber, Peers{}},
		{"2.1-o", "8", "an unknown type closes", instead("RSET %d 0\r\nEND\r\n"),
			"What a packet of an unknown type would change, nobody knows; going on means to guess.", measured(Pass, Pass, Pass)},
		{"2.1-p", "8", "a type in lower case closes", instead("eof %d 0\r\nEND\r\n"), whyStrict, measured(Pass, Pass, Pass)},
		{"2.3-e", "5", "a message number above 2^63-1 closes", func(*Request) string { return "EOF 9223372036854775808 0\r\nEND\r\n" },
			"Numbers that wrap around hit messages of others.", Peers{}},
		{"2.3-f", "7", "a trailer in lower case closes", instead("EOF %d 0\r\nend\r\n"), whyTrailer, Peers{}},
		{"2.3-g", "7", "a wrong trailer closes", instead("EOF %d 0\r\nXND\r\n"), whyTrailer, measured(Pass, Pass, Pass)},
		{"2.3-h", "7", "a trailer that ends in LF alone closes", func(r *Request) string {
			return fmt.Sprintf("EOF %d 0\r\nEND\nPONG 0 0\r\nEND\r\n", r.No)
		}, whyTrailer, measured(Pass, Pass, Pass)},
		{"2.3-i", "7", "a length that is too small closes", instead("DATA %[1]d 2\r\n\"a\"END\r\nEOF %[1]d 0\r\nEND\r\n"), whyTrailer, Peers{}},
	} {
		cases = append(cases, fatal(Case{
			ID: f.id, Item: f.item, Title: f.title, Why: f.why, Peers: f.peers,
			Run: func(p *Probe) Result {
				r := p.Request()
				return p.closes(r.Head()+r.Data(text(7))+f.packet(r), r)
			},
		}))
	}
	return cases
}

// instead makes a packet from its text and the number of the message.
func instead(format string) func(*Request) string {
	return func(r *Request) string { return fmt.Sprintf(format, r.No) }
}

const (
	whyStrict  = "Two readers that cut the stream differently see different requests in it."
	whyNumber  = "A number with two spellings is two messages to one peer and one to another."
	whyTrailer = "The trailer is the only check that both sides count octets alike."
)
