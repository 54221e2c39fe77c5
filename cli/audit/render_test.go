package audit_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/cli/audit"
	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
)

// madeUp is the bus of the sample in docs/audit.md: no key of it protects anything.
func madeUp(t testing.TB) audit.Input {
	cache := []byte("\n%%%\n" + string(sample.announce(t, "orders:AAECAwQFBgcICQoLDA0ODxAR", `[["Customer.Order",["create","create",1],["get","",1]],["Report",["run","t600",1]]]`, sent).Record()) +
		"\n%%%\n" + string(other.announce(t, "billing:ABECAwQFBgcICQoLDA0ODxAR", `[["Invoice",["send","",1]],["Report",["run","t600",1]]]`, now.UnixMilli()+86_400_000).Record()))
	read := audit.ReadCache(audit.File{Path: "discovery", Text: cache}, discovery.Limits{})
	text := "# who may do what\n" +
		sample.cert.Fingerprint + " Customer.Ordre, Customer.Order.get\n" +
		strings.ToLower(other.cert.Fingerprint) + " main:ALL\n" +
		"00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33 Archive\n" +
		"0011223344556677889900112233445566778899 Archive.*\n"
	return audit.Input{Now: now, Rules: &audit.File{Path: "authorized_services", Text: []byte(text)}, Cache: read, Bus: read.Records,
		Keys: []audit.File{{Path: "services/orders.key", Text: fixtures.Bytes("keys/sample.key.pem"), Mode: 0o644}}}
}

// The sample and the table of ids in docs/audit.md are what the code says.
func TestDocs(t *testing.T) {
	doc, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := audit.WriteText(&b, audit.Run(madeUp(t)), audit.TextOptions{}); err != nil {
		t.Fatal(err)
	}
	if want := "```\n$ scamp audit --rules authorized_services --cache discovery --key services/orders.key\n" + b.String() + "```\n"; !strings.Contains(string(doc), want) {
		t.Errorf("docs/audit.md: want the sample\n%s", want)
	}
	var table strings.Builder
	group := ""
	for _, k := range audit.Kinds() {
		if k.Group.String() != group {
			group = k.Group.String()
			fmt.Fprintf(&table, "\n### %s\n\n| id | severity | what it means | what to do |\n| --- | --- | --- | --- |\n", strings.ToUpper(group[:1])+group[1:])
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s. %s | %s |\n", k.ID, k.Severity, k.Title, k.Meaning, k.Fix)
	}
	if !strings.Contains(string(doc), table.String()) {
		t.Errorf("docs/audit.md: want the table\n%s", table.String())
	}
}

// Every kind has an id of its own and says everything.
func TestKinds(t *testing.T) {
	seen := make(map[string]bool)
	group := audit.Group(0)
	for _, k := range audit.Kinds() {
		if !regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)+$`).MatchString(k.ID) || seen[k.ID] {
			t.Errorf("id %q: want words with dashes, once", k.ID)
		}
		if k.Title == "" || !strings.HasSuffix(k.Meaning, ".") || k.Fix == "" || strings.Contains(k.Title+k.Meaning+k.Fix, "|") || k.Group < group {
			t.Errorf("kind %+v: want a title, a sentence, a fix, and groups in order", k)
		}
		seen[k.ID], group = true, k.Group
	}
	source := ""
	for _, name := range []string{"run", "lines", "rules", "services", "certificates", "keys", "settings"} {
		text, err := os.ReadFile(name + ".go")
		if err != nil {
			t.Fatal(err)
		}
		source += string(text)
	}
	for _, k := range audit.Kinds() {
		if !strings.Contains(source, `"`+k.ID+`"`) {
			t.Errorf("id %s: nothing finds it", k.ID)
		}
	}
	for _, m := range regexp.MustCompile(`(?:add|certificate)\((?:h, )?"([a-z0-9-]+)"`).FindAllStringSubmatch(source, -1) {
		if !seen[m[1]] {
			t.Errorf("id %s: want it in Kinds", m[1])
		}
	}
}

func TestText(t *testing.T) {
	var many strings.Builder
	for i := range 30 {
		fmt.Fprintf(&many, "bad%d x\n", i)
	}
	many.WriteString(sample.cert.SHA256Text() + " Sample\n") // one rule, or the file is damaged as a whole
	r := audit.Run(audit.Input{Now: now, Rules: rules(many.String())})
	for _, tt := range []struct {
		most, lines int
		colour      bool
	}{{0, 1 + 3*30 + 2, false}, {10, 1 + 3*10 + 1 + 2, false}, {10, 1 + 3*10 + 1 + 2, true}} {
		var b bytes.Buffer
		if err := audit.WriteText(&b, r, audit.TextOptions{Most: tt.most, Colour: tt.colour}); err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(b.Bytes(), []byte("\n")); n != tt.lines {
			t.Errorf("at most %d: %d lines, want %d:\n%s", tt.most, n, tt.lines, &b)
		}
		if got := bytes.Contains(b.Bytes(), []byte("\x1b[31merror\x1b[0m")); got != tt.colour {
			t.Errorf("colour %v: %q", tt.colour, &b)
		}
		if more := bytes.Contains(b.Bytes(), []byte("and 20 more of rule-malformed")); more != (tt.most > 0) {
			t.Errorf("at most %d: %q", tt.most, &b)
		}
	}
	if worst, found := r.Worst(); !found || worst != audit.Error || r.Count(audit.Error) != 30 {
		t.Errorf("worst %v, %v, %d errors: want 30 errors", worst, found, r.Count(audit.Error))
	}
	if _, found := new(audit.Report).Worst(); found {
		t.Error("an empty report has a worst finding")
	}
}

// A scanner finds in the SARIF what its schema demands: version 2.1.0, a driver with
// rules, results that point into them, lines from 1 on, levels it knows.
func TestSARIF(t *testing.T) {
	r := audit.Run(madeUp(t))
	r.Findings = append(r.Findings, audit.Finding{ID: "key-readable", Severity: audit.Error, Place: audit.Place{File: "/etc/a b#c"}, Text: "x"},
		audit.Finding{ID: "cert-expires", Text: "nowhere"})
	var b bytes.Buffer
	if err := audit.WriteSARIF(&b, r, "v1"); err != nil {
		t.Fatal(err)
	}
	var log struct {
		Schema  string `json:"$schema"`
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct {
					Name, Version, InformationURI string
					Rules                         []struct {
						ID                   string
						ShortDescription     struct{ Text string }
						Help                 struct{ Text string }
						DefaultConfiguration struct{ Level string }
					}
				}
			}
			Results []struct {
				RuleID    string
				RuleIndex int
				Level     string
				Message   struct{ Text string }
				Locations []struct {
					PhysicalLocation *struct {
						ArtifactLocation struct{ URI string }
						Region           *struct{ StartLine int }
					}
					LogicalLocations []struct{ Name, Kind string }
				}
				PartialFingerprints map[string]string
			}
		}
	}
	if err := json.Unmarshal(b.Bytes(), &log); err != nil {
		t.Fatal(err)
	}
	if log.Version != "2.1.0" || !strings.HasSuffix(log.Schema, "sarif-schema-2.1.0.json") || len(log.Runs) != 1 {
		t.Fatalf("version %q, schema %q, %d runs: want one of 2.1.0", log.Version, log.Schema, len(log.Runs))
	}
	run := log.Runs[0]
	levels := []string{"note", "warning", "error"}
	if run.Tool.Driver.Name == "" || len(run.Tool.Driver.Rules) != len(audit.Kinds()) {
		t.Errorf("driver %+v: want a name and all kinds", run.Tool.Driver)
	}
	for _, rule := range run.Tool.Driver.Rules {
		if rule.ID == "" || rule.ShortDescription.Text == "" || rule.Help.Text == "" || !slices.Contains(levels, rule.DefaultConfiguration.Level) {
			t.Errorf("rule %+v: want id, description, help and a level", rule)
		}
	}
	if len(run.Results) != len(r.Findings) {
		t.Fatalf("%d results: want %d", len(run.Results), len(r.Findings))
	}
	prints := make(map[string]bool)
	for i, result := range run.Results {
		if run.Tool.Driver.Rules[result.RuleIndex].ID != result.RuleID || !slices.Contains(levels, result.Level) || result.Message.Text == "" {
			t.Errorf("result %+v: want a rule, a level and a message", result)
		}
		prints[result.PartialFingerprints["finding/v1"]] = true
		for _, at := range result.Locations {
			if p := at.PhysicalLocation; p != nil && (p.ArtifactLocation.URI == "" || p.Region != nil && p.Region.StartLine < 1) {
				t.Errorf("result %d is at %+v: want a file, and a line from 1 on", i, p)
			}
		}
	}
	if len(prints) != len(run.Results) {
		t.Errorf("%d prints of %d results: want each its own", len(prints), len(run.Results))
	}
	n := len(run.Results)
	if uri := run.Results[n-2].Locations[0].PhysicalLocation.ArtifactLocation.URI; uri != "file:///etc/a%20b%23c" {
		t.Errorf("URI %q: want file:///etc/a%%20b%%23c", uri)
	}
	if len(run.Results[n-1].Locations) != 0 {
		t.Errorf("a finding without a place is at %+v", run.Results[n-1].Locations)
	}
}

// JSON has the names that help promises.
func TestRecords(t *testing.T) {
	records := audit.Run(madeUp(t)).Records()
	line, err := json.Marshal(records[0])
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(line, &members); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"id", "group", "severity", "file", "line", "text", "fix"} {
		if members[name] == nil {
			t.Errorf("%s: want a member %s", line, name)
		}
	}
}
