package conform

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// A Visit is what a case for requesters works with: a connection that a requester made,
// and what the requester says of its calls. It is for the goroutine that plays the case.
type Visit struct {
	*Probe // its link is the connection in use; nil until Accept

	s     *station
	began time.Time // of the first connection or report
	taken int       // requests that Request returned, on the connection in use
	said  []report  // of the steps, as far as they came
	wants []outcome // of the steps; those that are missing do not matter
	blind bool      // nothing but what the requester says tells the outcome
}

// An outcome is what the requester's program must see of the calls of a step.
type outcome struct {
	fails  bool
	codes  []string // of a failure; empty means any
	octets int      // of body; negative means any
	each   []int    // octets of the bodies of all calls of the step, in any order; nil means octets counts
}

// play waits for the requester and plays the case.
func (v *Visit) play() Result {
	if !v.c.Cold {
		if problem := v.first(); problem != "" {
			result := Result{Verdict: Fail, Came: problem}
			if v.ctx.Err() != nil {
				result = v.cut(result)
			}
			return result
		}
	}
	result := v.c.Play(v)
	switch {
	case v.ctx.Err() != nil && result.Verdict != Pass:
		return v.cut(result)
	case result.Verdict != Pass && result.Verdict != Info:
		v.s.refuse() // so that calls which still wait end
		v.hangUp()
	}
	v.linger()
	return v.judged(result)
}

// cut is the result of a case that was not waited for: because the run was ended, or
// because the requester is gone.
func (v *Visit) cut(result Result) Result {
	if !v.s.h.isGone() {
		return v.Skip("the run ended before the case did")
	}
	if v.began.IsZero() && !v.s.isOffered() {
		return v.Skip("the requester is gone")
	}
	return Result{Verdict: Fail, Came: "the requester is gone; in the case itself: " + result.Came}
}

// first waits, for as long as it takes, for the first connection.
func (v *Visit) first() (problem string) {
	for v.link == nil {
		select {
		case c := <-v.s.conns:
			if err := v.take(c); err != nil {
				return "no TLS: " + cut(err.Error(), maxText)
			}
		case r := <-v.s.reports:
			v.hears(r)
			// A connection may have come just before.
			select {
			case c := <-v.s.conns:
				if err := v.take(c); err != nil {
					return "no TLS: " + cut(err.Error(), maxText)
				}
			default:
				return "no connection came; " + r.String()
			}
		case <-v.ctx.Done():
			return "no call came"
		}
	}
	return ""
}

// Accept waits for a further connection of the requester, which becomes the one in use;
// the former is closed.
func (v *Visit) Accept() (problem string) {
	t := time.NewTimer(v.run.Timeout)
	defer t.Stop()
	select {
	case c := <-v.s.conns:
		if err := v.take(c); err != nil {
			return "no TLS: " + cut(err.Error(), maxText)
		}
		return ""
	case <-t.C:
	case <-v.ctx.Done():
	}
	return "no connection came"
}

// take makes a link of a connection.
func (v *Visit) take(raw net.Conn) error {
	v.hangUp()
	v.arrived()
	l, err := v.s.h.shake(v.ctx, raw, v.c, v.run, &v.sent, &v.got)
	if err != nil {
		return err
	}
	v.link, v.taken = l, 0
	v.link.done = v.ctx.Done()
	return nil
}

func (v *Visit) arrived() {
	if v.began.IsZero() {
		v.began = time.Now()
	}
}

// leave closes the connection and gives what was seen on all of them to the host.
func (v *Visit) leave() {
	v.hangUp()
	v.s.h.mu.Lock()
	defer v.s.h.mu.Unlock()
	v.s.h.watch.merge(v.run.watch)
}

// hears notes what the requester says of a step.
func (v *Visit) hears(r report) {
	v.arrived()
	v.said = append(v.said, r)
}

// Reported waits until the requester has said what became of so many steps, and looks
// after the connection meanwhile.
func (v *Visit) Reported(steps int, most time.Duration) bool {
	for end := time.Now().Add(most); len(v.said) < steps && v.ctx.Err() == nil; {
		left := min(time.Until(end), 10*time.Millisecond)
		if left <= 0 {
			break
		}
		if v.link != nil && v.err == nil {
			v.awaitFor(left, func() bool { return v.err != nil })
			left = 0
		}
		v.hear(left)
	}
	return len(v.said) >= steps
}

// Turn lets the next step begin.
func (v *Visit) Turn() {
	select {
	case v.s.turns <- struct{}{}:
	default: // more often than there are steps
	}
}

// hear takes a report if one comes in time.
func (v *Visit) hear(most time.Duration) {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case r := <-v.s.reports:
		v.hears(r)
	case <-t.C:
	case <-v.ctx.Done():
	}
}

// linger keeps the connection until the requester has what was sent: until it says what
// became of its calls or, if nobody asked it to, for a short while.
func (v *Visit) linger() {
	if v.s.isOffered() {
		v.Reported(len(v.c.Steps), 2*v.run.Timeout)
	} else if v.link != nil {
		v.awaitFor(v.run.Quiet, func() bool { return v.err != nil })
	}
	if v.link != nil {
		v.awaitFor(0, func() bool { return false }) // what came and was not looked at
	}
}

// judged adds to a result of what went over the wire what the requester's program saw.
func (v *Visit) judged(result Result) Result {
	if result.Verdict != Pass {
		for _, r := range v.said {
			result.Came += "; " + r.String()
		}
		return result
	}
	told := false
	for i, want := range v.wants {
		if i >= len(v.said) || len(v.said[i].Results) == 0 {
			continue
		}
		told = true
		if problem := want.compareAll(v.said[i].Results); problem != "" {
			return v.Miss("%s; on the wire: %s", problem, result.Came)
		}
		for _, got := range v.said[i].Results {
			if problem := want.compare(got); problem != "" {
				return v.Miss("%s; on the wire: %s", problem, result.Came)
			}
		}
		result.Came += "; " + v.said[i].String()
	}
	if v.blind && !told {
		return v.Skip("%s; the requester did not say what became of the call", result.Came)
	}
	return result
}

// compareAll returns what is wrong with the calls of a step together.
func (o outcome) compareAll(got []CallResult) (problem string) {
	if o.each == nil {
		return ""
	}
	var sizes []int
	for _, r := range got {
		sizes = append(sizes, r.Octets)
	}
	slices.Sort(sizes)
	want := slices.Sorted(slices.Values(o.each))
	if !slices.Equal(sizes, want) {
		return fmt.Sprintf("the program saw bodies of %v octets, want %v", sizes, want)
	}
	return ""
}

// compare returns what is wrong with what became of a call; empty if it is as wanted.
func (o outcome) compare(got CallResult) (problem string) {
	switch {
	case o.fails && got.OK:
		return "the program saw no error: " + got.String()
	case !o.fails && !got.OK:
		return "the program saw an error: " + got.String()
	case o.fails && len(o.codes) > 0 && !slices.Contains(o.codes, got.Code):
		return fmt.Sprintf("the program saw another code than %s: %s", strings.Join(o.codes, " or "), got)
	case !o.fails && o.each == nil && o.octets >= 0 && got.Octets != o.octets:
		return fmt.Sprintf("the program saw another body than the %d octets sent: %s", o.octets, got)
	}
	return ""
}

// Succeeds wants the next step to end in a reply with so many octets.
func (v *Visit) Succeeds(octets int) { v.wants = append(v.wants, outcome{octets: octets}) }

// Fails wants the next step to end in an error, with one of the codes if any are named.
func (v *Visit) Fails(codes ...string) {
	v.wants = append(v.wants, outcome{fails: true, codes: codes})
}

// Request waits for the HEADER of the next request on the connection.
func (v *Visit) Request() (m *Message, problem string) {
	if !v.Await(func() bool { return len(v.requests) > v.taken }) {
		return nil, "no request came; " + v.state()
	}
	m = v.requests[v.taken]
	v.taken++
	if got, want := m.Header.Action, ActionOf(*v.c); !strings.EqualFold(got, want) {
		return m, fmt.Sprintf("a request for %q instead of %q", cut(got, maxText), want)
	}
	return m, ""
}

// Whole waits for the end of a request and compares its body with that of the step.
func (v *Visit) Whole(m *Message, s Step) (problem string) {
	for range maxRounds {
		before := v.run.watch.packets
		if v.Await(func() bool { return m.Ended }) || v.run.watch.packets == before {
			break
		}
	}
	switch body := s.Body(); {
	case !m.Ended:
		return "a request without an end: " + m.String() + "; " + v.state()
	case m.Broken:
		return "a request that was given up: " + m.String()
	case string(m.Body) != body && string(m.Body) != strings.Trim(body, `"`):
		return fmt.Sprintf("another body than the %d octets of %s: %s", len(body), StepText, m)
	}
	return ""
}

// Call waits for a whole request: that of the step, whose number counts from 0.
func (v *Visit) Call(step int) (m *Message, problem string) {
	m, problem = v.Request()
	if problem == "" {
		problem = v.Whole(m, v.c.Steps[step])
	}
	return m, problem
}

// Reply returns a reply to a request, a correct one. Its message number is taken,
// whether it is sent or not.
func (v *Visit) Reply(m *Message) *Request { return newReply(v.session, m.Header.ID.String()) }
