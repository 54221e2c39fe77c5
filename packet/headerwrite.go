package packet

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// AppendTo appends h as JSON to b: the body of a HEADER packet, without a
// newline (PROTOCOL 3.1). A request always has an action, an envelope and a
// version; every other member is written when its field is not zero. Members of
// Extra that CheckExtra refuses, and an ErrorData that is not an object, are
// left out: they would make the header fatal for the connection. The caller
// compares the length with MaxHeaderSend.
func (h *Header) AppendTo(b []byte) []byte {
	o := object{b: append(b, '{')}
	request := h.Type == TypeRequest
	if request || h.Action != "" {
		o.text("action", h.Action)
	}
	if h.ClientID != 0 {
		o.integer("client_id", h.ClientID)
	}
	switch {
	case h.Envelope != "":
		o.text("envelope", h.Envelope)
	case request:
		o.text("envelope", "json")
	}
	o.textIfSet("error", h.Error)
	o.textIfSet("error_code", h.ErrorCode)
	if len(h.ErrorData) > 0 {
		if v, ok := checkJSON(h.ErrorData); ok && v.kind == kindObject {
			o.raw("error_data", v.raw)
		}
	}
	if h.Ext.V > 0 {
		o.name("ext")
		o.b = h.Ext.append(o.b)
	}
	o.textIfSet("identifying_token", h.IdentifyingToken)
	if !h.ID.IsZero() {
		o.name("request_id")
		o.b = h.ID.append(o.b)
	}
	o.textIfSet("sector", h.Sector)
	o.textIfSet("terminal", h.Terminal)
	o.textIfSet("ticket", h.Ticket)
	switch {
	case h.Type == TypeOther:
		o.text("type", h.TypeText)
	case h.Type != TypeNone:
		o.text("type", h.Type.String())
	}
	switch {
	case h.Version != 0:
		o.integer("version", int64(h.Version))
	case request:
		o.integer("version", 1)
	}
	if len(h.Extra) > 0 {
		for _, name := range slices.Sorted(maps.Keys(h.Extra)) {
			v, err := checkMember(name, h.Extra[name])
			if err == nil && o.members < maxWrittenMembers {
				o.extra(name, v.raw)
			}
		}
	}
	return append(o.b, '}')
}

// CheckExtra returns an error that names every member of extra that AppendTo
// would leave out: one that has a field in Header or only looks like a known
// member, one that is null, and one that is not JSON. It refuses more members
// than there is always room for.
func CheckExtra(extra map[string]json.RawMessage) error {
	var errs []error
	if len(extra) > maxWrittenMembers-maxFields {
		errs = append(errs, fmt.Errorf("packet: header with %d members of its own: want at most %d", len(extra), maxWrittenMembers-maxFields))
	}
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		if _, err := checkMember(name, extra[name]); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// checkMember returns the value of a member of Extra, or why it cannot be
// written.
func checkMember(name string, raw json.RawMessage) (value, error) {
	if !utf8.ValidString(name) {
		return value{}, fmt.Errorf("packet: header member %q: want a name in UTF-8", name)
	}
	if memberOf([]byte(name)) != memberUnknown {
		return value{}, fmt.Errorf("packet: header member %q: want a name without a meaning of its own", name)
	}
	if known := variantOf([]byte(name)); known != "" {
		return value{}, fmt.Errorf("packet: header member %q: want %q or another name", name, known)
	}
	v, ok := checkJSON(raw)
	if !ok {
		return value{}, fmt.Errorf("packet: header member %q: want JSON of at most %d levels", name, maxWrittenDepth-1)
	}
	if v.kind == kindNull {
		return value{}, fmt.Errorf("packet: header member %q: want a value that is not null, or no member", name)
	}
	return v, nil
}

// What receivers accept by default (PROTOCOL 3.1).
const (
	maxWrittenDepth   = 16
	maxWrittenMembers = 64
	maxFields         = 14 // members that AppendTo writes from the fields of Header
)

// checkJSON returns the value in raw, which is to be a member of a header.
func checkJSON(raw []byte) (value, bool) {
	if !utf8.Valid(raw) {
		return value{}, false
	}
	s := scanner{data: raw, maxDepth: maxWrittenDepth}
	v := s.value(1)
	return v, s.end()
}

// An object is a JSON object being written.
type object struct {
	b       []byte
	members int
}

// name starts a member whose name is plain.
func (o *object) name(name string) {
	if o.members > 0 {
		o.b = append(o.b, ',')
	}
	o.members++
	o.b = append(o.b, '"')
	o.b = append(o.b, name...)
	o.b = append(o.b, '"', ':')
}

func (o *object) text(name, text string) {
	o.name(name)
	o.b = appendQuoted(o.b, text)
}

func (o *object) textIfSet(name, text string) {
	if text != "" {
		o.text(name, text)
	}
}

func (o *object) integer(name string, n int64) {
	o.name(name)
	o.b = strconv.AppendInt(o.b, n, 10)
}

func (o *object) raw(name string, json []byte) {
	o.name(name)
	o.b = append(o.b, json...)
}

// extra writes a member whose name may need escapes.
func (o *object) extra(name string, json []byte) {
	if o.members > 0 {
		o.b = append(o.b, ',')
	}
	o.members++
	o.b = appendQuoted(o.b, name)
	o.b = append(o.b, ':')
	o.b = append(o.b, json...)
}
