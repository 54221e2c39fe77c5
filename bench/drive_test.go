package bench

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A run through two processes gives figures, tells who lies and who fails, and
// leaves a report that reads back.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	out, md := filepath.Join(dir, "out.json"), filepath.Join(dir, "out.md")
	err := run(testPeers, []string{
		"-scenarios", "unary,bulk", "-cells", "64B c16,up", "-rounds", "2", "-once", "bulk", "-dur", "30", "-warm", "5",
		"-key", "ecdsa", "-json", out, "-md", md, "-profile", dir,
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := readReports([]string{out})
	if err != nil {
		t.Fatal(err)
	}
	for _, peer := range []string{limitName, "plain", againName} {
		s, ok := find(r.Summary, place{"unary", "64B c16", peer}, "rps")
		if !ok || s.N != 2 || s.Median <= 0 || s.RatioMedian <= 0 || s.Errs+s.Mismatch != 0 {
			t.Errorf("rps of %s: %+v, want two rounds, a ratio and no error", peer, s)
		}
	}
	if s, _ := find(r.Summary, place{"unary", "64B c16", "liar"}, "rps"); s.Mismatch == 0 {
		t.Errorf("liar: %+v, want wrong replies", s)
	}
	if s, ok := find(r.Summary, place{"unary", "64B c16", "broken"}, ""); !ok || len(s.Failures) != 2 {
		t.Errorf("broken: %+v, want two failures", s)
	}
	if s, ok := find(r.Summary, place{"bulk", "up 64MiB", "plain"}, ""); !ok || len(s.Failures) != 1 || !strings.Contains(s.Failures[0], "skipped: bulk is not") {
		t.Errorf("bulk of plain: %+v, want it skipped, in one round", s)
	}
	text, err := os.ReadFile(md)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"### unary: 64B c16", "WRONG REPLIES", "failed in 2 rounds", "| limit-tls.again |", "2 rounds"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("tables without %q:\n%s", want, text)
		}
	}
	for _, f := range []string{"unary-64B-c16.plain.client.cpu", "unary-64B-c16.plain.server.allocs"} {
		if fi, err := os.Stat(filepath.Join(dir, f)); err != nil || fi.Size() == 0 {
			t.Errorf("profile %s: %v, want one", f, err)
		}
	}
}

// No round begins that would not end within the budget.
func TestRunKeepsBudget(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.json")
	err := run(testPeers, []string{"-mode", "one", "-scenarios", "connect", "-peers", "plain", "-rounds", "5", "-dur", "20", "-budget", "1ms", "-key", "ecdsa", "-json", out, "-md", os.DevNull})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := readReports([]string{out}); err != nil || r.Rounds != 1 {
		t.Errorf("report of a run with 1 ms: %+v, %v, want one round", r, err)
	}
}

// One process is enough to look for errors.
func TestRunOneProcess(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.json")
	err := run(testPeers, []string{"-mode", "one", "-scenarios", "slow,connect", "-cells", "-", "-peers", "plain", "-rounds", "1", "-dur", "30", "-key", "ecdsa", "-json", out, "-md", os.DevNull})
	if err != nil {
		t.Fatal(err)
	}
	r, err := readReports([]string{out, out})
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := find(r.Summary, place{"connect", "-", "plain"}, "conns_s"); !ok || s.N != 2 || s.Median <= 0 {
		t.Errorf("connections: %+v in %d rounds, want some in the rows of two reports", s, r.Rounds)
	}
}

func TestRunRefuses(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-peers nobody", `no peer "nobody"`},
		{"-scenarios binary", `scenario "binary"`},
		{"-once binary", `scenario "binary"`},
		{"-cells 65B", "no cell"},
		{"-rounds 0", "-rounds 0"},
		{"-mode three", `-mode "three"`},
		{"-key dsa", `key "dsa"`},
		{"-cells 64B c1", `argument "c1"`}, // a shell took the quotes
		{"report", "no report"},
		{"report /nonexistent", "no such file"},
		{"serve -peer nobody", `no peer "nobody"`},
	} {
		if err := run(testPeers, strings.Split(tt.args, " ")); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("run of %q: error %v, want one with %q", tt.args, err, tt.want)
		}
	}
}

func TestLines(t *testing.T) {
	var b strings.Builder
	err := writeLines(&b, []Sum{
		{Scenario: "unary", Cell: "64B c1", Peer: "p", Figure: "rps", N: 3, Median: 123456.7, Min: 1, Max: 2, RatioMedian: 0.123456, RatioMin: 0.1, RatioMax: 0.2},
		{Scenario: "unary", Cell: "64B c1", Peer: "p", Figure: "alloc_bytes_op", N: 3, Median: 1},
		{Scenario: "unary", Cell: "64B c1", Peer: "q", Failures: []string{"no"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatalf("lines %q: %v, want one line, of what the tables show", b.String(), err)
	}
	for key, want := range map[string]any{"cell": "unary 64B c1", "peer": "p", "figure": "rps", "median": 123500.0, "ratio_median": 0.1235, "ratio_min": 0.1, "ratio_max": 0.2} {
		if got[key] != want {
			t.Errorf("line %q: %s is %v, want %v", b.String(), key, got[key], want)
		}
	}
}
