package discovery_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/discovery"
)

// Rules of callers decide as the others do, and say who may call.
func TestDecideAboutCallers(t *testing.T) {
	sample, other := mustCertificate("sample"), mustCertificate("other")
	z, err := discovery.Limits{}.ParseAuthorized(strings.NewReader(sample.Fingerprint+" web:Page\n"+other.Fingerprint+" Sample.echo\n"), "/etc/callers")
	if err != nil {
		t.Fatal(err)
	}
	z.Callers = true
	for _, tt := range []struct {
		caller         *discovery.Certificate
		sector, action string
		allowed        bool
		want           string
	}{
		{sample, "web", "Page.render", true, sample.Fingerprint + ` may call "web:Page.render": /etc/callers:1 says "web:Page"`},
		{sample, "main", "Sample.echo", false, "no rule lets " + sample.Fingerprint + ` call main:Sample.echo; change /etc/callers:1 to "` +
			sample.Fingerprint + ` web:Page, main:Sample" (line 2 lets ` + other.Fingerprint + ` call it by "Sample.echo")`},
		{nil, "main", "Sample.echo", false, "no rule lets a caller without a certificate call main:Sample.echo; want a caller that shows a certificate, which a rule can name"},
		{nil, "main", "_meta.documentation", true, `everybody may call "main:_meta.documentation": the class _meta needs no rule`},
		{nil, "main", "a:b.c", false, `nobody may call "main:a:b.c": sector and action must be without a colon`},
		{nil, "main", "a b.c", false, `no rule lets a caller without a certificate call "main:a b.c": want names of A-Z a-z 0-9 _ . -`},
		{sample, "main", "_META.documentation", false, "everybody may call _meta.*, spelled exactly so"},
	} {
		d := z.Decide(tt.caller, tt.sector, tt.action)
		if got := d.String(); d.Allowed != tt.allowed || !strings.HasPrefix(got, tt.want) && !strings.HasSuffix(got, "("+tt.want+")") {
			t.Errorf("%s:%s: %v, %q: want %v, %q", tt.sector, tt.action, d.Allowed, got, tt.allowed, tt.want)
		}
	}
}

// A reader of rules of callers hands them over and leaves those of the directory alone.
func TestAuthorizedReaderOfCallers(t *testing.T) {
	d := discovery.NewDirectory(nil)
	t.Cleanup(d.Close)
	offers := mustRules(t, fp("11")+" Sample\n")
	d.SetAuthorized(offers)
	var got []*discovery.Authorized
	log := new(syncBuffer)
	path := filepath.Join(t.TempDir(), "callers")
	r := discovery.NewAuthorizedReader(path, d, &discovery.AuthorizedReaderOptions{
		Callers: true, RequireSHA256: true, Log: textLog(log), OnLoad: func(z *discovery.Authorized) { got = append(got, z) },
	})
	if err := r.Load(); err == nil || len(got) != 0 || !strings.Contains(log.String(), "service.callers") {
		t.Errorf("without the file: %v, %d rules, log %q: want an error, and the key in the log", err, len(got), log)
	}
	if err := os.WriteFile(path, []byte(fp("22")+" Sample\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.Load(); err != nil || len(got) != 1 || !got[0].Callers || !got[0].RequireSHA256 {
		t.Errorf("with the file: %v, %d rules: want one, of callers, with RequireSHA256", err, len(got))
	}
	if d.Authorized() != offers {
		t.Errorf("rules of the directory: %v, want those it had", d.Authorized())
	}
}
