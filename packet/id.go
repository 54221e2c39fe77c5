package packet

import (
	"math"
	"strconv"
)

// A RequestID ties a reply to its request (PROTOCOL 3.4). It keeps the JSON
// number or string it was read from, so that a service returns it exactly as it
// came. Two are equal with == when their JSON text is the same; the number 4
// and the string "4" are not, see Number. The zero RequestID is none.
type RequestID struct {
	n   uint64 // 1 to maxID, when raw is empty
	raw string // the JSON text of any other number and of every string
}

// maxID is the largest integer that every peer can hold, 1<<53.
const maxID = 1 << 53

// NumberID returns the id of request number n, which counts from 1. NumberID(0)
// is the zero RequestID.
func NumberID(n uint64) RequestID {
	if n > maxID {
		return RequestID{raw: strconv.FormatUint(n, 10)}
	}
	return RequestID{n: n}
}

// IsZero reports whether there is no id that could be used.
func (id RequestID) IsZero() bool { return id == RequestID{} }

// Number returns the number that id stands for, as an integer or as the same
// number in a string of decimal digits. It is not ok for every other id.
func (id RequestID) Number() (n uint64, ok bool) {
	if id.raw == "" {
		return id.n, id.n != 0
	}
	text := []byte(id.raw)
	if text[0] == '"' {
		text = appendUnquoted(nil, text[1:len(text)-1])
	}
	n, digits := number(text)
	return n, digits > 0 && digits == len(text) && n < math.MaxUint64
}

// String returns id as JSON, or "" for the zero RequestID.
func (id RequestID) String() string { return string(id.append(nil)) }

// append appends id as JSON to b.
func (id RequestID) append(b []byte) []byte {
	if id.raw != "" || id.n == 0 {
		return append(b, id.raw...)
	}
	return strconv.AppendUint(b, id.n, 10)
}

// parseID returns the id that a value stands for; it is not ok for a value that
// is no number, string or null.
func parseID(v value) (id RequestID, ok bool) {
	switch v.kind {
	case kindNull:
		return id, true
	case kindNumber:
		n, digits := number(v.raw)
		if digits == len(v.raw) && 1 <= n && n <= maxID {
			return RequestID{n: n}, true
		}
		return RequestID{raw: string(v.raw)}, true
	case kindString:
		return RequestID{raw: string(v.raw)}, true
	}
	return id, false
}
