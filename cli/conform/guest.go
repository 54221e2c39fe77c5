package conform

import (
	"fmt"
	"slices"
	"strings"
)

// RequesterCases returns the cases that judge requesters, in the order of the card. The
// slice is the caller's.
func RequesterCases() []Case {
	cases := slices.Concat(guestTLSCases(), guestLineCases(), guestHeaderCases(), guestFlowCases(), guestAckCases(),
		guestReplyCases(), guestErrorCases(), guestEndCases(), guestLeaveCases(), guestRuleCases(), guestHostileCases())
	slices.SortStableFunc(cases, func(a, b Case) int {
		return slices.Index(Sections(), a.Section) - slices.Index(Sections(), b.Section)
	})
	return withSources(cases)
}

// Texts that many cases share.
const (
	wantTaken  = "the program gets the reply"
	wantFailed = "the connection closes, and the program gets an error"
	wantError  = "the program gets an error"
)

// okBody is the body of most replies.
const okBody = `"ok"`

// long is a body that does not fit into a window of 65536 octets.
var long = Step{Times: 5000}

// ofGuests completes cases for requesters.
func ofGuests(s Section, cases ...Case) []Case {
	for i := range cases {
		c := &cases[i]
		if c.Section == "" {
			c.Section = s
		}
		if c.Level == 0 {
			c.Level = Must
		}
		c.Paragraph, _, _ = strings.Cut(c.ID, "-")
	}
	return cases
}

// taken makes a case in which the requester must get a reply of so many octets. send
// returns what to send when its request is there.
func taken(c Case, octets int, send func(v *Visit, m *Message) string) Case {
	if c.Want == "" {
		c.Want = wantTaken
	}
	c.Play = func(v *Visit) Result {
		m, problem := v.Call(0)
		if problem != "" {
			return v.Miss("%s", problem)
		}
		v.Send(send(v, m))
		v.Succeeds(octets)
		v.blind = true
		return v.Pass("the reply was sent")
	}
	return c
}

// refusedReply makes a case in which the requester's program must get an error, with one
// of the codes if any are named, and the connection need not end.
func refusedReply(c Case, codes []string, send func(v *Visit, m *Message) string) Case {
	c.Want = wantError
	if len(codes) > 0 {
		c.Want += " with the code " + strings.Join(codes, " or ")
	}
	c.Play = func(v *Visit) Result {
		m, problem := v.Call(0)
		if problem != "" {
			return v.Miss("%s", problem)
		}
		v.Send(send(v, m))
		v.Fails(codes...)
		v.blind = true
		return v.Pass("the reply was sent")
	}
	return c
}

// ends makes a case in which the requester must close the connection. What is sent goes
// on with a whole reply, so that one who overlooks the mistake shows it at once.
func ends(c Case, send func(v *Visit, m *Message) string) Case {
	c.Want = wantFailed
	c.Play = func(v *Visit) Result {
		m, problem := v.Call(0)
		if problem != "" {
			return v.Miss("%s", problem)
		}
		v.Send(send(v, m))
		return v.mustEnd()
	}
	return c
}

// mustEnd wants the requester to close the connection and its program to get an error.
func (v *Visit) mustEnd() Result {
	v.Fails()
	told := func() bool { return len(v.said) > 0 }
	for range maxRounds {
		if v.awaitFor(v.run.Timeout/maxRounds, func() bool { return v.err != nil }) || told() {
			break
		}
		v.hear(0)
	}
	v.awaitFor(v.run.Quiet, func() bool { return v.err != nil })
	if !v.closed() {
		return v.Miss("%s", v.state())
	}
	return v.Pass("the connection closed")
}

// look makes a case of a rule for all that requesters write.
func look(c Case, r rule) Case {
	c.Last, c.Want = true, wantNone
	c.Play = func(v *Visit) Result { return v.run.watch.verdict(v.Probe, r) }
	return c
}

// pour sends a whole reply as ACKs allow. The problem is empty if all was taken.
func (v *Visit) pour(r *Request, body string) (problem string) {
	s := &stalled{r: r, body: body}
	v.Send(r.Head())
	v.upload(s)
	if s.sent < len(body) {
		return fmt.Sprintf("stopped after %d octets of the reply, %d of them acknowledged; %s", s.sent, v.lastAck(r.No), v.state())
	}
	return ""
}

// good is a correct reply.
func good(v *Visit, m *Message) string { return v.Reply(m).All(okBody) }
