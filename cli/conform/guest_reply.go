package conform

import (
	"fmt"
	"slices"
	"strings"

	"github.com/scampbus/scamp-go/packet"
)

// guestReplyCases judge PROTOCOL 3.4, 3.5 and 4.7: which reply belongs to which call,
// and what is none.
func guestReplyCases() []Case {
	// before sends something that is to be ignored, then the reply.
	before := func(octets func(v *Visit, m *Message) string) func(*Visit, *Message) string {
		return func(v *Visit, m *Message) string { return octets(v, m) + good(v, m) }
	}
	return ofGuests(SectionCorrelation,
		taken(Case{ID: "3.5-rc", Item: "31", Title: "a reply to a request never made is ignored", Why: "It is not the answer to the call that waits.",
			Peers: measured(Pass, Pass, Pass)}, len(okBody), before(func(v *Visit, _ *Message) string {
			return newReply(v.session, "99").All(`"not for you"`)
		})),
		Case{ID: "3.5-rd", Item: "31", Title: "the body of a reply that is ignored is acknowledged", Peers: Peers{Perl: Fail},
			Want: "ACKs, so that all 300000 octets can be sent", Why: "The service would stall at its window, and hold the connection open for ever.",
			Play: func(v *Visit) Result {
				m, problem := v.Call(0)
				if problem != "" {
					return v.Miss("%s", problem)
				}
				if problem := v.pour(newReply(v.session, "99"), text(300000)); problem != "" {
					return v.Miss("%s", problem)
				}
				v.Send(good(v, m))
				v.Succeeds(len(okBody))
				return v.Pass("all was acknowledged")
			}},
		taken(Case{ID: "3.5-re", Item: "28", Title: "a reply without request_id is ignored", Why: "It could belong to any call."},
			len(okBody), before(func(v *Visit, m *Message) string { return v.Reply(m).Without("request_id").All(`"whose"`) })),
		taken(Case{ID: "3.5-rf", Item: "30", Title: "a message of an unknown type is ignored", Why: "That is how new kinds of message can be tried on old peers.", Peers: Peers{Go: Fail}},
			len(okBody), before(func(v *Visit, m *Message) string { return v.Reply(m).With("type", `"bogus"`).All(`"later"`) })),
		taken(Case{ID: "3.5-rg", Item: "30", Title: "an event that nobody subscribed to is ignored", Why: "Others on the bus know events.", Peers: measured(Pass, Fail, Pass)},
			len(okBody), before(func(v *Visit, m *Message) string {
				return v.Reply(m).Without("request_id").With("type", `"event"`).All("")
			})),
		taken(Case{ID: "5.1-ra", Title: "a request from the service is ignored", Why: "Only the side that connects asks.", Peers: measured(Pass, Fail, Pass)},
			len(okBody), before(func(v *Visit, m *Message) string {
				return v.Reply(m).With("type", `"request"`).With("action", quoted(NextAction)).With("version", "1").With("envelope", `"json"`).All("{}")
			})),
		Case{ID: "3.5-rh", Item: "31", Title: "a second reply to the same call harms nobody", Steps: []Step{{Times: 1}, {Times: 1}},
			Want: "the first reply, and a further call on the same connection", Why: "The program must get one answer, the first.", Play: repliedTwice},
		Case{ID: "3.4-rb", Item: "19", Level: Should, Title: "calls made at once share one connection, and each gets its reply", Steps: []Step{{Times: 1, Calls: 5}},
			Want: "five requests on one connection; replies in another order, their packets mixed, reach their calls",
			Why:  "A connection for each call costs a handshake for each call.", Play: mixedReplies},
		Case{ID: "4.7-ra", Section: SectionPing, Item: "17", Title: "PING is answered by PONG with its number", Peers: measured(Pass, Fail, Fail),
			Want: `PONG 7 0\r\nEND\r\n, and the program gets the reply`, Why: "A heartbeat that nobody answers ends the connection.",
			Play: func(v *Visit) Result {
				m, problem := v.Call(0)
				if problem != "" {
					return v.Miss("%s", problem)
				}
				v.Send(wire(packet.KindPING, 7, "body"))
				if !v.Await(func() bool { return len(v.pongs) > 0 }) {
					return v.Miss("no PONG; %s", v.state())
				}
				if v.pongs[0] != 7 {
					return v.Miss("PONG %d", v.pongs[0])
				}
				v.Send(good(v, m))
				v.Succeeds(len(okBody))
				return v.Pass("PONG 7")
			}},
		taken(Case{ID: "4.7-rb", Section: SectionPing, Item: "17", Title: "a PONG that nobody asked for is ignored", Why: "It may be late."},
			len(okBody), before(func(*Visit, *Message) string { return wire(packet.KindPONG, 3, "") })),
	)
}

func repliedTwice(v *Visit) Result {
	m, problem := v.Call(0)
	if problem != "" {
		return v.Miss("%s", problem)
	}
	v.Send(good(v, m) + v.Reply(m).All(`"a second one"`))
	v.Succeeds(len(okBody))
	v.Succeeds(len(okBody))
	m, problem = v.Call(1)
	if problem != "" {
		return v.Miss("after two replies to the first call %s", problem)
	}
	v.Send(good(v, m))
	return v.Pass("a further call came on the same connection")
}

func mixedReplies(v *Visit) Result {
	n := v.c.Steps[0].Calls
	all := v.together(n)
	if len(all) < n {
		return v.Miss("%d of %d calls came on the connection", len(all), n)
	}
	var heads, datas, ends strings.Builder
	want := outcome{}
	slices.Reverse(all)
	for i, m := range all {
		if problem := v.Whole(m, v.c.Steps[0]); problem != "" {
			return v.Miss("%s", problem)
		}
		body := text(10 + i)
		r := v.Reply(m)
		heads.WriteString(r.Head())
		datas.WriteString(r.Data(body[:5]))
		ends.WriteString(r.Data(body[5:]) + r.EOF())
		want.each = append(want.each, len(body))
	}
	v.Send(heads.String() + datas.String() + ends.String())
	v.wants = append(v.wants, want)
	return v.Pass(fmt.Sprintf("%d requests on one connection", n))
}
