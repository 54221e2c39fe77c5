package conform

import (
	"fmt"
	"strings"
	"time"
)

// extensionCases judge PROTOCOL 3.7: windows, cancel and deadlines between peers that
// know them. Of a service that does not announce them nothing is wanted but that it
// serves on.
func extensionCases() []Case {
	cases := []Case{
		{
			ID: "3.7-e", Section: SectionData, Item: "33a", Title: "the credit beyond 65536 of all messages together keeps within the window",
			Want: "at most 131072 octets beyond 65536 in each of three replies",
			Why:  "What was announced is set aside once for a connection, not for each message.",
			Run:  budget,
		}, {
			ID: "3.7-f", Item: "19c", Title: "cancel cuts a reply that has begun", Want: "TXERR instead of the rest of the reply",
			Why: "The requester left. The rest would only fill its connection.",
			Run: func(p *Probe) Result {
				return p.cancelling(func(s *stalled) Result {
					p.cancel(s.r)
					return p.cancelled(s.r)
				})
			},
		}, {
			ID: "3.7-g", Item: "19c", Title: "a second cancel of the same request is ignored", Want: "one end of the reply, and the connection stays usable",
			Why: "It crosses with the end of the reply.",
			Run: func(p *Probe) Result {
				return p.cancelling(func(s *stalled) Result {
					p.cancel(s.r)
					p.cancel(s.r)
					return p.cancelled(s.r)
				})
			},
		}, {
			ID: "3.7-h", Item: "19c", Title: "cancel of a request that was answered is ignored", Want: wantIgnored,
			Why: "It crosses with the reply.",
			Run: func(p *Probe) Result {
				r := p.Request().With("ext", `{"v":1,"cancel":1}`)
				p.Send(r.All(text(7)))
				if problem := p.ExpectEcho(r, text(7)); problem != "" {
					return p.Miss("%s", problem)
				}
				if !p.isCancel {
					return p.Skip(noCancel)
				}
				c := p.Request()
				return p.ignored(c.HeadOf(fmt.Sprintf(`{"request_id":%s,"type":"cancel"}`, r.ID)) + c.EOF())
			},
		}, {
			ID: "3.7-i", Item: "19c", Title: "cancel of a request that waits in the queue refuses it", Want: "an error reply transport with dispatch_failure: no handler ran",
			Why: "The caller may ask another instance at once.",
			Run: cancelQueued,
		}, {
			ID: "3.7-j", Item: "19b", Title: "a request whose ms is over ends", Want: "an error reply or TXERR soon after 300 ms, though the request is unfinished",
			Why: "Nobody waits for the answer any more.",
			Run: deadlinePasses,
		}, {
			ID: "3.7-k", Item: "19b", Title: "ms that are far away change nothing", Want: wantEcho,
			Why: "A deadline says when to stop, not to stop.",
			Run: func(p *Probe) Result {
				r := p.Request().With("ext", `{"v":1,"ms":4000000000}`)
				return p.echoes(r, text(20))
			},
		}, {
			ID: "4.5-f", Section: SectionLimits, Item: "37a", Title: "a connection full of unread bodies refuses what is new, and goes on",
			Want: "a further request is served, or refused with dispatch_failure; the connection stays, and serves when it is read again",
			Why:  "Memory is bounded for each connection, and the one that fills it is the one to be refused.",
			Run:  overfull,
		},
	}
	for i := range cases {
		if cases[i].Section == "" {
			cases[i].Section = SectionCorrelation
		}
		cases[i].Level = Must
		cases[i].Paragraph, _, _ = strings.Cut(cases[i].ID, "-")
	}
	return cases
}

const (
	noCancel = "the service did not announce that it understands cancel, so none may be sent"
	noExt    = "the service knows no extensions"
)

// budget has three replies wait for a window, and counts what came beyond 65536.
func budget(p *Probe) Result {
	const win, extra = 131072, packetMinWindow
	first, problem := p.stall(2*stallBody, `{"v":1,"win":131072}`)
	if problem != "" {
		return p.Miss("%s", problem)
	}
	all := []*stalled{first}
	for range 2 { // which need not fill a window, since the first may have used up the credit
		s := &stalled{r: p.Request(), body: text(2 * stallBody)}
		p.Send(s.r.Head())
		p.uploadTo(s, len(s.body), p.run.Quiet, nil)
		if !p.Await(func() bool { s.m = p.reply(s.r.ID); return s.m != nil }) {
			return p.Miss("no reply began; %s", p.state())
		}
		p.uploadTo(s, len(s.body), p.run.Quiet, nil)
		p.settle(func() int { return len(s.m.Body) })
		all = append(all, s)
	}
	beyond, total := 0, 0
	for _, s := range all {
		total += len(s.m.Body)
		beyond += max(0, len(s.m.Body)-extra)
	}
	came := fmt.Sprintf("%d octets came, %d of them beyond 65536 in each reply", total, beyond)
	if beyond > win {
		return p.Miss("%s", came)
	}
	p.holdAcks = false
	for _, s := range all {
		if n := len(s.m.Body); !s.m.Ended && uint64(n) > p.acked[s.m.No] {
			p.Send(ack(s.m.No, fmt.Sprint(n)))
		}
	}
	for _, s := range all {
		if problem := p.release(s); problem != "" {
			return p.Miss("%s; then %s", came, problem)
		}
	}
	return p.Pass(came + "; after ACKs the whole bodies")
}

// packetMinWindow is the window of a message whose receiver announced none.
const packetMinWindow = 65536

// cancel sends a cancel for a request.
func (p *Probe) cancel(r *Request) {
	c := p.Request()
	p.Send(c.HeadOf(fmt.Sprintf(`{"request_id":%s,"type":"cancel"}`, r.ID)) + c.EOF())
	p.nextID-- // a cancel takes a message number, not a request id
}

// cancelling runs f while the reply to a complete request waits for its window.
func (p *Probe) cancelling(f func(*stalled) Result) Result {
	s, problem := p.stall(100000, `{"v":1,"cancel":1}`)
	switch {
	case problem != "":
		return p.Miss("%s", problem)
	case !p.isCancel:
		return p.Skip(noCancel)
	case s.m.Ended:
		return p.Skip("the reply ended without waiting for ACKs, so there is nothing to cut")
	case s.sent < len(s.body):
		return p.Skip("the service takes no more than %d octets while its reply waits, so the request is unfinished", s.sent)
	}
	return f(s)
}

// cancelled wants the reply to be cut, once, and the connection to go on.
func (p *Probe) cancelled(r *Request) Result {
	m, problem := p.Expect(r)
	switch {
	case problem != "":
		return p.Miss("%s", problem)
	case !m.Broken:
		return p.Miss("a reply that was not cut: %s", m)
	}
	p.holdAcks = false
	return p.passUnless("TXERR "+cut(m.TXERR, maxText), p.StillUsable())
}

// maxRunning is more than the handlers that a service runs for one connection.
const maxRunning = 300

func cancelQueued(p *Probe) Result {
	first := p.Request().With("ext", `{"v":1,"cancel":1}`)
	p.Send(first.All(text(7)))
	if problem := p.ExpectEcho(first, text(7)); problem != "" {
		return p.Miss("%s", problem)
	}
	if !p.isCancel {
		return p.Skip(noCancel)
	}
	var octets strings.Builder
	var running []*Request
	for range maxRunning {
		r := p.Request()
		running = append(running, r)
		octets.WriteString(r.Head() + r.Data(`"begun`))
	}
	r := p.Request()
	p.Send(octets.String() + r.All(text(7)))
	p.awaitFor(p.run.Quiet, func() bool { return p.reply(r.ID) != nil })
	if m := p.reply(r.ID); m != nil {
		return p.Skip("the service runs more than %d requests of a connection at once, so none waits: %s", maxRunning, m)
	}
	p.cancel(r)
	m, problem := p.Expect(r)
	switch {
	case problem != "":
		return p.Miss("%s", problem)
	case m.Code() != "transport" || !m.Header.DispatchFailure():
		return p.Miss("%s", m)
	}
	octets.Reset()
	for _, r := range running {
		octets.WriteString(r.Data(`"`) + r.EOF())
	}
	p.Send(octets.String())
	for _, r := range running {
		if problem := p.ExpectEcho(r, `"begun"`); problem != "" {
			return p.Miss("%s; and then, of those before it, %s", m, problem)
		}
	}
	return p.passUnless(m.String(), p.StillUsable())
}

func deadlinePasses(p *Probe) Result {
	const ms = 300 * time.Millisecond
	r := p.Request().With("ext", `{"v":1,"ms":300}`)
	began := time.Now()
	p.Send(r.Head() + r.Data(`"begun`))
	p.Await(func() bool { m := p.reply(r.ID); return m != nil && m.Ended })
	took := time.Since(began)
	m := p.reply(r.ID)
	switch {
	case m == nil || !m.Ended:
		p.Send(r.Data(`"`) + r.EOF())
		m, problem := p.Expect(r)
		switch {
		case problem != "":
			return p.Miss("no end of the reply after %v, and then %s", took.Round(time.Millisecond), problem)
		case m.Header.Ext.V == 0:
			return p.Skip(noExt)
		}
		return p.Miss("no end of the reply after %v", took.Round(time.Millisecond))
	case !m.Failed():
		return p.Miss("a reply that says yes: %s", m)
	case took < ms*9/10:
		return p.Miss("it ended after %v: %s", took.Round(time.Millisecond), m)
	}
	p.Send(r.Abort("the time is over"))
	return p.passUnless(fmt.Sprintf("after %v: %s", took.Round(time.Millisecond), m), p.StillUsable())
}

// overfull leaves bodies unread at the service until it holds more than it wants.
func overfull(p *Probe) Result {
	p.holdAcks = true
	var all []*Request
	body := text(131072)
	for range 160 { // 20 MiB, half of them for the service to hold
		r := p.Request()
		all = append(all, r)
		p.Send(r.Head() + inChunks(r, body[:65536]))
	}
	p.settle(func() int { return p.run.watch.packets })
	for _, r := range all { // the second half, as far as the first was taken
		if m := p.reply(r.ID); (m == nil || !m.Ended) && p.lastAck(r.No) > 0 {
			p.Send(inChunks(r, body[65536:][:min(int(p.lastAck(r.No)), 65536)]))
		}
	}
	p.settle(func() int { return p.run.watch.packets })
	further := p.Request()
	p.Send(further.All(`"further"`))
	m, problem := p.Expect(further)
	switch {
	case problem != "":
		return p.Miss("%s", problem)
	case m.Failed() && !m.Header.DispatchFailure():
		return p.Miss("refused without dispatch_failure: %s", m)
	}
	came := "a further request got " + m.String()
	p.holdAcks = false
	var octets strings.Builder
	for _, m := range p.messages {
		if n := len(m.Body); !m.Ended && n > 0 && uint64(n) > p.acked[m.No] {
			octets.WriteString(ack(m.No, fmt.Sprint(n)))
		}
	}
	for _, r := range all {
		octets.WriteString(r.Abort("enough"))
	}
	p.Send(octets.String())
	for end := time.Now().Add(p.run.Timeout); ; { // it takes a while to throw all that away
		p.settle(func() int { return p.run.watch.packets })
		r := p.Request()
		p.Send(r.All(`"at last"`))
		m, problem := p.Expect(r)
		if problem == "" && m.Header.DispatchFailure() && time.Now().Before(end) {
			continue
		}
		return p.passUnless(came+"; when all was given up, one was served", problem, p.StillUsable())
	}
}
