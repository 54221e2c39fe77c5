package discovery_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
)

func TestParseReadsEveryField(t *testing.T) {
	a, err := discovery.Parse(fixtures.Bytes("announce/v3_v4ext.packet.z"))
	if err != nil {
		t.Fatal(err)
	}
	if a.Ident != "sample:AAECAwQFBgcICQoLDA0ODxAR" || a.Sector != "main" || a.Weight != 1 || a.Interval != 5*time.Second ||
		a.Address != "beepish+tls://10.0.0.5:30123" || !slices.Equal(a.Envelopes, []string{"json", "jsonstore"}) || a.Timestamp != 1700000000124_000 {
		t.Errorf("v3_v4ext: %+v: want the fields of the fixture", *a)
	}
	if a.Scheme() != "beepish+tls" || a.HostPort() != "10.0.0.5:30123" || a.ServiceName() != "sample" || a.Withdrawn() || a.GoDialect() {
		t.Errorf("v3_v4ext: scheme %q, host and port %q, service %q, withdrawn %v, Go dialect %v", a.Scheme(), a.HostPort(), a.ServiceName(), a.Withdrawn(), a.GoDialect())
	}
	if a.Certificate.Fingerprint != mustCertificate("sample").Fingerprint || a.Verified() {
		t.Errorf("v3_v4ext: certificate %s, verified %v: want the sample, not verified", a.Certificate.Fingerprint, a.Verified())
	}
	var got []string
	for i := range a.Actions {
		n, _ := a.Actions[i].Timeout()
		got = append(got, fmt.Sprintf("%s:%s~%d %v %v %v %v %v", a.Actions[i].Sector, a.Actions[i].FullName(), a.Actions[i].Version,
			a.Actions[i].Envelopes, a.Actions[i].Flags, a.Actions[i].Aliases(), n, a.Actions[i].NoAuth()))
	}
	want := []string{
		"main:Sample.echo~1 [json jsonstore] [noauth] [] 0s true",
		"main:Sample.slow~1 [json jsonstore] [t600] [] 10m0s false",
		"main:Sample.Item.create~1 [json jsonstore] [create] [_create] 0s false",
		"main:Sample.Item.list~1 [json jsonstore] [noauth read] [_read] 0s true",
		"main:Sample.Item.list~2 [json jsonstore] [read] [_read] 0s false",
		"web:Download.Report.csv~1 [web] [noauth t900] [] 15m0s true",
		"web:Download.Report.pdf~1 [web] [noauth t900] [] 15m0s true",
		"taxmodule:Flat.run~1 [json jsonstore] [] [] 0s false",
		"taxmodule:Flat.run~2 [json jsonstore] [] [] 0s false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("v3_v4ext: actions\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What real peers sent, octet for octet (fixtures/transcripts).
func TestRecordedAnnouncementsOfPeers(t *testing.T) {
	for _, tt := range []struct {
		name, actions string
		weight        int
		goDialect     bool
	}{
		{"labgo", "main:LabGo.hello~1 main:LabGo.fail~1 main:LabGo.size~1 main:LabGo.slow~1 main:LabGo.echo~1 main:LabGo.echo1~1", 1, true},
		{"labjs", "", 1, false},
		{"labjs-shutdown", "", 0, false},
		{"labperl", "", 1, false},
		{"labperl-shutdown", "", 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := open(fixtures.Bytes("transcripts/announce-" + tt.name + ".bin"))
			if err != nil {
				t.Fatal(err)
			}
			if a.Weight != tt.weight || a.Withdrawn() != (tt.weight == 0) || a.GoDialect() != tt.goDialect || !a.Verified() || len(a.Warnings) > 1 {
				t.Errorf("weight %d, Go dialect %v, warnings %v: want %d, %v, none but of the interval", a.Weight, a.GoDialect(), a.Warnings, tt.weight, tt.goDialect)
			}
			if got := strings.Join(names(a), " "); tt.actions != "" && got != tt.actions || tt.weight > 0 && got == "" {
				t.Errorf("actions %q: want %q", got, tt.actions)
			}
		})
	}
}

// THREATS D10: what is no JSON, or JSON that readers could take in two ways, is
// dropped in less than a millisecond.
func TestParseRefusesBadJSON(t *testing.T) {
	const object = `{"vmaj":4,"vmin":0,"ident":"a","wgt":1,"intvl":5000,"uri":"beepish+tls://10.0.0.5:30123","env":["json"],"sector":"main","ts":1700000000126%s}`
	for _, tt := range []struct{ name, json string }{
		{"depth 10,000", array(7, strings.Repeat("[", 10_000)+strings.Repeat("]", 10_000))},
		{"depth 10,000, no end", "[" + strings.Repeat("[", 10_000)},
		{"depth 17", array(7, strings.Repeat("[", 16)+strings.Repeat("]", 16))},
		{"depth 17 of objects", array(7, strings.Repeat(`{"a":`, 16)+"1"+strings.Repeat("}", 16))},
		{"number of 200,000 digits", array(8, strings.Repeat("1", 200_000))},
		{"number of 65 digits", array(8, strings.Repeat("1", 65))},
		{"1e400", array(8, "1e400")},
		{"-1e400 where it is ignored", array(6, `["json",-1e400]`)},
		{"lone high surrogate", array(1, `"\ud800"`)},
		{"lone low surrogate", array(1, `"\udc00"`)},
		{"two high surrogates", array(1, `"\ud800\ud800"`)},
		{"high surrogate and text", array(1, `"\ud800x"`)},
		{"bad UTF-8", array(1, "\"\xff\"")},
		{"UTF-8", array(1, `"é"`)},
		{"DEL", array(1, "\"\x7f\"")},
		{"control octet", array(1, "\"\x01\"")},
		{"tab", array(1, "\"a\",\t")},
		{"line feed", strings.Replace(array(1, `"a"`), ",", ",\n", 1)},
		{"carriage return", array(1, `"a"`) + "\r"},
		{"NUL at the end", array(1, `"a"`) + "\x00"},
		{"byte order mark", "\ufeff" + array(1, `"a"`)},
		{"text after", array(1, `"a"`) + "x"},
		{"another value after", array(1, `"a"`) + "[]"},
		{"member twice in the extension", extended(`{"acname":[],"acname":["x"]}`)},
		{"member twice, spelled with an escape", extended(`{"acname":[],"acn\u0061me":["x"]}`)},
		{"unknown member twice", extended(`{"x":1,"x":2}`)},
		{"member twice in the object form", fmt.Sprintf(object, `,"sector":"web"`)},
		{"65 members", extended("{" + strings.Join(numbered(65, `"m%d":0`), ",") + "}")},
		{"comma before the end", array(7, "[[],]")},
		{"comma at the start", array(7, "[,1]")},
		{"two commas", array(7, "[1,,2]")},
		{"no comma", array(7, "[1 2]")},
		{"wrong bracket", array(7, "[1}")},
		{"no colon", extended(`{"a"}`)},
		{"no member name", extended(`{1:2}`)},
		{"bad member name", extended(`{"a\x":2}`)},
		{"no value", extended(`{"a":}`)},
		{"no end", array(1, `"a"`)[:40]},
		{"string without an end", `[3,"a`},
		{"escape without an end", `[3,"a\`},
		{"escape of nothing", array(1, `"\x"`)},
		{"short unicode escape", array(1, `"\u12"`)},
		{"unicode escape with a sign", array(1, `"\u+123"`)},
		{"leading zero", array(3, "01")},
		{"plus", array(3, "+1")},
		{"point without digits", array(3, "1.")},
		{"digits after nothing", array(3, ".5")},
		{"exponent without digits", array(3, "1e")},
		{"hex", array(3, "0x1")},
		{"lone minus", array(3, "-")},
		{"NaN", array(3, "NaN")},
		{"Infinity", array(3, "Infinity")},
		{"word", array(7, "nul")},
		{"capital", array(7, "NULL")},
		{"single quotes", array(1, `'a'`)},
		{"comment", array(1, `"a"/**/`)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := unsigned(tt.json)
			parse := func() error {
				_, err := discovery.Limits{}.ParseRecord(text)
				return err
			}
			if err := parse(); counterOf(err) != "announce_badjson" {
				t.Errorf("%.100q: error %v: want announce_badjson", tt.json, err)
			}
			checkCost(t, tt.name, 64<<10, time.Millisecond, func() { parse() })
		})
	}
	if _, err := discovery.Parse(unsigned(array(7, strings.Repeat("[", 15)+strings.Repeat("]", 15)))); err != nil {
		t.Errorf("depth 16: %v: want it accepted", err)
	}
	if _, err := discovery.Parse(unsigned(extended("{" + strings.Join(numbered(64, `"m%d":0`), ",") + "}"))); err != nil {
		t.Errorf("64 members: %v: want them accepted", err)
	}
	if a, err := discovery.Parse(unsigned(array(1, `"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"`))); err != nil || a.Ident != "\"\\/\b\f\n\r\té😀" {
		t.Errorf("every escape: %v: want them read", err)
	}
}

// numbered returns n texts with their numbers in them.
func numbered(n int, format string) []string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprintf(format, i)
	}
	return texts
}

// THREATS D9: a vector is counted before it is expanded: invariant 8.
func TestParseRefusesVectorBombs(t *testing.T) {
	const rest = `,"acns":[[2,"A"]],"acsec":[[2,"main"]],"acenv":[[2,"json"]]}`
	two := func(member string) string {
		return extended(`{"acname":["a","b"],"acns":[[2,"A"]],"acsec":[[2,"main"]],"acenv":[[2,"json"]],` + member + `}`)
	}
	name := func(vector string) string { return extended(`{"acname":` + vector + rest) }
	equal := func(run string) string {
		return extended(`{"acname":[` + run + `],"acns":[` + run + `],"acsec":[` + run + `],"acenv":[` + run + `],"acflag":[` + run + `]}`)
	}
	forms := []struct{ name, json string }{
		{"count over the limit", name(`[[4097,"a"]]`)},
		{"huge count", name(`[[9007199254740992,"a"]]`)},
		{"count over 2^63", name(`[[9223372036854775808,"a"]]`)},
		{"count over 2^64", name(`[[36893488147419103232,"a"]]`)},
		{"count 1e300", name(`[[1e300,"a"]]`)},
		{"sum over the limit", name(`[[4096,"a"],"b"]`)},
		{"sum that overflows 32 bits", name(`[[2147483647,"a"],[2147483647,"a"],[4,"a"]]`)},
		{"negative count", name(`[[-1,"a"],"a","b","c"]`)},
		{"huge negative count", name(`[[-9223372036854775808,"a"]]`)},
		{"fraction", name(`[[1.5,"a"]]`)},
		{"tiny fraction", name(`[[2.0000001,"a"]]`)},
		{"count as string", name(`[["2","a"]]`)},
		{"count null", name(`[[null,"a"]]`)},
		{"count true", name(`[[true,"a"]]`)},
		{"count a list", name(`[[[2],"a"]]`)},
		{"pair of one", name(`[[2]]`)},
		{"pair of none", name(`[[]]`)},
		{"pair of three", name(`[[2,"a","b"]]`)},
		{"6,000 runs of nothing", name(`[` + strings.Repeat(`[0,"a"],`, 6_000) + `"a","b"]`)},
		{"5,000 single values", name(`[` + strings.Repeat(`"a",`, 4_999) + `"a"]`)},
		{"vector a string", name(`"ab"`)},
		{"vector a number", name(`2`)},
		{"vector null", name(`null`)},
		{"vector an object", name(`{"a":1}`)},
		{"value a number", name(`["a",1]`)},
		{"value null", name(`["a",null]`)},
		{"value an object", name(`["a",{}]`)},
		{"value a pair in a pair", name(`[[1,[1,"a"]],"b"]`)},
		{"value of an empty run a number", name(`[[0,1],"a","b"]`)},
		{"no acns", extended(`{"acname":["a"],"acsec":["main"],"acenv":["json"]}`)},
		{"no acsec", extended(`{"acname":["a"],"acns":["A"],"acenv":["json"]}`)},
		{"no acenv", extended(`{"acname":["a"],"acns":["A"],"acsec":["main"]}`)},
		{"acns too long", extended(`{"acname":["a"],"acns":["A","B"],"acsec":["main"],"acenv":["json"]}`)},
		{"acver too short", two(`"acver":[1]`)},
		{"acver 0", two(`"acver":[[2,0]]`)},
		{"acver negative", two(`"acver":[1,-1]`)},
		{"acver a string", two(`"acver":[1,"1"]`)},
		{"acver a fraction", two(`"acver":[1,1.5]`)},
		{"acver empty", two(`"acver":[]`)},
		{"acflag too long", two(`"acflag":[[3,""]]`)},
		{"acflag null", two(`"acflag":null`)},
		{"accompat 0", two(`"accompat":[1,0]`)},
		{"accompat too short", two(`"accompat":[1]`)},
		{"each vector under the limit, together with the classes over it",
			strings.Replace(equal(`[4096,"a"]`), "],[],1700", `],[["A",["a",""]]],1700`, 1)},
		{"many vectors under the limit, one unequal", strings.Replace(equal(`[4000,"a"]`), `"acflag":[[4000,"a"]`, `"acflag":[[3999,"a"]`, 1)},
		{"4,097 classes of one action", array(7, "["+strings.Repeat(`["A",["a"]],`, 4_096)+`["A",["a"]]]`)},
		{"4,097 actions of one class", array(7, `[["A"`+strings.Repeat(`,["a"]`, 4_097)+`]]`)},
		{"4,097 malformed actions", array(7, `[["A"`+strings.Repeat(`,0`, 4_097)+`]]`)},
	}
	if len(forms) < 40 {
		t.Fatalf("%d forms: want at least 40", len(forms))
	}
	for _, tt := range forms {
		t.Run(tt.name, func(t *testing.T) {
			datagram := discovery.Compress(unsigned(tt.json))
			if _, err := discovery.Parse(datagram); counterOf(err) != "announce_bad_vector" {
				t.Errorf("%.200s: error %v: want announce_bad_vector", tt.json, err)
			}
			checkCost(t, tt.name, 64<<10, time.Millisecond, func() { discovery.Parse(datagram) })
		})
	}
	for _, limit := range []int{4_096, 100_000, 1_000_000} {
		want := min(limit, 100_000)
		a, err := discovery.Limits{MaxActions: limit}.Parse(unsigned(equal(fmt.Sprintf(`[%d,"a"]`, want))))
		if err != nil || len(a.Actions) != want {
			t.Errorf("%d actions with a limit of %d: error %v: want them read", want, limit, err)
		}
		if _, err := (discovery.Limits{MaxActions: limit}).Parse(unsigned(equal(fmt.Sprintf(`[%d,"a"]`, want+1)))); counterOf(err) != "announce_bad_vector" {
			t.Errorf("%d actions with a limit of %d: error %v: want announce_bad_vector", want+1, limit, err)
		}
	}
	// Without acname there are no actions, whatever else there is.
	for _, extension := range []string{`{}`, `{"acns":["A"]}`, `{"acname":[],"acns":[],"acsec":[[0,"a"]],"acenv":[]}`} {
		if a, err := discovery.Parse(unsigned(extended(extension))); err != nil || len(a.Actions) > 0 {
			t.Errorf("extension %s: error %v: want no actions", extension, err)
		}
	}
}

// THREATS D17: the weight must be a number and counts as 0 to 100.
func TestWeightIsClamped(t *testing.T) {
	for _, tt := range []struct {
		literal string
		want    int
		counter string
	}{
		{"-1", 0, "announce_weight_clamped"},
		{"-1e308", 0, "announce_weight_clamped"},
		{"-0.0", 0, ""},
		{"0", 0, ""},
		{"0.000001", 1, ""},
		{"0.5", 1, ""},
		{"1", 1, ""},
		{"1.5", 2, ""},
		{"100", 100, ""},
		{"100.5", 100, "announce_weight_clamped"},
		{"1e308", 100, "announce_weight_clamped"},
	} {
		a, err := discovery.Parse(unsigned(array(3, tt.literal)))
		if err != nil {
			t.Fatal(err)
		}
		if a.Weight != tt.want || warned(a, "announce_weight_clamped") != (tt.counter != "") {
			t.Errorf("weight %s: %d, warnings %v: want %d, %q", tt.literal, a.Weight, a.Warnings, tt.want, tt.counter)
		}
	}
	for _, literal := range []string{"null", `"1"`, "true", "[1]", "{}"} {
		if _, err := discovery.Parse(unsigned(array(3, literal))); counterOf(err) != "announce_malformed" {
			t.Errorf("weight %s: error %v: want announce_malformed", literal, err)
		}
	}
}

func warned(a *discovery.Announcement, counter string) bool {
	return slices.ContainsFunc(a.Warnings, func(w discovery.Warning) bool { return w.Counter == counter })
}

// THREATS D18: any interval is announced, and counts as 5 s to 1 h.
func TestIntervalIsClamped(t *testing.T) {
	for _, tt := range []struct {
		literal         string
		announced, want time.Duration
	}{
		{"0", 0, 5 * time.Second},
		{"-1", -time.Millisecond, 5 * time.Second},
		{"1", time.Millisecond, 5 * time.Second},
		{"0.1", 100 * time.Microsecond, 5 * time.Second},
		{"2500", 2500 * time.Millisecond, 5 * time.Second},
		{"5000", 5 * time.Second, 5 * time.Second},
		{"5000.5", 5000500 * time.Microsecond, 5000500 * time.Microsecond},
		{"3600000", time.Hour, time.Hour},
		{"2147483648", 2147483648 * time.Millisecond, time.Hour},
		{"1e12", 1e12 * time.Millisecond, time.Hour},
		{"1e308", 1e12 * time.Millisecond, time.Hour},
		{"-1e308", -1e12 * time.Millisecond, 5 * time.Second},
		{`"5000"`, 0, 5 * time.Second},
		{`"7000"`, 0, 5 * time.Second},
		{"null", 0, 5 * time.Second},
		{"[]", 0, 5 * time.Second},
	} {
		a, err := discovery.Parse(unsigned(array(4, tt.literal)))
		if err != nil {
			t.Fatal(err)
		}
		got := discovery.Limits{}.EffectiveInterval(a.Interval)
		if a.Interval != tt.announced || got != tt.want || warned(a, "announce_interval_clamped") != (tt.announced != tt.want) {
			t.Errorf("interval %s: announced %v, effective %v, warnings %v: want %v and %v", tt.literal, a.Interval, got, a.Warnings, tt.announced, tt.want)
		}
	}
}

// PROTOCOL 7.3: a malformed element refuses the whole, but for classes and actions.
func TestParseRefusesMalformedElements(t *testing.T) {
	for _, tt := range []struct {
		element int
		literal string
		counter string
	}{
		{1, `""`, "announce_malformed"},
		{1, `5`, "announce_malformed"},
		{1, `null`, "announce_malformed"},
		{1, `"` + strings.Repeat("i", 256) + `"`, "announce_bad_name"},
		{2, `null`, "announce_malformed"},
		{2, `["main"]`, "announce_malformed"},
		{5, `null`, "announce_malformed"},
		{5, `"beepish+tls://10.0.0.5"`, "announce_bad_name"},
		{5, `"beepish+tls://10.0.0.5:30123//"`, "announce_bad_name"},
		{6, `null`, "announce_malformed"},
		{6, `{}`, "announce_malformed"},
		{6, `"json"`, "announce_malformed"},
		{6, "[" + strings.Join(numbered(65, `"e%d"`), ",") + "]", "announce_malformed"},
		{7, `{}`, "announce_malformed"},
		{7, `"[]"`, "announce_malformed"},
		{7, `0`, "announce_malformed"},
		{7, `false`, "announce_malformed"},
	} {
		text := array(tt.element, tt.literal)
		if _, err := discovery.Parse(unsigned(text)); counterOf(err) != tt.counter {
			t.Errorf("%.200s: error %v: want %s", text, err, tt.counter)
		}
	}
	object := string(fixtures.Bytes("announce/v4only.json"))
	for _, text := range []string{`""`, `5`, `null`, `"text"`, `[[]]`, strings.Replace(object, `"env":["json"]`, `"env":"json"`, 1), strings.Replace(object, `"wgt":1,`, "", 1)} {
		if _, err := (discovery.Limits{}).ParseRecord(unsigned(text)); counterOf(err) != "announce_malformed" {
			t.Errorf("%s: error %v: want announce_malformed", text, err)
		}
	}
	if a, err := discovery.Parse(unsigned(array(6, `["json","","`+strings.Repeat("e", 256)+`"]`))); err != nil || len(a.Envelopes) != 1 || !warned(a, "announce_bad_name") {
		t.Errorf("envelopes that are empty or too long: error %v: want them ignored with a warning", err)
	}
	if a, err := discovery.Parse(unsigned(array(7, `[["A",["a","`+strings.Repeat("f,", 64)+`f"],["b","`+strings.Repeat(",", 63)+`read"]]]`))); err != nil ||
		len(a.Actions) != 1 || len(a.Actions[0].Flags) != 1 || !warned(a, "announce_malformed") {
		t.Errorf("action with 65 flags: error %v: want it left out with a warning, and its neighbour kept", err)
	}
}

// The same in the extension object.
func TestExtensionListsAreBounded(t *testing.T) {
	long := strings.Repeat("f,", 64) + "f"
	for _, lists := range []string{`"acenv":["` + long + `","json"]`, `"acenv":[[2,"json"]],"acflag":["` + long + `",""]`} {
		a, err := discovery.Parse(unsigned(extended(`{"acname":["a","b"],"acns":[[2,"A"]],"acsec":[[2,"main"]],` + lists + `}`)))
		if err != nil || strings.Join(names(a), " ") != "main:A.b~1" || !warned(a, "announce_malformed") {
			t.Errorf("%s: error %v: want the first action left out with a warning, and the second kept", lists, err)
		}
	}
}

// A warning of a kind is told once and counted as often as it happens.
func TestWarningsAreBounded(t *testing.T) {
	actions := strings.Repeat(`,["a.b",""],[0]`, 1000)
	a, err := discovery.Parse(unsigned(array(7, `[["A"`+actions+`]]`)))
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Actions) != 0 || len(a.Warnings) != 2 || a.Warnings[0].Count != 1000 || a.Warnings[1].Count != 1000 {
		t.Errorf("1,000 actions of two malformed kinds: %d actions, warnings %v: want two warnings of 1,000 each", len(a.Actions), a.Warnings)
	}
}

func TestVerifyRemembers(t *testing.T) {
	a, err := discovery.Parse(fixtures.Bytes("announce/v3_ms.packet"))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Verify(); err != nil || !a.Verified() {
		t.Fatalf("Verify: %v: want it verified", err)
	}
	if allocs := testing.AllocsPerRun(10, func() { a.Verify() }); allocs != 0 {
		t.Errorf("Verify again: %v allocations: want none, nothing is computed", allocs)
	}
	if err := new(discovery.Announcement).Verify(); counterOf(err) != "announce_badsig" {
		t.Errorf("Verify of an announcement that was filled in: error %v: want announce_badsig", err)
	}
}

// PROTOCOL 8.4: what old readers of a cache file stumble over.
func TestStrict(t *testing.T) {
	for _, tt := range []struct{ json, want string }{
		{array(0, "3"), ""},
		{array(7, "null"), ""},
		{array(7, "[]"), ""},
		{array(7, `[["A",["a",""],["b","noauth",2],["c","","3"]]]`), ""},
		{array(6, `["json",{}]`), ""},
		{string(fixtures.Bytes("announce/v4only.json")), "object form"},
		{array(0, "3.0"), "version"},
		{array(3, "0.5"), "weight"},
		{array(3, "1.0"), "weight"},
		{array(3, "1e0"), "weight"},
		{array(3, "2147483647"), ""},
		{array(3, "2147483648"), "weight"},
		{array(3, "-99999999999999999999"), "weight"},
		{array(4, "99999999999999999999"), "interval"},
		{array(7, `[["A",["a","","2147483647"]]]`), ""},
		{array(7, `[["A",["a","","2147483648"]]]`), "action"},
		{array(7, `[["A",["a","",99999999999999999999]]]`), "action"},
		{array(4, "2500.5"), "interval"},
		{array(4, `"5000"`), "interval"},
		{array(4, "null"), "interval"},
		{array(7, `[["Empty"],["A",["a",""]]]`), "class"},
		{array(7, `[[]]`), "class"},
		{array(7, `[5]`), "class"},
		{array(7, `[[5,["a",""]]]`), "class"},
		{array(7, `[["A",["a"]]]`), "action"},
		{array(7, `[["A",["a",null]]]`), "action"},
		{array(7, `[["A",["a","",1,2]]]`), "action"},
		{array(7, `[["A",["a","",1.0]]]`), "action"},
		{array(7, `[["A",["a","","x"]]]`), "action"},
		{array(7, `[["A",["a","",null]]]`), "action"},
		{array(7, `[["A",[5,""]]]`), "action"},
		{array(7, `[["A",5]]`), "action"},
		{array(1, `"a"`) + strings.Repeat(" ", 65536), "too long"},
	} {
		a, err := discovery.Limits{}.ParseRecord(unsigned(tt.json))
		if err != nil {
			t.Fatalf("%.200s: %v", tt.json, err)
		}
		if err := a.Strict(); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.200s: %v: want an error with %q", tt.json, err, tt.want)
		}
	}
	if err := new(discovery.Announcement).Strict(); err == nil {
		t.Error("announcement that was filled in: strict: want an error")
	}
}

// Announcements, certificates and rules are shared by all that look at them.
func TestConcurrentUse(t *testing.T) {
	a, err := discovery.Parse(fixtures.Bytes("announce/v3_v4ext.packet.z"))
	if err != nil {
		t.Fatal(err)
	}
	z := mustRules(t, a.Certificate.Fingerprint+" Sample\n")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { // ends by itself
			for range 20 {
				if err := a.Verify(); err != nil || !a.Verified() || a.Strict() != nil || len(a.Record()) == 0 {
					t.Errorf("Verify among others: %v", err)
				}
				if d := z.Decide(a.Certificate, "main", "Sample.echo"); !d.Allowed || d.String() == "" {
					t.Errorf("Decide among others: %v", d)
				}
				if b, err := open(fixtures.Bytes("announce/v3_v4ext.packet.z")); err != nil || b.Ident != a.Ident {
					t.Errorf("Open among others: %v", err)
				}
			}
		})
	}
	all.Wait()
}
