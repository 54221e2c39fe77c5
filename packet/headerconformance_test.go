package packet_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/packet"
)

// parse returns the header in text, or fails the test.
func parse(t *testing.T, text string) packet.Header {
	t.Helper()
	var h packet.Header
	if err := packet.NewHeaderReader(packet.Limits{}).Parse([]byte(text), &h); err != nil {
		t.Fatalf("Parse of %s: %v", text, err)
	}
	return h
}

func requestIDIsReturned(t *testing.T) {
	for _, tt := range []struct {
		id     string
		number uint64
		ok     bool
	}{
		{"1", 1, true}, {"42", 42, true}, {"9007199254740992", 9007199254740992, true}, {"9007199254740993", 9007199254740993, true},
		{"18446744073709551614", 18446744073709551614, true}, {"18446744073709551615", 0, false}, {"18446744073709551616", 0, false},
		{"123456789012345678901234567890", 0, false},
		{`"4"`, 4, true}, {`"0004"`, 0, false}, {`"4 "`, 0, false}, {`""`, 0, false}, {`"x"`, 0, false}, {`"\u0034"`, 4, true}, {`"\/\"\\"`, 0, false}, {`"4.0"`, 0, false}, {`"+4"`, 0, false}, {`"-4"`, 0, false},
		{`"9007199254740993"`, 9007199254740993, true}, {`"é\u00e9\ud83d\ude00"`, 0, false},
		{"0", 0, true}, {"-0", 0, false}, {"-1", 0, false}, {"1.5", 0, false}, {"1.0", 0, false}, {"1e0", 0, false}, {"1E2", 0, false}, {"1e400", 0, false},
	} {
		h := parse(t, fmt.Sprintf(`{"request_id":%s,"type":"request"}`, tt.id))
		if h.ID.IsZero() || h.Bad != "" || h.ID.String() != tt.id {
			t.Errorf("request_id %s: %q, zero %v, bad %q; want the same", tt.id, h.ID, h.ID.IsZero(), h.Bad)
		}
		if n, ok := h.ID.Number(); ok != tt.ok || ok && n != tt.number {
			t.Errorf("request_id %s: number %d %v, want %d %v", tt.id, n, ok, tt.number, tt.ok)
		}
		reply := packet.Header{Type: packet.TypeReply, ID: h.ID}
		want := fmt.Sprintf(`{"request_id":%s,"type":"reply"}`, tt.id)
		if got := string(reply.AppendTo(nil)); got != want {
			t.Errorf("reply to request_id %s: %s, want %s", tt.id, got, want)
		}
	}
	for _, tt := range []struct{ id, bad string }{
		{"null", ""}, {"true", "request_id"}, {"false", "request_id"}, {"[]", "request_id"}, {"[1]", "request_id"}, {`{"a":1}`, "request_id"},
	} {
		h := parse(t, fmt.Sprintf(`{"request_id":%s}`, tt.id))
		if !h.ID.IsZero() || h.Bad != tt.bad {
			t.Errorf("request_id %s: %q, bad %q; want none and bad %q", tt.id, h.ID, h.Bad, tt.bad)
		}
	}
	if h := parse(t, `{"type":"request"}`); !h.ID.IsZero() || h.Bad != "" {
		t.Errorf("no request_id: %q, bad %q; want none of both", h.ID, h.Bad)
	}
}

func ticketNullEmptyMissing(t *testing.T) {
	for _, member := range []string{"ticket", "identifying_token", "terminal", "station"} {
		for _, text := range []string{`{}`, `{"` + member + `":null}`, `{"` + member + `":""}`} {
			if h := parse(t, text); h.Ticket != "" || h.IdentifyingToken != "" || h.Terminal != "" || h.Bad != "" {
				t.Errorf("Parse of %s: %+v, want none", text, h)
			}
		}
		h := parse(t, `{"`+member+`":17}`)
		if h.Bad != member {
			t.Errorf("%s 17: bad %q, want %q", member, h.Bad, member)
		}
	}
	h := parse(t, `{"ticket":"1,2,3","identifying_token":"4,5,6","terminal":"7,8,9"}`)
	if h.Ticket != "1,2,3" || h.IdentifyingToken != "4,5,6" || h.Terminal != "7,8,9" {
		t.Errorf("three tokens: %+v", h)
	}
	for _, tt := range []struct{ text, want string }{
		{`{"station":"old"}`, "old"},
		{`{"station":"old","terminal":"new"}`, "new"},
		{`{"terminal":"new","station":"old"}`, "new"},
		{`{"terminal":"","station":"old"}`, "old"},
		{`{"station":"old","terminal":null}`, "old"},
		{`{"station":"","terminal":"new"}`, "new"},
	} {
		if h := parse(t, tt.text); h.Terminal != tt.want || h.Bad != "" {
			t.Errorf("Parse of %s: terminal %q, bad %q; want %q", tt.text, h.Terminal, h.Bad, tt.want)
		}
	}
	if h := parse(t, `{"terminal":"new","station":17}`); h.Terminal != "new" || h.Bad != "station" {
		t.Errorf("station 17 beside a terminal: %q, bad %q; want new, bad station", h.Terminal, h.Bad)
	}
}

func numbersInStrings(t *testing.T) {
	for _, tt := range []struct {
		value   string
		version int
		client  int64
		bad     string // what fails: v the version, c the client_id
	}{
		{`1`, 1, 1, ""}, {`"1"`, 1, 1, ""}, {`77`, 77, 77, ""}, {`"77"`, 77, 77, ""}, {`"\u0037"`, 7, 7, ""}, {`null`, 1, 0, ""},
		{`2147483647`, 2147483647, 2147483647, ""}, {`2147483648`, 1, 2147483648, "v"},
		{`"9223372036854775807"`, 1, 9223372036854775807, "v"}, {`9223372036854775808`, 1, 0, "vc"}, {`"99999999999999999999"`, 1, 0, "vc"},
		{`-1`, 1, -1, "v"}, {`"-5"`, 1, -5, "v"}, {`-9223372036854775808`, 1, 0, "vc"},
		{`""`, 1, 0, "v"}, {`" 1"`, 1, 0, "vc"}, {`"1 "`, 1, 0, "vc"}, {`"+1"`, 1, 0, "vc"}, {`"01"`, 1, 0, "vc"}, {`"1.0"`, 1, 0, "vc"}, {`"0x1"`, 1, 0, "vc"}, {`"x"`, 1, 0, "vc"},
		{`"-"`, 1, 0, "vc"}, {`"--1"`, 1, 0, "vc"}, {`1.5`, 1, 0, "vc"}, {`1.0`, 1, 0, "vc"}, {`1e0`, 1, 0, "vc"}, {`1e400`, 1, 0, "vc"}, {`true`, 1, 0, "vc"}, {`[]`, 1, 0, "vc"}, {`{}`, 1, 0, "vc"},
	} {
		h := parse(t, fmt.Sprintf(`{"type":"request","version":%s}`, tt.value))
		if h.Version != tt.version || (h.Bad == "version") != strings.Contains(tt.bad, "v") {
			t.Errorf("version %s: %d, bad %q; want %d, bad %q", tt.value, h.Version, h.Bad, tt.version, tt.bad)
		}
		h = parse(t, fmt.Sprintf(`{"type":"request","client_id":%s}`, tt.value))
		if h.ClientID != tt.client || (h.Bad == "client_id") != strings.Contains(tt.bad, "c") || !h.HasClientID {
			t.Errorf("client_id %s: %d, bad %q; want %d, bad %q", tt.value, h.ClientID, h.Bad, tt.client, tt.bad)
		}
	}
	h := packet.Header{Type: packet.TypeRequest, Action: "a.b", ClientID: 77, Version: 2}
	if got, want := string(h.AppendTo(nil)), `{"action":"a.b","client_id":77,"envelope":"json","type":"request","version":2}`; got != want {
		t.Errorf("written %s, want %s", got, want)
	}
	h.ClientID = 0
	if got := string(h.AppendTo(nil)); strings.Contains(got, "client_id") {
		t.Errorf("written %s, want no client_id", got)
	}
}

func missingVersionAndEnvelope(t *testing.T) {
	for _, text := range []string{`{}`, `{"version":null,"envelope":null}`, `{"type":"request","action":"a.b","request_id":1,"envelope":""}`} {
		if h := parse(t, text); h.Version != 1 || h.Envelope != "json" || h.Bad != "" {
			t.Errorf("Parse of %s: version %d, envelope %q, bad %q; want 1 and json", text, h.Version, h.Envelope, h.Bad)
		}
	}
	if h := parse(t, `{"version":3,"envelope":"web"}`); h.Version != 3 || h.Envelope != "web" {
		t.Errorf("version %d, envelope %q; want 3 and web", h.Version, h.Envelope)
	}
	for _, tt := range []struct{ text, bad string }{
		{`{"envelope":17}`, "envelope"},
		{`{"version":0}`, "version"},
		{`{"version":0,"type":"request"}`, "version"},
		{`{"version":0,"type":"reply"}`, ""},
		{`{"version":0,"action":17}`, "action"},
	} {
		if h := parse(t, tt.text); h.Bad != tt.bad {
			t.Errorf("Parse of %s: bad %q, want %q", tt.text, h.Bad, tt.bad)
		}
	}
}

// missingType also has the types that are there, and those that are none of
// ours: PROTOCOL 3.5 leaves the latter to one message.
func missingType(t *testing.T) {
	for _, tt := range []struct {
		value string
		want  packet.Type
		text  string
		bad   string
	}{
		{`null`, packet.TypeNone, "", ""},
		{`"request"`, packet.TypeRequest, "", ""},
		{`"reply"`, packet.TypeReply, "", ""},
		{`"subscribe"`, packet.TypeSubscribe, "", ""},
		{`"subscribe_done"`, packet.TypeSubscribeDone, "", ""},
		{`"event"`, packet.TypeEvent, "", ""},
		{`"notify"`, packet.TypeNotify, "", ""},
		{`"cancel"`, packet.TypeCancel, "", ""},
		{`"re\u0070ly"`, packet.TypeReply, "", ""},
		{`"banana"`, packet.TypeOther, "banana", ""},
		{`"Request"`, packet.TypeOther, "Request", ""},
		{`"request "`, packet.TypeOther, "request ", ""},
		{`""`, packet.TypeOther, "", ""},
		{`17`, packet.TypeOther, "17", "type"},
		{`["request"]`, packet.TypeOther, `["request"]`, "type"},
		{`false`, packet.TypeOther, "false", "type"},
	} {
		h := parse(t, `{"type":`+tt.value+`}`)
		if h.Type != tt.want || h.TypeText != tt.text || h.Bad != tt.bad {
			t.Errorf("type %s: %d %q, bad %q; want %d %q, bad %q", tt.value, h.Type, h.TypeText, h.Bad, tt.want, tt.text, tt.bad)
		}
	}
	if h := parse(t, `{"request_id":1}`); h.Type != packet.TypeNone {
		t.Errorf("no type: %d, want TypeNone", h.Type)
	}
}

func unknownMembersAreKept(t *testing.T) {
	h := parse(t, `{"action":"a.b","x_future":{"a":[1 , 2]},"new_session":"s","http_status":"200","n":null,"q\u0022":"\u00e9","":-1.5e3,
		"cgi_headers":{"PATH_INFO":"/x"},"http_headers":["A","b"],"psgi_scheme":"https","new_terminal":17}`)
	want := map[string]json.RawMessage{
		"x_future": json.RawMessage(`{"a":[1 , 2]}`), "new_session": json.RawMessage(`"s"`), "http_status": json.RawMessage(`"200"`),
		"n": json.RawMessage(`null`), `q"`: json.RawMessage(`"\u00e9"`), "": json.RawMessage(`-1.5e3`),
		"cgi_headers": json.RawMessage(`{"PATH_INFO":"/x"}`), "http_headers": json.RawMessage(`["A","b"]`),
		"psgi_scheme": json.RawMessage(`"https"`), "new_terminal": json.RawMessage(`17`),
	}
	if !reflect.DeepEqual(h.Extra, want) || h.Bad != "" {
		t.Errorf("extra %s, bad %q; want %s and none", h.Extra, h.Bad, want)
	}
	if h := parse(t, `{"action":"a.b"}`); h.Extra != nil {
		t.Errorf("no unknown member: extra %v, want nil", h.Extra)
	}
}

func nullErrorIsSuccess(t *testing.T) {
	for _, text := range []string{
		`{"request_id":1,"type":"reply"}`,
		`{"request_id":1,"type":"reply","error_code":null,"error":null,"error_data":null}`,
		`{"request_id":1,"type":"reply","error_code":"","error":""}`,
		`{"request_id":1,"type":"reply","error_data":17}`,
		`{"request_id":1,"type":"reply","error_data":[{"dispatch_failure":true}]}`,
		`{"request_id":1,"type":"reply","error_data":"x"}`,
	} {
		h := parse(t, text)
		if code, why, failed := h.Failure(); failed || code != "" || why != "" || h.ErrorData != nil || h.Bad != "" || h.DispatchFailure() {
			t.Errorf("Parse of %s: failure %v %q %q, data %s, bad %q; want none", text, failed, code, why, h.ErrorData, h.Bad)
		}
	}
}

func errorWithoutCode(t *testing.T) {
	for _, tt := range []struct{ members, code, text, bad string }{
		{`"error":"no"`, "general", "no", ""},
		{`"error":"no","error_code":null`, "general", "no", ""},
		{`"error":"no","error_code":""`, "general", "no", ""},
		{`"error_code":"authz"`, "authz", "Unknown error", ""},
		{`"error_code":"authz","error":"no"`, "authz", "no", ""},
		{`"error_code":17,"error":"no"`, "general", "no", "error_code"},
		{`"error_code":"x","error":{"a":1}`, "x", "Unknown error", "error"},
	} {
		h := parse(t, `{"request_id":1,"type":"reply",`+tt.members+`}`)
		if code, text, failed := h.Failure(); code != tt.code || text != tt.text || !failed || h.Bad != tt.bad {
			t.Errorf("%s: failure %v %q %q, bad %q; want %q %q, bad %q", tt.members, failed, code, text, h.Bad, tt.code, tt.text, tt.bad)
		}
	}
}

// nothingWrittenIsNull sets and leaves out every field by turns.
func nothingWrittenIsNull(t *testing.T) {
	full := packet.Header{
		Type: packet.TypeRequest, ID: packet.NumberID(7), Action: "a.b", Version: 3, Envelope: "jsonstore", Sector: "web",
		Ticket: "t", IdentifyingToken: "i", Terminal: "s", ClientID: 9, ErrorCode: "c", Error: "e",
		ErrorData: json.RawMessage(`{"a":1}`), Ext: packet.Ext{V: 1, Win: 65536, Cancel: true, MS: 5},
		Extra: map[string]json.RawMessage{"x": json.RawMessage(`[1]`), "n": json.RawMessage(`null`), "sp": json.RawMessage(" null\n"), "none": nil},
	}
	fields := reflect.TypeFor[packet.Header]().NumField()
	for _, typ := range []packet.Type{packet.TypeNone, packet.TypeRequest, packet.TypeReply, packet.TypeCancel, packet.TypeOther} {
		for skip := range fields {
			for only := range fields + 1 {
				h := full
				reflect.ValueOf(&h).Elem().Field(skip).SetZero()
				if only < fields {
					h = packet.Header{}
					reflect.ValueOf(&h).Elem().Field(only).Set(reflect.ValueOf(full).Field(only))
				}
				h.Type = typ
				text := h.AppendTo(nil)
				var members map[string]any
				if err := json.Unmarshal(text, &members); err != nil {
					t.Fatalf("%+v written as %s: %v", h, text, err)
				}
				for name, v := range members {
					if v == nil {
						t.Errorf("%+v written as %s: %s is null", h, text, name)
					}
				}
			}
		}
	}
}
