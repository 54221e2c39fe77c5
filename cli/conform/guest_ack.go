package conform

import (
	"fmt"
	"strconv"
)

// guestAckCases judge PROTOCOL 4.4, on both sides: the ACKs that a requester sends, and
// what it does with those that it gets.
func guestAckCases() []Case {
	cases := []Case{
		{
			ID: "4.4-rb", Item: "36", Title: "a reply of 300000 octets is acknowledged as it is taken",
			Want: "ACKs that rise, so that all of it can be sent", Peers: measured(Pass, Pass, Pass),
			Why: "They are what the service goes on by.",
			Play: func(v *Visit) Result {
				m, problem := v.Call(0)
				if problem != "" {
					return v.Miss("%s", problem)
				}
				r := v.Reply(m)
				if problem := v.pour(r, text(300000)); problem != "" {
					return v.Miss("%s", problem)
				}
				v.Succeeds(300000)
				return v.Pass(fmt.Sprintf("%d ACKs, the last of %d octets", len(v.acks[r.No]), v.lastAck(r.No)))
			},
		}, {
			ID: "4.4-rc", Item: "36a", Level: Should, Title: "a short complete reply gets no ACK",
			Want: "no ACK for a reply of 1000 octets that arrived as a whole", Peers: measured(NonStrict, NonStrict, NonStrict),
			Why: "Nobody waits for it, and it costs a packet for each small call.",
			Play: func(v *Visit) Result {
				m, problem := v.Call(0)
				if problem != "" {
					return v.Miss("%s", problem)
				}
				r := v.Reply(m)
				v.Send(r.All(text(1000)))
				v.Succeeds(1000)
				v.Reported(1, v.run.Timeout/2)
				v.awaitFor(v.run.Quiet, func() bool { return len(v.acks[r.No]) > 0 })
				if acks := v.acks[r.No]; len(acks) > 0 {
					return v.Miss("ACKs %v", acks)
				}
				return v.Pass("none")
			},
		}, {
			ID: "4.4-rd", Item: "38", Title: "an ACK that repeats the count is ignored", Steps: []Step{long},
			Want: "the request goes on with the next ACK", Peers: measured(Fail, Pass, Pass),
			Why: "Go sends them after an empty DATA.",
			Play: func(v *Visit) Result {
				return v.whileAsking(func(m *Message) Result {
					v.Send(ack(m.No, "10000") + ack(m.No, "10000") + ack(m.No, "10000"))
					return v.rest(m, "after further ACKs the whole request came")
				})
			},
		},
		taken(Case{
			ID: "4.4-re", Item: "38", Title: "ACKs for messages that are finished, or never begun, are ignored, whatever their body", Why: "ACKs cross with the ends of messages.",
		}, len(okBody), func(v *Visit, m *Message) string {
			return ack(m.No, "1") + ack(m.No, "999999") + ack(m.No, "x") + ack(42, "10") + good(v, m)
		}),
	}
	for _, a := range []struct {
		id, title string
		bodies    []string
		peers     Peers
	}{
		{"4.4-rg", "an ACK of 0 closes", []string{"0"}, Peers{}},
		{"4.4-rh", "an ACK without a body closes", []string{""}, Peers{}},
		{"4.4-ri", "an ACK with letters closes", []string{"abc"}, Peers{}},
		{"4.4-rj", "an ACK with letters after the count closes", []string{"2048xyz"}, Peers{JS: Fail}},
		{"4.4-rk", "an ACK with a sign closes", []string{"+12"}, Peers{}},
		{"4.4-rl", "an ACK with a leading zero closes", []string{"012"}, Peers{}},
		{"4.4-rm", "an ACK with a newline closes", []string{"12\n"}, Peers{}},
		{"4.4-rn", "an ACK above 2^63-1 closes", []string{"9223372036854775808"}, Peers{}},
		{"4.4-ro", "an ACK that moves back closes", []string{"2048", "1000"}, Peers{}},
		{"4.4-rp", "an ACK past what was sent closes", nil, Peers{JS: Pass, Go: Skip, Perl: Skip}},
	} {
		cases = append(cases, Case{
			ID: a.id, Item: "38", Title: a.title, Steps: []Step{long}, Want: wantFailed, Peers: a.peers,
			Why: "A count that cannot be means that one side has lost count of octets.",
			Play: func(v *Visit) Result {
				return v.whileAsking(func(m *Message) Result {
					bodies := a.bodies
					if bodies == nil {
						bodies = []string{strconv.Itoa(len(m.Body) + 1)}
					}
					octets := ""
					for _, b := range bodies {
						octets += ack(m.No, b)
					}
					v.Send(octets)
					return v.mustEnd()
				})
			},
		})
	}
	return ofGuests(SectionACK, cases...)
}

// whileAsking runs f while a request waits for ACKs. With a requester that does not wait
// nothing can be said.
func (v *Visit) whileAsking(f func(*Message) Result) Result {
	m, problem := v.full(65536)
	switch {
	case problem != "":
		return v.Miss("%s", problem)
	case m.Ended:
		return v.Skip("the request ended without waiting for ACKs, so none can be wrong")
	}
	return f(m)
}
