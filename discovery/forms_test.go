package discovery_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
)

func lenientForms(t *testing.T) {
	for _, tt := range []struct{ name, json, want string }{
		{"version as string", array(7, `[["Sample",["old","","3"]]]`), "main:Sample.old~3"},
		{"version missing", array(7, `[["Sample",["old",""]]]`), "main:Sample.old~1"},
		{"flags missing", array(7, `[["Sample",["old"]]]`), "main:Sample.old~1"},
		{"flags null", array(7, `[["Sample",["old",null,2]]]`), "main:Sample.old~2"},
		{"version with a point", array(7, `[["Sample",["old","",2.0]]]`), "main:Sample.old~2"},
		{"class twice", array(7, `[["Sample",["a",""]],["Sample",["b",""]]]`), "main:Sample.a~1 main:Sample.b~1"},
		{"empty class", array(7, `[["Empty"],["Sample",["a",""]]]`), "main:Sample.a~1"},
		{"null classes", array(7, `null`), ""},
		{"no classes", array(7, `[]`), ""},
		{"empty extension", array(6, `["json",{}]`), "main:Sample.echo~1"},
		{"empty vectors", array(6, `["json",{"vmaj":4,"vmin":0,"acname":[],"acns":[],"acsec":[],"acenv":[]}]`), "main:Sample.echo~1"},
		{"other items among the envelopes", array(6, `[1,null,"json",[2],true]`), "main:Sample.echo~1"},
		{"two extensions, the last counts", array(6, `[{"acname":["x"]},"json",{}]`), "main:Sample.echo~1"},
		{"elements before members", array(6, `["json",{"vmaj":9,"ident":"x","sector":5,"uri":"","wgt":0,"ts":-1}]`), "main:Sample.echo~1"},
		{"blanks", strings.ReplaceAll(array(0, " 3 "), ",", " , ") + "  ", "main:Sample.echo~1"},
		{"escapes", array(7, `[["S\u0061mple",["\u0065cho","no\u0061uth"]]]`), "main:Sample.echo~1"},
		{"numbers with points", array(3, `1.5e0`), "main:Sample.echo~1"},
		{"malformed entries", array(7, `[7,["A"],[],[3,["x",""]],["B",5,["y",""],[],[1],["z","",0],["z","",-1],["z","","1x"],["z","",1,1],["z","",1.5],["z",3]]]`), "main:B.y~1"},
	} {
		a, err := discovery.Parse(unsigned(tt.json))
		if err != nil {
			t.Errorf("%s: %s: %v: want it accepted", tt.name, tt.json, err)
			continue
		}
		if got := strings.Join(names(a), " "); got != tt.want || a.Weight < 1 {
			t.Errorf("%s: %s: actions %q, weight %d: want %q", tt.name, tt.json, got, a.Weight, tt.want)
		}
	}
	for _, weight := range []string{"0.5", "1.0"} {
		if a, err := discovery.Parse(unsigned(array(3, weight))); err != nil || a.Weight != 1 {
			t.Errorf("weight %s: %v: want 1", weight, err)
		}
	}
}

func otherVersions(t *testing.T) {
	object := string(fixtures.Bytes("announce/v4only.json"))
	for _, tt := range []struct {
		name, json string
		quiet      bool
	}{
		{"version 2", array(0, "2"), false},
		{"version 4", array(0, "4"), false},
		{"version as string", array(0, `"3"`), false},
		{"version null", array(0, `null`), false},
		{"eight elements", `[3,"a","main",1,5000,"beepish+tls://10.0.0.5:30123",["json"],[]]`, false},
		{"ten elements", array(8, "1700000000123,0"), false},
		{"no elements", "[]", false},
		{"vmaj 5", strings.Replace(object, `"vmaj":4`, `"vmaj":5`, 1), true},
		{"vmaj 4.1", strings.Replace(object, `"vmaj":4`, `"vmaj":4.1`, 1), true},
		{"vmaj as string", strings.Replace(object, `"vmaj":4`, `"vmaj":"4"`, 1), true},
		{"no vmaj", strings.Replace(object, `"vmaj":4`, `"v":4`, 1), true},
		{"empty object", "{}", true},
	} {
		a, err := discovery.Parse(unsigned(tt.json))
		if counterOf(err) != "announce_malformed" {
			t.Errorf("%s: %s: announcement %v, error %v: want announce_malformed", tt.name, tt.json, a, err)
			continue
		}
		if quiet := err.(*discovery.Error).Quiet; quiet != tt.quiet {
			t.Errorf("%s: %s: quiet %v: want %v", tt.name, tt.json, quiet, tt.quiet)
		}
	}
}

func runLengthVectors(t *testing.T) {
	var vectors struct {
		Canonical  []struct{ Expanded, Encoded json.RawMessage }
		AlsoAccept []struct{ Expanded, Encoded json.RawMessage } `json:"also_accept"`
		Reject     []struct {
			Encoded json.RawMessage
			Why     string
		}
	}
	fixtures.JSON("rle.json", &vectors)
	for i, v := range append(vectors.Canonical, vectors.AlsoAccept...) {
		want := expandedTexts(t, v.Expanded)
		encoded := compact(t, v.Encoded)
		integers := len(want) > 0 && want[0][0] != '"'
		got, err := discovery.ExpandRuns(encoded, integers, 4096)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s expands to %v, error %v: want %v", encoded, got, err, want)
		}
		if i < len(vectors.Canonical) {
			if got := string(discovery.AppendRuns(nil, want)); got != encoded {
				t.Errorf("%v encodes to %s: want %s", want, got, encoded)
			}
		}
	}
	for _, v := range vectors.Reject {
		encoded := compact(t, v.Encoded)
		for _, integers := range []bool{false, true} {
			if got, err := discovery.ExpandRuns(encoded, integers, 4096); err == nil {
				t.Errorf("%s (%s) expands to %v: want an error", encoded, v.Why, got)
			}
		}
	}
	for _, bomb := range []string{`[[4097,"a"]]`, `[[4096,"a"],"b"]`, `[[9007199254740993,"a"]]`, `[[1e300,"a"]]`} {
		if _, err := discovery.ExpandRuns(bomb, false, 4096); err == nil {
			t.Errorf("%s is expanded: want an error", bomb)
		}
	}
}

// expandedTexts returns the JSON texts of an expanded vector of rle.json.
func expandedTexts(t *testing.T, expanded json.RawMessage) []string {
	t.Helper()
	var repeat struct{ Repeat []json.RawMessage }
	if json.Unmarshal(expanded, &repeat) == nil && len(repeat.Repeat) == 2 {
		var n int
		if err := json.Unmarshal(repeat.Repeat[0], &n); err != nil {
			t.Fatal(err)
		}
		return slices.Repeat([]string{string(repeat.Repeat[1])}, n)
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(expanded, &raw); err != nil {
		t.Fatal(err)
	}
	texts := make([]string, len(raw))
	for i := range raw {
		texts[i] = string(raw[i])
	}
	return texts
}

func compact(t *testing.T, text json.RawMessage) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// PROTOCOL 7.5 and THREATS D11, D23, D24: invariant 9.
func whatIsNotIndexed(t *testing.T) {
	for file, want := range map[string]string{
		"accompat2": "main:Sample.echo~1 main:Sample.slow~1 main:Sample.Item.create~1 main:Sample.Item.list~1 main:Sample.Item.list~2 " +
			"taxmodule:Flat.run~1 taxmodule:Flat.run~2",
		"dotname": "main:Sample.ok~1",
	} {
		a, err := discovery.Parse(fixtures.Bytes("announce/" + file + ".packet"))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(names(a), " "); got != want {
			t.Errorf("%s: actions %q: want %q", file, got, want)
		}
	}
	long := strings.Repeat("n", 256)
	vector := func(sector, class, name, compat string) string {
		return extended(fmt.Sprintf(`{"vmaj":4,"acname":[%s],"acns":[%s],"acsec":[%s],"acenv":["json"],"accompat":[%s]}`, name, class, sector, compat))
	}
	for _, tt := range []struct {
		json    string
		found   bool
		counter string
	}{
		{vector(`"web"`, `"Class.Sub"`, `"name"`, `1`), true, ""},
		{vector(`"web"`, `"Class-Sub_1"`, `"na-me_1"`, `1`), true, ""},
		{vector(`"web"`, `"Class"`, `"name"`, `2`), false, ""},
		{vector(`"web"`, `"Class"`, `"na.me"`, `1`), false, "announce_bad_name"},
		{vector(`"web"`, `"Class"`, `"na:me"`, `1`), false, "announce_bad_name"},
		{vector(`"web"`, `"Cla:ss"`, `"name"`, `1`), false, "announce_bad_name"},
		{vector(`"we:b"`, `"Class"`, `"name"`, `1`), false, "announce_bad_name"},
		{vector(`""`, `"Class"`, `"name"`, `1`), false, "announce_bad_name"},
		{vector(`"web"`, `""`, `"name"`, `1`), false, "announce_bad_name"},
		{vector(`"web"`, `"Class"`, `""`, `1`), false, "announce_bad_name"},
		{vector(`"web"`, `"Class"`, `"na me"`, `1`), false, "announce_bad_name"},
		{vector(`"web"`, `"Class"`, `"na\u0000me"`, `1`), false, "announce_bad_name"},
		{vector(`"web"`, `"Class"`, `"na\u212Ame"`, `1`), false, "announce_bad_name"},     // folds to k
		{vector(`"web"`, `"Cla\u017F\u017F"`, `"name"`, `1`), false, "announce_bad_name"}, // folds to s
		{vector(`"wor\u212Aer"`, `"Class"`, `"name"`, `1`), false, "announce_bad_name"},
		{vector(`"`+long+`"`, `"Class"`, `"name"`, `1`), false, "announce_bad_name"},
		{vector(`"web"`, `"`+long+`"`, `"name"`, `1`), false, "announce_bad_name"},
		{vector(`"web"`, `"Class"`, `"`+long+`"`, `1`), false, "announce_bad_name"},
		{vector(`"web"`, `"Class"`, `"`+long[1:]+`"`, `1`), true, ""},
		{array(7, `[["Cla:ss",["name",""]]]`), false, "announce_bad_name"},
		{array(2, `"ma:in"`), false, "announce_bad_name"},
		{array(2, `""`), false, "announce_bad_name"},
	} {
		a, err := discovery.Parse(unsigned(tt.json))
		if err != nil {
			t.Errorf("%.200s: %v: want it accepted", tt.json, err)
			continue
		}
		counter := ""
		if len(a.Warnings) > 0 {
			counter = a.Warnings[0].Counter
		}
		if (len(a.Actions) > 0) != tt.found || counter != tt.counter {
			t.Errorf("%.200s: actions %v, warnings %v: want found %v, %q", tt.json, names(a), a.Warnings, tt.found, tt.counter)
		}
	}
}

func unitsCompare(t *testing.T) {
	var numbers struct {
		Timestamps [][2]float64 `json:"timestamps_to_ms"`
	}
	fixtures.JSON("numbers.json", &numbers)
	for _, pair := range numbers.Timestamps {
		literal, _ := json.Marshal(pair[0])
		a, err := discovery.Parse(unsigned(array(8, string(literal))))
		if err != nil {
			t.Fatal(err)
		}
		if want := int64(math.Round(pair[1] * 1000)); a.Timestamp != want {
			t.Errorf("timestamp %s: %d us: want %d", literal, a.Timestamp, want)
		}
	}
	// In order of time, whatever the unit.
	last := int64(-1)
	for _, literal := range []string{"0", "1441930020", "1700000000.12345", "1700000000124", "1700000000.125", "1700000000126.5", "1700000000127000",
		"9e15", "9223372036854775807"} {
		a, err := discovery.Parse(unsigned(array(8, literal)))
		if err != nil {
			t.Fatal(err)
		}
		if a.Timestamp <= last {
			t.Errorf("timestamp %s: %d us: want more than %d", literal, a.Timestamp, last)
		}
		last = a.Timestamp
	}
	if a, err := discovery.Parse(unsigned(array(8, "1e308"))); err != nil || a.Timestamp != math.MaxInt64 {
		t.Errorf("timestamp 1e308: error %v: want the largest timestamp", err)
	}
	for _, literal := range []string{"-1", "-0.001", `"1700000000123"`, "null", "[]", "1e400", "NaN"} {
		if _, err := discovery.Parse(unsigned(array(8, literal))); err == nil {
			t.Errorf("timestamp %s: accepted: want an error", literal)
		}
	}
}

func requestTime(t *testing.T) {
	var numbers struct {
		Timeouts []struct {
			Flags   string
			RPC     int `json:"rpc.timeout"`
			Timeout int
		} `json:"request_timeout_seconds"`
	}
	fixtures.JSON("numbers.json", &numbers)
	for _, tt := range numbers.Timeouts {
		a, err := discovery.Parse(unsigned(array(7, fmt.Sprintf(`[["Sample",["slow",%q,1]]]`, tt.Flags))))
		if err != nil {
			t.Fatal(err)
		}
		got := time.Duration(tt.RPC) * time.Second
		if n, ok := a.Actions[0].Timeout(); ok {
			got = n + 5*time.Second
		}
		if want := time.Duration(tt.Timeout) * time.Second; got != want {
			t.Errorf("flags %q, rpc.timeout %d: %v: want %v", tt.Flags, tt.RPC, got, want)
		}
	}
}

func expiryOfInterval(t *testing.T) {
	var numbers struct {
		Expiry [][2]float64 `json:"expiry_ms_after_receipt"`
	}
	fixtures.JSON("numbers.json", &numbers)
	for _, pair := range numbers.Expiry {
		literal, _ := json.Marshal(pair[0])
		a, err := discovery.Parse(unsigned(array(4, string(literal))))
		if err != nil {
			t.Fatal(err)
		}
		removed, forgotten := discovery.Limits{}.Expiry(a.Interval)
		if want := time.Duration(pair[1]) * time.Millisecond; removed != want || forgotten < removed {
			t.Errorf("interval %s: removed after %v, forgotten after %v: want %v and no less", literal, removed, forgotten, want)
		}
	}
}

func authorizedCases(t *testing.T) {
	var cases struct {
		File   string
		Checks []struct {
			Fingerprint, Sector, Action string
			Allowed                     bool
			Why                         string
		}
	}
	fixtures.JSON("authorized_services.cases.json", &cases)
	z, err := discovery.ParseAuthorized(bytes.NewReader(fixtures.Bytes(cases.File)))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases.Checks {
		d := z.Decide(fingerprintOnly(c.Fingerprint), c.Sector, c.Action)
		if d.Allowed != c.Allowed {
			t.Errorf("%s %s:%s (%s): %v: want allowed %v", c.Fingerprint, c.Sector, c.Action, c.Why, d, c.Allowed)
		}
	}
}
