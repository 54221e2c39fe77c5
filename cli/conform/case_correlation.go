package conform

import (
	"fmt"
	"strings"
)

// correlationCases judge PROTOCOL 3.4 and 3.5: which reply belongs to which request,
// and what is none.
func correlationCases() []Case {
	cases := []Case{
		{
			ID: "3.5-a", Item: "28", Level: Must, Title: "a request without request_id gets no reply",
			Want: wantIgnored, Peers: measured(Pass, Fail, Fail),
			Why: "A reply that belongs to nothing could be taken for another one's.",
			Run: func(p *Probe) Result { return p.ignored(p.Request().Without("request_id").All(text(7))) },
		}, {
			ID: "3.5-b", Item: "28", Level: Must, Title: "a request with request_id null gets no reply",
			Want: wantIgnored,
			Why:  "As without request_id.",
			Run:  func(p *Probe) Result { return p.ignored(p.Request().With("request_id", "null").All(text(7))) },
		}, {
			ID: "3.5-c", Item: "30", Level: Must, Title: "a message of an unknown type is ignored",
			Want: wantIgnored, Peers: measured(Pass, Fail, Fail),
			Why: "That is how new kinds of message can be tried on old peers.",
			Run: func(p *Probe) Result { return p.ignored(p.Request().With("type", `"bogus"`).All(text(7))) },
		}, {
			ID: "3.5-d", Item: "30", Level: Must, Title: "a reply sent to a service is ignored",
			Want: wantIgnored, Peers: measured(Pass, Pass, Fail),
			Why: "The accepting side asks nothing.",
			Run: func(p *Probe) Result { return p.ignored(p.Request().With("type", `"reply"`).All(text(7))) },
		}, {
			ID: "3.5-e", Item: "31", Level: Must, Title: "the body of a message that is ignored is acknowledged",
			Want: "ACK 40000",
			Why:  "Its sender would stall at its window, and hold the connection open for ever.",
			Run: func(p *Probe) Result {
				r := p.Request().With("type", `"bogus"`)
				p.Send(r.Head() + r.Data(text(20000)) + r.Data(text(20000)))
				if !p.Await(func() bool { return p.lastAck(r.No) == 40000 }) {
					return p.Miss("acknowledged %d of 40000 octets; %s", p.lastAck(r.No), p.state())
				}
				p.Send(r.EOF())
				return p.passUnless("acknowledged, and the connection is usable", p.StillUsable())
			},
		}, {
			ID: "3.5-f", Level: Must, Title: "a cancel for a request never made is ignored",
			Want: wantIgnored,
			Why:  "It crosses with the reply.",
			Run: func(p *Probe) Result {
				r := p.Request().With("ext", `{"v":1,"cancel":1}`)
				p.Send(r.All(text(7)))
				if problem := p.ExpectEcho(r, text(7)); problem != "" {
					return p.Miss("%s", problem)
				}
				if !p.isCancel {
					return p.Skip("the service did not announce that it understands cancel, so none may be sent")
				}
				c := p.Request()
				return p.ignored(c.HeadOf(`{"request_id":4711,"type":"cancel"}`) + c.EOF())
			},
		}, {
			ID: "3.4-e", Level: Must, Title: "ids need not rise", Want: "each reply has the id of its request",
			Why: "Only the requester gives them a meaning.",
			Run: func(p *Probe) Result {
				a, b := p.Request().With("request_id", "77"), p.Request().With("request_id", "5")
				p.Send(a.All(`"a"`) + b.All(`"b"`))
				return p.passUnless("both came", p.ExpectEcho(a, `"a"`), p.ExpectEcho(b, `"b"`))
			},
		},
		never(Case{
			ID: "5.1-z", Item: "52", Level: Must, Title: "one reply for each request, and for nothing else",
			Why: "A second reply could be taken for that to another request.",
		}, ruleOneReply),
	}
	for _, id := range []struct {
		id, title, value string
		peers            Peers
	}{
		{"3.4-a", "a request_id that is a number comes back as that number", "4711", measured(Pass, Fail, Pass)},
		{"3.4-b", "a request_id that is a string comes back as that string", `"4711"`, Peers{Go: Fail}},
		{"3.4-c", "a request_id of 2^53 comes back whole", "9007199254740992", Peers{Go: Fail}},
		{"3.4-d", "a request_id with escapes and spaces comes back as the same text", `" a\"\\\u00e4 "`, Peers{Go: Fail}},
	} {
		cases = append(cases, Case{
			ID: id.id, Item: "20", Level: Must, Title: id.title, Peers: id.peers,
			Want: fmt.Sprintf(`a reply with "request_id":%s`, id.value),
			Why:  "C# correlates by strings, Go by numbers; each takes only what it sent.",
			Run:  func(p *Probe) Result { return p.sameID(id.value) },
		})
	}
	for i := range cases {
		cases[i].Section = SectionCorrelation
		cases[i].Paragraph, _, _ = strings.Cut(cases[i].ID, "-")
	}
	return cases
}

// sameID makes a request with that id and wants it back, in type and value.
func (p *Probe) sameID(id string) Result {
	r := p.Request().With("request_id", id)
	p.Send(r.All(text(7)))
	p.Await(func() bool { return len(p.messages) > 0 && p.messages[0].Ended })
	if len(p.messages) == 0 {
		return p.Miss("no reply; %s", p.state())
	}
	m := p.messages[0]
	if canonical(m.Header.ID) != canonicalJSON(id) {
		return p.Miss("request_id %s: %s", cut(m.Header.ID.String(), maxText), m)
	}
	return p.passUnless("it came back: "+m.String(), p.StillUsable())
}
