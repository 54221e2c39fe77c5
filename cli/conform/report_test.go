package conform_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/cli/conform"
)

// sampleCard has a result of each verdict.
func sampleCard() *conform.Card {
	cases := conform.Cases()
	card := &conform.Card{Addr: "127.0.0.1:30100", Elapsed: 1234 * time.Millisecond}
	for _, r := range []conform.Result{
		{Verdict: conform.Pass, Came: "the body came back"},
		{Verdict: conform.Fail, Came: `another body: \x1B[2J`, Sent: []string{`EOF 0 0\nEND\r\n`}, Got: []string{`EOF 0 0\r\nEND\r\n`}, Elapsed: 1500 * time.Microsecond},
		{Verdict: conform.NonStrict, Came: "ACKs [1000]"},
		{Verdict: conform.Info, Came: "TLS 1.3"},
		{Verdict: conform.Skip, Came: "the reply ended"},
	} {
		id := map[conform.Verdict]string{conform.Pass: "6.1-a", conform.Fail: "2.1-c", conform.NonStrict: "4.4-c", conform.Info: "6.3-h", conform.Skip: "4.4-g"}[r.Verdict]
		r.Case = conform.Select(cases, nil, []string{id})[0]
		card.Results = append(card.Results, r)
	}
	return card
}

func TestWriteText(t *testing.T) {
	var b bytes.Buffer
	if err := conform.WriteText(&b, sampleCard(), false); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/card.txt")
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("card:\n%s\nwant testdata/card.txt:\n%s", b.String(), want)
	}
}

func TestLastLineOfTheCard(t *testing.T) {
	pass := conform.Result{Verdict: conform.Pass}
	lax := conform.Result{Verdict: conform.NonStrict}
	for _, tt := range []struct {
		name   string
		card   conform.Card
		strict bool
		want   string
	}{
		{"all pass", conform.Card{Results: []conform.Result{pass}}, true, "conforms"},
		{"a SHOULD is missed", conform.Card{Results: []conform.Result{pass, lax}}, false, "conforms"},
		{"a SHOULD is missed and counts", conform.Card{Results: []conform.Result{pass, lax}}, true, "does not conform"},
		{"gone", conform.Card{Results: []conform.Result{{Verdict: conform.Fail}}, Gone: true}, false, "is gone"},
		{"no case", conform.Card{}, false, "was not tried"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := conform.WriteText(&b, &tt.card, tt.strict); err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(b.String()), "\n")
			if last := lines[len(lines)-1]; !strings.Contains(last, tt.want) {
				t.Errorf("last line %q, want one with %q", last, tt.want)
			}
		})
	}
}

func TestResultAsJSON(t *testing.T) {
	text, err := json.Marshal(sampleCard().Results[1])
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"id":"2.1-c","section":"line","title":"a bare LF ends no line","paragraph":"2.1","item":"5","level":"MUST","hostile":false,` +
		`"expected":"the connection closes, and nothing is answered","why":"Two readers that cut the stream differently see different requests in it.",` +
		`"peers":{"c#":"PASS","go":"FAIL","js":"PASS","perl":"PASS","rust":"PASS"},"verdict":"FAIL","came":"another body: \\x1B[2J","sent":["EOF 0 0\\nEND\\r\\n"],"got":["EOF 0 0\\r\\nEND\\r\\n"],"ms":1.5}`
	if string(text) != want {
		t.Errorf("result:\n%s\nwant\n%s", text, want)
	}
}

func TestWriteJUnit(t *testing.T) {
	for _, tt := range []struct {
		strict   bool
		failures int
	}{{false, 1}, {true, 2}} {
		var b bytes.Buffer
		if err := conform.WriteJUnit(&b, sampleCard(), tt.strict); err != nil {
			t.Fatal(err)
		}
		var got struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Skipped  int `xml:"skipped,attr"`
			Suites   []struct {
				Name  string `xml:"name,attr"`
				Cases []struct {
					Name    string `xml:"name,attr"`
					Failure *struct {
						Type string `xml:"type,attr"`
						Text string `xml:",chardata"`
					} `xml:"failure"`
				} `xml:"testcase"`
			} `xml:"testsuite"`
		}
		if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
			t.Fatalf("%v in\n%s", err, b.String())
		}
		if got.Tests != 5 || got.Failures != tt.failures || got.Skipped != 1 || len(got.Suites) != 3 {
			t.Errorf("strict %v: %d tests, %d failures, %d skipped in %d suites; want 5, %d, 1 in 3\n%s",
				tt.strict, got.Tests, got.Failures, got.Skipped, len(got.Suites), tt.failures, b.String())
		}
		if f := got.Suites[1].Cases[0].Failure; f == nil || f.Type != "FAIL" || !strings.Contains(f.Text, `EOF 0 0\nEND\r\n`) {
			t.Errorf("failure of 2.1-c: %+v, want one of type FAIL with the octets sent", f)
		}
	}
}
