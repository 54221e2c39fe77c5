package conform

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
)

// A Probe is what a case works with: a connection to the service, and notes of what
// went over it. It is for the goroutine that runs the case and ends with it.
type Probe struct {
	*link // the connection in use; nil in a Cold case until Dial

	c    *Case
	run  *run
	ctx  context.Context
	sent log
	got  log
	hurt bool // the service closed a connection of this case
}

// Dial makes a new connection, which becomes the one in use; the former is closed. A
// nil change means the usual TLS settings. The certificate is compared in any case,
// where one to compare with was given.
func (p *Probe) Dial(change func(*tls.Config)) error {
	p.hangUp()
	c, err := p.run.dial(p.ctx, change)
	if err != nil {
		return err
	}
	p.link = newLink(p.ctx, c, p.run, &p.sent, &p.got)
	return nil
}

// hangUp closes the connection in use.
func (p *Probe) hangUp() {
	if p.link == nil {
		return
	}
	p.hurt = p.hurt || p.closed()
	p.link.close()
	p.link = nil
}

// Send writes raw octets.
func (p *Probe) Send(octets string) { p.send(octets) }

// note notes what is sent, or done, in another way than by Send.
func (p *Probe) note(what string) { p.link.sent.add(func() string { return what }) }

// Await handles what comes until cond holds, the connection ends or the timeout is
// over, and returns cond().
func (p *Probe) Await(cond func() bool) bool { return p.await(cond) }

// Quiet handles what comes for a short while. It tells whether nothing came and the
// connection is still there.
func (p *Probe) Quiet() bool {
	before := p.run.watch.packets
	p.awaitFor(p.run.Quiet, func() bool { return false })
	return p.run.watch.packets == before && p.err == nil
}

// maxRounds bounds how often a wait begins again because something came.
const maxRounds = 20

// Expect waits for the reply to r to end, at most the timeout after the latest packet
// that came. The problem is empty if it is there.
func (p *Probe) Expect(r *Request) (reply *Message, problem string) {
	ended := func() bool { m := p.reply(r.ID); return m != nil && m.Ended }
	for range maxRounds {
		before := p.run.watch.packets
		if p.Await(ended) || p.run.watch.packets == before {
			break
		}
	}
	m := p.reply(r.ID)
	switch {
	case m == nil:
		return nil, "no reply to request " + cut(r.ID, maxText) + "; " + p.state()
	case !m.Ended:
		return m, "a reply without an end: " + m.String() + "; " + p.state()
	}
	return m, ""
}

// ExpectEcho waits for the reply to r and wants body in it. The problem is empty if
// it is there.
func (p *Probe) ExpectEcho(r *Request, body string) (problem string) {
	m, problem := p.Expect(r)
	switch {
	case problem != "":
		return problem
	case m.Failed():
		return "an error: " + m.String()
	case string(m.Body) != body:
		return fmt.Sprintf("another body than the %d octets sent: %s", len(body), m)
	}
	return ""
}

// StillUsable sends one more correct request and wants its reply. The problem is empty
// if it is there.
func (p *Probe) StillUsable() (problem string) {
	r := p.Request()
	p.Send(r.All(`"still usable"`))
	if problem := p.ExpectEcho(r, `"still usable"`); problem != "" {
		return "a further correct request got " + problem
	}
	return ""
}

// Pass is the result of a case that the service meets; came says how it shows.
func (p *Probe) Pass(came string) Result { return Result{Verdict: Pass, Came: came} }

// Miss is the result of a case that the service does not meet.
func (p *Probe) Miss(format string, args ...any) Result {
	v := Fail
	if p.c.Level == Should {
		v = NonStrict
	}
	return Result{Verdict: v, Came: fmt.Sprintf(format, args...)}
}

// Info is the result of a case that finds something out and does not judge it.
func (p *Probe) Info(format string, args ...any) Result {
	return Result{Verdict: Info, Came: fmt.Sprintf(format, args...)}
}

// Skip is the result of a case that could not be judged.
func (p *Probe) Skip(format string, args ...any) Result {
	return Result{Verdict: Skip, Came: fmt.Sprintf(format, args...)}
}

// passUnless is Pass without problems, and Miss with the first of them.
func (p *Probe) passUnless(came string, problems ...string) Result {
	for _, problem := range problems {
		if problem != "" {
			return p.Miss("%s", problem)
		}
	}
	return p.Pass(came)
}

// dribble writes octets in pieces of so many.
func (p *Probe) dribble(octets string, piece int) {
	p.sending(octets)
	p.note(fmt.Sprintf("%s (in pieces of %d)", visible(octets), piece))
	for len(octets) > 0 {
		n := min(piece, len(octets))
		p.write(octets[:n])
		octets = octets[n:]
	}
}

// closes sends octets that must end the connection. A good reply to one of the
// requests in not shows at once that they did not.
func (p *Probe) closes(octets string, not ...*Request) Result {
	p.Send(octets)
	return p.mustClose(not...)
}

func (p *Probe) mustClose(not ...*Request) Result {
	answered := func() *Message {
		for _, r := range not {
			if m := p.reply(r.ID); m != nil && m.Ended && !m.Failed() {
				return m
			}
		}
		return nil
	}
	p.Await(func() bool { return p.err != nil || answered() != nil })
	if m := answered(); m != nil {
		return p.Miss("answered as if nothing was wrong: %s", m)
	}
	if !p.closed() {
		return p.Miss("%s", p.state())
	}
	return p.Pass("the connection closed")
}

// echoes sends a whole request and wants its body back, and then another one.
func (p *Probe) echoes(r *Request, body string) Result {
	return p.gets(r, r.All(body), body)
}

// gets sends octets and wants body in the reply to r, and then another one.
func (p *Probe) gets(r *Request, octets, body string) Result {
	p.Send(octets)
	if problem := p.ExpectEcho(r, body); problem != "" {
		return p.Miss("%s", problem)
	}
	return p.passUnless("the body came back, and the connection is usable", p.StillUsable())
}

// ignored sends octets to which nothing must come but that the connection goes on.
func (p *Probe) ignored(octets string) Result {
	before := len(p.messages)
	p.Send(octets)
	if !p.Quiet() && (p.err != nil || len(p.messages) > before) {
		return p.Miss("%s; %s", p.state(), p.since(before))
	}
	if problem := p.StillUsable(); problem != "" {
		return p.Miss("%s", problem)
	}
	if len(p.messages) > before+1 {
		return p.Miss("%s", p.since(before))
	}
	return p.Pass("nothing came, and the connection is usable")
}

// since describes the message of the service that came after so many.
func (p *Probe) since(before int) string {
	if len(p.messages) <= before {
		return "no message came"
	}
	return "a message came: " + p.messages[before].String()
}

// refused wants the reply to r to be an error, and the connection to go on. Without
// codes, any error will do.
func (p *Probe) refused(r *Request, codes ...string) Result {
	m, problem := p.Expect(r)
	if problem != "" {
		return p.Miss("%s", problem)
	}
	if !m.Failed() {
		return p.Miss("a reply that says yes: %s", m)
	}
	if code := m.Code(); len(codes) > 0 && !slices.Contains(codes, code) {
		return p.Miss("error_code %q, want %s: %s", cut(code, maxText), strings.Join(codes, " or "), m)
	}
	return p.passUnless("an error reply: "+m.String(), p.StillUsable())
}
