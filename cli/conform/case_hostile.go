package conform

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/scampbus/scamp-go/packet"
)

// hostileCases send what no honest peer sends: octets that are known to end the process
// of some implementation, and floods. After each the runner wants a further connection
// to be served.
func hostileCases() []Case {
	cases := []Case{
		{
			ID: "2.4-p", Section: SectionNumbers, Title: "types named like properties of every JavaScript object close",
			Want: wantClosed, Peers: Peers{JS: Fail},
			Why: "The JavaScript implementation ends its process on one.",
			Run: func(p *Probe) Result {
				for _, word := range []string{"constructor", "__proto__", "toString", "hasOwnProperty"} {
					if result := p.again(word + " 0 0\r\nEND\r\n"); result.Verdict != Pass {
						return result
					}
				}
				return p.Pass("the connections closed")
			},
		}, {
			ID: "3.1-q", Section: SectionHeader, Item: "13", Title: "a header that is null closes",
			Want: wantClosed, Peers: measured(Fail, Fail, Pass),
			Why: "The JavaScript implementation ends its process on it.",
			Run: func(p *Probe) Result {
				r := p.Request()
				return p.closes(r.HeadOf("null")+r.Data(text(7))+r.EOF(), r)
			},
		}, {
			ID: "3.1-r", Section: SectionHeader, Item: "18a", Title: "a header of 60000 opening brackets closes",
			Want: wantClosed,
			Why:  "A parser that calls itself for each level runs out of stack.",
			Run: func(p *Probe) Result {
				r := p.Request()
				return p.closes(r.HeadOf(`{"x":` + strings.Repeat("[", 60000)))
			},
		}, {
			ID: "2.1-r", Section: SectionLine, Item: "5", Title: "a negative length closes",
			Want: wantClosed, Peers: measured(Pass, Fail, Pass),
			Why: "The Go implementation ends its process on it.",
			Run: func(p *Probe) Result {
				r := p.Request()
				return p.closes(r.Head()+fmt.Sprintf("DATA %d -1\r\nEND\r\n", r.No), r)
			},
		}, {
			ID: "2.2-r", Section: SectionLine, Item: "6", Title: "lengths of gigabytes and more close at their line",
			Want: wantClosed, Peers: measured(Pass, Fail, Pass),
			Why: "Whoever makes room for what a stranger says runs out of memory.",
			Run: func(p *Probe) Result {
				for _, length := range []string{"4294967295", "9223372036854775807", "18446744073709551616"} {
					if result := p.again("HEADER 0 " + length + "\r\n"); result.Verdict != Pass {
						return result
					}
				}
				return p.Pass("the connections closed")
			},
		}, {
			ID: "4.5-h", Section: SectionLimits, Title: "a message above 4096 open ones closes",
			Want: "the connection closes",
			Why:  "Each open message costs its receiver memory.",
			Run: func(p *Probe) Result {
				var octets strings.Builder
				for range 4097 {
					octets.WriteString(p.Request().Head())
				}
				return p.closes(octets.String())
			},
		},
		survives("2.4-s", SectionData, "100000 empty DATA", "They cost the sender nothing.", func(p *Probe) string {
			r := p.Request()
			p.Send(r.Head() + strings.Repeat(r.Data(""), 100000))
			return ""
		}),
		survives("4.2-c", SectionData, "50000 DATA of one octet", "Each costs as much as a large one.", func(p *Probe) string {
			r := p.Request()
			p.Send(r.Head() + strings.Repeat(r.Data("7"), 50000) + r.EOF())
			return ""
		}),
		survives("4.4-r", SectionACK, "60000 ACKs of one octet each", "Each may wake the sender.", func(p *Probe) string {
			s, problem := p.stall(stallBody, "")
			if problem != "" {
				return problem
			}
			var octets strings.Builder
			for n := 1; n <= min(len(s.m.Body), 60000); n++ {
				octets.WriteString(ack(s.m.No, strconv.Itoa(n)))
			}
			p.Send(octets.String())
			return ""
		}),
		survives("4.7-f", SectionPing, "50000 PINGs", "Answers that pile up fill memory.", func(p *Probe) string {
			p.Send(strings.Repeat(wire(packet.KindPING, 0, ""), 50000))
			return ""
		}),
		survives("4.5-i", SectionLimits, "3000 requests, each given up at once", "Work that outlives its message piles up.", func(p *Probe) string {
			var octets strings.Builder
			for range 3000 {
				r := p.Request()
				octets.WriteString(r.Head() + r.Abort("given up"))
			}
			p.Send(octets.String())
			return ""
		}),
		survives("4.5-j", SectionLimits, "40 connections that announce 131072 octets and send 10", "Room for what is announced is room that anybody can take.", func(p *Probe) string {
			var idle []*Probe
			defer func() {
				for _, q := range idle {
					q.hangUp()
				}
			}()
			for range 40 {
				q, err := p.another()
				if err != nil {
					return noConnection(err)
				}
				idle = append(idle, q)
				r := q.Request()
				q.Send(r.Head() + string(packet.AppendLine(nil, packet.KindData, r.No, 131072)) + "0123456789")
			}
			return p.further()
		}),
		survives("6.1-d", SectionTLS, "40 connections without a handshake", "Whoever waits for one at a time serves nobody.", func(p *Probe) string {
			return p.raw(40, "")
		}),
		survives("6.1-e", SectionTLS, "octets that are no TLS", "Scanners send them all day.", func(p *Probe) string {
			return p.raw(3, "GET / HTTP/1.1\r\nHost: conform.invalid\r\n\r\n")
		}),
	}
	for i := range cases {
		cases[i].Hostile, cases[i].Level = true, Must
		cases[i].Paragraph, _, _ = strings.Cut(cases[i].ID, "-")
	}
	return cases
}

// survives makes a case that passes if the service serves others afterwards: the runner
// sees to that.
func survives(id string, s Section, title, why string, attack func(*Probe) (problem string)) Case {
	return Case{
		ID: id, Section: s, Title: "the service survives " + title, Why: why,
		Want: "whatever becomes of the connection, others are served",
		Run: func(p *Probe) Result {
			if problem := attack(p); problem != "" {
				return p.Miss("%s", problem)
			}
			p.StillUsable() // or not: when this is over, so is the flood
			return p.Pass("others were served; " + p.state())
		},
	}
}

// again sends octets that must close on a new connection.
func (p *Probe) again(octets string) Result {
	if err := p.Dial(nil); err != nil {
		return p.Miss("%s", noConnection(err))
	}
	return p.closes(octets)
}

// another is a probe with a connection of its own, for the same case.
func (p *Probe) another() (*Probe, error) {
	q := &Probe{c: p.c, run: p.run, ctx: p.ctx}
	return q, q.Dial(nil)
}

// further wants a further connection to be served now.
func (p *Probe) further() (problem string) {
	q, err := p.another()
	if err != nil {
		return noConnection(err)
	}
	defer q.hangUp()
	return q.StillUsable()
}

// raw makes TCP connections that send octets, or nothing, instead of a handshake, and
// wants a further one to be served meanwhile.
func (p *Probe) raw(n int, octets string) (problem string) {
	p.note(fmt.Sprintf("%s (on %d TCP connections, without TLS)", visible(octets), n))
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for range n {
		c, err := p.run.dialTCP(p.ctx)
		if err != nil {
			return noConnection(err)
		}
		open = append(open, c)
		c.SetWriteDeadline(time.Now().Add(p.run.Timeout))
		io.WriteString(c, octets) // a service that has closed already is as good
	}
	return p.further()
}
