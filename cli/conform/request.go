package conform

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/scampbus/scamp-go/packet"
)

// An Action names the action that echoes.
type Action struct {
	Sector   string // empty means main
	Name     string // Class.name
	Version  int    // zero means 1
	Envelope string // empty means json
}

func (a Action) withDefaults() Action {
	if a.Sector == "" {
		a.Sector = "main"
	}
	if a.Version == 0 {
		a.Version = 1
	}
	if a.Envelope == "" {
		a.Envelope = "json"
	}
	return a
}

// String returns the action as people write it, "main:Sample.echo~1".
func (a Action) String() string { return fmt.Sprintf("%s:%s~%d", a.Sector, a.Name, a.Version) }

// A member is one member of a header: its name and its value as JSON.
type member struct{ name, value string }

// A Request makes the packets of one request. The zero value is of no use: see
// Probe.Request.
type Request struct {
	No      uint64 // its message number
	ID      string // its request id as JSON
	members []member
}

// Request returns the next request of the connection, a correct one for the echo
// action. Its message number and id are taken, whether it is sent or not.
func (p *Probe) Request() *Request { return newRequest(p.link.session, p.run.Action) }

func newRequest(s *session, a Action) *Request {
	r := &Request{No: s.next, ID: strconv.FormatUint(s.nextID, 10)}
	s.next++
	s.nextID++
	r.members = []member{
		{"action", quoted(a.Name)},
		{"envelope", quoted(a.Envelope)},
		{"request_id", r.ID},
		{"sector", quoted(a.Sector)},
		{"type", `"request"`},
		{"version", strconv.Itoa(a.Version)},
	}
	return r
}

// quoted is text as a JSON string. Names of actions need no more than this.
func quoted(text string) string { return strconv.QuoteToASCII(text) }

// With sets a member to a value given as JSON, or adds it.
func (r *Request) With(name, value string) *Request {
	if name == "request_id" {
		r.ID = value
	}
	for i := range r.members {
		if r.members[i].name == name {
			r.members[i].value = value
			return r
		}
	}
	r.members = append(r.members, member{name, value})
	return r
}

// Without leaves a member out.
func (r *Request) Without(name string) *Request {
	for i := range r.members {
		if r.members[i].name == name {
			r.members = append(r.members[:i:i], r.members[i+1:]...)
			break
		}
	}
	return r
}

// value is the JSON of a member; empty if there is none.
func (r *Request) value(name string) string {
	for _, m := range r.members {
		if m.name == name {
			return m.value
		}
	}
	return ""
}

// JSON is the body of the HEADER.
func (r *Request) JSON() string {
	var b strings.Builder
	for i, m := range r.members {
		b.WriteByte("{,"[min(i, 1)])
		fmt.Fprintf(&b, "%q:%s", m.name, m.value)
	}
	if len(r.members) == 0 {
		b.WriteByte('{')
	}
	return b.String() + "}"
}

// Head is the HEADER packet.
func (r *Request) Head() string { return r.HeadOf(r.JSON()) }

// HeadOf is a HEADER packet with another body.
func (r *Request) HeadOf(json string) string { return wire(packet.KindHeader, r.No, json) }

// Data is a DATA packet.
func (r *Request) Data(body string) string { return wire(packet.KindData, r.No, body) }

// EOF is the EOF packet.
func (r *Request) EOF() string { return wire(packet.KindEOF, r.No, "") }

// Abort is a TXERR packet with that text.
func (r *Request) Abort(text string) string { return wire(packet.KindTXERR, r.No, text) }

// All is the whole request: HEADER, one DATA unless body is empty, EOF.
func (r *Request) All(body string) string {
	if body == "" {
		return r.Head() + r.EOF()
	}
	return r.Head() + r.Data(body) + r.EOF()
}

// wire is a packet as it goes over the wire.
func wire(k packet.Kind, no uint64, body string) string {
	return string(packet.Packet{Kind: k, MsgNo: no, Body: []byte(body)}.AppendTo(nil))
}

// ack is an ACK packet with any body.
func ack(no uint64, body string) string { return wire(packet.KindACK, no, body) }

// text is a body of so many octets, a JSON string.
func text(octets int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	if octets < 2 {
		return "7"[:octets]
	}
	return `"` + strings.Repeat(letters, octets/len(letters)+1)[:octets-2] + `"`
}
