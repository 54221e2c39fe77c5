package packet

import (
	"math"
	"strconv"
)

// A Kind is the type of a packet (PROTOCOL 2.4).
type Kind uint8

// The kinds of packet; there are no others.
const (
	KindHeader Kind = iota + 1 // opens a message
	KindData                   // carries a part of its body
	KindEOF                    // ends it well
	KindTXERR                  // ends it badly, with a text
	KindACK                    // counts the body octets taken from the peer's message
	KindPING                   // asks for a PONG
	KindPONG                   // answers a PING
)

var kindNames = [...]string{"", "HEADER", "DATA", "EOF", "TXERR", "ACK", "PING", "PONG"}

// String returns the word on the wire, for example "HEADER".
func (k Kind) String() string {
	if k == 0 || int(k) >= len(kindNames) {
		return "Kind(" + strconv.Itoa(int(k)) + ")"
	}
	return kindNames[k]
}

// kindOf returns the kind that a word names, or 0. Words are case-sensitive.
func kindOf(word []byte) Kind {
	switch string(word) {
	case "HEADER":
		return KindHeader
	case "DATA":
		return KindData
	case "EOF":
		return KindEOF
	case "TXERR":
		return KindTXERR
	case "ACK":
		return KindACK
	case "PING":
		return KindPING
	case "PONG":
		return KindPONG
	}
	return 0
}

// A Packet is the unit of framing on a connection (PROTOCOL 2.1). Who made the
// Body owns it; see Reader.Next for the Body of a packet that was read.
type Packet struct {
	Kind  Kind
	MsgNo uint64 // at most 1<<63 - 1
	Body  []byte
}

// Trailer follows the body of every packet.
const Trailer = "END\r\n"

// AppendTo appends the packet as it goes over the wire to b.
func (p Packet) AppendTo(b []byte) []byte {
	b = AppendLine(b, p.Kind, p.MsgNo, len(p.Body))
	b = append(b, p.Body...)
	return append(b, Trailer...)
}

// AppendLine appends the header line of a packet to b, for example
// "DATA 4 17\r\n". The caller writes length octets of body and Trailer after
// it. A line of legal values has at most 36 octets (PROTOCOL 2.2).
func AppendLine(b []byte, k Kind, msgno uint64, length int) []byte {
	b = append(b, k.String()...)
	b = append(b, ' ')
	b = strconv.AppendUint(b, msgno, 10)
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(length), 10)
	return append(b, "\r\n"...)
}

// AppendAck appends a whole ACK packet to b: count octets of the peer's message
// msgno were taken. A count of 0 must never be sent (PROTOCOL 4.4).
func AppendAck(b []byte, msgno, count uint64) []byte {
	var digits [20]byte
	body := strconv.AppendUint(digits[:0], count, 10)
	return Packet{KindACK, msgno, body}.AppendTo(b)
}

// ParseAck returns the count in the body of an ACK packet: decimal digits
// without a leading zero, at least 1 and at most 1<<63 - 1 (PROTOCOL 4.4). Its
// error is an *Error.
func ParseAck(body []byte) (uint64, error) {
	n, digits := number(body)
	if digits == 0 || digits != len(body) || n == 0 || n > math.MaxInt64 {
		return 0, &Error{CounterMalformed, "ACK body " + quote(body, maxQuotedName), "a count from 1 to 9223372036854775807"}
	}
	return n, nil
}

const safeDigits = 19 // so many fit into 64 bits, whatever they are

// number reads the number that b starts with and tells how many digits it has:
// 0 when there is none or a 0 leads others. A number that does not fit is
// math.MaxUint64.
func number(b []byte) (n uint64, digits int) {
	for digits < len(b) {
		d := uint64(b[digits] - '0')
		if d > 9 {
			break
		}
		if digits >= safeDigits && n > (math.MaxUint64-d)/10 {
			n = math.MaxUint64
		} else {
			n = n*10 + d
		}
		digits++
	}
	if digits > 1 && b[0] == '0' {
		return 0, 0
	}
	return n, digits
}
