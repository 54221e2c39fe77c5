package scamp_go_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// A point is one line of the conformance list, PROTOCOL 17: where its tests are, or why
// there are none yet.
type point struct {
	number string
	dirs   string // whose TestConformance… have a subtest named after it
	open   string
}

// points is the one list of what is held and what is open. A new test of a point is
// named NUMBER_words in a function TestConformance…; whoever closes an open point, or
// moves a test, changes the line here.
var points = []point{
	{"1", "packet scamp/internal/mux", ""},
	{"2", "packet", ""},
	{"3", "packet", ""},
	{"4", "packet", ""},
	{"5", "packet", ""},
	{"6", "packet", ""},
	{"7", "packet", ""},
	{"8", "packet", ""},
	{"9", "packet", ""},
	{"10", "scamp/internal/mux", ""},
	{"11", "scamp/internal/mux", ""},
	{"12", "scamp/internal/mux", ""},
	{"13", "packet", ""},
	{"14", "packet", ""},
	{"15", "scamp/internal/mux", ""},
	{"16", "scamp/internal/mux", ""},
	{"17", "scamp/internal/mux", ""},
	{"18", "scamp/internal/mux", ""},
	{"18a", "packet", ""},
	{"19", "scamp", ""},
	{"19a", "scamp", ""},
	{"19b", "scamp", ""},
	{"19c", "scamp", ""},
	{"20", "packet scamp", ""},
	{"21", "packet scamp", ""},
	{"22", "packet scamp", ""},
	{"23", "packet scamp", ""},
	{"24", "packet scamp", ""},
	{"25", "packet scamp", ""},
	{"26", "packet scamp", ""},
	{"27", "packet scamp", ""},
	{"28", "scamp", ""},
	{"29", "scamp", ""},
	{"30", "scamp", ""},
	{"31", "scamp", ""},
	{"31a", "scamp", ""},
	{"32", "packet scamp", ""},
	{"33", "scamp/internal/mux", ""},
	{"33a", "scamp/internal/mux", ""},
	{"34", "scamp/internal/mux", ""},
	{"35", "scamp/internal/mux", ""},
	{"36", "scamp/internal/mux", ""},
	{"36a", "scamp/internal/mux", ""},
	{"37", "scamp/internal/mux", ""},
	{"37a", "scamp scamp/internal/mux", ""},
	{"38", "scamp/internal/mux", ""},
	{"39", "scamp/internal/mux", ""},
	{"40", "scamp/internal/mux", ""},
	{"41", "scamp/internal/mux", ""},
	{"42", "scamp/internal/mux", ""},
	{"43", "scamp scamp/internal/mux", ""},
	{"44", "scamp", ""},
	{"44a", "scamp", ""},
	{"45", "scamp scamp/internal/mux", ""},
	{"46", "scamp scamp/internal/mux", ""},
	{"47", "discovery scamp", ""},
	{"47a", "scamp", ""},
	{"47b", "scamp", ""},
	{"48", "scamp", ""},
	{"49", "scamp", ""},
	{"50", "scamp", ""},
	{"51", "scamp", ""},
	{"52", "scamp", ""},
	{"53", "scamp", ""},
	{"53a", "scamp", ""},
	{"54", "scamp", ""},
	{"55", "scamp", ""},
	{"56", "scamp", ""},
	{"56a", "scamp", ""},
	{"57", "discovery scamp", ""},
	{"58", "discovery", ""},
	{"59", "discovery", ""},
	{"60", "discovery", ""},
	{"61", "discovery", ""},
	{"62", "discovery", ""},
	{"63", "discovery", ""},
	{"64", "discovery", ""},
	{"65", "discovery", ""},
	{"66", "discovery", ""},
	{"67", "discovery", ""},
	{"68", "discovery", ""},
	{"68a", "discovery", ""},
	{"69", "discovery", ""},
	{"69a", "discovery", ""},
	{"70", "discovery", ""},
	{"71", "discovery", ""},
	{"72", "discovery", ""},
	{"73", "discovery", ""},
	{"73a", "discovery", ""},
	{"74", "discovery", ""},
	{"75", "discovery", ""},
	{"75a", "scamp", ""},
	{"76", "discovery", ""},
	{"77", "discovery", ""},
	{"78", "discovery", ""},
	{"79", "scamp", ""},
	{"80", "scamp", ""},
	{"81", "discovery scamp", ""},
	{"82", "discovery scamp", ""},
	{"83", "discovery scamp", ""},
	{"84", "scamp", ""},
	{"85", "scamp", ""},
	{"85a", "scamp", ""},
	{"86", "scamp", ""},
	{"86a", "scamp", ""},
	{"87", "scamp", ""},
	{"88", "scamp", ""},
	{"89", "scamp", ""},
}

// TestConformanceList fails when a point has no test where the list says, when an open
// one has a test, and when a test names no point.
func TestConformanceList(t *testing.T) {
	tested, err := conformanceTests(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range judge(points, tested) {
		t.Error(problem)
	}
	open := 0
	for _, p := range points {
		if p.open != "" {
			open++
			t.Logf("open: %s: %s", p.number, p.open)
		}
	}
	t.Logf("%d of %d points have tests", len(points)-open, len(points))
}

// judge compares the list with the directories that test each number.
func judge(list []point, tested map[string][]string) (problems []string) {
	known := map[string]bool{}
	for _, p := range list {
		dirs := tested[p.number]
		switch {
		case known[p.number]:
			problems = append(problems, fmt.Sprintf("point %s stands in the list twice", p.number))
		case p.open == "" && p.dirs == "":
			problems = append(problems, fmt.Sprintf("point %s has neither tests nor a reason", p.number))
		case p.open != "" && len(dirs) > 0:
			problems = append(problems, fmt.Sprintf("point %s is open, and yet %v has a test named after it", p.number, dirs))
		}
		for _, want := range strings.Fields(p.dirs) {
			if !slices.Contains(dirs, want) {
				problems = append(problems, fmt.Sprintf("point %s has no test in %s", p.number, want))
			}
		}
		known[p.number] = true
	}
	for number, dirs := range tested {
		if !known[number] {
			problems = append(problems, fmt.Sprintf("a test in %v is named after point %s, which the list does not have", dirs, number))
		}
	}
	slices.Sort(problems)
	return problems
}

// conformanceName is how a subtest is named after a point, with a zero before a single
// digit.
var conformanceName = regexp.MustCompile(`^0?([0-9]+[a-z]?)_[a-z0-9_]+$`)

// conformanceTests reads the test files of tree and returns the directories that have
// subtests for each number.
func conformanceTests(tree fs.FS) (map[string][]string, error) {
	tested := map[string][]string{}
	err := eachTest(tree, func(dir string, f *ast.FuncDecl) {
		if !strings.HasPrefix(f.Name.Name, "TestConformance") {
			return
		}
		ast.Inspect(f.Body, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(lit.Value)
			if m := conformanceName.FindStringSubmatch(text); err == nil && m != nil && !slices.Contains(tested[m[1]], dir) {
				tested[m[1]] = append(tested[m[1]], dir)
			}
			return true
		})
	})
	return tested, err
}

// eachTest calls do with every test function of tree and its directory.
func eachTest(tree fs.FS, do func(dir string, f *ast.FuncDecl)) error {
	return fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && ignored(d.Name()):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				do(path.Dir(name), f)
			}
		}
		return nil
	})
}

// TestPointsCatches shows that each kind of mistake is found, so that silence
// of TestConformanceList means something.
func TestPointsCatches(t *testing.T) {
	for _, tt := range []struct {
		name, subtest string
		list          []point
		want          string
	}{
		{"held", "07_words", []point{{"7", "packet", ""}}, ""},
		{"letter", "18a_words", []point{{"18a", "packet", ""}}, ""},
		{"missing", "08_words", []point{{"7", "packet", ""}, {"8", "packet", ""}}, "point 7 has no test in packet"},
		{"elsewhere", "07_words", []point{{"7", "scamp", ""}}, "point 7 has no test in scamp"},
		{"open and tested", "07_words", []point{{"7", "", "later"}}, "point 7 is open"},
		{"no reason", "07_words", []point{{"7", "packet", ""}, {"8", "", ""}}, "point 8 has neither"},
		{"twice", "07_words", []point{{"7", "packet", ""}, {"7", "packet", ""}}, "twice"},
		{"no such point", "99_words", []point{{"7", "", "later"}}, "named after point 99"},
		{"not a name", "7 words", []point{{"7", "packet", ""}}, "point 7 has no test"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := fmt.Sprintf("package p\n\nfunc TestConformanceX(t *testing.T) { t.Run(%q, nil) }\n", tt.subtest)
			tested, err := conformanceTests(fstest.MapFS{"packet/a_test.go": {Data: []byte(src)}})
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(judge(tt.list, tested), "; ")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("subtest %s, list %v: problems %q, want %q", tt.subtest, tt.list, got, tt.want)
			}
		})
	}
}
