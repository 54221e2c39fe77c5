package conform

import (
	"fmt"
	"strings"
	"time"
)

// idleCases judge PROTOCOL 4.6: when a service closes a connection by itself.
func idleCases() []Case {
	cases := []Case{
		{
			ID: "4.6-a", Item: "46", Level: Should, Title: "an idle connection is closed", Want: "the connection closes when its idle time is over, and not long before",
			Why: "Requesters that left without a word hold connections for ever.",
			Run: func(p *Probe) Result {
				if problem := p.StillUsable(); problem != "" {
					return p.Miss("%s", problem)
				}
				return p.idles()
			},
		}, {
			ID: "4.6-b", Item: "46", Level: Must, Title: "a connection is not closed while a request is unfinished", Want: "the request can go on after the idle time",
			Why: "A slow sender is no idle one.", Peers: Peers{Go: Fail},
			Run: func(p *Probe) Result {
				idle := p.run.Idle
				if idle == 0 {
					return p.Info("%s", noIdle)
				}
				r := p.Request()
				p.Send(r.Head() + r.Data(`"before`))
				if p.awaitFor(idle+idle/2, func() bool { return p.err != nil }) {
					return p.Miss("%s within a request", p.state())
				}
				p.Send(r.Data(`, after"`) + r.EOF())
				return p.passUnless(fmt.Sprintf("it stayed for %v", idle+idle/2), p.ExpectEcho(r, `"before, after"`))
			},
		}, {
			ID: "4.6-c", Item: "46", Level: Must, Title: "what comes restarts the idle time", Want: "a connection that is used every half of the idle time stays",
			Why: "A connection in use is not idle.",
			Run: func(p *Probe) Result {
				idle := p.run.Idle
				if idle == 0 {
					return p.Info("%s", noIdle)
				}
				for range 4 {
					if problem := p.StillUsable(); problem != "" {
						return p.Miss("%s", problem)
					}
					p.awaitFor(idle/2, func() bool { return p.err != nil })
				}
				return p.passUnless(fmt.Sprintf("it stayed for %v", 2*idle), p.StillUsable())
			},
		}, {
			ID: "4.6-d", Item: "49", Level: Should, Title: "a connection on which no packet begins is closed", Want: "the connection closes 5 s after it was made",
			Why: "Handshakes that lead to nothing are the cheapest way to fill a service.",
			Run: func(p *Probe) Result {
				began, limit := time.Now(), firstLine
				if idle := p.run.Idle; idle > 0 {
					limit = min(limit, 2*idle)
				}
				p.Await(func() bool { return p.err != nil })
				took := time.Since(began).Round(100 * time.Millisecond)
				switch {
				case p.err != nil && p.closed():
					return p.Pass(fmt.Sprintf("it closed after %v", took))
				case p.err != nil:
					return p.Miss("%s", p.state())
				case p.run.Timeout < limit:
					return p.Info("it stayed open for %v: a --timeout of %v would tell", took, limit)
				}
				return p.Miss("it stayed open for %v", took)
			},
		},
	}
	for i := range cases {
		cases[i].Section = SectionIdle
		cases[i].Paragraph, _, _ = strings.Cut(cases[i].ID, "-")
	}
	return cases
}

// firstLine is how long TLS and the first header line may take (PROTOCOL 4.6), and some
// room.
const firstLine = 7 * time.Second

// idles waits for the connection to be closed because nothing happens on it.
func (p *Probe) idles() Result {
	idle := p.run.Idle
	most := idle + p.run.Timeout
	if idle == 0 {
		most = min(p.run.Timeout, 2*time.Second)
	}
	began := time.Now()
	p.awaitFor(most, func() bool { return p.err != nil })
	took := time.Since(began)
	switch {
	case p.err != nil && !p.closed():
		return p.Miss("%s", p.state())
	case p.err != nil && idle > 0 && took < idle*3/4:
		return p.Miss("it closed after %v, want %v", took.Round(time.Millisecond), idle)
	case p.err != nil:
		return p.Pass(fmt.Sprintf("it closed after %v", took.Round(100*time.Millisecond)))
	case idle == 0:
		return p.Info("it stayed open for %v; %s", took.Round(100*time.Millisecond), noIdle)
	}
	return p.Miss("it stayed open for %v, want %v", took.Round(100*time.Millisecond), idle)
}
