package conform

import (
	"fmt"
	"time"
)

// guestEndCases judge PROTOCOL 4.1, 4.6 and 4.8: how replies and connections end.
func guestEndCases() []Case {
	broken := func(text string) func(v *Visit, m *Message) string {
		return func(v *Visit, m *Message) string {
			r := v.Reply(m)
			return r.Head() + r.Data(`"half`) + r.Abort(text)
		}
	}
	return ofGuests(SectionEnd,
		refusedReply(Case{ID: "5.2-rf", Item: "51", Title: "a reply that ends in TXERR is an error, though DATA came", Why: "Half an answer is no answer.",
			Peers: measured(Pass, NonStrict, Pass)}, []string{"transport"}, broken("disk failed")),
		refusedReply(Case{ID: "4.1-rb", Item: "16", Title: "a TXERR without text is an error all the same", Why: "Perl can send one.",
			Peers: measured(Pass, Pass, Pass)}, nil, broken("")),
		refusedReply(Case{ID: "4.1-rc", Item: "16", Title: "a TXERR with the text 0 is an error all the same", Why: "Perl can send one; 0 is false there, so its own reader overlooks it."},
			nil, broken("0")),
		taken(Case{ID: "4.1-rd", Title: "a reply that begins and ends before the request has ended is taken", Steps: []Step{long}, Why: "A handler need not read all to know the answer.",
			Peers: measured(Pass, Pass, Pass)}, len(okBody), good).early(),
		Case{ID: "4.1-re", Level: Should, Title: "a request whose reply has ended already is given up", Steps: []Step{long},
			Want: "TXERR, or the end of the connection, instead of the rest of the body", Why: "Nobody will read it.", Play: givesUp},
		Case{ID: "4.8-ra", Item: "43", Title: "the end of the connection within a reply is an error", Want: wantError + " with the code transport",
			Why: "Half an answer is no answer.", Peers: measured(Pass, Pass, Pass), Play: func(v *Visit) Result {
				m, problem := v.Call(0)
				if problem != "" {
					return v.Miss("%s", problem)
				}
				r := v.Reply(m)
				v.Send(r.Head() + r.Data(`"half`))
				v.awaitFor(v.run.Quiet/5, func() bool { return false })
				v.hangUp()
				v.Fails("transport")
				v.blind = true
				return v.Pass("the connection was closed within the reply")
			}},
		Case{ID: "4.8-rb", Item: "45", Title: "the end of the service's side ends the connection", Want: wantFailed,
			Why: "There is no half-close: nothing more will come.", Play: func(v *Visit) Result {
				_, problem := v.Call(0)
				if problem != "" {
					return v.Miss("%s", problem)
				}
				v.closeWrite()
				return v.mustEnd()
			}},
		Case{ID: "4.6-ra", Section: SectionIdle, Item: "46", Level: Should, Title: "an idle connection is closed", Want: "the connection closes when its idle time is over",
			Why: "Connections that nobody closes pile up, and a service that closes first may close on a request.", Play: guestIdle},
		Case{ID: "4.6-rb", Section: SectionIdle, Item: "46", Title: "a connection is not closed while a call waits", Want: "a reply that comes after the idle time reaches the program",
			Why: "A slow handler is no idle one.", Play: func(v *Visit) Result {
				m, problem := v.Call(0)
				if problem != "" {
					return v.Miss("%s", problem)
				}
				idle := v.run.Idle
				if idle == 0 {
					v.Send(good(v, m))
					return v.Info("%s", noIdle)
				}
				if v.awaitFor(idle+idle/2, func() bool { return v.err != nil }) {
					return v.Miss("%s while the call waited", v.state())
				}
				v.Send(good(v, m))
				v.Succeeds(len(okBody))
				return v.Pass("it stayed for " + (idle + idle/2).String())
			}},
		Case{ID: "4.9-ra", Section: SectionIdle, Item: "47", Title: "a call that is never answered ends by itself", Want: wantError + " with the code transport",
			Why: "A program that waits for ever cannot help itself.", Play: func(v *Visit) Result {
				if _, problem := v.Call(0); problem != "" {
					return v.Miss("%s", problem)
				}
				v.Fails("transport")
				v.blind = true
				if began := time.Now(); !v.Reported(1, 2*v.run.Timeout+6*time.Second) {
					return v.Info("nothing was said for %v: is its rpc.timeout longer?", time.Since(began).Round(time.Second))
				}
				return v.Pass("nothing was answered")
			}},
	)
}

const noIdle = "not tried: say with --idle after how long it closes an idle connection"

// early makes a case send its reply when the window of the request is full, and
// acknowledge nothing before that.
func (c Case) early() Case {
	c.Play = func(v *Visit) Result {
		m, problem := v.full(65536)
		if problem != "" {
			return v.Miss("%s", problem)
		}
		v.Send(good(v, m))
		v.Succeeds(len(okBody))
		v.blind = true
		v.Reported(1, v.run.Quiet)
		v.holdAcks = false
		if !m.Ended && v.err == nil { // one who wants to finish first may
			v.Send(ack(m.No, fmt.Sprint(len(m.Body))))
		}
		return v.Pass("the reply was sent")
	}
	return c
}

func givesUp(v *Visit) Result {
	v.holdAcks = true
	m, problem := v.Request()
	if problem != "" {
		return v.Miss("%s", problem)
	}
	v.Send(refusing(`"conform_early"`, `"stop"`)(v.Reply(m)).All(""))
	v.Fails("conform_early")
	v.Await(func() bool { return m.Ended || v.err != nil })
	switch {
	case m.Broken:
		return v.Pass("TXERR after " + octets(len(m.Body)))
	case m.Ended:
		return v.Miss("%s and EOF, without an ACK", octets(len(m.Body)))
	case v.closed():
		return v.Pass("the connection closed after " + octets(len(m.Body)))
	}
	return v.Miss("%s, and no end", octets(len(m.Body)))
}

func octets(n int) string { return fmt.Sprintf("%d octets", n) }

func guestIdle(v *Visit) Result {
	m, problem := v.Call(0)
	if problem != "" {
		return v.Miss("%s", problem)
	}
	v.Send(good(v, m))
	v.Succeeds(len(okBody))
	return v.idles()
}

// closeWrite ends our side of the connection, and that alone.
func (p *Probe) closeWrite() {
	p.note("(TLS close_notify and FIN)")
	p.tls.CloseWrite()
	if c, ok := p.tls.NetConn().(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	}
}
