package conform

import (
	"fmt"
	"strings"

	"github.com/scampbus/scamp-go/packet"
)

// guestLineCases judge PROTOCOL 2: how a requester reads what comes.
func guestLineCases() []Case {
	cases := []Case{
		{
			ID: "2.1-ra", Item: "1", Title: "the first octets are the HEADER of a request", Want: `HEADER 0, "type":"request", the announced action, request_id 1, the body, EOF`,
			Why: "There is no greeting: what comes first is taken for a packet.", Peers: measured(Pass, Pass, Pass),
			Play: func(v *Visit) Result {
				m, problem := v.Call(0)
				switch {
				case problem != "":
					return v.Miss("%s", problem)
				case m.Header.Action != ActionOf(*v.c):
					return v.Miss("action %q, want %q as it is announced", cut(m.Header.Action, maxText), ActionOf(*v.c))
				case m.No != 0 || m.Header.ID.String() != "1" || m.Header.Type != packet.TypeRequest:
					return v.Miss("HEADER %d: %s", m.No, m)
				}
				v.Send(good(v, m))
				v.Succeeds(len(okBody))
				return v.Pass(m.String())
			},
		},
		taken(Case{ID: "2.3-ra", Item: "2", Title: "a reply in pieces of one octet is understood", Why: "Networks cut a stream anywhere."},
			len(okBody), func(v *Visit, m *Message) string {
				v.dribble(good(v, m), 1)
				return ""
			}),
		taken(Case{ID: "2.1-rb", Item: "9", Title: "body octets that look like packets are body", Why: "A reader that looks for END in bodies cuts them."},
			len(trickBody), func(v *Visit, m *Message) string { return v.Reply(m).All(trickBody) }),
		taken(Case{ID: "2.2-ra", Item: "6", Title: "a DATA of 131072 octets is taken", Why: "It is the largest that may be sent, and Go sends it.", Peers: measured(Pass, Pass, Pass)},
			131072, func(v *Visit, m *Message) string {
				r, body := v.Reply(m), text(131072)
				return r.Head() + r.Data(body) + r.EOF()
			}),
		taken(Case{ID: "2.4-ra", Item: "15", Section: SectionData, Title: "an empty DATA is ignored", Why: "Go can send one.", Peers: measured(Pass, Pass, Pass)},
			len(okBody), func(v *Visit, m *Message) string {
				r := v.Reply(m)
				return r.Head() + r.Data("") + r.Data(okBody) + r.EOF()
			}),
		taken(Case{ID: "4.1-ra", Section: SectionData, Title: "a reply without DATA is an empty body", Why: "It is the shortest reply.", Peers: measured(Pass, Pass, Pass)},
			0, func(v *Visit, m *Message) string { return v.Reply(m).All("") }),
		taken(Case{ID: "4.2-ra", Section: SectionData, Title: "a reply in DATA of all kinds of sizes is taken", Why: "Perl sends 1024 octets at a time, JavaScript 1024, Go what it is given."},
			40000, func(v *Visit, m *Message) string {
				r, body, b := v.Reply(m), text(40000), new(strings.Builder)
				b.WriteString(r.Head())
				for n := 1; len(body) > 0; n = n*2 + 1 {
					n = min(n, len(body))
					b.WriteString(r.Data(body[:n]))
					body = body[n:]
				}
				return b.String() + r.EOF()
			}),
	}
	for _, e := range []struct {
		id, item, title, why string
		section              Section
		send                 func(r *Request) string
		peers                Peers
	}{
		{"2.1-rc", "5", "a bare LF ends no line", whyStrict, SectionLine, broken("EOF %d 0\nEND\r\n"), measured(Pass, Fail, Pass)},
		{"2.1-rd", "5", "two spaces close", whyStrict, SectionLine, broken("EOF  %d 0\r\nEND\r\n"), Peers{}},
		{"2.1-re", "5", "a leading zero closes", whyNumber, SectionLine, broken("EOF 0%d 0\r\nEND\r\n"), Peers{}},
		{"2.1-rf", "8", "an unknown type closes", whyStrict, SectionLine, broken("RSET %d 0\r\nEND\r\n"), measured(Pass, Pass, Pass)},
		{"2.3-rb", "4", "a line of more than 80 octets closes", whyStrict, SectionLine, func(r *Request) string {
			return r.Head() + r.Data(okBody) + fmt.Sprintf("EOF %s%d 0\r\nEND\r\n", strings.Repeat(" ", 100), r.No)
		}, Peers{}},
		{"2.3-rc", "7", "a wrong trailer closes", whyTrailer, SectionLine, broken("EOF %d 0\r\nend\r\n"), Peers{}},
		{"2.2-rb", "6", "a DATA of 131073 octets closes", "Whoever makes room for what a stranger says runs out of memory.", SectionLine,
			func(r *Request) string { return r.Head() + r.Data(text(131073)) }, measured(Pass, Fail, Fail)},
		{"2.4-rb", "10", "a first HEADER that is not 0 closes", whyNumbers, SectionNumbers, func(r *Request) string {
			r.No = 1
			return r.Head()
		}, measured(Pass, Pass, Pass)},
		{"2.4-rc", "10", "a HEADER that repeats a number closes", whyNumbers, SectionNumbers, func(r *Request) string {
			return r.Head() + r.Head()
		}, Peers{}},
		{"2.4-rd", "11", "DATA for a message never begun closes", whyNumbers, SectionNumbers, func(r *Request) string {
			return r.Head() + r.Data(okBody) + wire(packet.KindData, 7, "x") + r.EOF()
		}, Peers{}},
		{"2.4-re", "12", "an EOF with a body closes", "Octets of body in an EOF are lost on peers that do not look there.", SectionEnd,
			func(r *Request) string {
				return r.Head() + r.Data(okBody) + strings.Replace(r.EOF(), " 0\r\n", " 1\r\nx", 1)
			}, measured(Pass, Fail, Pass)},
	} {
		cases = append(cases, ends(Case{ID: e.id, Item: e.item, Section: e.section, Title: e.title, Why: e.why, Peers: e.peers},
			func(v *Visit, m *Message) string {
				r := v.Reply(m)
				octets := e.send(r)
				// One who overlooks it, and is not in the middle of that reply, takes this one.
				return octets + v.Reply(m).All(okBody)
			}))
	}
	return ofGuests(SectionLine, cases...)
}

// trickBody is a body that a careless reader cuts.
const trickBody = "\"END\r\nEOF 0 0\r\nEND\r\nHEADER 1 2\r\n{}END\r\n\""

// broken is a reply whose end is malformed.
func broken(end string) func(*Request) string {
	return func(r *Request) string { return r.Head() + r.Data(okBody) + fmt.Sprintf(end, r.No) }
}
