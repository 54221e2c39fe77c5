package conform

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// windowCases judge PROTOCOL 4.3: what a service sends while nothing is acknowledged.
func windowCases() []Case {
	cases := []Case{
		{
			ID: "4.3-a", Item: "33", Title: "a reply stops at 65536 octets without an ACK",
			Want: "at most 65536 octets of DATA", Peers: measured(Pass, Fail, Fail),
			Why: "The window is the only brake. Without it a slow reader has to hold the whole reply in memory.",
			Run: func(p *Probe) Result {
				s, problem := p.stall(stallBody, "")
				if problem != "" {
					return p.Miss("%s", problem)
				}
				if n := len(s.m.Body); n > 65536 {
					return p.Miss("%d octets came", n)
				}
				return p.Pass(fmt.Sprintf("%d octets came, then nothing", len(s.m.Body)))
			},
		}, {
			ID: "4.3-b", Item: "33", Title: "other messages go on while one waits for its window",
			Want: "a further request is answered",
			Why:  "One slow reader must not stop the connection for others.",
			Run: func(p *Probe) Result {
				if _, problem := p.stall(stallBody, ""); problem != "" {
					return p.Miss("%s", problem)
				}
				return p.passUnless("it was answered", p.StillUsable())
			},
		}, {
			ID: "4.3-c", Item: "34", Title: "after an ACK of n octets at most n more come",
			Want: "more than before, and at most 65536 + 20000 octets", Peers: measured(Fail, Fail, Fail),
			Why: "A sender that looks at its window after each packet oversteps it by a packet.",
			Run: func(p *Probe) Result {
				s, problem := p.stall(stallBody, "")
				if problem != "" {
					return p.Miss("%s", problem)
				}
				before := len(s.m.Body)
				if before < 20000 || s.m.Ended {
					return p.Miss("%d octets came without an ACK: %s", before, s.m)
				}
				p.Send(ack(s.m.No, "20000"))
				p.Await(func() bool { return len(s.m.Body) > before })
				p.settle(func() int { return len(s.m.Body) })
				switch n := len(s.m.Body); {
				case n > 65536+20000:
					return p.Miss("%d octets came", n)
				case n == before:
					return p.Miss("none came; %s", p.state())
				}
				came := fmt.Sprintf("%d octets, then %d", before, len(s.m.Body))
				return p.passUnless(came+", and in the end the whole body", p.release(s))
			},
		}, {
			ID: "3.7-d", Item: "33a", Title: "a window in ext is the most that comes without an ACK",
			Want: "at most 131072 octets of DATA",
			Why:  "What was announced is all the room there is.",
			Run: func(p *Probe) Result {
				s, problem := p.stall(2*stallBody, `{"v":1,"win":131072}`)
				if problem != "" {
					return p.Miss("%s", problem)
				}
				if n := len(s.m.Body); n > 131072 {
					return p.Miss("%d octets came", n)
				}
				return p.passUnless(fmt.Sprintf("%d octets came, then nothing; after ACKs the whole body", len(s.m.Body)), p.release(s))
			},
		},
		never(Case{
			ID: "4.3-z", Item: "33", Title: "no message of the service passes its window", Peers: measured(Fail, Fail, Fail),
			Why: "Who counts on the window has no room for more.",
		}, ruleWindow),
	}
	for i := range cases {
		cases[i].Section, cases[i].Level = SectionData, Must
		cases[i].Paragraph, _, _ = strings.Cut(cases[i].ID, "-")
	}
	return cases
}

// stallBody is how long a body is whose echo must stop at the window, in octets.
const stallBody = 150000

// A stalled is a request whose reply waits for ACKs.
type stalled struct {
	r    *Request
	m    *Message // its reply
	body string
	sent int // octets of body that went out
}

// stall asks for an echo and holds back all ACKs until the window, or the one in ext, is
// full and nothing more comes. It fails when no reply begins.
func (p *Probe) stall(octets int, ext string) (s *stalled, problem string) {
	p.holdAcks = true
	s = &stalled{r: p.Request(), body: text(octets)}
	if ext != "" {
		s.r.With("ext", ext)
	}
	p.Send(s.r.Head())
	full := func() bool {
		s.m = p.reply(s.r.ID)
		return s.m != nil && (s.m.Ended || len(s.m.Body) >= int(p.window))
	}
	p.uploadTo(s, len(s.body), p.run.Timeout, full)
	p.Await(full)
	if s.m == nil {
		return s, "no reply began; " + p.state()
	}
	// It may have been all that there was: one that oversteps needs something to send.
	p.uploadTo(s, len(s.body), p.run.Quiet, nil)
	p.settle(func() int { return len(s.m.Body) })
	return s, ""
}

// upload sends what is left of the body as ACKs make room, and then the end of the
// request.
func (p *Probe) upload(s *stalled) { p.uploadTo(s, len(s.body), p.run.Timeout, nil) }

// uploadTo is upload for the first octets of the body. It gives up when no ACK made room
// for so long, and when stop, if there is one, holds.
func (p *Probe) uploadTo(s *stalled, upTo int, patience time.Duration, stop func() bool) {
	const chunk, window = 16384, 65536
	for s.sent < upTo {
		n := min(chunk, upTo-s.sent)
		stopped := false
		p.awaitFor(patience, func() bool {
			stopped = stop != nil && stop()
			return stopped || s.sent+n-int(p.lastAck(s.r.No)) <= window
		})
		if stopped || p.err != nil || p.writeErr != nil || s.sent+n-int(p.lastAck(s.r.No)) > window {
			return
		}
		p.Send(s.r.Data(s.body[s.sent : s.sent+n]))
		if s.sent += n; s.sent == len(s.body) {
			p.Send(s.r.EOF())
		}
	}
}

// settle waits until count stays the same for a while.
func (p *Probe) settle(count func() int) {
	for last := count(); p.awaitFor(p.run.Quiet, func() bool { return count() != last }); last = count() {
	}
}

// release acknowledges what came, and from now on everything, and wants the rest.
func (p *Probe) release(s *stalled) (problem string) {
	p.holdAcks = false
	if n := uint64(len(s.m.Body)); n > p.acked[s.m.No] && !s.m.Ended {
		p.Send(ack(s.m.No, strconv.FormatUint(n, 10)))
	}
	p.upload(s)
	return p.ExpectEcho(s.r, s.body)
}
