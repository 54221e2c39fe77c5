package conform

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/scampbus/scamp-go/packet"
)

// A Message is one that the other side began: its header and what came of its body.
type Message struct {
	No     uint64
	Header packet.Header
	JSON   string // the body of its HEADER
	Body   []byte
	Ended  bool // by EOF or TXERR
	Broken bool // by TXERR, whose text is TXERR
	TXERR  string

	largest int // octets of its largest DATA
}

// String describes the message in a sentence, in visible form.
func (m *Message) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "HEADER %s, %d octets of body", cut(m.JSON, maxText), len(m.Body))
	if n := len(m.Body); 0 < n && n <= 64 {
		fmt.Fprintf(&b, " %s", escape(string(m.Body)))
	}
	switch {
	case m.Broken:
		fmt.Fprintf(&b, ", TXERR %s", cut(m.TXERR, maxText))
	case m.Ended:
		b.WriteString(", EOF")
	default:
		b.WriteString(", no end")
	}
	return b.String()
}

// Failed tells whether the message, a reply, says no (PROTOCOL 5.2).
func (m *Message) Failed() bool {
	return m.Code() != ""
}

// Code is the error code that a requester reports for the message, a reply; empty for
// one that says yes.
func (m *Message) Code() string {
	if m.Broken {
		return "transport"
	}
	code, _, _ := m.Header.Failure()
	return code
}

// A session is what went over one connection, as far as a case may want to know.
// Every packet the other side sends passes take, every octet we send passes sending.
type session struct {
	watch   *watch
	headers *packet.HeaderReader
	guest   bool // the other side is a requester, and we are the service

	// What the other side sent.
	messages []*Message          // in the order of their HEADERs
	open     map[uint64]*Message // those without an end
	replies  map[string]*Message // of a service: canonical id → the first reply with it
	requests []*Message          // of a requester
	cancels  []*Message          // of a requester
	acks     map[uint64][]uint64 // message of ours → counts
	pongs    []uint64            // numbers
	pings    int

	// What we sent.
	next     uint64            // number of our next message
	nextID   uint64            // id of our next request
	octets   map[uint64]uint64 // message of ours → octets of body
	acked    map[uint64]uint64 // message of the other side → largest count in our ACKs
	asked    map[string]int    // request id → requests without a reply
	window   uint64            // octets per message we will take without an ACK
	mayPing  bool              // we sent PING or ext, so the other side may send PING
	unasked  int               // PONGs that the other side owes
	isCancel bool              // the service announced cancel
	mayAbort bool              // we announced cancel, so the requester may send one
}

func newSession(w *watch) *session {
	return &session{
		watch: w, headers: packet.NewHeaderReader(packet.Limits{}),
		open: make(map[uint64]*Message), replies: make(map[string]*Message), acks: make(map[uint64][]uint64),
		nextID: 1, octets: make(map[uint64]uint64), acked: make(map[uint64]uint64),
		asked: make(map[string]int), window: packet.MinWindow,
	}
}

// sending notes octets that are about to be sent, as far as they are packets.
func (s *session) sending(octets string) {
	r := packet.NewReader(strings.NewReader(octets), packet.Limits{})
	for {
		p, err := r.Next()
		if err != nil {
			return // the end, or what no peer reads on from
		}
		switch p.Kind {
		case packet.KindHeader:
			s.next = max(s.next, p.MsgNo+1)
			s.asks(p.Body)
		case packet.KindData:
			s.octets[p.MsgNo] += uint64(len(p.Body))
		case packet.KindACK:
			if n, err := packet.ParseAck(p.Body); err == nil {
				s.acked[p.MsgNo] = max(s.acked[p.MsgNo], n) // one that moves back takes nothing back
			}
		case packet.KindPING:
			s.mayPing = true
			s.unasked++
		}
	}
}

// asks notes what a header of ours announces, and a request: it will have one reply.
func (s *session) asks(body []byte) {
	var h packet.Header
	if s.headers.Parse(body, &h) != nil || !s.guest && h.Type != packet.TypeRequest && h.Type != packet.TypeNone {
		return
	}
	if h.Ext.V > 0 {
		s.mayPing = true
		s.mayAbort = s.mayAbort || h.Ext.Cancel
		s.window = max(s.window, uint64(h.Ext.Win))
	}
	if !s.guest && !h.ID.IsZero() {
		s.asked[canonical(h.ID)]++
	}
}

// take notes a packet of the other side and everything about it that is against the
// rules. It returns the message that a DATA belongs to, for it to be acknowledged.
func (s *session) take(p packet.Packet) *Message {
	switch p.Kind {
	case packet.KindHeader:
		s.header(p)
	case packet.KindData:
		return s.data(p)
	case packet.KindEOF, packet.KindTXERR:
		s.end(p)
	case packet.KindACK:
		s.ack(p)
	case packet.KindPING:
		s.pings++
		if !s.mayPing {
			s.watch.note(ruleUnaskedPing, p)
		}
	case packet.KindPONG:
		s.pongs = append(s.pongs, p.MsgNo)
		if s.unasked--; s.unasked < 0 {
			s.watch.note(ruleUnaskedPing, p)
		}
	}
	return nil
}

func (s *session) header(p packet.Packet) {
	m := &Message{No: p.MsgNo, JSON: string(p.Body)}
	if p.MsgNo != uint64(len(s.messages)) {
		s.watch.note(ruleNumbers, p)
	}
	s.messages = append(s.messages, m)
	s.open[m.No] = m
	if len(p.Body) > maxHeaderSent {
		s.watch.note(ruleHeaderSize, p)
	}
	if err := s.headers.Parse(p.Body, &m.Header); err != nil {
		s.watch.note(ruleHeaderJSON, p)
		return
	}
	if hasNull(p.Body) {
		s.watch.note(ruleNull, p)
	}
	s.isCancel = s.isCancel || m.Header.Ext.Cancel
	if s.guest {
		s.requested(p, m)
		return
	}
	switch h := &m.Header; h.Type {
	case packet.TypeReply, packet.TypeNone:
		s.answers(p, m)
	case packet.TypeSubscribeDone:
	case packet.TypeCancel:
		if !s.mayAbort { // of nothing we sent: it comes for its ext
			s.watch.note(ruleKinds, p)
		}
	default:
		s.watch.note(ruleKinds, p)
	}
}

// maxHeaderSent is the longest HEADER that may be sent (PROTOCOL 2.2).
const maxHeaderSent = 32768

// answers notes a reply under its id, in both forms, and takes the request off the list
// that it belongs to.
func (s *session) answers(p packet.Packet, m *Message) {
	asked := false
	for _, id := range []string{canonical(m.Header.ID), otherForm(m.Header.ID)} {
		if s.replies[id] == nil {
			s.replies[id] = m
		}
		if !asked && s.asked[id] > 0 {
			s.asked[id]--
			asked = true
		}
	}
	if !asked {
		s.watch.note(ruleOneReply, p)
	}
}

// canonical is an id as JSON that is the same for all spellings of a string.
func canonical(id packet.RequestID) string { return canonicalJSON(id.String()) }

func canonicalJSON(id string) string {
	var text string
	if strings.HasPrefix(id, `"`) && json.Unmarshal([]byte(id), &text) == nil {
		return strconv.Quote(text)
	}
	return id
}

// otherForm is an id as the other of 4 and "4", which a requester takes for the same
// (PROTOCOL 3.4); empty for an id that is no such number.
func otherForm(id packet.RequestID) string {
	n, ok := id.Number()
	switch {
	case !ok:
		return ""
	case strings.HasPrefix(id.String(), `"`):
		return strconv.FormatUint(n, 10)
	}
	return strconv.Quote(strconv.FormatUint(n, 10))
}

func (s *session) data(p packet.Packet) *Message {
	m := s.open[p.MsgNo]
	switch {
	case m == nil:
		s.watch.note(ruleOpen, p)
		return nil
	case len(p.Body) == 0:
		s.watch.note(ruleEmptyData, p)
		return nil
	}
	m.Body = append(m.Body, p.Body...)
	m.largest = max(m.largest, len(p.Body))
	if uint64(len(m.Body)) > s.acked[m.No]+s.window {
		s.watch.note(ruleWindow, p)
	}
	return m
}

func (s *session) end(p packet.Packet) {
	m := s.open[p.MsgNo]
	if m == nil {
		s.watch.note(ruleOpen, p)
		return
	}
	delete(s.open, p.MsgNo)
	m.Ended = true
	if p.Kind == packet.KindEOF {
		if len(p.Body) > 0 {
			s.watch.note(ruleEOFBody, p)
		}
		return
	}
	m.Broken, m.TXERR = true, string(p.Body)
	if m.TXERR == "" || m.TXERR == "0" {
		s.watch.note(ruleEmptyTXERR, p)
	}
}

func (s *session) ack(p packet.Packet) {
	n, err := packet.ParseAck(p.Body)
	before := s.acks[p.MsgNo]
	if err != nil || len(before) > 0 && n <= before[len(before)-1] || n > s.octets[p.MsgNo] {
		s.watch.note(ruleAck, p)
		return
	}
	s.acks[p.MsgNo] = append(before, n)
}

// lastAck is how many octets of a message of ours the other side has acknowledged.
func (s *session) lastAck(no uint64) uint64 {
	if acks := s.acks[no]; len(acks) > 0 {
		return acks[len(acks)-1]
	}
	return 0
}

// reply returns the first reply to a request id, given as JSON; nil while there is none.
func (s *session) reply(id string) *Message { return s.replies[canonicalJSON(id)] }

// hasNull tells whether a header has a member that is null. It reads no strings but
// to pass over them, which is enough for JSON that was parsed before.
func hasNull(header []byte) bool {
	depth, inString := 0, false
	for i := 0; i < len(header); i++ {
		switch c := header[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		case c == 'n' && depth == 1:
			return bytes.HasPrefix(header[i:], []byte("null"))
		}
	}
	return false
}
