package command_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/cli/command"
)

func TestReadSpecs(t *testing.T) {
	const hello = `{"service":"hello","address":"h:1","actions":["Hello.echo"]}`
	for _, tt := range []struct {
		in   string
		want string // how many, or the error
	}{
		{hello, "1"},
		{"\ufeff" + hello, "1"},
		{hello + hello, "2"},
		{"\n\n" + hello + "\r\n[3]\n\t" + hello + "\n", "3"},
		{`[3,"a\"]","x"]`, "1"},
		{`{"ident":"hello:1","address":"h:1","actions":["Hello.echo"]}`, "1"},
		{`{"service":"hello","address":"h:1","weight":0}`, "1"},
		{``, "f: nothing in it: want an object"},
		{" \n", "f: nothing in it"},
		{`12`, "f:1:1: 12: want an object"},
		{`"x"`, `f:1:1: "x": want an object`},
		{`hello`, "f:1:1: no JSON: "},
		{hello + "\n ]", "f:2:2: no JSON: "},
		{"{\n\"service\": \"x\",\n\"a\"", "f:1:1: this { is never closed"},
		{"[3,\n\"x", "f:1:1: this [ is never closed"},
		{"{\n \"service\": x}", "f:2:13: no JSON: "},
		{"{\n}]", "f:1:1: service is missing"},
		{`{"service":"hello","actions":["Hello.echo"]}`, "f:1:1: address is missing"},
		{`{"service":"hello","address":"h:1"}`, "f:1:1: actions are missing"},
		{`{"service":"he:llo","address":"h:1","actions":["Hello.echo"]}`, "want a name without colon"},
		{`{"service":"hello","ident":"other:1","address":"h:1","actions":["Hello.echo"]}`, "want an ident that begins with"},
		{`{"service":"hello", "service":"hello"}`, `f:1:21: member "service" twice`},
		{"{\"service\":\"hello\",\n  \"Actions\":[]}", `f:2:3: unknown member "Actions": want service, `},
		{`{"service":["hello"]}`, `f:1:12: service: ["hello"]: want a string`},
		{`{"service":null}`, "f:1:12: service: null: want a string"},
		{`{"weight":1.5}`, "f:1:11: weight: 1.5: want a whole number"},
		{`{"interval_ms":99999999999}`, "f:1:16: interval_ms: 99999999999: want"},
		{`{"actions":"Hello.echo"}`, `want a list of strings, for example ["Hello.echo~1#noauth"]`},
		{`{"actions":[1]}`, "want a list of strings"},
		{`{"envelopes":"json"}`, `want a list of strings, for example ["json"]`},
		{strings.Repeat("[", 100000), "f:1:10001: no JSON: "},
		{strings.Repeat("[", 20000) + strings.Repeat("]", 20000), "f:1:"},
	} {
		n, err := command.ReadSpecs("f", []byte(tt.in))
		if got := fmt.Sprint(n); err == nil && got != tt.want || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ReadSpecs(%.80q): %d, %v, want %s", tt.in, n, err, tt.want)
		}
	}
}

func TestParseActionSpec(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"Hello.echo", "{ Hello echo 0 [] []}"},
		{"web:A.B.c~3#read,t5@json,web", "{web A.B c 3 [json web] [read t5]}"},
		{"A.b@json", "{ A b 0 [json] []}"},
		{"A.b#noauth", "{ A b 0 [] [noauth]}"},
		{"echo", "want [SECTOR:]CLASS.NAME"},
		{"", "want [SECTOR:]CLASS.NAME"},
		{".echo", "want [SECTOR:]CLASS.NAME"},
		{"Hello.", "want [SECTOR:]CLASS.NAME"},
		{"Hello.echo~x", "want [SECTOR:]CLASS.NAME"},
		{"Hello.echo~0", "want [SECTOR:]CLASS.NAME"},
		{"A.b@json#noauth", "A b 0 [json#noauth] []}"}, // signing refuses the envelope
		{"A.b#", "no flag behind #"},
		{"A.b@", "no envelope behind @"},
	} {
		got, err := command.ParseActionSpec(tt.in)
		if text := fmt.Sprint(got); err == nil && !strings.Contains(text, tt.want) || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %s, %v, want %s", tt.in, text, err, tt.want)
		}
	}
}

func TestAddressAfter(t *testing.T) {
	for _, tt := range []struct {
		uri  string
		n    int
		want string
	}{
		{"beepish+tls://10.0.0.5:30100", 0, "beepish+tls://10.0.0.5:30100"},
		{"beepish+tls://10.0.0.5:30100", 7, "beepish+tls://10.0.0.5:30107"},
		{"beepish+tls://10.0.0.5:65535", 1, "beepish+tls://10.0.0.6:65535"},
		{"beepish+tls://10.0.0.255:65534/", 5, "beepish+tls://10.0.1.1:65535/"},
		{"beepish+tls://[2001:db8::1]:1", 1, "beepish+tls://[2001:db8::1]:2"},
		{"beepish+tls://host:65534", 1, "beepish+tls://host:65535"},
		{"beepish+tls://host:65534", 2, "want an IP address"},
		{"beepish+tls://host", 1, "want HOST:PORT"},
		{"beepish+tls://host:0", 1, "want HOST:PORT"},
		{"beepish+tls://host:99999", 1, "want HOST:PORT"},
	} {
		got, err := command.AddressAfter(tt.uri, tt.n)
		if err == nil && got != tt.want || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%d after %s: %s, %v, want %s", tt.n, tt.uri, got, err, tt.want)
		}
	}
}

// Whatever a spec file holds, reading it ends, and what it takes is JSON; two of it are
// as good as one.
func FuzzReadSpecs(f *testing.F) {
	for _, s := range []string{
		`{"service":"hello","address":"h:1","actions":["Hello.echo~1#noauth@json"],"weight":1,"interval_ms":5000,"timestamp_ms":1}`,
		`[3,"sample:AAEC","main",1,5000,"beepish+tls://127.0.0.1:30100",["json"],[["Sample",["echo","noauth",1]]],1700000000000]`,
		"{\"sector\":\"a\\\"}\"}\n[\"[\"]", "\ufeff{", "{]", `"`, "1 2", `[3,"sample:AA","main",1E5000]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		n, err := command.ReadSpecs("f", text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Errorf("%q: error %v, want one with the place", text, err)
			}
			return
		}
		d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
		for i := range n {
			var v json.RawMessage // a number may be greater than any of Go's
			if err := d.Decode(&v); err != nil {
				t.Fatalf("%q was taken as %d values, and value %d is no JSON: %v", text, n, i, err)
			}
		}
		if bytes.HasPrefix(text, []byte("\ufeff")) {
			return
		}
		if twice, err := command.ReadSpecs("f", []byte(string(text)+"\n"+string(text))); err != nil || twice != 2*n {
			t.Errorf("%q twice: %d specs, %v, want %d", text, twice, err, 2*n)
		}
	})
}
