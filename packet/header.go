package packet

import (
	"encoding/json"
	"strconv"
)

// A Type says what a message is (PROTOCOL 3.2).
type Type uint8

// The types of message.
const (
	TypeNone Type = iota // missing or null: a request on the accepting side, a reply on the connecting one
	TypeRequest
	TypeReply
	TypeSubscribe
	TypeSubscribeDone
	TypeEvent
	TypeNotify
	TypeCancel
	TypeOther // anything else; Header.TypeText has it
)

var typeNames = [...]string{"", "request", "reply", "subscribe", "subscribe_done", "event", "notify", "cancel", ""}

// String returns the word on the wire, or "" for TypeNone and TypeOther.
func (t Type) String() string {
	if int(t) >= len(typeNames) {
		return "Type(" + strconv.Itoa(int(t)) + ")"
	}
	return typeNames[t]
}

// typeOf returns the type that a word names, or TypeOther.
func typeOf(word []byte) Type {
	switch string(word) {
	case "request":
		return TypeRequest
	case "reply":
		return TypeReply
	case "subscribe":
		return TypeSubscribe
	case "subscribe_done":
		return TypeSubscribeDone
	case "event":
		return TypeEvent
	case "notify":
		return TypeNotify
	case "cancel":
		return TypeCancel
	}
	return TypeOther
}

// A Header is the meaning of the body of a HEADER packet (PROTOCOL 3.2). It
// shares no memory with what it was parsed from, and may be copied; the copies
// share ErrorData and Extra.
//
// A member that is missing, null or an empty string is the zero value of its
// field, with the exceptions that the fields name.
type Header struct {
	Type     Type
	TypeText string // the text of TypeOther

	ID RequestID

	// Requests.
	Action           string
	Version          int    // read: 1 when missing, 0 only in replies, of the Go dialect; written: 0 in a request counts as 1
	Envelope         string // read: "json" when missing; written: "" in a request counts as "json"
	Sector           string // "" also when it is no string: it only informs
	Ticket           string // never in a log
	IdentifyingToken string // never in a log
	Terminal         string // also read from the older member station
	ClientID         int64

	// Replies.
	ErrorCode string
	Error     string
	ErrorData json.RawMessage // an object, or nil

	Ext Ext

	// Extra holds the members that have no field here, cgi_headers or
	// http_status for example. It is nil when there are none. See CheckExtra
	// for those that can be written.
	Extra map[string]json.RawMessage

	// Facts of a parsed header that tell peers apart (PROTOCOL 3.4, 4.5). They
	// are not written.
	HasSector   bool // the member sector was there, whatever its value
	HasClientID bool // the member client_id was there, whatever its value

	// Bad is the name of the first known member whose value cannot be used:
	// this message fails, the connection goes on (PROTOCOL 3.5). The field of
	// such a member is as if it were missing. It is not written.
	Bad string
}

// GoDialect reports whether h, the first reply of a connection, shows that the
// peer numbers its replies by itself (PROTOCOL 3.4).
func (h *Header) GoDialect() bool { return h.HasClientID && h.Version == 0 }

// Failure returns the code and the text of a reply that says no, with the
// defaults of PROTOCOL 5.2 for what is missing; failed is false for a reply
// that says yes.
func (h *Header) Failure() (code, text string, failed bool) {
	if h.ErrorCode == "" && h.Error == "" {
		return "", "", false
	}
	code, text = h.ErrorCode, h.Error
	if code == "" {
		code = "general"
	}
	if text == "" {
		text = "Unknown error"
	}
	return code, text, true
}

// DispatchFailure reports whether ErrorData promises that no handler ran: its
// member dispatch_failure is there once and is the JSON value true (PROTOCOL
// 5.3).
func (h *Header) DispatchFailure() bool {
	if len(h.ErrorData) == 0 {
		return false
	}
	s := scanner{data: h.ErrorData, maxDepth: maxSize}
	times, isTrue := 0, false
	s.space()
	s.open('{', 1)
	for n := 0; s.more('}', n); n++ {
		name := s.name()
		v := s.value(1)
		if name.is("dispatch_failure") {
			times++
			isTrue = v.kind == kindTrue
		}
	}
	return s.end() && times == 1 && isTrue
}
