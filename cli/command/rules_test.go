package command_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/cli/command"
	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
)

func sampleCertificate(t testing.TB) *discovery.Certificate {
	cert, err := discovery.ParseCertificatePEM(fixtures.Bytes("sample.crt"))
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestWidenRules(t *testing.T) {
	cert := sampleCertificate(t)
	const other = "11:11:11:11:11:11:11:11:11:11:11:11:11:11:11:11:11:11:11:11 main:ALL\n"
	sha1, sha256 := cert.Fingerprint, cert.SHA256Text()
	for _, tt := range []struct {
		name, rules, tokens string
		bySHA256            bool
		want                string // "" means unchanged
	}{
		{name: "no rule", rules: other, tokens: "main:ALL web:Page", want: other + "# test\n" + sha1 + " main:ALL, web:Page\n"},
		{name: "empty file", rules: "", tokens: "main:ALL", want: "# test\n" + sha1 + " main:ALL\n"},
		{name: "no newline at the end", rules: "# x", tokens: "main:ALL", want: "# x\n# test\n" + sha1 + " main:ALL\n"},
		{name: "there already", rules: sha1 + " web:Page, main:ALL\n" + other, tokens: "main:ALL"},
		{name: "there in other letters", rules: sha1 + " MAIN:Page\n", tokens: "main:page"},
		{name: "main understood", rules: sha1 + " Page\n", tokens: "main:Page"},
		{name: "ALL is a class in lower case", rules: sha1 + " main:all\n", tokens: "main:ALL", want: sha1 + " main:all, main:ALL\n"},
		{name: "all of it covers a class", rules: sha1 + " main:ALL\n", tokens: "main:Page"},
		{name: "a class covers its actions", rules: sha1 + " Page\n", tokens: "main:page.show"},
		{name: "twice in one call", rules: "# x\n", tokens: "web:Page main:ALL web:Page main:Two", want: "# x\n# test\n" + sha1 + " web:Page, main:ALL\n"},
		{name: "the wider one last", rules: "# x\n", tokens: "web:Page web:ALL", want: "# x\n# test\n" + sha1 + " web:ALL\n"},
		{name: "one is missing", rules: other + sha1 + "\tweb:Page # note\n# end\n", tokens: "main:ALL web:Page", want: other + sha1 + " web:Page, main:ALL # note\n# end\n"},
		{name: "without its newline", rules: sha1 + " web:Page", tokens: "main:ALL", want: sha1 + " web:Page, main:ALL\n"},
		{name: "the last line counts", rules: sha1 + " main:ALL\n" + sha1 + " web:ALL\n", tokens: "main:ALL", want: sha1 + " main:ALL\n" + sha1 + " web:ALL, main:ALL\n"},
		{name: "a CR within a line, which so gives no right", rules: sha1 + "\rweb:Page\n", tokens: "main:ALL", want: sha1 + " main:ALL\n"},
		{name: "spelling of the fingerprint stays", rules: strings.ToLower(sha1) + " web:ALL\n", tokens: "main:ALL", want: strings.ToLower(sha1) + " web:ALL, main:ALL\n"},
		{name: "the line by SHA-256 decides", rules: sha1 + " main:ALL\n" + sha256 + " web:ALL\n", tokens: "main:ALL", want: sha1 + " main:ALL\n" + sha256 + " web:ALL, main:ALL\n"},
		{name: "only SHA-256 counts", rules: sha1 + " main:ALL\n", tokens: "main:ALL", bySHA256: true, want: sha1 + " main:ALL\n# test\n" + sha256 + " main:ALL\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tokens := strings.Fields(tt.tokens)
			got, line, added, err := command.Widen([]byte(tt.rules), cert, tokens, tt.bySHA256)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want
			if want == "" {
				want = tt.rules
			}
			if string(got) != want || added != (tt.want != "") {
				t.Fatalf("widen %q by %s: %q, changed %v, want %q", tt.rules, tt.tokens, got, added, want)
			}
			if text := strings.Split(string(got), "\n")[line-1]; !strings.Contains(strings.ToUpper(text), strings.ToUpper(sha1)) && !strings.Contains(text, sha256) {
				t.Errorf("line %d is %q, want the rule of %s", line, text, sha1)
			}
			// What was asked for is allowed now, and what others may do has not changed.
			rules, err := discovery.ParseAuthorized(bytes.NewReader(got))
			if err != nil {
				t.Fatal(err)
			}
			rules.RequireSHA256 = tt.bySHA256
			for _, token := range tokens {
				sector, class, _ := strings.Cut(token, ":")
				if d := rules.Decide(cert, sector, class+".x"); !d.Allowed {
					t.Errorf("after %s: %v", tt.tokens, d)
				}
			}
			again, _, added, err := command.Widen(got, cert, tokens, tt.bySHA256)
			if err != nil || added || !bytes.Equal(again, got) {
				t.Errorf("once more: %q, changed %v, %v, want no change", again, added, err)
			}
		})
	}
}

// A file that would pass a limit is refused: nobody would read it, and all rules in it
// would be gone.
func TestWidenKeepsToLimits(t *testing.T) {
	cert := sampleCertificate(t)
	limits := discovery.Limits{}.WithDefaults()
	for _, tt := range []struct{ name, fits, not string }{
		{"tokens", cert.Fingerprint + strings.Repeat(" a,", limits.MaxAuthzTokens-1), cert.Fingerprint + strings.Repeat(" a,", limits.MaxAuthzTokens)},
		{"lines", strings.Repeat("\n", limits.MaxAuthzLines-2), strings.Repeat("\n", limits.MaxAuthzLines-2) + "#"},
		{"octets", strings.Repeat("#", limits.MaxAuthzFile-200), strings.Repeat("#", limits.MaxAuthzFile-20)},
	} {
		for text, fits := range map[string]bool{tt.fits: true, tt.not: false} {
			after, _, added, err := command.Widen([]byte(text), cert, []string{"web:Page"}, false)
			if fits {
				if _, bad := discovery.ParseAuthorized(bytes.NewReader(after)); err != nil || !added || bad != nil {
					t.Errorf("%s: added %v, %v, and read again %v; want it added", tt.name, added, err, bad)
				}
			} else if err == nil || after != nil {
				t.Errorf("%s: %d octets, no error; want a refusal", tt.name, len(after))
			}
		}
	}
}

// Whatever a rules file holds, what is asked for is allowed afterwards, once.
func FuzzWiden(f *testing.F) {
	cert := sampleCertificate(f)
	f.Add(fixtures.Bytes("authorized_services"))
	f.Add([]byte(cert.Fingerprint + " main:Page # x"))
	f.Add([]byte(cert.Fingerprint + "\rmain:x"))
	f.Add([]byte(cert.Fingerprint + strings.Repeat(" a,", 1024)))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, _, _, err := command.Widen(text, cert, []string{"web:Page"}, false)
		if err != nil {
			return // beyond a limit
		}
		rules, err := discovery.ParseAuthorized(bytes.NewReader(got))
		if err != nil {
			t.Fatalf("%q became %q: %v", text, got, err)
		}
		if d := rules.Decide(cert, "web", "Page.x"); !d.Allowed {
			t.Fatalf("%q became %q: %v", text, got, d)
		}
		again, _, added, err := command.Widen(got, cert, []string{"web:Page"}, false)
		if err != nil || added || !bytes.Equal(again, got) {
			t.Fatalf("%q became %q, and then %q, %v", text, got, again, err)
		}
	})
}

func TestRuleTokens(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"main", "main:ALL"},
		{"main:ALL web:Page.Item", "main:ALL web:Page.Item"},
		{"a_1:B.c", "a_1:B.c"},
	} {
		got, err := command.RuleTokens(strings.Fields(tt.in))
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("RuleTokens(%s): %q, %v, want %s", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{"", ":", "main:", ":Page", "main:Page.", "main:*", "main:a:b", "a,b", "ma in", "main:Page#x", "größe"} {
		if got, err := command.RuleTokens([]string{in}); command.ExitCode(err) != command.ExitUsage {
			t.Errorf("RuleTokens(%q): %q, %v, want a mistake in the arguments", in, got, err)
		}
	}
}
