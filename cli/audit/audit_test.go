package audit_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/cli/audit"
	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/scamp"
)

// now is the moment of all judgements: the certificates of the fixtures are valid then.
var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const sent = 1_700_000_000_000 // milliseconds, before now

// A party is a key and its certificate: "sample" or "other" of the fixtures.
type party struct {
	cert *discovery.Certificate
	key  *rsa.PrivateKey
}

func partyOf(name string) party {
	cert, err := discovery.ParseCertificatePEM(fixtures.Bytes("keys/" + name + ".crt.pem"))
	if err != nil {
		panic(err)
	}
	block, _ := pem.Decode(fixtures.Bytes("keys/" + name + ".key.pem"))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		panic(err)
	}
	return party{cert, key.(*rsa.PrivateKey)}
}

var sample, other = partyOf("sample"), partyOf("other")

// announce signs an announcement of classes, as element 7 has them.
func (p party) announce(t testing.TB, ident, classes string, at int64) *discovery.Announcement {
	t.Helper()
	json := fmt.Sprintf(`[3,%q,"main",1,5000,"beepish+tls://10.0.0.5:30100",["json"],%s,%d]`, ident, classes, at)
	a, err := discovery.SignJSON([]byte(json), p.cert, p.key)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// bus is announcements from nowhere.
func bus(list ...*discovery.Announcement) []audit.Announced {
	announced := []audit.Announced{}
	for _, a := range list {
		announced = append(announced, audit.Announced{Announcement: a, Place: audit.Place{Ident: a.Ident}})
	}
	return announced
}

func rules(text string) *audit.File { return &audit.File{Path: "rules", Text: []byte(text)} }

// short is a report as "severity id place" for each finding.
func short(r *audit.Report) []string {
	lines := []string{}
	for _, f := range r.Findings {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%v %s %v", f.Severity, f.ID, f.Place)))
	}
	return lines
}

// found checks that exactly these findings are in the report, and returns all texts.
func found(t *testing.T, in audit.Input, want ...string) string {
	t.Helper()
	if in.Now.IsZero() {
		in.Now = now
	}
	r := audit.Run(in)
	if got := short(r); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("found\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	var b strings.Builder
	for _, f := range r.Findings {
		b.WriteString(f.Text + "\n" + f.Fix + "\n")
	}
	return b.String()
}

func contains(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("texts\n%s\nwant %q in them", text, w)
		}
	}
}

const echo = `[["Sample",["echo","",1]]]`

// both returns a line by SHA-1 and one by SHA-256.
func (p party) both(tokens string) string {
	return p.cert.Fingerprint + " " + tokens + "\n" + p.cert.SHA256Text() + " " + tokens + "\n"
}

// Nothing is found in a bus that is in order.
func TestNothingFound(t *testing.T) {
	in := audit.Input{Rules: rules("# all\n" + sample.both("Sample") + other.both("web:Page, Other")),
		Bus: bus(sample.announce(t, "a:1", echo, sent), sample.announce(t, "a:2", echo, sent), sample.announce(t, "a:3", `[]`, sent))}
	in.Certificates = []audit.File{{Path: "other.crt", Text: fixtures.Bytes("keys/other.crt.pem")}}
	in.Keys = []audit.File{{Path: "other.key", Text: fixtures.Bytes("keys/other.key.pem"), Mode: 0o600}}
	in.Now = now
	found(t, in)
	found(t, audit.Input{})
	if got := audit.Run(in).Summary(); got != "nothing found in 4 rules, 3 announcements, 2 certificates, 1 key" {
		t.Errorf("summary %q", got)
	}
}

// What is odd about a line is found where it is.
func TestLines(t *testing.T) {
	f, g := sample.cert.Fingerprint, other.cert.Fingerprint
	plain := strings.ReplaceAll(f, ":", "")
	for _, tt := range []struct {
		name, rules string
		want        []string
		text        []string
	}{
		{"malformed", "nonsense main:Sample\n" + g + "  # nothing\n", []string{"error rule-malformed rules:1", "info rule-empty rules:2", "info rule-sha1-only rules:2"},
			[]string{`"nonsense": want a fingerprint`, "scamp fingerprint CERT"}},
		{"without colons", "\n" + plain + " Sample\n", []string{"error rule-malformed rules:2"}, []string{"write its first word as " + f}},
		{"SHA-256 without its name", strings.TrimPrefix(sample.cert.SHA256Text(), "sha256:") + " Sample\n", []string{"error rule-malformed rules:1"},
			[]string{"write its first word as " + sample.cert.SHA256Text()}},
		{"byte order mark", "\ufeff" + f + " Sample\n", []string{"error file-bom rules:1"}, nil},
		{"lower case", strings.ToLower(f) + " Sample\n", []string{"warning fingerprint-case rules:1", "info rule-sha1-only rules:1"}, []string{"write " + f}},
		{"twice", sample.cert.SHA256Text() + " Sample, Lost\n" + sample.cert.SHA256Text() + " Sample\n", []string{"warning rule-duplicate rules:2"},
			[]string{"replaces line 1", `lacks what the earlier one allows: "Lost"`, "make one line of them: " + sample.cert.SHA256Text() + " Sample, Lost"}},
		{"twice the same", sample.cert.SHA256Text() + " Sample.echo\n" + sample.cert.SHA256Text() + " Sample\n", []string{"warning rule-duplicate rules:2"},
			[]string{"make one line of them: " + sample.cert.SHA256Text() + " Sample\n"}},
		{"tokens", sample.cert.SHA256Text() + " Sample.*, ALL, web:all, Sample._create\n", []string{"error token-no-right rules:1",
			"warning token-alias rules:1", "warning token-class-all rules:1", "warning token-class-all rules:1"}, []string{`"Sample.*"`, "want main:ALL"}},
		{"no line feed", sample.cert.SHA256Text() + " Sample", []string{"warning rules-unended rules:1"}, []string{"want one"}},
		{"too broad", sample.cert.SHA256Text() + " main:ALL\n", []string{"warning rule-too-broad rules:1"}, nil},
		{"no octet", "", []string{"error rules-unreadable rules"}, []string{"no octet in it"}},
		{"control characters", sample.cert.SHA256Text() + " S\x1b[31m\n", []string{"error rule-malformed rules:1", "info rule-empty rules:1"}, []string{"write the line anew"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := found(t, audit.Input{Rules: rules(tt.rules)}, tt.want...)
			contains(t, text, tt.text...)
			if strings.ContainsRune(text, 0x1b) {
				t.Errorf("texts %q: want nothing a terminal obeys", text)
			}
		})
	}
	contains(t, found(t, audit.Input{Rules: &audit.File{Path: "rules", Err: fs.ErrNotExist}}, "error rules-unreadable rules"),
		"put the file back as it was", "a comment alone takes every right away")
	contains(t, found(t, audit.Input{Callers: &audit.File{Path: "callers", Err: fs.ErrNotExist}}, "error callers-unreadable callers"),
		"back as it was", "with a comment alone nobody may call")
	found(t, audit.Input{Callers: &audit.File{Path: "callers"}}, "error callers-unreadable callers")
	found(t, audit.Input{Callers: &audit.File{Path: "callers", Text: []byte("nonsense main:X\n" + f + " main:ALL\n")}}, "error rule-malformed callers:1")
	found(t, audit.Input{Callers: &audit.File{Path: "callers", Text: []byte("nonsense main:X\n")}}, "error callers-unreadable callers", "error rule-malformed callers:1")
	contains(t, found(t, audit.Input{Rules: rules("#\nnonsense main:X\n")}, "error rule-malformed rules:2", "error rules-unreadable rules"),
		"line 2 is the first that is none", "nothing but comments")
	config := &scamp.Config{RequireSHA256: true}
	contains(t, found(t, audit.Input{Config: config, Rules: rules(f + " Sample\n"), Bus: bus(sample.announce(t, "a:1", `[]`, sent))}, "error rule-ignored rules:1"),
		`add the line "`+sample.cert.SHA256Text()+` Sample"`)
}

// A fingerprint that is mistyped has one cure, whatever tells of it: audit, check, or the
// denial of a call.
func TestOneCureForAFingerprint(t *testing.T) {
	f, long := sample.cert.Fingerprint, sample.cert.SHA256Text()
	for _, tt := range []struct {
		name, rules, fix string
		want             []string
	}{
		{"of nobody", f[:57] + "00 Sample\n", f, []string{"warning fingerprint-near-miss rules:1", "info rule-sha1-only rules:1", "error service-denied a:1", "warning cert-no-rule a.crt"}},
		{"by SHA-256, of nobody", long[:70] + "0 Sample\n", long, []string{"warning fingerprint-near-miss rules:1", "error service-denied a:1", "warning cert-no-rule a.crt"}},
		{"with a digit too few", f[1:] + " Sample\n", f, []string{"error rule-malformed rules:1", "error service-denied a:1", "warning cert-no-rule a.crt"}},
		{"with a letter", "O" + f[1:] + " Sample\n", f, []string{"error rule-malformed rules:1", "error service-denied a:1", "warning cert-no-rule a.crt"}},
		{"without colons", strings.ReplaceAll(f, ":", "") + " Sample\n", f, []string{"error rule-malformed rules:1", "error service-denied a:1", "warning cert-no-rule a.crt"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := audit.Input{Rules: rules(tt.rules), Bus: bus(sample.announce(t, "a:1", echo, sent)),
				Certificates: []audit.File{{Path: "a.crt", Text: fixtures.Bytes("keys/sample.crt.pem")}}, Now: now}
			found(t, in, tt.want...)
			want := "write the first word of rules:1 as " + tt.fix
			fixes := 0
			for _, f := range audit.Run(in).Findings {
				if f.ID != "rule-sha1-only" {
					fixes++
					if strings.TrimPrefix(f.Fix, "to allow it, ") != want {
						t.Errorf("%s: fix %q, want %q", f.ID, f.Fix, want)
					}
				}
			}
			z, err := discovery.Limits{}.ParseAuthorized(strings.NewReader(tt.rules), "rules")
			if err != nil {
				t.Fatal(err)
			}
			if _, fix := z.Decide(sample.cert, "main", "Sample.echo").Parts(); fix != want {
				t.Errorf("denied call: fix %q, want %q", fix, want)
			}
		})
	}
}

// Rules and what is announced are judged together, and the line that is advised allows
// what was denied (invariant 5).
func TestRightsAndOffers(t *testing.T) {
	long := sample.cert.SHA256Text()
	withAlias := `[["Sample",["make","create",1],["get","",1]]]`
	for _, tt := range []struct {
		name, rules string
		bus         []audit.Announced
		want        []string
		text        []string
	}{
		{"denied, no rule", "# none\n", bus(sample.announce(t, "a:1", echo, sent)), []string{"error service-denied a:1"},
			[]string{`no rule lets "a" offer 1 action: main:Sample.echo`, `add "` + sample.cert.Fingerprint + ` main:Sample" to rules`}},
		{"denied at two instances, two classes", long + " Other\n",
			bus(sample.announce(t, "a:1", echo, sent), sample.announce(t, "a:2", `[["Deep.Sample",["x","",1]],["Other",["y","",1]]]`, sent)),
			[]string{"error service-denied a:1"}, []string{"2 actions: main:Deep.Sample.x, main:Sample.echo, at 2 instances", `change rules:1 to "` + long + ` Other, main:Deep.Sample, main:Sample"`}},
		{"near miss", long + " Smaple\n", bus(sample.announce(t, "a:1", echo, sent)),
			[]string{"warning token-near-miss rules:1", "error service-denied a:1"}, []string{"spelled a little otherwise", "write main:Sample or main:Sample.echo"}},
		{"all of another sector is no near miss", long + " web:ALL\n", bus(sample.announce(t, "a:1", `[]`, sent)),
			[]string{"warning rule-too-broad rules:1", "info token-unused rules:1"}, nil},
		{"broad", long + " main:ALL\n", bus(sample.announce(t, "a:1", echo, sent)), []string{"warning rule-too-broad rules:1"},
			[]string{`instead of "main:ALL", name what the service offers: main:Sample`}},
		{"fingerprint near miss", long[:70] + "0 Sample\n", bus(sample.announce(t, "a:1", echo, sent)),
			[]string{"warning fingerprint-near-miss rules:1", "error service-denied a:1"}, []string{"write the first word of rules:1 as " + long}},
		{"unused", long + " Sample, Gone\n" + other.cert.SHA256Text() + " Page\n", bus(sample.announce(t, "a:1", echo, sent)),
			[]string{"info rule-unused rules:2", "info token-unused rules:1"}, []string{`"Gone" matches nothing that "a" announces`}},
		{"withdrawn", long + " Gone\n", bus(withdrawn(t)), nil, nil},
		{"SHA-1 alone and broad", sample.cert.Fingerprint + " main:ALL\n", bus(sample.announce(t, "a:1", echo, sent)), []string{"warning rule-too-broad rules:1", "info rule-sha1-only rules:1"},
			[]string{long + " main:Sample"}},
		{"SHA-1 alone", sample.cert.Fingerprint + " Sample\n", bus(sample.announce(t, "a:1", echo, sent)), []string{"info rule-sha1-only rules:1"},
			[]string{`the line "` + long + ` Sample"`}},
		{"alias without a right", "# none\n", bus(sample.announce(t, "a:1", withAlias, sent)),
			[]string{"error service-denied a:1", "warning alias-unauthorized a:1"}, []string{"main:Sample._create"}},
		{"alias of a narrow right", long + " Sample.make, Sample.get\n", bus(sample.announce(t, "a:1", withAlias, sent)),
			[]string{"info alias-narrow rules:1"}, []string{"Perl callers are denied main:Sample._create"}},
		{"contested", sample.both("Sample") + other.both("Sample"), bus(sample.announce(t, "a:1", echo, sent), other.announce(t, "b:1", echo, sent)),
			[]string{"warning action-contested a:1"}, []string{`main:Sample.echo~1: offered by "a", "b"`}},
		{"another version is another action", sample.both("Sample"),
			bus(sample.announce(t, "a:1", echo, sent), sample.announce(t, "b:1", `[["Sample",["echo","",2]],["_meta",["x","",1]]]`, sent)),
			[]string{"info key-shared a:1"}, []string{`2 services announce themselves with one key: "a", "b"`}},
		{"built-in actions", long + " Sample.echo\n", bus(sample.announce(t, "a:1", `[["Sample",["echo","",1]],["_meta",["documentation","noauth",1]],["a",["queue_depth","",1]]]`, sent)), nil, nil},
		{"built-in actions of a broad rule", sample.cert.Fingerprint + " main:ALL\n",
			bus(sample.announce(t, "a:1", `[["Sample",["echo","",1]],["_meta",["documentation","noauth",1]],["a",["queue_depth","",1]]]`, sent)),
			[]string{"warning rule-too-broad rules:1", "info rule-sha1-only rules:1"}, []string{`"` + long + ` main:Sample"`}},
		{"two spellings", sample.both("Sample"), bus(sample.announce(t, "a:1", `[["SAMPLE",["echo","",1]]]`, sent), sample.announce(t, "a:2", echo, sent)),
			[]string{"info action-spelling a:1"}, []string{"main:SAMPLE.echo and main:Sample.echo"}},
		{"one ident", sample.both("Sample") + other.both("Sample"), bus(sample.announce(t, "a:1", echo, sent), other.announce(t, "a:1", echo, sent)),
			[]string{"warning ident-shared a:1"}, []string{other.cert.Fingerprint}},
		{"from the future", sample.both("Sample"), bus(sample.announce(t, "a:1", echo, now.Add(10*24*time.Hour).UnixMilli())),
			[]string{"warning timestamp-future a:1"}, []string{"dated 2026-06-11, 10 days ahead"}},
		{"parts that do not count", sample.both("Sample"), bus(sample.announce(t, "a:1", `[["Sample",["echo","",1],["a b","",1],[7]]]`, sent)),
			[]string{"warning announcement-not-strict a:1", "warning announcement-part a:1", "warning announcement-part a:1"}, []string{`"a b"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			contains(t, found(t, audit.Input{Rules: rules(tt.rules), Bus: tt.bus}, tt.want...), tt.text...)
		})
	}
}

func withdrawn(t *testing.T) *discovery.Announcement {
	a, err := discovery.SignJSON(fmt.Appendf(nil, `[3,"a:1","main",0,5000,"beepish+tls://10.0.0.5:30100",["json"],[],%d]`, sent), sample.cert, sample.key)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// An announcement over one datagram, and one that no datagram holds.
func TestLongAnnouncements(t *testing.T) {
	var classes []string
	for i := range 400 {
		classes = append(classes, fmt.Sprintf(`["C%x%x",["x%d","",1]]`, i*i*7919, i*31337, i*i))
	}
	long := sample.announce(t, "a:1", "["+strings.Join(classes, ",")+"]", sent)
	contains(t, found(t, audit.Input{Rules: rules("# none\n"), Bus: bus(long)}, "error service-denied a:1", "warning announcement-too-long a:1"),
		"want at most 1472", "announce fewer actions", "400 actions", "and 395 more")
}

// Two certificates with one SHA-1 cannot be made here, so one is said to be so (THREATS L4).
func TestCollision(t *testing.T) {
	a, b := sample.announce(t, "a:1", `[]`, sent), other.announce(t, "b:1", `[]`, sent)
	twin := *b.Certificate
	twin.Fingerprint = a.Certificate.Fingerprint
	b.Certificate = &twin
	contains(t, found(t, audit.Input{Bus: bus(a, b)}, "error fingerprint-collision a:1"), sample.cert.SHA256Text(), other.cert.SHA256Text())
}

// A certificate is judged once, and its dates by the clock that is given.
func TestCertificates(t *testing.T) {
	files := []audit.File{{Path: "c.crt", Text: fixtures.Bytes("keys/sample.crt.pem")}}
	end := sample.cert.NotAfter()
	for _, tt := range []struct {
		at   time.Time
		want []string
		text string
	}{
		{now, nil, ""},
		{end, []string{"warning cert-expired c.crt"}, "expired on 2040-01-01"},
		{end.Add(-time.Hour), []string{"warning cert-expires c.crt"}, "within 1 day"},
		{end.Add(-6 * 24 * time.Hour), []string{"warning cert-expires c.crt"}, "within 7 days"},
		{end.Add(-8 * 24 * time.Hour), []string{"info cert-expires c.crt"}, "within 14 days"},
		{end.Add(-30 * 24 * time.Hour), []string{"info cert-expires c.crt"}, "within 30 days"},
		{end.Add(-31 * 24 * time.Hour), nil, ""},
		{sample.cert.NotBefore().Add(-time.Hour), []string{"warning cert-not-yet c.crt"}, "valid from 2020-01-01 on"},
	} {
		contains(t, found(t, audit.Input{Now: tt.at, Certificates: files, Bus: bus(sample.announce(t, "a:1", `[]`, 1))}, tt.want...), tt.text)
	}
	found(t, audit.Input{Certificates: []audit.File{{Path: "no.crt", Err: fs.ErrNotExist}, {Path: "key", Text: fixtures.Bytes("keys/sample.key.pem")}}},
		"error cert-unreadable key", "error cert-unreadable no.crt")
	found(t, audit.Input{Certificates: files, Rules: rules("# none\n")}, "warning cert-no-rule c.crt")
}

// Short keys are told of, as what the configuration makes of them.
func TestWeakKeys(t *testing.T) {
	record := append([]byte("\n%%%\n"), fixtures.Bytes("twins/rsa1024.record")...)
	file := audit.File{Path: "cache", Text: append(record, append([]byte("\n%%%\n"), fixtures.Bytes("twins/rsa512.record")...)...)}
	loose := new(scamp.Config)
	loose.Limits.Discovery.MinRSABits = 1024
	for config, want := range map[*scamp.Config]string{new(scamp.Config): "error", loose: "warning"} {
		cache := audit.ReadCache(file, config.Limits.Discovery)
		if len(cache.Records) != 1 || len(cache.Bad) != 1 {
			t.Fatalf("%d records and %d bad ones: want one of each", len(cache.Records), len(cache.Bad))
		}
		at := cache.Records[0].Place
		if at.Line != 3 || at.File != "cache" {
			t.Errorf("record at %v: want line 3", at)
		}
		r := audit.Run(audit.Input{Now: now, Config: config, Cache: cache, Bus: cache.Records})
		got := strings.Join(short(r), "\n")
		contains(t, got, want+" key-weak cache:3", "error record-bad cache:")
	}
}

// Keys and certificates: what belongs together, and who can read it (THREATS X5).
func TestKeys(t *testing.T) {
	cert := audit.File{Path: "a.crt", Text: fixtures.Bytes("keys/sample.crt.pem")}
	key := audit.File{Path: "a.key", Text: fixtures.Bytes("keys/sample.key.pem"), Mode: 0o600}
	with := func(f audit.File, change func(*audit.File)) audit.File { change(&f); return f }
	readable := with(key, func(f *audit.File) { f.Mode = 0o644 })
	wrong := with(key, func(f *audit.File) { f.Text = fixtures.Bytes("keys/other.key.pem") })
	gone := with(key, func(f *audit.File) {
		f.Text, f.Err = nil, &fs.PathError{Op: "open", Path: "a.key", Err: os.ErrNotExist}
	})
	closed := with(key, func(f *audit.File) {
		f.Text, f.Err = nil, &fs.PathError{Op: "open", Path: "a.key", Err: os.ErrPermission}
	})
	renewed := audit.File{Path: "b.crt", Text: renew(t, sample)}
	for _, tt := range []struct {
		name string
		in   audit.Input
		want []string
	}{
		{"in order", audit.Input{Pairs: []audit.Pair{{Service: "a", Key: key, Cert: cert}}}, nil},
		{"other key", audit.Input{Pairs: []audit.Pair{{Service: "a", Key: wrong, Cert: cert}}}, []string{"error key-mismatch a.key"}},
		{"readable", audit.Input{Pairs: []audit.Pair{{Service: "a", Key: readable, Cert: cert}}}, []string{"error key-readable a.key"}},
		{"readable, and allowed", audit.Input{Config: &scamp.Config{AllowReadableKey: true}, Pairs: []audit.Pair{{Service: "a", Key: readable, Cert: cert}}},
			[]string{"warning key-readable a.key"}},
		{"writable", audit.Input{Pairs: []audit.Pair{{Service: "a", Key: with(key, func(f *audit.File) { f.Mode = 0o602 }), Cert: cert}}}, []string{"error key-readable a.key"}},
		{"for a group", audit.Input{Pairs: []audit.Pair{{Service: "a", Key: with(key, func(f *audit.File) { f.Mode = 0o640 }), Cert: cert}}}, []string{"info key-group a.key"}},
		{"no key", audit.Input{Pairs: []audit.Pair{{Service: "a", Key: gone, Cert: cert}}}, []string{"error pair-incomplete a.key"}},
		{"no key, and it is named", audit.Input{Pairs: []audit.Pair{{Service: "a", Key: gone, Cert: cert, Expected: true}}}, []string{"error key-unreadable a.key"}},
		{"half named", audit.Input{Pairs: []audit.Pair{{Service: "a", Key: key, From: audit.Place{File: "soa.conf", Line: 3}}}}, []string{"error pair-incomplete soa.conf:3"}},
		{"closed to us", audit.Input{Pairs: []audit.Pair{{Service: "a", Key: closed, Cert: cert}}}, []string{"error key-unreadable a.key"}},
		{"closed to us, rightly", audit.Input{Pairs: []audit.Pair{{Service: "a", Key: closed, Cert: cert, Foreign: true}}}, nil},
		{"no rule", audit.Input{Rules: rules("# none\n"), Pairs: []audit.Pair{{Service: "a", Key: key, Cert: cert}}}, []string{"warning cert-no-rule a.crt"}},
		{"one key for two", audit.Input{Pairs: []audit.Pair{{Service: "a", Key: key, Cert: cert}, {Service: "b", Key: with(key, func(f *audit.File) { f.Path = "b.key" }), Cert: with(cert, func(f *audit.File) { f.Path = "b.crt" })}}},
			[]string{"warning key-shared a.crt"}},
		{"one key for two certificates", audit.Input{Pairs: []audit.Pair{{Service: "a", Key: key, Cert: cert}, {Service: "b", Key: key, Cert: renewed}}},
			[]string{"warning key-shared a.crt"}},
		{"two keys for two", audit.Input{Pairs: []audit.Pair{{Service: "a", Key: key, Cert: cert}, {Service: "b", Key: wrong, Cert: audit.File{Path: "b.crt", Text: fixtures.Bytes("keys/other.crt.pem")}}}}, nil},
		{"a certificate copied, and not its key", audit.Input{Pairs: []audit.Pair{{Service: "a", Key: key, Cert: cert}, {Service: "b", Key: wrong, Cert: with(cert, func(f *audit.File) { f.Path = "b.crt" })}}},
			[]string{"error key-mismatch a.key"}},
		{"a key copied, and not its certificate", audit.Input{Pairs: []audit.Pair{{Service: "a", Key: key, Cert: cert}, {Service: "b", Key: with(key, func(f *audit.File) { f.Path = "b.key" }), Cert: audit.File{Path: "b.crt", Text: fixtures.Bytes("keys/other.crt.pem")}}}},
			[]string{"error key-mismatch b.key", "warning key-shared a.crt"}},
		{"one key for the instances of one", audit.Input{Pairs: []audit.Pair{{Service: "a", Key: key, Cert: cert}}, Bus: bus(sample.announce(t, "a:1", `[]`, sent), sample.announce(t, "a:2", `[]`, sent))}, nil},
		{"loose, in order", audit.Input{Keys: []audit.File{key}, Certificates: []audit.File{cert}}, nil},
		{"loose, other", audit.Input{Keys: []audit.File{wrong}, Certificates: []audit.File{cert}}, []string{"error key-mismatch a.key"}},
		{"loose, alone", audit.Input{Keys: []audit.File{wrong}}, nil},
		{"certificate for a key", audit.Input{Keys: []audit.File{with(cert, func(f *audit.File) { f.Mode = 0o644 })}}, []string{"error key-readable a.crt", "error key-unreadable a.crt"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if text := found(t, tt.in, tt.want...); strings.Contains(text, "MIIE") {
				t.Errorf("texts %q: want no key", text)
			}
		})
	}
}

// A line that is advised does what it is advised for (invariant 5): it names actions that
// are announced, and never the file of a certificate.
func TestAdvisedLines(t *testing.T) {
	key := audit.File{Path: "x.key", Text: fixtures.Bytes("keys/sample.key.pem"), Mode: 0o600}
	cert := audit.File{Path: "x.crt", Text: fixtures.Bytes("keys/sample.crt.pem")}
	for _, service := range []string{"my svc", "order-api", "hello"} {
		in := audit.Input{Now: now, Rules: rules("# none\n"), Pairs: []audit.Pair{{Service: service, Key: key, Cert: cert}}}
		contains(t, found(t, in, "warning cert-no-rule x.crt"), "scamp provision NAME SECTOR")
		in.Bus = bus(sample.announce(t, "a:1", echo, sent))
		text := found(t, in, "error service-denied a:1", "warning cert-no-rule x.crt")
		line := sample.cert.Fingerprint + " main:Sample"
		contains(t, text, `add "`+line+`" to rules`)
		in.Rules = rules(line + "\n")
		found(t, in, "info rule-sha1-only rules:1")
	}
}

// Equal Inputs give equal Reports (invariant 1).
func TestRunIsPure(t *testing.T) {
	in := audit.Input{Now: now, Rules: rules("x\ny\n" + sample.cert.Fingerprint + " main:ALL, web:ALL, a, b\n"),
		Bus: bus(sample.announce(t, "a:1", echo, sent), other.announce(t, "b:1", echo, sent), other.announce(t, "a:1", echo, sent))}
	first := fmt.Sprintf("%+v", audit.Run(in))
	for range 20 {
		if again := fmt.Sprintf("%+v", audit.Run(in)); again != first {
			t.Fatalf("first\n%s\nagain\n%s", first, again)
		}
	}
}

// renew returns another certificate for the key of p, as PEM.
func renew(t *testing.T, p party) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: now.AddDate(0, -1, 0), NotAfter: now.AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &p.key.PublicKey, p.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
