package packet

// A lastHeader is the header that a HeaderReader parsed last. Most headers of a
// connection are like the one before but for two numbers, the id of the request and
// the time its caller has left, and need not be parsed again.
type lastHeader struct {
	body    []byte
	numbers [2]span // where these stand in body, in order; those that are missing are empty
	header  Header
}

// A span is a part of the text of a header: a positive number of decimal digits.
type span struct {
	from, to int
	member   member // memberRequestID, or memberExt for its ms
}

const maxLast = 512 // octets of a header worth remembering

// parse sets *h to what body says, if that differs in nothing but the numbers.
func (l *lastHeader) parse(body []byte, h *Header) bool {
	if l == nil {
		return false
	}
	id, ms := l.header.ID, l.header.Ext.MS
	rest, at := body, 0
	for _, n := range l.numbers {
		if n.to == 0 {
			break
		}
		same := l.body[at:n.from]
		if len(rest) < len(same) || string(rest[:len(same)]) != string(same) {
			return false
		}
		rest = rest[len(same):]
		v, digits := number(rest)
		switch {
		case digits == 0 || v == 0:
			return false
		case n.member == memberRequestID && v <= maxID:
			id = RequestID{n: v}
		case n.member == memberExt && v <= uint64(maxMS):
			ms = int64(v)
		default:
			return false
		}
		rest, at = rest[digits:], n.to
	}
	if string(rest) != string(l.body[at:]) {
		return false
	}
	*h = l.header
	h.ID, h.Ext.MS = id, ms
	return true
}

// remember keeps a header that was parsed from body, unless it is long or holds what
// must not be kept.
func (r *HeaderReader) remember(body []byte, h *Header) {
	if len(body) > maxLast || h.Ticket != "" || h.IdentifyingToken != "" || h.Terminal != "" || h.Error != "" || h.ErrorData != nil || h.Extra != nil || h.Bad != "" {
		return
	}
	if r.last == nil {
		r.last = new(lastHeader)
	}
	l := r.last
	l.body = append(l.body[:0], body...)
	l.header = *h
	l.numbers = [2]span{r.id, r.ms}
	if r.id.to == 0 || r.ms.to != 0 && r.ms.from < r.id.from {
		l.numbers = [2]span{r.ms, r.id}
	}
}
