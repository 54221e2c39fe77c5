package conform

import (
	"bytes"
	"strconv"

	"github.com/scampbus/scamp-go/packet"
)

// requested notes a message that a requester began, and what of it is against the rules
// for requests (PROTOCOL 3.2 to 3.4).
func (s *session) requested(p packet.Packet, m *Message) {
	h := &m.Header
	switch {
	case h.Type == packet.TypeRequest || h.Type == packet.TypeNone:
		s.requests = append(s.requests, m)
		if h.ID.String() != strconv.Itoa(len(s.requests)) {
			s.watch.note(ruleIDs, p)
		}
		if h.Type == packet.TypeNone || h.Bad != "" || h.Action == "" || !bytes.Contains(p.Body, []byte(`"version"`)) {
			s.watch.note(ruleMembers, p)
		}
		if !h.HasSector {
			s.watch.note(ruleSector, p)
		}
	case h.Type == packet.TypeCancel && s.mayAbort:
		s.cancels = append(s.cancels, m)
	default:
		s.watch.note(ruleKinds, p)
	}
}

// newReply makes the packets of a reply to a request with that id, given as JSON.
func newReply(s *session, id string) *Request {
	r := &Request{No: s.next, ID: id, members: []member{{"request_id", id}, {"type", `"reply"`}}}
	s.next++
	return r
}
