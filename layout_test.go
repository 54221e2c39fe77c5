package scamp_go_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// rootEntries is what the project shows first. What is not here was left by a trial.
var rootEntries = []string{
	".ci", ".gitignore", "CHANGELOG.md", "LICENSE", "Makefile", "README.md", "authorized_services", "bench", "cli", "conformance_test.go",
	"discovery", "docs", "fixtures", "go.mod", "go.sum", "internal", "layers_test.go", "layout_test.go", "leaks_test.go", "packet", "readme_test.go", "scamp",
	"soa.conf.example", "staticcheck.conf", "threats_test.go",
}

func TestRootHoldsNothingElse(t *testing.T) {
	out, err := exec.Command("git", "ls-tree", "--name-only", "HEAD").Output()
	if err != nil {
		t.Skipf("SKIPPED: this is no checkout by git: %v", err)
	}
	got := strings.Fields(string(out))
	for _, name := range got {
		if !slices.Contains(rootEntries, name) {
			t.Errorf("%s is in the root: want it elsewhere, or in rootEntries", name)
		}
	}
	if len(got) < 10 {
		t.Errorf("the root has %q, want the project", got)
	}
	// What a newcomer copies grants nothing.
	rules, err := os.ReadFile("authorized_services")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(rules)) {
		if !strings.HasPrefix(line, "#") {
			t.Errorf("authorized_services has the line %q, want comments alone", line)
		}
	}
}
