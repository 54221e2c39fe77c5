package conform

import (
	"strings"
)

// dataCases judge what PROTOCOL 2.4, 3.7 and 4.2 say of DATA.
func dataCases() []Case {
	cases := []Case{
		accepted(Case{
			ID: "2.4-m", Item: "15", Title: "an empty DATA is ignored: no ACK, no close", Peers: measured(Pass, Fail, Pass),
			Why: "Go sends one after a body that is a multiple of 128 KiB; an ACK that repeats a count closes most peers.",
			Run: emptyData,
		}),
		accepted(Case{
			ID: "4.2-a", Title: "DATA of one octet each is taken",
			Why: "Any size from 1 to 131072 is legal.",
			Run: func(p *Probe) Result {
				r, body := p.Request(), text(100)
				octets := r.Head()
				for i := range body {
					octets += r.Data(body[i : i+1])
				}
				return p.gets(r, octets+r.EOF(), body)
			},
		}),
		accepted(Case{
			ID: "4.2-b", Title: "DATA of sizes of all kinds within one message is taken",
			Why: "Peers cut bodies where their callers' writes end.",
			Run: func(p *Probe) Result {
				r, body := p.Request(), text(40000)
				octets, at := r.Head(), 0
				for _, n := range []int{1, 1000, 2048, 16384, 3, 20564} {
					octets += r.Data(body[at : at+n])
					at += n
				}
				return p.gets(r, octets+r.EOF(), body)
			},
		}),
		accepted(Case{
			ID: "4.1-a", Title: "a message without DATA is an empty body",
			Why: "HEADER and EOF alone are a whole message.",
			Run: func(p *Probe) Result {
				r := p.Request()
				return p.echoes(r, "")
			},
		}),
		{
			ID: "4.1-b", Level: Should, Title: "when the reply begins",
			Want: "before the end of the request, or after it: for information",
			Why:  "Both are legal. A service that replies early streams.",
			Run: func(p *Probe) Result {
				r := p.Request()
				p.Send(r.Head() + r.Data(text(1000)))
				p.awaitFor(p.run.Quiet, func() bool { return p.reply(r.ID) != nil })
				early := p.reply(r.ID) != nil
				p.Send(r.EOF())
				if problem := p.ExpectEcho(r, text(1000)); problem != "" {
					return p.Miss("%s", problem)
				}
				if early {
					return p.Info("before the request has ended: it streams")
				}
				return p.Info("after the request has ended")
			},
		},
		{
			ID: "4.2-z", Level: Must, Last: true, Title: "the largest DATA that the service sends", Want: "at most 131072 octets, 16384 is usual",
			Why: "A larger one closes most peers, and large ones delay other messages on the connection.",
			Run: func(p *Probe) Result {
				r := p.Request()
				p.Send(r.All(text(20000)))
				p.Expect(r)
				if n := p.run.watch.largest; n > 131072 {
					return p.Miss("%d octets", n)
				}
				return p.Info("%d octets", p.run.watch.largest)
			},
		},
		{
			ID: "3.7-c", Item: "19b", Level: Must, Title: "extensions", Want: "an ext in the first reply to one who sent ext, if the service knows it: for information",
			Why: "Between peers that know them, windows are larger and calls can be cancelled.",
			Run: func(p *Probe) Result {
				r := p.Request().With("ext", `{"v":1,"win":1048576,"cancel":1}`)
				p.Send(r.All(text(7)))
				if problem := p.ExpectEcho(r, text(7)); problem != "" {
					return p.Miss("%s", problem)
				}
				e := p.reply(r.ID).Header.Ext
				if e.V == 0 {
					return p.Info("the service knows none")
				}
				return p.Info("version %d, window %d, cancel %v", e.V, e.Win, e.Cancel)
			},
		},
		never(Case{
			ID: "2.4-x", Item: "15", Level: Must, Title: "the service sends no empty DATA", Peers: Peers{Go: Fail},
			Why: "Go answers it with an ACK that repeats a count, which closes other peers.",
		}, ruleEmptyData),
	}
	for i := range cases {
		cases[i].Section = SectionData
		cases[i].Paragraph, _, _ = strings.Cut(cases[i].ID, "-")
	}
	return cases
}

func emptyData(p *Probe) Result {
	r := p.Request()
	before := p.run.watch.times[ruleAck]
	p.Send(r.Head() + r.Data(""))
	p.Quiet()
	p.Send(r.Data(text(7)) + r.EOF())
	problem := p.ExpectEcho(r, text(7))
	if p.run.watch.times[ruleAck] > before {
		return p.Miss("an ACK for nothing: %s", strings.Join(p.got.list(), " "))
	}
	return p.passUnless("no ACK came for it, and the body came back", problem, p.StillUsable())
}
