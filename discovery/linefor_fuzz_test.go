package discovery_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
)

// Whatever a rules file holds, the line that is advised allows what was denied, takes
// away nothing, and gives nobody else anything; and no text about it has a line end.
func FuzzLineFor(f *testing.F) {
	sample, other := mustCertificate("sample"), mustCertificate("other")
	f.Add(string(fixtures.Bytes("authorized_services")), "main", "Sample.echo", false)
	f.Add(sample.Fingerprint+" Sample.*, web:all\n"+sample.SHA256Text()+" x", "web", "Page.show", true)
	f.Add(sample.Fingerprint+"\n"+sample.Fingerprint+" a b, \"\n", "main", "_Meta.x", false)
	f.Add(sample.Fingerprint+" x", "web", "ALL.things", false)
	f.Add(sample.Fingerprint+" main:ALL", "main", "Sample.echo", true)
	f.Fuzz(func(t *testing.T, text, sector, action string, require bool) {
		z, err := discovery.ParseAuthorized(strings.NewReader(text))
		if err != nil {
			return
		}
		had := z.Decide(sample, sector, "Another.class").Allowed // by any line: the tokens of one by SHA-1 are to move to one in full
		z.RequireSHA256 = require
		d := z.Decide(sample, sector, action)
		if said := d.String(); strings.ContainsAny(said, "\n\r\x00\x1b") {
			t.Errorf("rules %q, %q:%q: said %q, want one line", text, sector, action, said)
		}
		if d.Allowed || !discovery.IsName(sector) || !discovery.IsName(action) {
			return
		}
		if i := strings.IndexByte(action, '.'); i <= 0 || strings.HasSuffix(action, ".") {
			return // no action has such a name
		}
		line, at := z.LineFor(sample, discovery.RightFor(sector, action))
		lines := strings.SplitAfter(text, "\n")
		if at > 0 {
			lines[at-1] = line + "\n"
		} else {
			lines = append(lines, "\n"+line+"\n")
		}
		again, err := discovery.ParseAuthorized(strings.NewReader(strings.Join(lines, "")))
		if err != nil {
			return // past a limit now
		}
		again.RequireSHA256 = require
		if d := again.Decide(sample, sector, "Another.class"); !strings.HasPrefix(strings.ToLower(action), "another") && d.Allowed && !had {
			t.Fatalf("rules %q with %q in line %d: %v: want no more than was asked for", text, line, at, d)
		}
		if !again.Decide(sample, sector, action).Allowed {
			t.Fatalf("rules %q with %q in line %d: %v", text, line, at, again.Decide(sample, sector, action))
		}
		for _, q := range [][2]string{{"main", "Sample.echo"}, {"web", "Page.show"}, {sector, action}, {"main", "a.b"}} {
			if z.Decide(sample, q[0], q[1]).Allowed && !again.Decide(sample, q[0], q[1]).Allowed {
				t.Errorf("rules %q with %q in line %d: %s is lost", text, line, at, fmt.Sprint(q))
			}
			if before, after := z.Decide(other, q[0], q[1]).Allowed, again.Decide(other, q[0], q[1]).Allowed; before != after {
				t.Errorf("rules %q with %q in line %d: another certificate has other rights to %s", text, line, at, fmt.Sprint(q))
			}
		}
	})
}
