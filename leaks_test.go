package scamp_go_test

import (
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
)

// leakless are the directories whose tests need no look for goroutines left over, and
// why.
var leakless = map[string]string{
	".":               "the tests of the whole tree only read files",
	"bench/peers/all": "the libraries of rivals leave goroutines behind",
}

// TestEveryPackageLooksForLeaks fails when the tests of a package do not end with a
// look for goroutines left over (THREATS 4.3).
func TestEveryPackageLooksForLeaks(t *testing.T) {
	tested, looks := map[string]bool{}, map[string]bool{}
	tree := os.DirFS(".")
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
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
		dir := path.Dir(name)
		tested[dir] = true
		looks[dir] = looks[dir] || strings.Contains(string(src), "func TestMain(") && strings.Contains(string(src), "goleak.")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir := range tested {
		if leakless[dir] == "" && !looks[dir] {
			t.Errorf("%s: no TestMain looks for goroutines left over", dir)
		}
	}
}
