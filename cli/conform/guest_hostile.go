package conform

import (
	"fmt"
	"strings"

	"github.com/scampbus/scamp-go/packet"
)

// guestHostileCases send what no honest service sends: octets that are known to end some
// program, and floods. Further cases show whether the requester lives.
func guestHostileCases() []Case {
	lives := func(id string, s Section, item, title, why string, peers Peers, send func(v *Visit, m *Message) string) Case {
		c := ends(Case{ID: id, Section: s, Item: item, Title: title, Why: why, Peers: peers}, send)
		c.Hostile = true
		return c
	}
	cases := []Case{
		lives("3.1-rj", SectionHeader, "13", "a header that is null closes", "The JavaScript implementation ends its process on it.", measured(Fail, Fail, Pass), func(v *Visit, m *Message) string {
			r := v.Reply(m)
			return r.HeadOf("null") + r.EOF() + good(v, m)
		}),
		lives("2.1-rg", SectionLine, "5", "a negative length closes", "The Go implementation ends its process on it.", Peers{Go: Fail}, func(v *Visit, m *Message) string {
			r := v.Reply(m)
			return r.Head() + fmt.Sprintf("DATA %d -1\r\nEND\r\n", r.No) + r.Data(okBody) + r.EOF()
		}),
		lives("2.2-rc", SectionLine, "6", "a length of gigabytes closes at its line", "Whoever makes room for what a stranger says runs out of memory.", Peers{Go: Fail}, func(v *Visit, m *Message) string {
			r := v.Reply(m)
			return r.Head() + fmt.Sprintf("DATA %d 9223372036854775807\r\n", r.No)
		}),
		lives("2.4-rf", SectionNumbers, "8", "a type named like a property of every JavaScript object closes", "The JavaScript implementation ends its process on one.", Peers{JS: Fail}, func(v *Visit, m *Message) string {
			r := v.Reply(m)
			return r.Head() + r.Data(okBody) + fmt.Sprintf("constructor %d 0\r\nEND\r\n", r.No) + r.EOF()
		}),
		lives("3.1-rk", SectionHeader, "18a", "a header of 60000 opening brackets closes", "A parser that calls itself for each level runs out of stack.", Peers{}, func(v *Visit, m *Message) string {
			r := v.Reply(m)
			return r.HeadOf(`{"x":`+strings.Repeat("[", 60000)) + r.EOF() + good(v, m)
		}),
		lives("3.5-rj", SectionCorrelation, "31a", "150 replies to calls never made close", "Who sends them answers somebody else, or nobody.", Peers{}, func(v *Visit, _ *Message) string {
			var b strings.Builder
			for i := range 150 {
				b.WriteString(newReply(v.session, fmt.Sprint(1000+i)).All(""))
			}
			return b.String() // and no good one: it could come before the end
		}),
		survived("4.7-rc", SectionPing, "5000 PINGs", "Answers that pile up fill memory.", func(*Visit, *Message) string {
			return strings.Repeat(wire(packet.KindPING, 0, ""), 5000)
		}),
		survived("4.4-rq", SectionACK, "20000 ACKs of a message that is finished", "Each may wake somebody.", func(_ *Visit, m *Message) string {
			return strings.Repeat(ack(m.No, "1"), 20000)
		}),
		survived("2.4-rg", SectionData, "20000 empty DATA", "They cost the sender nothing.", func(v *Visit, m *Message) string {
			r := v.Reply(m)
			return r.Head() + strings.Repeat(r.Data(""), 20000)
		}),
	}
	cases = ofGuests(SectionLimits, cases...)
	for i := range cases {
		cases[i].Hostile = true
	}
	return cases
}

// survived makes a case that passes when the requester makes a further call, whatever
// becomes of the first.
func survived(id string, s Section, title, why string, flood func(v *Visit, m *Message) string) Case {
	return Case{
		ID: id, Section: s, Title: "the requester survives " + title, Why: why, Steps: []Step{{Times: 1}, {Times: 1}},
		Want: "a further call, whatever becomes of the first",
		Play: func(v *Visit) Result {
			m, problem := v.Call(0)
			if problem != "" {
				return v.Miss("%s", problem)
			}
			v.Send(flood(v, m))
			v.awaitFor(v.run.Quiet, func() bool { return v.err != nil })
			v.hangUp() // so that the call ends
			if !v.Reported(1, v.run.Timeout) {
				return v.Miss("the requester is not heard of any more")
			}
			if problem := v.Accept(); problem != "" {
				return v.Miss("%s for a further call", problem)
			}
			if m, problem = v.Call(1); problem != "" {
				return v.Miss("%s", problem)
			}
			v.Send(good(v, m))
			return v.Pass("a further call came")
		},
	}
}
