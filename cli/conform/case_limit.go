package conform

import (
	"fmt"
	"strings"

	"github.com/scampbus/scamp-go/packet"
)

// limitCases judge PROTOCOL 4.5 and 4.8: a service takes what honest peers send at their
// worst, and serves the next request.
func limitCases() []Case {
	cases := []Case{
		{
			ID: "4.5-a", Item: "37a", Title: "300 requests at once on one connection are all served",
			Want: "300 bodies, none refused",
			Why:  "A gateway sends as much. Refusing an honest busy peer is a bug.",
			Run:  manyRequests,
		}, {
			ID: "4.5-b", Item: "42", Title: "a small request is served during a large one",
			Want: "the small reply before the end of the large body, then 4 MiB back",
			Why:  "One long body must not hold up the connection for others.",
			Run:  smallDuringLarge,
		}, {
			ID: "4.5-c", Item: "37a", Title: "a peer known to ignore the window is served up to 1 MiB",
			Want: "900000 octets back, though they were sent without waiting for ACKs",
			Why:  "Perl and Go send whole bodies without looking at ACKs; their requests have no sector.",
			Run: func(p *Probe) Result {
				r, body := minimal(p.Request()), text(900000)
				p.Send(r.Head() + inChunks(r, body) + r.EOF())
				return p.passUnless("the whole body came back", p.ExpectEcho(r, body), p.StillUsable())
			},
		}, {
			ID: "4.5-d", Item: "37a", Title: "a message that floods its window ends alone",
			Want: "whatever becomes of the message, the connection stays usable",
			Why:  "Others on the connection have done nothing wrong.",
			Run: func(p *Probe) Result {
				p.holdAcks = true
				r := p.Request()
				p.Send(r.Head() + inChunks(r, text(1<<20)) + r.EOF())
				p.settle(func() int { return p.run.watch.packets })
				return p.passUnless("a further request was served", p.StillUsable())
			},
		}, {
			ID: "4.5-e", Item: "37", Title: "requests that do not go on hold up no others",
			Want: "a further request is served",
			Why:  "A reader that waits for a handler stops the connection for all.",
			Run: func(p *Probe) Result {
				p.holdAcks = true
				for range 8 {
					r := p.Request()
					p.Send(r.Head() + inChunks(r, text(65536)))
				}
				p.settle(func() int { return p.run.watch.packets })
				return p.passUnless("8 were left unfinished, and a further one was served", p.StillUsable())
			},
		}, {
			ID: "4.8-b", Item: "43", Title: "a connection cut within a packet harms no other",
			Want: "a further connection is served",
			Why:  "Connections break at any octet.",
			Run: func(p *Probe) Result {
				for _, part := range []string{"HEADER 0 10", "HEADER 0 86\r\n{\"action\"", "\r", ""} {
					if err := p.Dial(nil); err != nil {
						return p.Miss("%s", noConnection(err))
					}
					p.Send(part)
					p.hangUp()
				}
				if err := p.Dial(nil); err != nil {
					return p.Miss("%s", noConnection(err))
				}
				r := p.Request()
				p.Send(r.Head() + r.Data(text(1000)) + string(packet.AppendLine(nil, packet.KindData, r.No, 1000)))
				p.hangUp()
				p.hurt = true // has the runner look after the service
				return p.Pass("a further connection was served")
			},
		},
	}
	for i := range cases {
		cases[i].Section, cases[i].Level = SectionLimits, Must
		cases[i].Paragraph, _, _ = strings.Cut(cases[i].ID, "-")
	}
	return cases
}

// inChunks is a body as DATA packets of the usual size.
func inChunks(r *Request, body string) string {
	var b strings.Builder
	for len(body) > 0 {
		n := min(16384, len(body))
		b.WriteString(r.Data(body[:n]))
		body = body[n:]
	}
	return b.String()
}

func manyRequests(p *Probe) Result {
	var requests []*Request
	var octets strings.Builder
	for i := range 300 {
		r := p.Request()
		requests = append(requests, r)
		octets.WriteString(r.All(fmt.Sprint(i)))
	}
	p.Send(octets.String())
	for i, r := range requests {
		if problem := p.ExpectEcho(r, fmt.Sprint(i)); problem != "" {
			return p.Miss("request %d of 300: %s", i+1, problem)
		}
	}
	return p.Pass("all were served")
}

func smallDuringLarge(p *Probe) Result {
	large := &stalled{r: p.Request(), body: text(4 << 20)}
	p.Send(large.r.Head())
	p.uploadTo(large, 1<<20, p.run.Timeout, nil)
	if large.sent < 1<<20 {
		return p.Miss("stopped after %d octets; %s", large.sent, p.state())
	}
	if problem := p.StillUsable(); problem != "" {
		return p.Miss("during the large one %s", problem)
	}
	p.upload(large)
	return p.passUnless("both were served", p.ExpectEcho(large.r, large.body))
}
