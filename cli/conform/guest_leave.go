package conform

import (
	"time"
)

// giveUp is after how long a requester is asked to leave a call.
const giveUp = 500 * time.Millisecond

// guestLeaveCases judge PROTOCOL 4.9 and 3.7: what becomes of a call whose program left.
func guestLeaveCases() []Case {
	leaves := Step{Times: 1, GiveUp: giveUp}
	return ofGuests(SectionEnd,
		Case{ID: "4.9-rb", Item: "48", Title: "a late reply is drained, and harms no other call", Steps: []Step{leaves, {Times: 1}},
			Want: "ACKs for the 300000 octets of a reply that comes late, and a further call on the same connection",
			Why:  "A service that stalls in a reply nobody reads holds its memory for ever.", Play: lateReply},
		Case{ID: "4.9-rc", Item: "48", Title: "an unfinished request that the program leaves ends in TXERR", Steps: []Step{{Times: 5000, GiveUp: giveUp}},
			Want: "TXERR, or the end of the connection", Why: "Half an order is not an order, and the service must not wait for the rest.",
			Play: func(v *Visit) Result {
				m, problem := v.full(65536)
				switch {
				case problem != "":
					return v.Miss("%s", problem)
				case m.Ended && !m.Broken:
					return v.Skip("the request ended without waiting for ACKs, so it is complete")
				}
				v.Fails()
				if !v.Reported(1, v.run.Timeout) {
					return v.Skip(noGiveUp)
				}
				v.awaitFor(v.run.Quiet, func() bool { return m.Ended || v.err != nil })
				switch {
				case m.Broken:
					return v.Pass("TXERR after " + octets(len(m.Body)))
				case v.closed():
					return v.Pass("the connection closed after " + octets(len(m.Body)))
				}
				return v.Miss("%s", m)
			}},
		Case{ID: "3.7-rd", Item: "19c", Level: Should, Title: "a complete request that the program leaves is cancelled, where the service said that it understands that",
			Steps: []Step{{Times: 1}, leaves}, Want: "a message of type cancel with the id of the request", Why: "The handler works on for nobody.", Play: cancels},
	)
}

const noGiveUp = "the requester did not give up when it was asked to"

func lateReply(v *Visit) Result {
	m, problem := v.Call(0)
	if problem != "" {
		return v.Miss("%s", problem)
	}
	v.Fails()
	if !v.Reported(1, v.run.Timeout) {
		return v.Skip(noGiveUp)
	}
	if problem := v.pour(v.Reply(m), text(300000)); problem != "" {
		return v.Miss("late, %s", problem)
	}
	v.Succeeds(len(okBody))
	m, problem = v.Call(1)
	if problem != "" {
		return v.Miss("the late reply was drained, and then %s", problem)
	}
	v.Send(good(v, m))
	return v.Pass("it was drained, and a further call came on the same connection")
}

func cancels(v *Visit) Result {
	m, problem := v.Call(0)
	if problem != "" {
		return v.Miss("%s", problem)
	}
	knows := m.Header.Ext.V > 0
	v.Send(v.Reply(m).With("ext", `{"v":1,"cancel":1}`).All(okBody))
	v.Succeeds(len(okBody))
	if m, problem = v.Call(1); problem != "" {
		return v.Miss("%s", problem)
	}
	v.Fails()
	if !v.Reported(2, v.run.Timeout) {
		return v.Skip(noGiveUp)
	}
	v.awaitFor(v.run.Quiet, func() bool { return len(v.cancels) > 0 })
	switch {
	case len(v.cancels) == 0 && !knows:
		return v.Skip("the requester knows no extensions")
	case len(v.cancels) == 0:
		return v.Miss("no cancel came; %s", v.state())
	case v.cancels[0].Header.ID != m.Header.ID:
		return v.Miss("a cancel of another request than %s: %s", cut(m.Header.ID.String(), maxText), v.cancels[0])
	}
	v.Send(refusing(`"transport"`, `"cancelled"`)(v.Reply(m)).All(""))
	return v.Pass(v.cancels[0].String())
}
