package conform

import (
	"fmt"
	"strconv"
	"strings"
)

// ackCases judge PROTOCOL 4.4, on both sides: the ACKs that a service sends, and what it
// does with those that it gets.
func ackCases() []Case {
	cases := []Case{
		{
			ID: "4.4-a", Item: "36", Level: Must, Title: "what was taken is acknowledged before the service waits for more",
			Want: "ACK 40000 while the request is unfinished",
			Why:  "A sender at the end of its window waits for ACKs. When the receiver waits too, nobody goes on.",
			Run: func(p *Probe) Result {
				r := p.Request()
				p.Send(r.Head() + r.Data(text(20000)) + r.Data(text(20000)))
				if !p.Await(func() bool { return p.lastAck(r.No) == 40000 }) {
					return p.Miss("acknowledged %d of 40000 octets; %s", p.lastAck(r.No), p.state())
				}
				p.Send(r.EOF())
				return p.passUnless(fmt.Sprintf("ACKs %v", p.acks[r.No]), p.ExpectEcho(r, text(20000)+text(20000)))
			},
		}, {
			ID: "4.4-b", Item: "35", Level: Must, Title: "a body of 300000 octets is acknowledged as it is taken",
			Want: "ACKs that rise, up to the end", Peers: measured(Pass, Pass, Pass),
			Why: "They are what the sender goes on by.",
			Run: func(p *Probe) Result {
				s := &stalled{r: p.Request(), body: text(300000)}
				p.Send(s.r.Head())
				p.upload(s)
				if s.sent < len(s.body) {
					return p.Miss("stopped after %d octets, %d of them acknowledged; %s", s.sent, p.lastAck(s.r.No), p.state())
				}
				return p.passUnless(fmt.Sprintf("%d ACKs", len(p.acks[s.r.No])), p.ExpectEcho(s.r, s.body), p.StillUsable())
			},
		}, {
			ID: "4.4-c", Item: "36a", Level: Should, Title: "a short complete message gets no ACK",
			Want: "no ACK for a message of 1000 octets that arrived as a whole", Peers: measured(NonStrict, NonStrict, NonStrict),
			Why: "Nobody waits for it, and it costs a packet for each small call.",
			Run: func(p *Probe) Result {
				r := p.Request()
				p.Send(r.All(text(1000)))
				if problem := p.ExpectEcho(r, text(1000)); problem != "" {
					return p.Miss("%s", problem)
				}
				p.Quiet()
				if acks := p.acks[r.No]; len(acks) > 0 {
					return p.Miss("ACKs %v", acks)
				}
				return p.Pass("none")
			},
		}, {
			ID: "4.4-d", Item: "38", Level: Must, Title: "an ACK that repeats the count is ignored",
			Want: "the reply goes on with the next ACK", Peers: Peers{JS: Fail},
			Why: "Go sends them after an empty DATA.",
			Run: func(p *Probe) Result {
				return p.whileSending(func(s *stalled) Result {
					p.Send(ack(s.m.No, "10000") + ack(s.m.No, "10000") + ack(s.m.No, "10000"))
					return p.passUnless("after further ACKs the whole body came", p.release(s), p.StillUsable())
				})
			},
		}, {
			ID: "4.4-e", Item: "38", Level: Must, Title: "an ACK for a message never begun is ignored",
			Want: wantIgnored, Peers: measured(Pass, Pass, Pass),
			Why: "ACKs cross with the ends of messages.",
			Run: func(p *Probe) Result { return p.ignored(ack(42, "10")) },
		}, {
			ID: "4.4-f", Item: "38", Level: Must, Title: "an ACK for a finished message is ignored, whatever its body",
			Want: wantIgnored, Peers: measured(Pass, Pass, Pass),
			Why: "ACKs cross with the ends of messages; window state ends with the message.",
			Run: func(p *Probe) Result {
				r := p.Request()
				p.Send(r.All(text(7)))
				if problem := p.ExpectEcho(r, text(7)); problem != "" {
					return p.Miss("%s", problem)
				}
				no := p.reply(r.ID).No
				return p.ignored(ack(no, "1") + ack(no, "999999") + ack(no, "x"))
			},
		},
		never(Case{
			ID: "4.4-z", Item: "35", Level: Must, Title: "ACKs of the service rise, name at most what was sent, and are never 0",
			Why: "Senders that check, as most do, close the connection on any other.", Peers: Peers{Go: Fail},
		}, ruleAck),
	}
	cases = append(cases, badAckCases()...)
	for i := range cases {
		cases[i].Section = SectionACK
		cases[i].Paragraph, _, _ = strings.Cut(cases[i].ID, "-")
	}
	return cases
}

// badAckCases send ACKs that must end the connection while the service sends the
// message that they are for.
func badAckCases() []Case {
	var cases []Case
	for _, a := range []struct {
		id, title string
		bodies    []string
		peers     Peers
	}{
		{"4.4-g", "an ACK of 0 closes", []string{"0"}, measured(Pass, Skip, Skip)},
		{"4.4-h", "an ACK without a body closes", []string{""}, Peers{Go: Skip, Perl: Skip}},
		{"4.4-i", "an ACK with letters closes", []string{"abc"}, measured(Pass, Skip, Skip)},
		{"4.4-j", "an ACK with letters after the count closes", []string{"2048xyz"}, measured(Fail, Skip, Skip)},
		{"4.4-k", "an ACK with a sign closes", []string{"+12"}, Peers{Go: Skip, Perl: Skip}},
		{"4.4-l", "an ACK with a leading zero closes", []string{"012"}, Peers{Go: Skip, Perl: Skip}},
		{"4.4-m", "an ACK with a newline closes", []string{"12\n"}, Peers{Go: Skip, Perl: Skip}},
		{"4.4-n", "an ACK above 2^63-1 closes", []string{"9223372036854775808"}, Peers{Go: Skip, Perl: Skip}},
		{"4.4-o", "an ACK that moves back closes", []string{"2048", "1000"}, Peers{Go: Skip, Perl: Skip}},
		{"4.4-p", "an ACK past what was sent closes", nil, measured(Pass, Skip, Skip)},
	} {
		cases = append(cases, fatal(Case{
			ID: a.id, Item: "38", Title: a.title, Peers: a.peers,
			Why: "A count that cannot be means that one side has lost count of octets.",
			Run: func(p *Probe) Result {
				return p.whileSending(func(s *stalled) Result {
					bodies := a.bodies
					if bodies == nil {
						bodies = []string{strconv.Itoa(len(s.body) + 1)}
					}
					octets := ""
					for _, b := range bodies {
						octets += ack(s.m.No, b)
					}
					return p.closes(octets)
				})
			},
		}))
	}
	return cases
}

// whileSending runs f while a reply waits for ACKs. With a service that does not wait
// nothing can be said.
func (p *Probe) whileSending(f func(*stalled) Result) Result {
	s, problem := p.stall(stallBody, "")
	switch {
	case problem != "":
		return p.Miss("%s", problem)
	case s.m.Ended:
		return p.Skip("the reply ended without waiting for ACKs, so none can be wrong")
	}
	return f(s)
}
