package conform

import (
	"fmt"
	"strconv"
	"time"
)

// guestFlowCases judge PROTOCOL 4.3 and 3.7: what a requester sends while nothing is
// acknowledged.
func guestFlowCases() []Case {
	return ofGuests(SectionData,
		Case{
			ID: "4.3-ra", Item: "33", Title: "a request stops at 65536 octets without an ACK", Steps: []Step{long},
			Want: "at most 65536 octets of DATA, and after ACKs the rest", Peers: measured(Pass, Fail, Fail),
			Why: "The window is the only brake. Without it a slow service has to hold the whole body in memory.",
			Play: func(v *Visit) Result {
				m, problem := v.full(65536)
				if problem != "" {
					return v.Miss("%s", problem)
				}
				if n := len(m.Body); n > 65536 {
					return v.Miss("%d octets came", n)
				}
				return v.rest(m, fmt.Sprintf("%d octets came, then nothing", len(m.Body)))
			},
		},
		Case{
			ID: "4.3-rb", Item: "34", Title: "after an ACK of n octets n more come, and not one beyond", Steps: []Step{long},
			Want: "65536 octets, then 20000 more", Peers: measured(Fail, Fail, Fail),
			Why: "A sender that looks at its window after each packet oversteps it by a packet.",
			Play: func(v *Visit) Result {
				m, problem := v.full(65536)
				if problem != "" {
					return v.Miss("%s", problem)
				}
				before := len(m.Body)
				if before < 20000 || m.Ended {
					return v.Miss("%d octets came without an ACK: %s", before, m)
				}
				v.Send(ack(m.No, "20000"))
				v.Await(func() bool { return len(m.Body) >= before+20000 })
				v.settle(func() int { return len(m.Body) })
				switch n := len(m.Body); {
				case n > 65536+20000:
					return v.Miss("%d octets came", n)
				case n == before:
					return v.Miss("none came; %s", v.state())
				}
				return v.rest(m, fmt.Sprintf("%d octets, then %d", before, len(m.Body)))
			},
		},
		Case{
			ID: "4.3-rc", Item: "33", Title: "other calls go on while one waits for its window", Steps: []Step{{Times: 5000, Calls: 2}},
			Want: "the whole of one request, while nothing of the other is acknowledged",
			Why:  "One slow handler must not stop the connection for others.",
			Play: othersGoOn,
		},
		Case{
			ID: "4.4-ra", Section: SectionACK, Title: "ACKs that come slowly are waited for", Steps: []Step{long},
			Want: "the whole request",
			Why:  "A handler takes its time; that is no failure.",
			Play: func(v *Visit) Result {
				m, problem := v.full(65536)
				if problem != "" {
					return v.Miss("%s", problem)
				}
				for acked := 0; !m.Ended && v.err == nil; {
					if acked = min(acked+8000, len(m.Body)); acked > int(v.acked[m.No]) {
						v.Send(ack(m.No, strconv.Itoa(acked)))
					}
					v.awaitFor(v.run.Quiet/20, func() bool { return false })
					if len(m.Body) == acked && !v.Await(func() bool { return len(m.Body) > acked || m.Ended }) {
						break
					}
				}
				return v.rest(m, "the whole request came")
			},
		},
		Case{
			ID: "3.7-rb", Item: "33a", Title: "a window in ext is the most that comes without an ACK", Steps: []Step{{Times: 10000}},
			Want: "at most 131072 octets of DATA", Why: "What was announced is all the room there is.",
			Play: func(v *Visit) Result {
				v.holdAcks = true
				m, problem := v.Request()
				if problem != "" {
					return v.Miss("%s", problem)
				}
				r := v.Reply(m).With("ext", `{"v":1,"win":131072}`)
				v.Send(r.Head())
				v.Await(func() bool { return len(m.Body) >= 131072 || m.Ended })
				v.settle(func() int { return len(m.Body) })
				if n := len(m.Body); n > 131072 {
					return v.Miss("%d octets came", n)
				}
				came := fmt.Sprintf("%d octets came, then nothing", len(m.Body))
				if problem := v.finish(m, v.c.Steps[0]); problem != "" {
					return v.Miss("%s, and then %s", came, problem)
				}
				v.Send(r.Data(okBody) + r.EOF())
				v.Succeeds(len(okBody))
				return v.Pass(came)
			},
		},
		Case{
			ID: "3.7-rc", Item: "33a", Title: "the credit beyond 65536 of all messages together keeps within the window", Steps: []Step{{Times: 10000, Calls: 3}},
			Want: "at most 131072 octets beyond 65536 in each of three requests",
			Why:  "What was announced is set aside once for a connection, not for each message.",
			Play: guestBudget,
		},
		Case{
			ID: "4.5-ra", Section: SectionLimits, Item: "41", Title: "a megabyte both ways at once passes", Steps: []Step{{Times: 29000}},
			Want: "the whole request, while the reply with the same octets goes back",
			Why:  "Two sides that both wait for the other to read wait for ever.",
			Play: echoAlong,
		},
	)
}

// full waits, without an ACK, for a request to fill a window.
func (v *Visit) full(window int) (m *Message, problem string) {
	v.holdAcks = true
	m, problem = v.Request()
	if problem != "" {
		return m, problem
	}
	v.Await(func() bool { return len(m.Body) >= window || m.Ended })
	v.settle(func() int { return len(m.Body) })
	return m, ""
}

// finish acknowledges what came, and from now on everything, and wants the rest.
func (v *Visit) finish(m *Message, s Step) (problem string) {
	v.holdAcks = false
	if n := uint64(len(m.Body)); n > v.acked[m.No] && !m.Ended {
		v.Send(ack(m.No, strconv.FormatUint(n, 10)))
	}
	return v.Whole(m, s)
}

// rest wants the rest of the request, and answers it.
func (v *Visit) rest(m *Message, came string) Result {
	if problem := v.finish(m, v.c.Steps[0]); problem != "" {
		return v.Miss("%s, and then %s", came, problem)
	}
	v.Send(good(v, m))
	v.Succeeds(len(okBody))
	return v.Pass(came)
}

// together waits for the calls of a step that are made at once. Fewer come from a
// requester that makes one after the other, or opens a connection for each.
func (v *Visit) together(calls int) []*Message {
	var all []*Message
	for range calls {
		m, problem := v.Request()
		if problem != "" {
			break
		}
		all = append(all, m)
	}
	return all
}

const oneAtATime = "fewer calls than asked for came on one connection"

func othersGoOn(v *Visit) Result {
	v.holdAcks = true
	all := v.together(2)
	if len(all) < 2 {
		return v.Skip(oneAtATime)
	}
	first, second := all[0], all[1]
	v.Await(func() bool { return len(first.Body) >= 65536 })
	for !second.Ended && v.err == nil {
		if n := len(second.Body); n > int(v.acked[second.No]) {
			v.Send(ack(second.No, strconv.Itoa(n)))
		}
		before := len(second.Body)
		if !v.Await(func() bool { return len(second.Body) > before || second.Ended }) {
			break
		}
	}
	came := fmt.Sprintf("%d octets of one request, %d of the other", len(first.Body), len(second.Body))
	if problem := v.Whole(second, v.c.Steps[0]); problem != "" {
		return v.Miss("%s: %s", came, problem)
	}
	v.Send(good(v, second))
	return v.rest(first, came)
}

func guestBudget(v *Visit) Result {
	v.holdAcks = true
	all := v.together(3)
	if len(all) < 3 {
		return v.Skip(oneAtATime)
	}
	replies := make([]*Request, len(all))
	heads := ""
	for i, m := range all {
		replies[i] = v.Reply(m).With("ext", `{"v":1,"win":131072}`)
		heads += replies[i].Head()
	}
	v.Send(heads)
	total := func() (octets int) {
		for _, m := range all {
			octets += len(m.Body)
		}
		return octets
	}
	v.Await(func() bool { return total() >= 3*65536+131072 })
	v.settle(total)
	beyond := 0
	for _, m := range all {
		beyond += max(0, len(m.Body)-65536)
		if len(m.Body) > 131072 {
			return v.Miss("%d octets of one request came", len(m.Body))
		}
	}
	came := fmt.Sprintf("%d octets came, %d of them beyond 65536 in each request", total(), beyond)
	if beyond > 131072 {
		return v.Miss("%s", came)
	}
	v.holdAcks = false
	for i, m := range all {
		if problem := v.finish(m, v.c.Steps[0]); problem != "" {
			return v.Miss("%s, and then %s", came, problem)
		}
		v.Send(replies[i].Data(okBody) + replies[i].EOF())
	}
	v.Succeeds(len(okBody))
	return v.Pass(came)
}

// echoAlong sends the octets of the request back as they come.
func echoAlong(v *Visit) Result {
	m, problem := v.Request()
	if problem != "" {
		return v.Miss("%s", problem)
	}
	r, sent := v.Reply(m), 0
	v.Send(r.Head())
	room := func() int { return min(len(m.Body)-sent, 16384, 65536-(sent-int(v.lastAck(r.No)))) }
	for v.err == nil {
		if !v.Await(func() bool { return room() > 0 || m.Ended && sent == len(m.Body) }) {
			return v.Miss("%d octets of the request came and %d went back, %d acknowledged; then nothing for %v; %s",
				len(m.Body), sent, v.lastAck(r.No), v.run.Timeout.Round(time.Millisecond), v.state())
		}
		if m.Ended && sent == len(m.Body) {
			break
		}
		n := room()
		v.Send(r.Data(string(m.Body[sent : sent+n])))
		sent += n
	}
	if problem := v.Whole(m, v.c.Steps[0]); problem != "" {
		return v.Miss("%s", problem)
	}
	v.Send(r.EOF())
	v.Succeeds(sent)
	return v.Pass(fmt.Sprintf("%d octets came and went back", sent))
}
