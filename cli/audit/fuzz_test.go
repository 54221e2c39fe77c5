package audit_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/scampbus/scamp-go/cli/audit"
	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
)

// Whatever the files hold, Run ends, finds nothing that has no kind or that a terminal
// obeys (invariants 2 and 4), and all renderers can write it.
func FuzzRun(f *testing.F) {
	f.Add(fixtures.Bytes("authorized_services"), fixtures.Bytes("config.conf"), fixtures.Bytes("cache/two_records.cache"), fixtures.Bytes("keys/sample.key.pem"), fixtures.Bytes("keys/sample.crt.pem"))
	f.Add([]byte("\ufeff"+strings.ToLower(sample.cert.Fingerprint)+" ALL, a._create\nx"), []byte("\ufeffbeepish.last_port = 1\nx.key=y\n"),
		fixtures.Bytes("twins/mixed.cache"), fixtures.Bytes("keys/other.key.pem"), []byte("\x1b[31m"))
	kinds := make(map[string]bool)
	for _, k := range audit.Kinds() {
		kinds[k.ID] = true
	}
	f.Fuzz(func(t *testing.T, rules, config, cache, key, cert []byte) {
		settings := audit.ReadSettings(audit.File{Path: "soa.conf", Text: config})
		read := audit.ReadCache(audit.File{Path: "cache", Text: cache}, discovery.Limits{})
		keyFile, certFile := audit.File{Path: "k", Text: key, Mode: 0o604}, audit.File{Path: "c", Text: cert}
		for _, in := range []audit.Input{
			{Now: now, Config: settings.Config, Rules: &audit.File{Path: "rules", Text: rules}, Cache: read, Bus: read.Records, Keys: []audit.File{keyFile}, Certificates: []audit.File{certFile}},
			{Now: now, Config: settings.Config, Settings: settings, Rules: &audit.File{Path: "rules", Text: rules}, Cache: read, Pairs: []audit.Pair{{Service: string(cert), Key: keyFile, Cert: certFile}}},
		} {
			r := audit.Run(in)
			for _, finding := range r.Findings {
				if !kinds[finding.ID] {
					t.Errorf("%+v: want a kind", finding)
				}
				for _, text := range []string{finding.Text, finding.Fix, finding.Place.String()} {
					if strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }) {
						t.Errorf("%+v: want text that prints", finding)
					}
				}
			}
			var text, sarif bytes.Buffer
			if err := audit.WriteText(&text, r, audit.TextOptions{Most: 3}); err != nil {
				t.Error(err)
			}
			if err := audit.WriteSARIF(&sarif, r, ""); err != nil || !json.Valid(sarif.Bytes()) {
				t.Errorf("SARIF %v", err)
			}
		}
	})
}
