package scamp_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/scamp"
)

// docs/counters.md is what the table of counters says.
func TestCountersAreDocumented(t *testing.T) {
	got, err := os.ReadFile("../docs/counters.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tables, _ := strings.Cut(string(got), "\n## ")
	var want strings.Builder
	part := ""
	for _, c := range scamp.Counters() {
		if c.Part != part {
			part = c.Part
			fmt.Fprintf(&want, "\n## %s\n\n| Counter | What it counts | Bounded by |\n|---|---|---|\n", part)
		}
		limit := c.Limit
		if limit == "" {
			limit = "-"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", c.Name, c.Counts, limit)
	}
	if "\n## "+tables != want.String() {
		t.Errorf("docs/counters.md: want it to end with:\n%s", &want)
	}
}

// A bus reports every counter there is, from its first moment on.
func TestStatsNameEveryCounter(t *testing.T) {
	bus, err := scamp.Open(nil, &scamp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	stats := bus.Stats()
	seen := map[string]bool{}
	for _, c := range scamp.Counters() {
		if _, ok := stats[c.Name]; !ok {
			t.Errorf("Stats has no %s", c.Name)
		}
		if seen[c.Name] {
			t.Errorf("%s is twice in the table", c.Name)
		}
		seen[c.Name] = true
	}
	for name := range stats {
		if !seen[name] {
			t.Errorf("Stats has %s, which the table leaves out", name)
		}
	}
}

// The table has every counter that the table of limits has, and the limits it stands for.
func TestCountersOfLimits(t *testing.T) {
	var table []limitRow
	fixtures.JSON("limits.json", &table)
	rows := map[string]scamp.CounterRow{}
	for _, c := range scamp.Counters() {
		rows[c.Name] = c
	}
	for _, row := range table {
		c, ok := rows[row.Counter]
		if row.Counter != "" && !ok {
			t.Errorf("%s: no counter %s", row.Limit, row.Counter)
		}
		for _, f := range row.Fields {
			name := strings.TrimPrefix(strings.ToUpper(f.Struct[:1])+f.Struct[1:]+"."+f.Field, "Scamp.")
			if ok && !strings.Contains(c.Limit, "`"+name+"`") && f.Field != "LogText" { // which cuts, and leaves nothing out
				t.Errorf("%s is bounded by %s, want %s among it", c.Name, c.Limit, name)
			}
		}
	}
}

// The table has every counter that the sources name, and no other.
func TestCountersOfSources(t *testing.T) {
	listed := map[string]bool{}
	for _, c := range scamp.Counters() {
		listed[c.Name] = true
	}
	named := map[string]bool{}
	found := 0
	for _, dir := range []string{".", "internal/mux", "../discovery", "../packet"} {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d sources, %v", dir, len(files), err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") || path == "counters.go" {
				continue
			}
			for _, name := range countersNamed(t, path, named) {
				found++
				if !listed[name] {
					t.Errorf("%s counts %s, which the table leaves out", path, name)
				}
			}
		}
	}
	for name := range listed {
		if !named[name] {
			t.Errorf("the table has %s, which no source names", name)
		}
	}
	if found < 80 {
		t.Errorf("the sources count %d times: want to have found the most of them", found)
	}
}

// counts are the functions whose first argument is a counter.
var counts = []string{"count", "odd", "oddOf", "fault"}

var counterName = regexp.MustCompile(`^[a-z]+(_[a-z]+)+$`)

// countersNamed returns the counters that a source certainly counts, and notes all that it
// may.
func countersNamed(t *testing.T, path string, named map[string]bool) (certain []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	text := func(x ast.Expr) string {
		lit, ok := x.(*ast.BasicLit)
		if !ok {
			return ""
		}
		s, _ := strconv.Unquote(lit.Value)
		return s
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if s := text(n); counterName.MatchString(s) {
				named[s] = true
			}
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.SelectorExpr); ok && slices.Contains(counts, f.Sel.Name) && len(n.Args) > 0 {
				if s := text(n.Args[0]); s != "" { // of one word too
					named[s] = true
					certain = append(certain, s)
				}
			}
		case *ast.ValueSpec: // the constants of package discovery, and the names of package mux
			if !strings.HasPrefix(n.Names[0].Name, "count") {
				break
			}
			for _, v := range n.Values {
				if list, ok := v.(*ast.CompositeLit); ok {
					for _, e := range list.Elts {
						certain = append(certain, text(e))
					}
				} else if s := text(v); counterName.MatchString(s) {
					certain = append(certain, s)
				}
			}
		}
		return true
	})
	return certain
}
