package packet_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/packet"
)

// headerSeeds returns every header that was recorded, and some that were not.
func headerSeeds() []string {
	seeds := recordedHeaders()
	var cases struct{ Requests, Replies []struct{ JSON string } }
	fixtures.JSON("headers.json", &cases)
	for _, c := range append(cases.Requests, cases.Replies...) {
		seeds = append(seeds, c.JSON)
	}
	return append(seeds,
		`{"action":"a.b","ext":{"v":1,"win":65536,"cancel":1,"ms":250},"sector":"main","type":"request","request_id":9}`,
		`{"type":"cancel","request_id":"x\u0031"}`, `{"type":"reply","version":0,"client_id":"-5","error_data":{"dispatch_failure":true}}`,
		`{"Action":1}`, `{"a":1,"a":2}`, `{"\u0061ction":"\ud83d\ude00","station":"s"}`, `{"ver\u017fion":1}`, `{"a":[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]}`,
		`{"a":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}`, `{"request_id":1.5e3,"version":"2","client_id":""}`, `{"a":"\ud800"}`, ` {} `, `[]`, `null`, `{"x":null}`,
		`{"ext":{"v":1,"v":2},"envelope":null,"error":"","error_code":17}`, "{\"a\":\"\xff\"}", `{"a":{"b":{},"c":[],"d":-0.0e-0}}`, "{\"a\":\"\u007f\"}",
		`{"a":1E400,"b":[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]}`,
	)
}

// FuzzHeaderJSON compares Parse with a slow reader of the same rules that is
// built on encoding/json.
func FuzzHeaderJSON(f *testing.F) {
	for _, text := range headerSeeds() {
		f.Add([]byte(text))
	}
	f.Add([]byte(`{"action":"` + strings.Repeat("\u007f", 12_000) + `"}`)) // written, it is longer than what is read
	f.Fuzz(func(t *testing.T, body []byte) {
		kept := bytes.Clone(body)
		r := packet.NewHeaderReader(packet.Limits{})
		var h packet.Header
		err := r.Parse(body, &h)
		if !bytes.Equal(body, kept) {
			t.Fatalf("Parse changed its input:\ngot  %q\nwant %q", body, kept)
		}
		want, fatal := slowParse(body)
		if (fatal != "") != (err != nil) {
			t.Fatalf("Parse of %q: %v; slow reader: %q", body, err, fatal)
		}
		if err != nil {
			if c := counter(err); c != packet.CounterHeaderMalformed && c != packet.CounterHeaderTooBig {
				t.Fatalf("Parse of %q: %v with counter %s", body, err, c)
			}
			return
		}
		if h.ID.String() != want.ID.String() {
			t.Fatalf("Parse of %q: request_id %s, want %s", body, h.ID, want.ID)
		}
		want.ID = h.ID
		if !reflect.DeepEqual(h, want) {
			t.Fatalf("Parse of %q:\ngot  %+v\nwant %+v", body, h, want)
		}
		var again packet.Header
		if err := r.Parse(body, &again); err != nil || !reflect.DeepEqual(h, again) {
			t.Fatalf("Parse of %q a second time: %+v, %v; want %+v", body, again, err, h)
		}
		checkRoundTrip(t, h)
	})
}

var slowKnown = strings.Fields("action client_id envelope error error_code error_data ext identifying_token request_id sector station terminal ticket type version " +
	"cgi_headers http_headers http_status new_session new_terminal psgi_scheme")

// slowParse reads a header with encoding/json. Of the id only its String is
// right.
func slowParse(body []byte) (h packet.Header, fatal string) {
	names, values, fatal := slowMembers(body)
	if fatal != "" {
		return h, fatal
	}
	h = packet.Header{Version: 1, Envelope: "json"}
	var id, station json.RawMessage
	version0 := false
	for i, name := range names {
		raw := values[i]
		var v any
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			return h, err.Error()
		}
		text, isText := v.(string)
		isText = isText || v == nil
		n, isInteger := slowInteger(v)
		ok := true
		switch name {
		case "action":
			h.Action, ok = text, isText
		case "client_id":
			h.HasClientID = true
			h.ClientID, ok = n, isInteger
			if v == nil || v == "" {
				ok = true
			}
		case "envelope":
			ok = isText
			if text != "" {
				h.Envelope = text
			}
		case "error":
			h.Error, ok = text, isText
		case "error_code":
			h.ErrorCode, ok = text, isText
		case "error_data":
			if _, isObject := v.(map[string]any); isObject {
				h.ErrorData = raw
			}
		case "ext":
			h.Ext = slowExt(raw)
		case "identifying_token":
			h.IdentifyingToken, ok = text, isText
		case "request_id":
			_, isNumber := v.(json.Number)
			ok = isText || isNumber
			if ok && v != nil {
				id = raw
			}
		case "sector":
			h.Sector, h.HasSector = text, true
		case "station":
			ok = isText
			if text != "" {
				station = json.RawMessage(text)
			}
		case "terminal":
			h.Terminal, ok = text, isText
		case "ticket":
			h.Ticket, ok = text, isText
		case "type":
			ok = isText
			h.Type = slowType(v)
			if h.Type == packet.TypeOther {
				h.TypeText = text
				if !isText {
					h.TypeText = string(raw)
				}
			}
		case "version":
			ok = v == nil || isInteger && 0 <= n && n <= math.MaxInt32
			if ok && v != nil {
				h.Version = int(n)
				version0 = n == 0
			}
		default:
			if h.Extra == nil {
				h.Extra = map[string]json.RawMessage{}
			}
			h.Extra[name] = raw
		}
		if !ok && h.Bad == "" {
			h.Bad = name
		}
	}
	if h.Terminal == "" {
		h.Terminal = string(station)
	}
	if version0 && h.Bad == "" && h.Type <= packet.TypeRequest {
		h.Bad = "version"
	}
	if id != nil {
		var holder packet.Header // the only way to an id that is no number
		if err := packet.NewHeaderReader(packet.Limits{}).Parse([]byte(`{"request_id":`+string(id)+`}`), &holder); err != nil || holder.ID.String() != string(id) {
			return h, fmt.Sprintf("id %s: %v", id, err)
		}
		h.ID = holder.ID
	}
	return h, ""
}

// slowMembers returns the top-level members of a header, or why it is fatal.
func slowMembers(body []byte) (names []string, values []json.RawMessage, fatal string) {
	if len(body) > 65536 || !utf8.Valid(body) || !json.Valid(body) || halfCharacter(body) {
		return nil, nil, "no JSON in UTF-8"
	}
	depth, deepest := 0, 0
	nested := json.NewDecoder(bytes.NewReader(body))
	nested.UseNumber() // one may be greater than any of Go's
	for {
		token, err := nested.Token()
		if err != nil {
			break
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			deepest = max(deepest, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
	if deepest > 16 {
		return nil, nil, "too deep"
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if token, _ := d.Token(); token != json.Delim('{') {
		return nil, nil, "no object"
	}
	for d.More() {
		token, _ := d.Token()
		name := token.(string)
		if slices.Contains(names, name) {
			return nil, nil, "twice"
		}
		for _, known := range slowKnown {
			if name != known && strings.EqualFold(name, known) {
				return nil, nil, "variant of " + known
			}
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, nil, err.Error()
		}
		names, values = append(names, name), append(values, raw)
	}
	if len(names) > 64 {
		return nil, nil, "too many"
	}
	return names, values, ""
}

var escapes = regexp.MustCompile(`\\(?:u[0-9a-fA-F]{4}|.)`)

// halfCharacter reports whether valid JSON has an escape for a surrogate that
// is not one of a pair, which encoding/json would replace.
func halfCharacter(body []byte) bool {
	high := -1 // where a high surrogate ended
	for _, at := range escapes.FindAllIndex(body, -1) {
		escape := body[at[0]:at[1]]
		n, _ := strconv.ParseUint(string(escape[2:]), 16, 16)
		isHigh := len(escape) == 6 && n>>10 == 0xd800>>10
		isLow := len(escape) == 6 && n>>10 == 0xdc00>>10
		paired := high == at[0]
		if high >= 0 && !(paired && isLow) || isLow && !paired {
			return true
		}
		high = -1
		if isHigh {
			high = at[1]
		}
	}
	return high >= 0
}

var integerForm = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

// slowInteger returns a value that is an integer, or a string of one, and fits.
func slowInteger(v any) (int64, bool) {
	text := fmt.Sprint(v)
	_, isNumber := v.(json.Number)
	_, isText := v.(string)
	n, ok := new(big.Int).SetString(text, 10)
	if !isNumber && !isText || !integerForm.MatchString(text) || !ok || !n.IsInt64() || n.Int64() == math.MinInt64 {
		return 0, false
	}
	return n.Int64(), true
}

func slowType(v any) packet.Type {
	if v == nil {
		return packet.TypeNone
	}
	for typ := packet.TypeRequest; typ <= packet.TypeCancel; typ++ {
		if v == typ.String() {
			return typ
		}
	}
	return packet.TypeOther
}

func slowExt(raw json.RawMessage) (e packet.Ext) {
	names, values := []string{}, []any{}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if token, _ := d.Token(); token != json.Delim('{') {
		return e
	}
	for d.More() {
		token, _ := d.Token()
		var v any
		if err := d.Decode(&v); err != nil {
			return e
		}
		names, values = append(names, token.(string)), append(values, v)
	}
	member := func(name string, least, most int64) int64 {
		first := slices.Index(names, name)
		if first < 0 || slices.Contains(names[first+1:], name) {
			return 0
		}
		v, isNumber := values[first].(json.Number)
		n, ok := slowInteger(v)
		if !isNumber || !ok || n < least || n > most {
			return 0
		}
		return n
	}
	v := member("v", 1, math.MaxInt64)
	if v == 0 {
		return e
	}
	return packet.Ext{V: int(min(v, math.MaxInt32)), Win: member("win", 65536, math.MaxInt64), Cancel: member("cancel", 1, 1) == 1, MS: member("ms", 1, math.MaxInt64/1000000)}
}
