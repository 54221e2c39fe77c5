package packet_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/packet"
)

func TestHeaderAppendTo(t *testing.T) {
	for _, tt := range []struct {
		name string
		h    packet.Header
		want string
	}{
		{"nothing", packet.Header{}, `{}`},
		{"least request", packet.Header{Type: packet.TypeRequest, ID: packet.NumberID(1), Action: "Sample.echo"},
			`{"action":"Sample.echo","envelope":"json","request_id":1,"type":"request","version":1}`},
		{"our request", packet.Header{Type: packet.TypeRequest, ID: packet.NumberID(1), Action: "Sample.echo", Version: 1, Envelope: "json", Sector: "main",
			Ext: packet.Ext{V: 1, Win: 1048576, Cancel: true}},
			`{"action":"Sample.echo","envelope":"json","ext":{"v":1,"win":1048576,"cancel":1},"request_id":1,"sector":"main","type":"request","version":1}`},
		{"with a deadline", packet.Header{Type: packet.TypeRequest, ID: packet.NumberID(2), Action: "a.b", Ext: packet.Ext{V: 1, MS: 2500}},
			`{"action":"a.b","envelope":"json","ext":{"v":1,"ms":2500},"request_id":2,"type":"request","version":1}`},
		{"every member", packet.Header{Type: packet.TypeRequest, ID: packet.NumberID(3), Action: "a.b", Version: 2, Envelope: "web", Sector: "web",
			Ticket: "t", IdentifyingToken: "i", Terminal: "m", ClientID: -5, ErrorCode: "c", Error: "e", ErrorData: json.RawMessage(` {"k": 1} `),
			Extra: map[string]json.RawMessage{"psgi_scheme": json.RawMessage(`"https"`), "b": json.RawMessage(`1`), "a": json.RawMessage("[1,\n2]")}},
			`{"action":"a.b","client_id":-5,"envelope":"web","error":"e","error_code":"c","error_data":{"k": 1},"identifying_token":"i","request_id":3,` +
				`"sector":"web","terminal":"m","ticket":"t","type":"request","version":2,"a":[1,` + "\n" + `2],"b":1,"psgi_scheme":"https"}`},
		{"request without anything", packet.Header{Type: packet.TypeRequest}, `{"action":"","envelope":"json","type":"request","version":1}`},
		{"reply", packet.Header{Type: packet.TypeReply, ID: packet.NumberID(1)}, `{"request_id":1,"type":"reply"}`},
		{"refusal", packet.Header{Type: packet.TypeReply, ID: packet.NumberID(5), ErrorCode: "transport", Error: "shutting down", ErrorData: json.RawMessage(`{"dispatch_failure":true}`)},
			`{"error":"shutting down","error_code":"transport","error_data":{"dispatch_failure":true},"request_id":5,"type":"reply"}`},
		{"cancel", packet.Header{Type: packet.TypeCancel, ID: packet.NumberID(9)}, `{"request_id":9,"type":"cancel"}`},
		{"subscribe", packet.Header{Type: packet.TypeSubscribe, ID: packet.NumberID(1)}, `{"request_id":1,"type":"subscribe"}`},
		{"event", packet.Header{Type: packet.TypeEvent}, `{"type":"event"}`},
		{"another type", packet.Header{Type: packet.TypeOther, TypeText: "heart\"beat"}, `{"type":"heart\"beat"}`},
		{"facts are not written", packet.Header{Type: packet.TypeReply, HasSector: true, HasClientID: true, Bad: "action"}, `{"type":"reply"}`},
		{"large id", packet.Header{ID: packet.NumberID(18446744073709551615)}, `{"request_id":18446744073709551615}`},
		{"error data that is no object", packet.Header{ErrorData: json.RawMessage(`[1]`)}, `{}`},
		{"error data that is no JSON", packet.Header{ErrorData: json.RawMessage(`{"a":1}}`)}, `{}`},
		{"window below the least", packet.Header{Ext: packet.Ext{V: 1, Win: 1000, MS: -5}}, `{"ext":{"v":1}}`},
		{"ext without a version", packet.Header{Ext: packet.Ext{Win: 65536, Cancel: true}}, `{}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(tt.h.AppendTo([]byte("x"))); got != "x"+tt.want {
				t.Errorf("AppendTo of %+v:\ngot  %s\nwant x%s", tt.h, got, tt.want)
			}
		})
	}
}

// TestHeaderAppendToEscapes: text of any octets becomes a JSON string that
// stands for the same text, in which no control character is left.
func TestHeaderAppendToEscapes(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`plain text/é😀`, `"plain text/é😀"`},
		{`"\`, `"\"\\"`},
		{"\n\r\t", `"\n\r\t"`},
		{"\x00\x01\x08\x0c\x1b\x1f\x7f", `"\u0000\u0001\u0008\u000c\u001b\u001f\u007f"`},
		{"\u2028<>&", "\"\u2028<>&\""},
		{"a\xffb", "\"a\ufffdb\""},
		{"\xff\xfe", "\"\ufffd\ufffd\""},
		{"\xe2\x82", "\"\ufffd\ufffd\""},
		{"\xed\xa0\x80", "\"\ufffd\ufffd\ufffd\""},
		{"\ufffd", "\"\ufffd\""},
		{"é\x00é", `"é\u0000é"`},
	} {
		h := packet.Header{Error: tt.text}
		got := string(h.AppendTo(nil))
		if want := `{"error":` + tt.want + `}`; got != want {
			t.Errorf("error %q: %s, want %s", tt.text, got, want)
		}
		var want string
		if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
			t.Fatalf("%s: %v", tt.want, err)
		}
		if back := parse(t, got).Error; back != want {
			t.Errorf("error %q: read back as %q, want %q", tt.text, back, want)
		}
	}
	for c := range 256 {
		h := packet.Header{Error: "a" + string([]byte{byte(c)}) + "b"}
		var back struct{ Error string }
		text := h.AppendTo(nil)
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatalf("octet %#x: %s: %v", c, text, err)
		}
		want := h.Error
		if c >= 0x80 {
			want = "a\ufffdb"
		}
		if back.Error != want || parse(t, string(text)).Error != want {
			t.Errorf("octet %#x: %s stands for %q, want %q", c, text, back.Error, want)
		}
	}
}

// TestHeaderRoundTrip is invariant 7: what was read, written and read again has
// the same meaning.
func TestHeaderRoundTrip(t *testing.T) {
	for _, text := range headerSeeds() {
		var h packet.Header
		if packet.NewHeaderReader(packet.Limits{}).Parse([]byte(text), &h) == nil {
			checkRoundTrip(t, h)
		}
	}
}

// checkRoundTrip writes a parsed header and reads it again. Bad members and the
// facts about the peer are not written, nor are null members and a version 0.
func checkRoundTrip(t *testing.T, h packet.Header) {
	t.Helper()
	text := h.AppendTo(nil)
	var got packet.Header // the text may be longer than what was read: DEL becomes an escape
	if err := packet.NewHeaderReader(packet.Limits{MaxHeader: 1 << 20}).Parse(text, &got); err != nil {
		t.Fatalf("header %+v written as %s: %v", h, text, err)
	}
	want := h
	want.Bad = ""
	if want.Type == packet.TypeReply || want.Type > packet.TypeRequest {
		want.Version = max(want.Version, 1)
	}
	if h.Version == 0 && got.Version == 1 {
		want.Version = 1
	}
	want.HasSector, want.HasClientID = h.Sector != "", h.ClientID != 0
	want.Extra = nil
	for name, raw := range h.Extra {
		if string(raw) != "null" && len(want.Extra) < 64 {
			if want.Extra == nil {
				want.Extra = map[string]json.RawMessage{}
			}
			want.Extra[name] = raw
		}
	}
	if len(h.Extra) > 50 { // there may be no room for all beside the fields
		want.Extra = got.Extra
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("header %+v written as %s:\ngot  %+v\nwant %+v", h, text, got, want)
	}
}

func TestCheckExtra(t *testing.T) {
	deep := func(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }
	for _, tt := range []struct{ name, value, want string }{
		{"x_future", `{"a":[1]}`, ""}, {"cgi_headers", `{}`, ""}, {"http_status", `200`, ""}, {"new_session", `"s"`, ""}, {"", `1`, ""}, {"é", `1`, ""},
		{"x", " 1\n", ""}, {"x", deep(15), ""},
		{"action", `"a.b"`, `packet: header member "action": want a name without a meaning of its own`},
		{"ticket", `"t"`, `packet: header member "ticket": want a name without a meaning of its own`},
		{"station", `"t"`, `packet: header member "station": want a name without a meaning of its own`},
		{"ext", `{}`, `packet: header member "ext": want a name without a meaning of its own`},
		{"Action", `"a.b"`, `packet: header member "Action": want "action" or another name`},
		{"tic\u212aet", `"t"`, "packet: header member \"tic\u212aet\": want \"ticket\" or another name"},
		{"HTTP_status", `1`, `packet: header member "HTTP_status": want "http_status" or another name`},
		{"x", `null`, `packet: header member "x": want a value that is not null, or no member`},
		{"x", ` null `, `packet: header member "x": want a value that is not null, or no member`},
		{"x", ``, `packet: header member "x": want JSON of at most 15 levels`},
		{"x", `{`, `packet: header member "x": want JSON of at most 15 levels`},
		{"x", `1,"action":"a.c"`, `packet: header member "x": want JSON of at most 15 levels`},
		{"x", `1}`, `packet: header member "x": want JSON of at most 15 levels`},
		{"x", deep(16), `packet: header member "x": want JSON of at most 15 levels`},
		{"x", "\"\xff\"", `packet: header member "x": want JSON of at most 15 levels`},
		{"x", `"\ud800"`, `packet: header member "x": want JSON of at most 15 levels`},
		{"\xff", `1`, `packet: header member "\xff": want a name in UTF-8`},
	} {
		extra := map[string]json.RawMessage{tt.name: json.RawMessage(tt.value)}
		got := ""
		if err := packet.CheckExtra(extra); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("CheckExtra of %q %s:\ngot  %s\nwant %s", tt.name, tt.value, got, tt.want)
		}
		h := packet.Header{Type: packet.TypeRequest, Action: "a.b", Extra: extra}
		back := parse(t, string(h.AppendTo(nil)))
		if _, written := back.Extra[tt.name]; written != (tt.want == "") || back.Action != "a.b" {
			t.Errorf("%q %s written as %s, want it there: %v", tt.name, tt.value, h.AppendTo(nil), tt.want == "")
		}
	}
	two := map[string]json.RawMessage{"sector": json.RawMessage(`1`), "Type": json.RawMessage(`2`), "x": json.RawMessage(`3`)}
	if err := packet.CheckExtra(two); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("CheckExtra of two bad members: %v, want both named", err)
	}
	if err := packet.CheckExtra(nil); err != nil {
		t.Errorf("CheckExtra of nothing: %v", err)
	}
}

// TestHeaderAppendToKeepsRoom: however many members the caller adds, receivers
// accept the header.
func TestHeaderAppendToKeepsRoom(t *testing.T) {
	for _, n := range []int{49, 50, 51, 64, 100} {
		h := packet.Header{Type: packet.TypeRequest, ID: packet.NumberID(1), Action: "a.b", Version: 2, Envelope: "web", Sector: "web", Ticket: "t",
			IdentifyingToken: "i", Terminal: "m", ClientID: 5, ErrorCode: "c", Error: "e", ErrorData: json.RawMessage(`{}`), Ext: packet.Ext{V: 1},
			Extra: map[string]json.RawMessage{}}
		for i := range n {
			h.Extra[fmt.Sprintf("x%03d", i)] = json.RawMessage(`1`)
		}
		back := parse(t, string(h.AppendTo(nil)))
		if want := min(n, 50); len(back.Extra) != want {
			t.Errorf("%d members of its own: %d written, want %d", n, len(back.Extra), want)
		}
		if err := packet.CheckExtra(h.Extra); (err == nil) != (n <= 50) {
			t.Errorf("CheckExtra of %d members: %v", n, err)
		}
	}
}
