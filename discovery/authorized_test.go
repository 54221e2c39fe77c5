package discovery_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/scampbus/scamp-go/discovery"
)

// fp returns the fingerprint of a certificate that exists in rules only.
func fp(pair string) string { return strings.TrimSuffix(strings.Repeat(pair+":", 20), ":") }

func mustRules(t testing.TB, text string) *discovery.Authorized {
	t.Helper()
	z, err := discovery.ParseAuthorized(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// The table of PROTOCOL 9.3, and more of its kind.
func TestDecide(t *testing.T) {
	z := mustRules(t, fp("AA")+" main:ALL, web:ALL\n"+
		fp("BB")+" Product.Sku,customer , web:Page\n"+
		fp("DD")+" ALL\n"+
		fp("EE")+" background:all\n"+
		fp("F1")+" web:, a:b:c, x:y:ALL, :ALL, Patt.*, Gr[ae]y, (a|b), Caf\u00e9, Dot., \u212aelvin, A B\n")
	for _, tt := range []struct {
		certificate, action string
		want                bool
	}{
		{"AA", "main:Any.Thing", true},
		{"AA", "WEB:Page.render", true},
		{"AA", "background:X.y", false},
		{"AA", "xmain:X.y", false},
		{"AA", "mainx:X.y", false},
		{"BB", "main:Product.Sku.fetch", true},
		{"BB", "main:product.sku.FETCH", true},
		{"BB", "main:Product.SkuExtra.fetch", false},
		{"BB", "main:Product.Sku", true},
		{"BB", "main:Product.list", false},
		{"BB", "main:Product", false},
		{"BB", "main:ProductXSku.fetch", false},
		{"BB", "web:Product.Sku.fetch", false},
		{"BB", "main:Customer.get", true},
		{"BB", "web:Pages.render", false},
		{"BB", "web:page", true},
		{"DD", "main:Any.Thing", false},
		{"DD", "main:all.thing", true},
		{"EE", "background:X.y", false},
		{"EE", "background:ALL.y", true},
		{"AA", "main:_meta.documentation", true},
		{"99", "main:_meta.documentation", true},
		{"99", "x:y:_meta.documentation", false},
		{"99", "main:_Meta.documentation", false},
		{"99", "main:_metadata.x", false},
		{"AA", "main:we:ird.x", false},
		{"99", "main:X.y", false},
		{"F1", "web:X.y", false},
		{"F1", "web:.y", false},
		{"F1", "web:", false},
		{"F1", "a:b.x", false},
		{"F1", "a:b:c.x", false},
		{"F1", "x:y.z", false},
		{"F1", "main:Pattern.x", false},
		{"F1", "main:Patt.x", false},
		{"F1", "main:Gray.x", false},
		{"F1", "main:a.x", false},
		{"F1", "main:Kelvin.x", false},
		{"F1", "main:kelvin.x", false},
		{"F1", "main:CAF\u00c9.x", false},
		{"F1", "main:A.x", false},
		{"F1", "main:B.x", false},
	} {
		sector, action, _ := strings.Cut(tt.action, ":")
		if d := z.Decide(fingerprintOnly(fp(tt.certificate)), sector, action); d.Allowed != tt.want {
			t.Errorf("%s %s: %v: want allowed %v", tt.certificate, tt.action, d, tt.want)
		}
	}
}

// A bus that has no rules, or a caller that has no certificate.
func TestDecideWithoutRules(t *testing.T) {
	var none *discovery.Authorized
	for _, c := range []*discovery.Certificate{nil, mustCertificate("sample")} {
		if d := none.Decide(c, "main", "X.y"); d.Allowed || d.String() == "" {
			t.Errorf("no rules: %v: want a denial", d)
		}
		if d := none.Decide(c, "main", "_meta.documentation"); !d.Allowed {
			t.Errorf("no rules: %v: want _meta allowed", d)
		}
		if none.Named(c) || len(none.Rules()) != 0 {
			t.Error("no rules: a certificate is named")
		}
	}
	if d := mustRules(t, "# nothing").Decide(nil, "main", "X.y"); d.Allowed {
		t.Errorf("no certificate: %v: want a denial", d)
	}
}

func TestDecideSaysWhichLine(t *testing.T) {
	sample := mustCertificate("sample")
	text := "# rules\n\n" + sample.Fingerprint + " Other\n" + fp("22") + " main:Sample\n" + sample.Fingerprint + "\tweb:Page,  main:Sample  # latest\n"
	z, err := discovery.Limits{}.ParseAuthorized(strings.NewReader(text), "/etc/SCAMP/authorized_services")
	if err != nil {
		t.Fatal(err)
	}
	d := z.Decide(sample, "main", "sample.Item.list")
	if meta := z.Decide(nil, "main", "_meta.documentation").String(); !strings.Contains(meta, "everybody may offer") {
		t.Errorf("decision about _meta: %q: want it to say that everybody may", meta)
	}
	if !d.Allowed || d.File != "/etc/SCAMP/authorized_services" || d.Line != 5 || d.Rule != "main:Sample" {
		t.Errorf("decision %+v: want line 5 and its token main:Sample", d)
	}
	if want := sample.Fingerprint + ` may offer "main:sample.Item.list": /etc/SCAMP/authorized_services:5 says "main:Sample"`; d.String() != want {
		t.Errorf("decision %q: want %q", d, want)
	}
	if !z.Named(sample) || z.Named(mustCertificate("other")) {
		t.Error("Named: want the sample certificate, and not the other")
	}
	if rules := z.Rules(); len(rules) != 2 || rules[0].Line != 4 || rules[1].Line != 5 || !slices.Equal(rules[1].Tokens, []string{"web:Page", "main:Sample"}) {
		t.Errorf("rules %+v: want those of lines 4 and 5", rules)
	}
}

// A denial names the line to write, and what comes near.
func TestDenialsAreHelpful(t *testing.T) {
	sample := mustCertificate("sample")
	f := sample.Fingerprint
	for _, tt := range []struct {
		name, rules, action string
		sha256              bool
		want                []string
	}{
		{"no rule at all", "# none\n", "main:Sample.echo", false,
			[]string{`no rule lets ` + f + ` offer main:Sample.echo; add "` + f + ` main:Sample" to /etc/rules`}},
		{"no rule that is like it", fp("22") + " web:Page\n", "main:Deep.Sample.echo", false,
			[]string{`add "` + f + ` main:Deep.Sample" to /etc/rules`}},
		{"certificate renewed", "\n" + fp("22") + " Sample\n", "main:Sample.echo", false,
			[]string{`add "` + f + ` main:Sample"`, `line 2 lets ` + fp("22") + ` offer it by "Sample"`}},
		{"fingerprint mistyped", f[:57] + "00 Sample\n", "main:Sample.echo", false,
			[]string{`line 1 names ` + f[:57] + `00, which differs in 2 characters`, `; write the first word of /etc/rules:1 as ` + f + ` (`}},
		{"fingerprint mistyped, and other tokens", f[:57] + "00 Other\n", "main:Sample.echo", false, []string{`; change /etc/rules:1 to "` + f + ` Other, main:Sample" (line 1 names`}},
		{"fingerprint mistyped, and many tokens", f[:57] + "00 a, b, c, d, e, f, g, h, i\n", "main:Sample.echo", false,
			[]string{`; write the first word of /etc/rules:1 as ` + f + `, and append ", main:Sample"`}},
		{"a line that somebody switched off", "-" + f + " main:ALL\n", "main:Sample.echo", false, []string{`; add "` + f + ` main:Sample" to /etc/rules (/etc/rules:1: line skipped`}},
		{"a token behind the fingerprint without a blank", f + ",Sample, Other\n", "main:Sample.echo", false, []string{`; add "` + f + ` main:Sample" to /etc/rules (/etc/rules:1: line skipped`}},
		{"a blank in the name of the certificate", "sha256: " + sample.SHA256Text()[7:] + " Sample\n", "main:Sample.echo", false, []string{`; add "` + f + ` main:Sample" to /etc/rules (/etc/rules:1: line skipped`}},
		{"a digit is missing, and the line is no text", f[1:] + " Sample, x\x01\n", "main:Sample.echo", false, []string{`; add "` + f + ` main:Sample" to /etc/rules (`}},
		{"fingerprint mistyped, where only SHA-256 counts", f[:57] + "00 Sample\n", "main:Sample.echo", true,
			[]string{`; write the first word of /etc/rules:1 as ` + sample.SHA256Text() + ` (`}},
		{"other sector", f + " web:Sample\n", "main:Sample.echo", false,
			[]string{`change /etc/rules:1 to "` + f + ` web:Sample, main:Sample"`, `line 1 says "web:Sample": sector "web", not "main"`}},
		{"no sector", f + " Sample\n", "web:Sample.echo", false,
			[]string{`to "` + f + ` Sample, web:Sample"`, `line 1 says "Sample": sector "main", not "web"`}},
		{"ALL without a sector", f + " ALL\n", "main:Sample.echo", false, []string{`all of the sector is "main:ALL"`}},
		{"all in lower case", f + " main:all\n", "main:Sample.echo", false, []string{`all of the sector is "main:ALL"`}},
		{"half a part", f + " Sam\n", "main:Sample.echo", false, []string{`line 1 says "Sam": a token covers whole parts of a name`}},
		{"too long", f + " Sample.Item\n", "main:Sample", false, []string{`line 1 says "Sample.Item": longer than the action`}},
		{"mistyped", f + " X, Smaple.echo\n", "main:Sample.echo", false, []string{`line 1 says "Smaple.echo": spelled a little otherwise`}},
		{"a replaced line", f + " Sample\n" + f + " Other\n", "main:Sample.echo", false,
			[]string{`change /etc/rules:2 to "` + f + ` Other, main:Sample"`, `line 1 allows it, but a later line of the same certificate replaces it, and line 2 decides`}},
		{"the whole hash decides", f + " Sample\n" + sample.SHA256Text() + " Other\n", "main:Sample.echo", false,
			[]string{`change /etc/rules:2 to "` + sample.SHA256Text() + ` Other, main:Sample"`, `line 1 allows it by SHA-1, but line 2 names the whole certificate and decides alone`}},
		{"fingerprint without colons", strings.ReplaceAll(f, ":", "") + " Sample\n", "main:Sample.echo", false,
			[]string{`; write the first word of /etc/rules:1 as ` + f + ` (/etc/rules:1: line skipped: "` + f[:2]}},
		{"byte order mark", "\ufeff" + f + " Sample\n", "main:Sample.echo", false, []string{`/etc/rules:1: line skipped: "\ufeff` + f}},
		{"SHA-256 without its prefix", strings.TrimPrefix(sample.SHA256Text(), "sha256:") + " Sample\n", "main:Sample.echo", false,
			[]string{`/etc/rules:1: line skipped: "` + sample.SHA256Text()[7:20]}},
		{"control character in the line", f + " Sample\x00\n", "main:Sample.echo", false, []string{`/etc/rules:1: line gives no right: want text`}},
		{"a digit is missing", "junk\n" + f[1:] + " Sample\n", "main:Sample.echo", false, []string{`(/etc/rules:2: line skipped: "` + f[1:]}},
		{"a pair is missing", "junk\n" + f[3:] + " Sample\n", "main:Sample.echo", false, []string{`(/etc/rules:2: line skipped: "` + f[3:]}},
		{"a letter for a digit", "junk\nO" + f[1:] + " Sample\n", "main:Sample.echo", false, []string{`; write the first word of /etc/rules:2 as ` + f + ` (/etc/rules:2: line skipped: "O` + f[1:]}},
		{"a comma behind the fingerprint", "junk\n" + f + ",Sample\n", "main:Sample.echo", false, []string{`; add "` + f + ` main:Sample" to /etc/rules (/etc/rules:2: line skipped: "` + f}},
		{"SHA-256 with another sign", "junk\nsha256=" + sample.SHA256Text()[7:] + " Sample\n", "main:Sample.echo", false, []string{`(/etc/rules:2: line skipped: "sha256=`}},
		{"SHA-256 with a digit missing", "junk\n" + sample.SHA256Text()[:70] + " Sample\n", "main:Sample.echo", false, []string{`(/etc/rules:2: line skipped: "sha256:`}},
		{"a fingerprint mistyped is nearer than any broken line", "junk\n" + f[:57] + "00 Sample\n", "main:Sample.echo", false, []string{`(line 2 names ` + f[:57]}},
		{"a line of anybody that is no rule", fp("22") + " Sample\nhelloworld main:Sample\n", "main:Sample.echo", false,
			[]string{`(/etc/rules:2: line skipped: "helloworld": want a fingerprint of 20 hex pairs with colons`}},
		{"lines of anybody that are no rules", f + " Page\njunk\nmore junk\nstill more\n", "main:Sample.echo", false,
			[]string{`(/etc/rules:2: line skipped: "junk": want `, `; and 2 more such lines)`}},
		{"SHA-256 mistyped", sample.SHA256Text()[:70] + "0 Sample\n", "main:Sample.echo", false,
			[]string{`differs in 1 characters`, `; write the first word of /etc/rules:1 as ` + sample.SHA256Text() + ` (`}},
		{"pattern", f + " Sample.*\n", "main:Sample.echo", false, []string{`line 1 says "Sample.*": a token is a name and nothing else`}},
		{"a class named ALL", f + " web:x\n", "web:ALL.things", false, []string{`to "` + f + ` web:x, web:ALL.things"`}},
		{"a comma is missing", f + " Sample Other\n", "main:Sample.echo", false, []string{`line 1 says "Sample Other": a token is a name and nothing else: no pattern, and a comma`}},
		{"a dot too much", f + " Sample.\n", "main:Sample.echo", false, []string{`a token covers whole parts of a name, and ends without a dot`}},
		{"_meta in other letters", "# none\n", "main:_Meta.documentation", false, []string{`everybody may offer _meta.*, spelled exactly so`}},
		{"long names", "# none\n", "main:" + strings.Repeat("a", 250) + "." + strings.Repeat("b", 250), false, []string{`add "` + f + ` main:aaa`}},
		{"an empty rule", f + "\n", "main:Sample.echo", false, []string{`change /etc/rules:1 to "` + f + ` main:Sample"`}},
		{"a long rule", f + " a, b, c, d, e, f, g, h, i\n", "main:Sample.echo", false, []string{`append ", main:Sample" to /etc/rules:1`}},
		{"only by SHA-1", f + " Sample, web:Page\n", "main:Sample.echo", true,
			[]string{`add "` + sample.SHA256Text() + ` Sample, web:Page" to /etc/rules`, `line 1 names its SHA-1, which bus.require_sha256 ignores`}},
		{"only by SHA-1, and not this", f + " web:Page\n", "main:Sample.echo", true,
			[]string{`add "` + sample.SHA256Text() + ` web:Page, main:Sample" to /etc/rules`}},
		{"no rule by SHA-256", fp("22") + " Sample\n", "main:Sample.echo", true, []string{`add "` + sample.SHA256Text() + ` main:Sample" to /etc/rules`}},
		{"a colon", f + " main:ALL\n", "main:we:ird.x", false, []string{`nobody may offer "main:we:ird.x"`}},
		{"control characters", f + " Sample\n", "main:a\nb.c", false, []string{`offer "main:a\nb.c": want names`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			z, err := discovery.Limits{}.ParseAuthorized(strings.NewReader(tt.rules), "/etc/rules")
			if err != nil {
				t.Fatal(err)
			}
			z.RequireSHA256 = tt.sha256
			sector, action, _ := strings.Cut(tt.action, ":")
			d := z.Decide(sample, sector, action)
			if d.Allowed || d.Reason == "" {
				t.Fatalf("decision %+v: want a denial with a reason", d)
			}
			for _, want := range tt.want {
				if !strings.Contains(d.String(), want) {
					t.Errorf("rules %q, %s:\n%s\nwant\n%s", tt.rules, tt.action, d, want)
				}
			}
			// The line that is proposed does what it says.
			rules := tt.rules
			if m := regexp.MustCompile(`write the first word of /etc/rules:(\d+) as (\S+)`).FindStringSubmatch(d.String()); m != nil {
				lines := strings.SplitAfter(rules, "\n")
				n, _ := strconv.Atoi(m[1])
				_, tokens, _ := strings.Cut(lines[n-1], " ")
				if more := regexp.MustCompile(`, and append "([^"]+)"`).FindStringSubmatch(d.String()); more != nil {
					tokens = strings.TrimSuffix(tokens, "\n") + more[1] + "\n"
				}
				lines[n-1] = strings.TrimSuffix(m[2], ",") + " " + tokens
				rules = strings.Join(lines, "")
			} else if m := regexp.MustCompile(`(?:add|to) "([^"]+)"`).FindStringSubmatch(d.String()); m != nil {
				rules += "\n" + m[1] + "\n"
			} else {
				return
			}
			again := mustRules(t, rules)
			again.RequireSHA256 = tt.sha256
			if d := again.Decide(sample, sector, action); !d.Allowed {
				t.Errorf("rules %q: %v: want it allowed", rules, d)
			}
		})
	}
}

// PROTOCOL 18.
func TestRulesBySHA256(t *testing.T) {
	sample, other := mustCertificate("sample"), mustCertificate("other")
	long := sample.SHA256Text()
	colons := "sha256:" + strings.TrimSuffix(regexp.MustCompile(`..`).ReplaceAllString(strings.TrimPrefix(strings.ToUpper(long), "SHA256:"), "$0:"), ":")
	for _, tt := range []struct {
		name, rules string
		require     bool
		want        bool
		line        int
	}{
		{"by SHA-256", long + " Sample\n", false, true, 1},
		{"by SHA-256, required", long + " Sample\n", true, true, 1},
		{"with colons, upper case", colons + " Sample\n", true, true, 1},
		{"by SHA-1", sample.Fingerprint + " Sample\n", false, true, 1},
		{"by SHA-1, required", sample.Fingerprint + " Sample\n", true, false, 0},
		{"side by side", sample.Fingerprint + " Sample\n" + long + " Sample\n", false, true, 2},
		{"the whole hash decides", long + " Other\n" + sample.Fingerprint + " Sample\n", false, false, 1},
		{"the last line replaces", long + " Sample\n" + colons + " Other\n", false, false, 2},
		{"another certificate", other.SHA256Text() + " Sample\n", false, false, 0},
		{"63 digits", long[:70] + " Sample\n", false, false, 0},
		{"65 digits", long + "0 Sample\n", false, false, 0},
		{"no digits", "sha256: Sample\n", false, false, 0},
		{"other case of the word", "SHA256" + long[6:] + " Sample\n", false, false, 0},
		{"a letter that is no digit", long[:70] + "g Sample\n", false, false, 0},
	} {
		z := mustRules(t, tt.rules)
		z.RequireSHA256 = tt.require
		if d := z.Decide(sample, "main", "Sample.echo"); d.Allowed != tt.want || d.Line != tt.line {
			t.Errorf("%s: rules %q: %v (line %d): want allowed %v by line %d", tt.name, tt.rules, d, d.Line, tt.want, tt.line)
		}
	}
}

// THREATS S2 to S6: what is unusual is told with its line, and gives no right
// that it should not.
func TestRulesWarnings(t *testing.T) {
	for _, tt := range []struct{ name, line, want string }{
		{"another first word", "not-a-fingerprint main:ALL", `"not-a-fingerprint": want a fingerprint`},
		{"fingerprint without colons", strings.ReplaceAll(fp("AB"), ":", "") + " main:ALL", "want a fingerprint"},
		{"short fingerprint", fp("AB")[:56] + " main:ALL", "want a fingerprint"},
		{"lower-case fingerprint", fp("ab") + " main:ALL", "lower case"},
		{"no digits", fp("GG") + " main:ALL", "want a fingerprint"},
		{"byte order mark", "\ufeff" + fp("AB") + " main:ALL", "want a fingerprint"},
		{"two colons", fp("AB") + " a:b:c", `token "a:b:c": gives no right`},
		{"no class", fp("AB") + " main:", `token "main:": gives no right`},
		{"no sector", fp("AB") + " :ALL", `token ":ALL": gives no right`},
		{"pattern", fp("AB") + " Sample.*", `token "Sample.*": gives no right`},
		{"blank inside", fp("AB") + " Sample echo", `token "Sample echo": gives no right`},
		{"dot at the end", fp("AB") + " Sample.", `token "Sample.": gives no right`},
		{"ALL without a sector", fp("AB") + " ALL", "want main:ALL"},
		{"all in lower case", fp("AB") + " web:all", "want ALL in upper case"},
		{"U+212A in a rule", fp("AB") + " \u212aelvin", "gives no right"},
		{"U+017F in a rule", fp("AB") + " Me\u017fsage", "gives no right"},
		{"no UTF-8", fp("AB") + " Caf\xe9", "want text in UTF-8"},
		{"control character", fp("AB") + " Sam\x00ple", "without control characters"},
		{"escape code", fp("AB") + " \x1b[31mSample", "without control characters"},
		{"twice", fp("77") + " Sample\n" + fp("77") + " Other", "replaces line 1"},
		{"no warning", fp("AB") + " \t main:ALL ,web:Page,, Sample.Item.list,\t# text \xe9", ""},
		{"no tokens", fp("AB"), ""},
		{"Windows", fp("AB") + " main:ALL\r", ""},
		{"comment only", "# \xff", ""},
		{"blank", " \t", ""},
	} {
		z := mustRules(t, tt.line+"\n")
		var texts []string
		for _, w := range z.Warnings {
			texts = append(texts, w.String())
			if w.Line < 1 || w.File != "authorized_services" || !strings.HasPrefix(w.String(), fmt.Sprintf("authorized_services:%d: ", w.Line)) {
				t.Errorf("%s: warning %v: want a file and a line", tt.name, w)
			}
		}
		got := strings.Join(texts, "\n")
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q: warnings %q: want %q", tt.name, tt.line, got, tt.want)
		}
	}
	if d := mustRules(t, fp("AB")+" main:ALL\r\n").Decide(fingerprintOnly(fp("AB")), "main", "X.y"); !d.Allowed {
		t.Errorf("line that ends in CR LF: %v: want it allowed", d)
	}
}

// Rules are read whole or not at all.
func TestRulesAreRefusedWhole(t *testing.T) {
	limits := discovery.Limits{MaxAuthzFile: 1000, MaxAuthzLines: 5, MaxAuthzTokens: 3}
	rule := fp("AB") + " a, b,, c\n"
	for _, tt := range []struct {
		name string
		file io.Reader
		ok   bool
	}{
		{"no octet", strings.NewReader(""), false},
		{"a comment", strings.NewReader("#"), true},
		{"three tokens", strings.NewReader(rule), true},
		{"four tokens", strings.NewReader(fp("AB") + " a, b, c, d\n"), false},
		{"five lines", strings.NewReader(strings.Repeat("\n", 5)), true},
		{"five lines, the last without an end", strings.NewReader("\n\n\n\n#"), true},
		{"six lines", strings.NewReader(strings.Repeat("\n", 6)), false},
		{"1,000 octets", strings.NewReader(strings.Repeat("#", 1000)), true},
		{"1,001 octets", strings.NewReader(strings.Repeat("#", 1001)), false},
		{"no end", endless{}, false},
		{"disk error", iotest.ErrReader(errors.New("disk error")), false},
		{"disk error in the middle", io.MultiReader(strings.NewReader(rule), iotest.ErrReader(errors.New("disk error"))), false},
	} {
		z, err := limits.ParseAuthorized(tt.file, "rules")
		if (err == nil) != tt.ok || (z != nil) != tt.ok || !tt.ok && counterOf(err) != "authz_reload_failed" {
			t.Errorf("%s: error %v: want ok %v, or authz_reload_failed and no rules", tt.name, err, tt.ok)
		}
	}
}

// Whoever reads the file can tell why it could not be read.
func TestRulesErrorsWrapTheirCause(t *testing.T) {
	cause := errors.New("disk error")
	if _, err := discovery.ParseAuthorized(iotest.ErrReader(cause)); !errors.Is(err, cause) {
		t.Errorf("error %v: want one that wraps %v", err, cause)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = '#'
	}
	return len(b), nil
}

// A directory decides for every action of every entry.
func TestDecideCostsNothing(t *testing.T) {
	sample := mustCertificate("sample")
	z := mustRules(t, sample.Fingerprint+" web:ALL, Other, Sample\n")
	for _, action := range []string{"Sample.echo", "Nothing.here", "_meta.x"} {
		if allocs := testing.AllocsPerRun(100, func() { z.Decide(sample, "main", action) }); allocs != 0 {
			t.Errorf("decision about %s: %v allocations: want none", action, allocs)
		}
	}
}

// How long does the decision about one action take among 10,000 rules?
func BenchmarkDecide(b *testing.B) {
	var file bytes.Buffer
	for i := range 9_999 {
		fmt.Fprintf(&file, "%s main:Class%d\n", fmt.Sprintf("%04X", i)[:2]+fp("AB")[2:57]+fmt.Sprintf("%04X", i)[2:], i)
	}
	sample := mustCertificate("sample")
	fmt.Fprintf(&file, "%s web:ALL, Other, Sample\n", sample.Fingerprint)
	z, err := discovery.ParseAuthorized(&file)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !z.Decide(sample, "main", "Sample.echo").Allowed {
			b.Fatal("denied")
		}
	}
}
