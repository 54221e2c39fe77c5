package packet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"unicode/utf8"
)

// A HeaderReader parses the headers of one connection. It remembers the last one
// and the names that it saw last, so that a header like the one before costs little
// and no allocation; tickets and tokens are never among them. It is made by NewHeaderReader and is
// not safe for concurrent use.
type HeaderReader struct {
	limits  Limits
	names   *names      // nil until the first header
	scratch []byte      // a string whose escapes were resolved
	last    *lastHeader // nil until there is one to remember
	id, ms  span        // in the header being parsed
}

// NewHeaderReader returns a HeaderReader that keeps to limits.
func NewHeaderReader(limits Limits) *HeaderReader {
	return &HeaderReader{limits: limits.WithDefaults()}
}

// Parse sets *h to the header in the body of a HEADER packet (PROTOCOL 3). The
// body is not kept. Only syntax that PROTOCOL 3.1 makes fatal is an error,
// always an *Error, and *h is then the zero Header; a known member whose value
// cannot be used is named in h.Bad.
func (r *HeaderReader) Parse(body []byte, h *Header) error {
	if r.last.parse(body, h) && len(body) <= r.limits.MaxHeader {
		return nil
	}
	*h = Header{Version: 1}
	r.id, r.ms = span{}, span{}
	err := r.parse(body, h)
	if cap(r.scratch) > sizeIdle {
		r.scratch = nil
	}
	if err != nil {
		*h = Header{}
		return err
	}
	r.remember(body, h)
	return nil
}

func (r *HeaderReader) parse(body []byte, h *Header) error {
	if len(body) > r.limits.MaxHeader {
		return &Error{CounterHeaderTooBig, fmt.Sprintf("header of %d octets", len(body)), fmt.Sprintf("at most %d", r.limits.MaxHeader)}
	}
	if !utf8.Valid(body) {
		return malformed("header JSON", "UTF-8")
	}
	s := scanner{data: body, maxDepth: r.limits.MaxHeaderDepth}
	s.space()
	s.open('{', 1)
	var seen uint32 // a bit for each member
	for n := 0; s.more('}', n); n++ {
		if n == r.limits.MaxHeaderMembers {
			return malformed("header JSON", fmt.Sprintf("at most %d members", n))
		}
		name := s.name()
		if s.want != "" {
			break
		}
		if err := r.member(h, &s, r.resolve(name), &seen); err != nil {
			return err
		}
	}
	if !s.end() {
		return malformed(fmt.Sprintf("header JSON at octet %d", s.pos), s.want)
	}
	r.finish(h)
	return nil
}

// member consumes and stores the value of one member.
func (r *HeaderReader) member(h *Header, s *scanner, name []byte, seen *uint32) error {
	m := memberOf(name)
	switch {
	case m == memberUnknown:
		v := s.value(1)
		if s.want != "" {
			return nil
		}
		return h.keep(name, v)
	case *seen&(1<<m) != 0:
		return twice(name)
	case m == memberExt:
		h.Ext, r.ms = parseExt(s)
	default:
		v := s.value(1)
		if s.want == "" && !r.set(h, m, v) && h.Bad == "" {
			h.Bad = string(knownNames[m-1])
		}
		if m == memberRequestID && h.ID.n != 0 {
			r.id = span{s.pos - len(v.raw), s.pos, m}
		}
	}
	*seen |= 1 << m
	return nil
}

// finish settles what depends on more than one member.
func (r *HeaderReader) finish(h *Header) {
	if h.Envelope == "" {
		h.Envelope = "json"
	}
	if h.Version == 0 && h.Bad == "" && (h.Type == TypeRequest || h.Type == TypeNone) {
		h.Bad = "version"
	}
}

func malformed(what, want string) error {
	return &Error{CounterHeaderMalformed, what, want}
}

func twice(name []byte) error {
	return malformed("header member "+quote(name, maxQuotedName), "it once")
}

// keep puts a member without a field into Extra.
func (h *Header) keep(name []byte, v value) error {
	if known := variantOf(name); known != "" {
		return malformed("header member "+quote(name, maxQuotedName), fmt.Sprintf("%q", known))
	}
	if _, ok := h.Extra[string(name)]; ok {
		return twice(name)
	}
	if h.Extra == nil {
		h.Extra = make(map[string]json.RawMessage)
	}
	h.Extra[string(name)] = bytes.Clone(v.raw)
	return nil
}

// set stores the value of a known member and reports whether it can be used.
func (r *HeaderReader) set(h *Header, m member, v value) bool {
	switch m {
	case memberAction:
		return r.name(&h.Action, v)
	case memberClientID:
		h.HasClientID = true
		return r.clientID(&h.ClientID, v)
	case memberEnvelope:
		return r.name(&h.Envelope, v)
	case memberError:
		return r.text(&h.Error, v)
	case memberErrorCode:
		return r.name(&h.ErrorCode, v)
	case memberErrorData:
		if v.kind == kindObject {
			h.ErrorData = bytes.Clone(v.raw)
		}
	case memberIdentifyingToken:
		return r.text(&h.IdentifyingToken, v)
	case memberRequestID:
		id, ok := parseID(v)
		h.ID = id
		return ok
	case memberSector:
		h.HasSector = true
		r.name(&h.Sector, v)
	case memberStation:
		if h.Terminal == "" {
			return r.text(&h.Terminal, v)
		}
		return v.kind == kindString || v.kind == kindNull
	case memberTerminal:
		return r.terminal(h, v)
	case memberTicket:
		return r.text(&h.Ticket, v)
	case memberType:
		return r.typ(h, v)
	case memberVersion:
		return r.version(&h.Version, v)
	}
	return true
}

// resolve returns the text of a string without its quotes and escapes. It is
// valid until the next call.
func (r *HeaderReader) resolve(v value) []byte {
	text := v.raw[1 : len(v.raw)-1]
	if v.escaped {
		r.scratch = appendUnquoted(r.scratch[:0], text)
		return r.scratch
	}
	return text
}

// text stores a string that is rarely the same twice, or must not be kept.
func (r *HeaderReader) text(to *string, v value) bool {
	if v.kind == kindString {
		*to = string(r.resolve(v))
	}
	return v.kind == kindString || v.kind == kindNull
}

// name stores a string that many headers of a connection share.
func (r *HeaderReader) name(to *string, v value) bool {
	if v.kind == kindString {
		if r.names == nil {
			r.names = newNames()
		}
		*to = r.names.intern(r.resolve(v))
	}
	return v.kind == kindString || v.kind == kindNull
}

// terminal stores the member terminal, which counts more than station wherever
// the two stand, unless it is empty.
func (r *HeaderReader) terminal(h *Header, v value) bool {
	var text string
	ok := r.text(&text, v)
	if text != "" {
		h.Terminal = text
	}
	return ok
}

// typ stores the member type. No value of it breaks more than its message, and
// what is not one of the known words is TypeOther (PROTOCOL 3.5).
func (r *HeaderReader) typ(h *Header, v value) bool {
	switch v.kind {
	case kindNull:
		h.Type = TypeNone
	case kindString:
		text := r.resolve(v)
		h.Type = typeOf(text)
		if h.Type == TypeOther {
			h.TypeText = string(text)
		}
	default:
		h.Type = TypeOther
		h.TypeText = string(v.raw)
		return false
	}
	return true
}

// version stores an action version: an integer, as a number or in a string.
func (r *HeaderReader) version(to *int, v value) bool {
	if v.kind == kindNull {
		return true
	}
	n, ok := r.integer(v)
	if !ok || n < 0 || n > math.MaxInt32 {
		return false
	}
	*to = int(n)
	return true
}

// clientID stores a tenant number: an integer, as a number or in a string,
// which may be empty.
func (r *HeaderReader) clientID(to *int64, v value) bool {
	if v.kind == kindNull || v.kind == kindString && len(v.raw) == len(`""`) {
		return true
	}
	n, ok := r.integer(v)
	*to = n // 0 unless ok
	return ok
}

// integer returns a value that is an integer or a string of one.
func (r *HeaderReader) integer(v value) (int64, bool) {
	if v.kind == kindString {
		return decimal(r.resolve(v))
	}
	return v.integer()
}
