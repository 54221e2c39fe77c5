package packet_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/packet"
)

// refuse checks that text is fatal for the connection it came from.
func refuse(t *testing.T, text string) {
	t.Helper()
	h := packet.Header{Action: "left over"}
	err := packet.NewHeaderReader(packet.Limits{}).Parse([]byte(text), &h)
	if counter(err) != packet.CounterHeaderMalformed {
		t.Errorf("Parse of %.200q: %+v, error %v; want an Error with %s", text, h, err, packet.CounterHeaderMalformed)
	}
	if !reflect.DeepEqual(h, packet.Header{}) {
		t.Errorf("Parse of %.200q left %+v behind, want the zero Header", text, h)
	}
}

func headerIsNoObject(t *testing.T) {
	for _, text := range []string{
		// No object.
		"", " ", "\n", "hello", "[]", "null", "true", "17", `"x"`, `[{}]`, "}",
		// No JSON.
		"{", `{"action"`, `{"action"}`, `{"action":}`, `{"action":1`, `{"action":1,}`, `{,}`, `{,"a":1}`, `{"a":1,,"b":2}`,
		`{"a" 1}`, `{"a":1 "b":2}`, `{"a":1;"b":2}`, `{'a':1}`, `{a:1}`, `{1:1}`, `{null:1}`, `{"a":undefined}`, `{"a":NaN}`,
		`{"a":Infinity}`, `{"a":-}`, `{"a":+1}`, `{"a":01}`, `{"a":-01}`, `{"a":1.}`, `{"a":.5}`, `{"a":1e}`, `{"a":1e+}`,
		`{"a":0x1}`, `{"a":1_0}`, `{"a":[}`, `{"a":[1,]}`, `{"a":[1 2]}`, `{"a":[1}`, `{"a":{"b"}}`, `{"a":{"b":}}`, `{"a":{"b":1,}}`, `{"a":nul}`,
		`{"a":nulll}`, `{"a":True}`, `{"a":tru`, `{"a":fals}`, `{"a":"x}`, `{"a":"x\"}`, `{"a":"\`, `{"a":"\u`, `{"a":"\u12`, `{"a":"\x41"}`, `{"a":"\u12g4"}`, `{"a":"\u 123"}`,
		"{\"a\":\"\n\"}", "{\"a\":\"\x00\"}", "{\"a\":\"\x1f\"}", "{\"a\n\":1}", "{\"a\":1\x00}", "{\"a\":1\v}", "{\"a\":1}\f", "{\u00a0\"a\":1}",
		`{"a":1/**/}`, "{\"a\":1//\n}",
		// Something after it.
		`{}{}`, `{} x`, "{}\x00", `{},`, `{}]`, "{}\n{}",
		// Something before it.
		"\ufeff{}", "\x00{}", ")]}'{}",
		// No UTF-8, or half a character.
		"{\"action\":\"\xff\"}", "{\"\xff\":1}", "{\"a\":\"\xc0\xaf\"}", "{\"a\":\"\xed\xa0\x80\"}", "{\"a\":\"\xf4\x90\x80\x80\"}", "{\"a\":\"\xe2\x82\"}", "{}\xff",
		`{"a":"\ud800"}`, `{"a":"\udc00"}`, `{"a":"\ud800x"}`, `{"a":"\ud800\n"}`, `{"a":"\ud800\u0041"}`, `{"a":"\udc00\ud800"}`, `{"a":"\ud800\ud800"}`,
		`{"\ud83d":1}`, `{"a":{"b":["\ud800"]}}`, `{"ext":{"v":1,"x":"\udfff"}}`, `{"a":"\ud800\u"}`, `{"a":"\ud800\`,
		// UTF-16.
		"{\x00}\x00",
	} {
		refuse(t, text)
	}
}

func newlineAfterHeader(t *testing.T) {
	for _, space := range []string{"\n", "\r\n", " ", "\t", "\n\n \t\r"} {
		for _, text := range []string{
			`{"action":"Sample.echo"}` + space, space + `{"action":"Sample.echo"}`,
			space + `{` + space + `"action"` + space + `:` + space + `"Sample.echo"` + space + `}` + space,
		} {
			if h := parse(t, text); h.Action != "Sample.echo" {
				t.Errorf("Parse of %q: action %q, want Sample.echo", text, h.Action)
			}
		}
	}
}

// duplicateMember and caseVariantMember are invariant 5.
func duplicateMember(t *testing.T) {
	for _, text := range []string{
		`{"action":"a.b","action":"a.c"}`,
		`{"action":"a.b","action":"a.b"}`,
		`{"action":"a.b","version":1,"\u0061ction":"a.c"}`,
		`{"\u0061ction":"a.b","\u0061ction":"a.c"}`,
		`{"ticket":null,"ticket":"x"}`,
		`{"request_id":1,"request_id":"1"}`,
		`{"type":"request","action":"a.b","type":"reply"}`,
		`{"ext":{"v":1},"ext":{"v":1}}`,
		`{"sector":1,"sector":2}`,
		`{"station":"a","station":"b"}`,
		`{"x":1,"x":1}`,
		`{"x":1,"y":{},"\u0078":2}`,
		`{"":1,"":2}`,
		`{"cgi_headers":{},"cgi_headers":{}}`,
	} {
		refuse(t, text)
	}
	// Once at the top and once inside is two members.
	h := parse(t, `{"action":"a.b","x":{"action":"a.c"},"X":1}`)
	if h.Action != "a.b" || string(h.Extra["x"]) != `{"action":"a.c"}` || string(h.Extra["X"]) != "1" {
		t.Errorf("action %q, extra %s; want a.b and both x and X", h.Action, h.Extra)
	}
}

func caseVariantMember(t *testing.T) {
	for _, name := range []string{
		"Action", "ACTION", "actioN", "Request_id", "request_ID", "Version", "ver\u017fion", "\u017fector", "tic\u212aet", `tic\u212Aet`,
		"identifying_to\u212aen", "Ticket", "Envelope", "Client_Id", "Type", "Ext", "EXT", "Error", "Error_Code", "error_Data", "Terminal",
		"Station", "Sector", "Cgi_headers", "HTTP_STATUS", "http_Headers", "New_Session", "new_terminaL", "PSGI_scheme", `\u0041ction`,
	} {
		refuse(t, fmt.Sprintf(`{"%s":1}`, name))
		refuse(t, fmt.Sprintf(`{"action":"a.b","%s":"a.c"}`, name))
	}
	for _, name := range []string{"Actions", "act ion", "client-id", "action ", " action", "request_id2", "acti\u00f3n", "\u0430ction", "secret", "Blob"} {
		h := parse(t, fmt.Sprintf(`{%q:1}`, name))
		if string(h.Extra[name]) != "1" {
			t.Errorf("member %q: extra %s, want it kept", name, h.Extra)
		}
	}
}

func tooManyMembers(t *testing.T) {
	members := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`"x%d":{"a":1,"b":2}`, i))
		}
		return "{" + strings.Join(list, ",") + "}"
	}
	if h := parse(t, members(64)); len(h.Extra) != 64 {
		t.Errorf("%d members kept, want 64", len(h.Extra))
	}
	refuse(t, members(65))
	refuse(t, members(1000))
	var h packet.Header
	few := packet.NewHeaderReader(packet.Limits{MaxHeaderMembers: 2})
	if err := few.Parse([]byte(`{"type":"reply","request_id":1}`), &h); err != nil {
		t.Errorf("2 members of 2: %v", err)
	}
	if err := few.Parse([]byte(`{"type":"reply","request_id":1,"error":""}`), &h); counter(err) != packet.CounterHeaderMalformed {
		t.Errorf("3 members of 2: %v, want an Error with %s", err, packet.CounterHeaderMalformed)
	}
}

func tooDeep(t *testing.T) {
	for _, name := range []string{"x", "ext", "error_data", "action", "request_id", "cgi_headers"} {
		for _, brackets := range [][2]string{{"[", "]"}, {`{"a":`, "}"}} {
			nested := func(levels int) string { // the header is the first
				inner := strings.Repeat(brackets[0], levels-1) + "1" + strings.Repeat(brackets[1], levels-1)
				return fmt.Sprintf(`{"%s":%s}`, name, inner)
			}
			parse(t, nested(16))
			refuse(t, nested(17))
			refuse(t, nested(4000))
			refuse(t, fmt.Sprintf(`{"%s":%s`, name, strings.Repeat(brackets[0], 10000)))
		}
	}
	var h packet.Header
	flat := packet.NewHeaderReader(packet.Limits{MaxHeaderDepth: 1})
	if err := flat.Parse([]byte(`{"type":"reply"}`), &h); err != nil {
		t.Errorf("depth 1 of 1: %v", err)
	}
	if err := flat.Parse([]byte(`{"x":[]}`), &h); counter(err) != packet.CounterHeaderMalformed {
		t.Errorf("depth 2 of 1: %v, want an Error with %s", err, packet.CounterHeaderMalformed)
	}
}
