package packet_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/packet"
)

func TestTypeString(t *testing.T) {
	for i, want := range []string{"", "request", "reply", "subscribe", "subscribe_done", "event", "notify", "cancel", "", "Type(9)"} {
		if got := packet.Type(i).String(); got != want {
			t.Errorf("Type %d: %q, want %q", i, got, want)
		}
	}
}

// TestHeadersOfEveryPeer has the headers of fixtures/headers.json. A request
// that must not be run shows why: it has no id, a bad member or another type.
func TestHeadersOfEveryPeer(t *testing.T) {
	var recorded struct {
		Requests []struct {
			From, JSON, Note string
			OK               bool
		}
		Replies []struct {
			JSON, Note      string
			Error           []string
			DispatchFailure bool `json:"dispatch_failure"`
		}
	}
	fixtures.JSON("headers.json", &recorded)
	if len(recorded.Requests) == 0 || len(recorded.Replies) == 0 {
		t.Fatal("no header in fixtures/headers.json")
	}
	for _, c := range recorded.Requests {
		h := parse(t, c.JSON)
		runs := (h.Type == packet.TypeRequest || h.Type == packet.TypeNone) && !h.ID.IsZero() && h.Bad == ""
		if runs != c.OK {
			t.Errorf("request of %s %s (%s): %+v, runs %v; want %v", c.From, c.JSON, c.Note, h, runs, c.OK)
		}
		if runs && (h.Action == "" || h.Version != 1 || h.Envelope != "json" || h.Ticket != "") {
			t.Errorf("request of %s %s: %+v, want an action, version 1, envelope json, no ticket", c.From, c.JSON, h)
		}
	}
	for _, c := range recorded.Replies {
		h := parse(t, c.JSON)
		var got []string
		if code, text, failed := h.Failure(); failed {
			got = []string{code, text}
		}
		n, ok := h.ID.Number()
		if !reflect.DeepEqual(got, c.Error) || h.DispatchFailure() != c.DispatchFailure || n != 1 || !ok {
			t.Errorf("reply %s (%s): error %q, dispatch failure %v, id %d; want %q, %v, 1", c.JSON, c.Note, got, h.DispatchFailure(), n, c.Error, c.DispatchFailure)
		}
	}
}

// TestBadMembersFailTheirMessageOnly is P5 of the threat model, second half,
// and PROTOCOL 3.5: the header is read, and says what is wrong with it.
func TestBadMembersFailTheirMessageOnly(t *testing.T) {
	junk := []string{`17`, `-1.5`, `true`, `false`, `[]`, `{}`, `["a"]`, `{"a":null}`, `"x"`, `""`, `null`}
	accepts := map[string]string{ // which of them are no reason to fail
		"action": `"x" "" null`, "envelope": `"x" "" null`, "ticket": `"x" "" null`, "identifying_token": `"x" "" null`,
		"terminal": `"x" "" null`, "station": `"x" "" null`, "error": `"x" "" null`, "error_code": `"x" "" null`,
		"version": `17 null`, "client_id": `17 "" null`, "request_id": `17 -1.5 "x" "" null`, "type": `"x" "" null`,
		"sector": strings.Join(junk, " "), "ext": strings.Join(junk, " "), "error_data": strings.Join(junk, " "),
	}
	for name, good := range accepts {
		for _, value := range junk {
			text := fmt.Sprintf(`{"x":1,%q:%s,"y":2}`, name, value)
			h := parse(t, text)
			want := name
			if strings.Contains(" "+good+" ", " "+value+" ") {
				want = ""
			}
			if h.Bad != want {
				t.Errorf("Parse of %s: bad %q, want %q", text, h.Bad, want)
			}
			if len(h.Extra) != 2 {
				t.Errorf("Parse of %s: extra %s, want x and y all the same", text, h.Extra)
			}
		}
	}
	if h := parse(t, `{"ticket":5,"action":17,"version":"x"}`); h.Bad != "ticket" {
		t.Errorf("three bad members: %q, want the first, ticket", h.Bad)
	}
}

func TestParseResolvesEscapes(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`plain`, "plain"}, {`\"\\\/\b\f\n\r\t`, "\"\\/\b\f\n\r\t"}, {`\u0041\u00e9\u20AC\uFFFD`, "Aé€\ufffd"}, {`\ud83d\ude00`, "😀"}, {`a\u0000b`, "a\x00b"},
		{`é€😀`, "é€😀"}, {`x\\u0041`, `x\u0041`}, {`\udbff\udfff`, "\U0010ffff"},
	} {
		h := parse(t, `{"action":"`+tt.text+`","error":"`+tt.text+`","x`+tt.text+`":1}`)
		if h.Action != tt.want || h.Error != tt.want || h.Extra["x"+tt.want] == nil {
			t.Errorf("string %q: action %q, error %q, extra %q; want %q", tt.text, h.Action, h.Error, h.Extra, tt.want)
		}
	}
}

func TestSectorIsInformational(t *testing.T) {
	for _, tt := range []struct {
		text, want string
		has        bool
	}{
		{`{"sector":"main"}`, "main", true}, {`{"sector":"web"}`, "web", true}, {`{"sector":null}`, "", true},
		{`{"sector":17}`, "", true}, {`{"sector":""}`, "", true}, {`{}`, "", false}, {`{"x":{"sector":"main"}}`, "", false},
	} {
		if h := parse(t, tt.text); h.Sector != tt.want || h.HasSector != tt.has {
			t.Errorf("Parse of %s: sector %q, has %v; want %q, %v", tt.text, h.Sector, h.HasSector, tt.want, tt.has)
		}
	}
}

func TestGoDialect(t *testing.T) {
	for _, tt := range []struct {
		text string
		want bool
	}{
		{`{"action":"","envelope":"json","request_id":1,"client_id":0,"ticket":"","identifying_token":"","type":"reply","version":0}` + "\n", true},
		{`{"request_id":1,"type":"reply","client_id":0}`, false},
		{`{"request_id":1,"type":"reply","client_id":0,"version":1}`, false},
		{`{"request_id":1,"type":"reply","client_id":0,"version":"x"}`, false},
		{`{"request_id":1,"type":"reply","version":0}`, false},
		{`{"request_id":1,"type":"reply"}`, false},
		{`{"request_id":1}`, false},
	} {
		if h := parse(t, tt.text); h.GoDialect() != tt.want {
			t.Errorf("reply %s: Go dialect %v, want %v", tt.text, h.GoDialect(), tt.want)
		}
	}
}

func TestExt(t *testing.T) {
	for _, tt := range []struct {
		ext  string
		want packet.Ext
	}{
		{`{"v":1,"win":1048576,"cancel":1}`, packet.Ext{V: 1, Win: 1048576, Cancel: true}},
		{`{"v":1,"ms":2500}`, packet.Ext{V: 1, MS: 2500}},
		{`{"v":1,"win":65536,"cancel":1,"ms":1}`, packet.Ext{V: 1, Win: 65536, Cancel: true, MS: 1}},
		{`{"v":2,"new":{"a":[1]},"win":65536}`, packet.Ext{V: 2, Win: 65536}},
		{`{"v":1}`, packet.Ext{V: 1}},
		{` {"ms" : 7 , "v" : 1 } `, packet.Ext{V: 1, MS: 7}},
		{`{"\u0076":1,"w\u0069n":65537}`, packet.Ext{V: 1, Win: 65537}},
		{`{"v":99999999999}`, packet.Ext{V: 2147483647}},
		// Somebody else's.
		{`null`, packet.Ext{}}, {`1`, packet.Ext{}}, {`"v"`, packet.Ext{}}, {`[]`, packet.Ext{}}, {`[{"v":1}]`, packet.Ext{}}, {`{}`, packet.Ext{}},
		{`{"win":65536}`, packet.Ext{}}, {`{"v":0,"win":65536}`, packet.Ext{}}, {`{"v":-1}`, packet.Ext{}}, {`{"v":"1","win":65536}`, packet.Ext{}},
		{`{"v":1.0}`, packet.Ext{}}, {`{"v":1e0}`, packet.Ext{}}, {`{"v":true}`, packet.Ext{}}, {`{"v":null}`, packet.Ext{}}, {`{"V":1}`, packet.Ext{}},
		{`{"v":99999999999999999999}`, packet.Ext{}}, {`{"v":1,"v":1}`, packet.Ext{}}, {`{"v":{"v":1}}`, packet.Ext{}},
		// Members that count as absent.
		{`{"v":1,"win":65535}`, packet.Ext{V: 1}}, {`{"v":1,"win":0}`, packet.Ext{V: 1}}, {`{"v":1,"win":-65536}`, packet.Ext{V: 1}},
		{`{"v":1,"win":"65536"}`, packet.Ext{V: 1}}, {`{"v":1,"win":65536.0}`, packet.Ext{V: 1}}, {`{"v":1,"win":1e6}`, packet.Ext{V: 1}},
		{`{"v":1,"win":9223372036854775808}`, packet.Ext{V: 1}}, {`{"v":1,"win":null}`, packet.Ext{V: 1}}, {`{"v":1,"win":[65536]}`, packet.Ext{V: 1}},
		{`{"v":1,"win":65536,"win":65536}`, packet.Ext{V: 1}}, {`{"v":1,"Win":65536}`, packet.Ext{V: 1}},
		{`{"v":1,"win":9223372036854775807}`, packet.Ext{V: 1, Win: 9223372036854775807}},
		{`{"v":1,"cancel":0}`, packet.Ext{V: 1}}, {`{"v":1,"cancel":2}`, packet.Ext{V: 1}}, {`{"v":1,"cancel":true}`, packet.Ext{V: 1}},
		{`{"v":1,"cancel":"1"}`, packet.Ext{V: 1}}, {`{"v":1,"cancel":1,"cancel":1}`, packet.Ext{V: 1}},
		{`{"v":1,"ms":0}`, packet.Ext{V: 1}}, {`{"v":1,"ms":-1}`, packet.Ext{V: 1}}, {`{"v":1,"ms":"5"}`, packet.Ext{V: 1}}, {`{"v":1,"ms":0.5}`, packet.Ext{V: 1}},
		{`{"v":1,"ms":9223372036854}`, packet.Ext{V: 1, MS: 9223372036854}}, {`{"v":1,"ms":9223372036855}`, packet.Ext{V: 1}}, // as long as a time.Duration can be
		{`{"v":1,"ms":5,"ms":6}`, packet.Ext{V: 1}},
	} {
		h := parse(t, `{"request_id":1,"ext":`+tt.ext+`,"type":"request"}`)
		if h.Ext != tt.want || h.Bad != "" || h.Extra != nil {
			t.Errorf("ext %s: %+v, bad %q, extra %s; want %+v", tt.ext, h.Ext, h.Bad, h.Extra, tt.want)
		}
	}
}

func TestDispatchFailure(t *testing.T) {
	for _, tt := range []struct {
		data string
		want bool
	}{
		{`{"dispatch_failure":true}`, true},
		{`{"a":{"dispatch_failure":false},"dispatch_failure" : true , "b":[]}`, true},
		{`{"dispatch\u005ffailure":true}`, true},
		{` {"dispatch_failure":true} `, true},
		{``, false}, {`{}`, false}, {`null`, false}, {`true`, false}, {`[true]`, false}, {`"dispatch_failure"`, false},
		{`{"dispatch_failure":false}`, false}, {`{"dispatch_failure":1}`, false}, {`{"dispatch_failure":"true"}`, false}, {`{"dispatch_failure":null}`, false},
		{`{"Dispatch_failure":true}`, false}, {`{"a":{"dispatch_failure":true}}`, false}, {`{"dispatch_failure":[true]}`, false},
		{`{"dispatch_failure":true,"dispatch_failure":true}`, false}, {`{"dispatch_failure":false,"dispatch_failure":true}`, false},
		{`{"dispatch_failure":true`, false}, {`{"dispatch_failure":true}x`, false}, {`{"dispatch_failure":tru}`, false},
	} {
		h := packet.Header{ErrorData: json.RawMessage(tt.data)}
		if got := h.DispatchFailure(); got != tt.want {
			t.Errorf("error_data %s: %v, want %v", tt.data, got, tt.want)
		}
	}
}

// TestHeaderSharesNothing is invariant 6.
func TestHeaderSharesNothing(t *testing.T) {
	text := `{"action":"a.b","envelope":"web","sector":"s","ticket":"t","identifying_token":"i","terminal":"m","error":"e","error_code":"c",` +
		`"error_data":{"k":1},"request_id":"id","type":"other","x":[1,2,3]}`
	body := []byte(text)
	r := packet.NewHeaderReader(packet.Limits{})
	var h packet.Header
	if err := r.Parse(body, &h); err != nil {
		t.Fatal(err)
	}
	for i := range body {
		body[i] = '#'
	}
	if want := parse(t, text); !reflect.DeepEqual(h, want) {
		t.Errorf("header after its body was overwritten:\ngot  %+v\nwant %+v", h, want)
	}
	// Nor with the header before.
	first := h.Extra
	if err := r.Parse([]byte(`{"x":5,"ticket":"other"}`), &h); err != nil || string(first["x"]) != "[1,2,3]" {
		t.Errorf("extra of the header before: %s, error %v; want [1,2,3]", first["x"], err)
	}
}

// TestParseForgets: a HeaderReader that saw many headers reads each as a new
// one does.
func TestParseForgets(t *testing.T) {
	r := packet.NewHeaderReader(packet.Limits{})
	for i := range 1000 {
		long := strings.Repeat("x", i%300)
		text := fmt.Sprintf(`{"action":"A%d.%s","envelope":"e%d","sector":"s\n%d","error_code":"c%d\u00e9","ticket":"t%d"}`, i%97, long, i%5, i%41, i%13, i)
		if i%7 == 0 {
			text = `{"request_id":1}`
		}
		if i%11 == 0 {
			text = `{"action":"a","action":"b"}`
		}
		var got, want packet.Header
		err := r.Parse([]byte(text), &got)
		wantErr := packet.NewHeaderReader(packet.Limits{}).Parse([]byte(text), &want)
		if !reflect.DeepEqual(got, want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Fatalf("header %d, %s:\ngot  %+v %v\nwant %+v %v", i, text, got, err, want, wantErr)
		}
	}
}

func TestParseSaysWhatItWants(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`hello`, "packet: header JSON at octet 0: want an object"},
		{``, "packet: header JSON at octet 0: want an object"},
		{`{"a":1}x`, "packet: header JSON at octet 7: want nothing after the value"},
		{`{"a" 1}`, "packet: header JSON at octet 5: want a colon"},
		{`{"a":1 "b":2}`, "packet: header JSON at octet 7: want a comma or the end of the object or array"},
		{`{a:1}`, "packet: header JSON at octet 1: want the name of a member"},
		{`{"a":01}`, "packet: header JSON at octet 6: want a comma or the end of the object or array"},
		{`{"a":x}`, "packet: header JSON at octet 5: want a value"},
		{`{"a":"x`, "packet: header JSON at octet 7: want the end of a string"},
		{`{"a":"\x"}`, "packet: header JSON at octet 6: want an escape"},
		{`{"a":"\ud800"}`, "packet: header JSON at octet 6: want both halves of a character"},
		{"{\"a\":\"\xff\"}", "packet: header JSON: want UTF-8"},
		{`{"ticket":"secret","ticket":"secret"}`, `packet: header member "ticket": want it once`},
		{`{"Ticket":"secret"}`, `packet: header member "Ticket": want "ticket"`},
		{`{"` + strings.Repeat("x", 40) + `":1,"` + strings.Repeat("x", 40) + `":2}`, `packet: header member "` + strings.Repeat("x", 32) + `"…: want it once`},
		{`{"a":` + strings.Repeat("[", 20), "packet: header JSON at octet 20: want at most 16 levels of nesting"},
	} {
		var h packet.Header
		err := packet.NewHeaderReader(packet.Limits{}).Parse([]byte(tt.text), &h)
		if err == nil || err.Error() != tt.want {
			t.Errorf("Parse of %q:\ngot  %v\nwant %s", tt.text, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("Parse of %q: error %q quotes a value, want none", tt.text, err)
		}
	}
	var h packet.Header
	err := packet.NewHeaderReader(packet.Limits{MaxHeader: 10}).Parse([]byte(`{"a":"bcd"}`), &h)
	if counter(err) != packet.CounterHeaderTooBig || err.Error() != "packet: header of 11 octets: want at most 10" {
		t.Errorf("Parse of 11 octets with a limit of 10: %v, want an Error with %s", err, packet.CounterHeaderTooBig)
	}
}
