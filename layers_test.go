package scamp_go_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/scampbus/scamp-go"

// What others wrote and we may import, by the word the table uses for it.
var libraries = map[string]string{
	"net":        "golang.org/x/net",
	"sys":        "golang.org/x/sys",
	"term":       "golang.org/x/term",
	"fsnotify":   "github.com/fsnotify/fsnotify",
	"zerolog":    "github.com/rs/zerolog",
	"cobra":      "github.com/spf13/cobra",
	"pflag":      "github.com/spf13/pflag",
	"goleak":     "go.uber.org/goleak",
	"rapid":      "pgregory.net/rapid",
	"testscript": "github.com/rogpeppe/go-internal",
}

// A row says what the files of one directory may import, beside the standard
// library and their own directory.
type row struct {
	dir   string            // "x/..." stands for every directory below x that has no row of its own
	ours  string            // directories of ours; "all" means every one but fixtures
	other string            // words of libraries
	files map[string]string // more for single files: pattern of the base name → words of ours and other
}

// layers is the house: imports point down only. A new package adds a row, in the
// commit that adds the package and says there why it needs what it imports.
var layers = []row{
	{dir: "fixtures"},
	{dir: "packet", other: "net sys"},
	{dir: "discovery", other: "net sys fsnotify"},
	{dir: "internal/ticketscan", files: map[string]string{"*_test.go": "scamp scamp/scamptest"}}, // hears the logs of tests
	{dir: "scamp/internal/mux", ours: "packet", other: "net sys"},
	{dir: "scamp/internal/ledger"},                                                           // joins notes of tests
	{dir: "scamp/internal/refusal", ours: "discovery"},                                       // what scamp lends scamptest alone
	{dir: "scamp/internal/pipe"},                                                             // beneath buses of tests, and calls within a process
	{dir: "scamp/internal/wire", other: "sys", files: map[string]string{"*_test.go": "net"}}, // loses packets between hosts of tests
	// A program that breaks a bus on purpose; nobody imports it.
	{dir: "scamp/internal/faults", ours: "scamp scamp/scamptest scamp/internal/ledger scamp/internal/wire discovery packet", other: "net sys"},
	{dir: "scamp", ours: "scamp/internal/mux scamp/internal/pipe scamp/internal/refusal packet discovery", other: "net sys fsnotify",
		// Users who call Open bring their own logger; only Initialize makes one.
		files: map[string]string{"initialize*.go": "zerolog", "*_test.go": "scamp/scamptest scamp/internal/ledger internal/ticketscan"}},
	{dir: "scamp/scamptest", ours: "scamp discovery scamp/internal/pipe scamp/internal/refusal internal/ticketscan", files: map[string]string{"*_test.go": "scamp/internal/ledger"}},
	{dir: "cli", ours: "cli/command"},
	{dir: "cli/scamp", ours: "cli/command"},
	// The judge of services shares no code with them but the packets.
	{dir: "cli/conform", ours: "packet", files: map[string]string{"*_test.go": "scamp discovery"}},
	// Pure judgement of what the command has read.
	{dir: "cli/audit", ours: "scamp discovery"},
	{dir: "cli/command", ours: "all", other: "net sys term fsnotify zerolog cobra pflag",
		files: map[string]string{"demo*.go": "fixtures"}},
	{dir: "examples/...", ours: "all fixtures", other: "zerolog"},
	{dir: ".", ours: "all"}, // tests of the whole tree, such as this one
}

// What a test may import beside what its package may. Tests of the lower packages
// stay in their layer, so that each can be read and run without those above.
const forTests = "fixtures goleak rapid testscript"

// TestLayers fails when a file imports what its layer may not, or lives in a
// directory that has no row in layers.
func TestLayers(t *testing.T) {
	rows := make(map[string]bool)
	for _, r := range layers {
		if rows[r.dir] {
			t.Errorf("%s has two rows in layers: want one, the second never counts", r.dir)
		}
		rows[r.dir] = true
	}
	problems, seen := checkLayers(os.DirFS("."), layers)
	for _, p := range problems {
		t.Error(p)
	}
	if seen == 0 {
		t.Error("no Go file found")
	}
}

// TestLayersCatches shows that each kind of wrong import is found, so that silence
// of TestLayers means something.
func TestLayersCatches(t *testing.T) {
	for _, tt := range []struct{ name, file, imports, want string }{
		{"up", "packet/a.go", module + "/scamp", "packet may not import"},
		{"sideways", "discovery/a.go", module + "/packet", "discovery may not import"},
		{"up in a test", "packet/a_test.go", module + "/scamp", "packet may not import"},
		{"library", "packet/a.go", "github.com/spf13/cobra", "packet may not import"},
		{"library nobody may use", "cli/command/a.go", "example.com/x", "cli/command may not import"},
		{"name that only begins alike", "packet/a.go", "golang.org/x/network", "packet may not import"},
		{"zerolog beside Initialize", "scamp/call.go", "github.com/rs/zerolog/log", "scamp may not import"},
		{"zerolog behind Initialize", "scamp/initialize.go", "github.com/rs/zerolog", ""},
		{"fixtures in a command", "cli/command/call.go", module + "/fixtures", "cli/command may not import"},
		{"fixtures in the demo", "cli/command/demo.go", module + "/fixtures", ""},
		{"fixtures in a test", "packet/a_test.go", module + "/fixtures", ""},
		{"goleak outside a test", "packet/a.go", "go.uber.org/goleak", "packet may not import"},
		{"fixtures in a package", "scamp/a.go", module + "/fixtures", "scamp may not import"},
		{"itself", "packet/a_test.go", module + "/packet", ""},
		{"down", "scamp/a.go", module + "/packet", ""},
		{"everything", "cli/command/a.go", module + "/scamp/scamptest", ""},
		{"example", "examples/echo/a.go", module + "/scamp", ""},
		{"no row", "util/a.go", "fmt", "util has no row"},
		{"no row below one that has", "packet/sub/a.go", "fmt", "packet/sub has no row"},
		{"cgo", "packet/a.go", "C", "packet may not import"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := fmt.Sprintf("package p\n\nimport _ %q\n", tt.imports)
			problems, _ := checkLayers(fstest.MapFS{tt.file: {Data: []byte(src)}}, layers)
			got := strings.Join(problems, "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("%s imports %q: problems %q, want %q", tt.file, tt.imports, got, tt.want)
			}
		})
	}
}

// checkLayers reads the imports of every Go file of tree and returns what offends
// the table, and how many files it read. It skips modules of their own (bench).
func checkLayers(tree fs.FS, table []row) (problems []string, files int) {
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && (ignored(d.Name()) || exists(tree, path.Join(name, "go.mod"))) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		files++
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		problems = append(problems, checkFile(name, src, table)...)
		return nil
	})
	if err != nil {
		problems = append(problems, err.Error())
	}
	return problems, files
}

// ignored says whether the go command, too, passes over a directory of that name.
func ignored(dir string) bool {
	return dir == "testdata" || dir == "vendor" || dir[0] == '.' || dir[0] == '_'
}

func exists(tree fs.FS, name string) bool {
	_, err := fs.Stat(tree, name)
	return err == nil
}

func checkFile(name string, src []byte, table []row) (problems []string) {
	file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly)
	if err != nil {
		return []string{err.Error()}
	}
	dir := path.Dir(name)
	r, ok := rowOf(dir, table)
	if !ok {
		return []string{fmt.Sprintf("%s: %s has no row in layers of layers_test.go: a new package adds one", name, dir)}
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil || !r.allows(name, imported) {
			problems = append(problems, fmt.Sprintf("%s: %s may not import %s: see layers in layers_test.go", name, dir, spec.Path.Value))
		}
	}
	return problems
}

func rowOf(dir string, table []row) (row, bool) {
	for _, r := range table {
		parent, below := strings.CutSuffix(r.dir, "/...")
		if r.dir == dir || below && strings.HasPrefix(dir, parent+"/") {
			return r, true
		}
	}
	return row{}, false
}

func (r row) allows(file, imported string) bool {
	words := strings.Fields(r.ours + " " + r.other)
	if strings.HasSuffix(file, "_test.go") {
		words = append(words, strings.Fields(forTests)...)
	}
	for pattern, more := range r.files {
		if ok, _ := path.Match(pattern, path.Base(file)); ok {
			words = append(words, strings.Fields(more)...)
		}
	}
	if dir, ours := strings.CutPrefix(imported, module+"/"); ours {
		return dir == path.Dir(file) || slices.Contains(words, dir) || dir != "fixtures" && slices.Contains(words, "all")
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return imported != "C" // the standard library; what needs cgo cannot be built everywhere
	}
	return slices.ContainsFunc(words, func(word string) bool {
		lib := libraries[word]
		return lib != "" && (imported == lib || strings.HasPrefix(imported, lib+"/"))
	})
}
