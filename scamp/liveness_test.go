package scamp_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/scamp"
)

// TestConformanceRunningFile is line 88 of PROTOCOL 17.
func TestConformanceRunningFile(t *testing.T) {
	t.Run("88_appears_and_disappears", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "a", "b")
		f, err := scamp.CreateRunningFile(dir, "team/web:0123456789abcdefABCDEF+=")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "team_web:0123456789abcdefABCDEF+=")
		if info, err := os.Lstat(file); err != nil || info.Size() != 0 || !info.Mode().IsRegular() {
			t.Errorf("%s: %v, %v, want an empty file", file, info, err)
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm()&^0o755 != 0 {
			t.Errorf("%s: %v, %v, want mode 0755", dir, info, err)
		}
		if err := f.Remove(); err != nil {
			t.Errorf("Remove: %v", err)
		}
		if _, err := os.Lstat(file); err == nil {
			t.Errorf("%s is still there", file)
		}
		if err := f.Remove(); err != nil {
			t.Errorf("second Remove: %v, want nothing to happen", err)
		}
	})
}

// TestRunningFileStaysInside has names that mean something to a file system (THREATS
// X2): each makes exactly one file, in its directory.
func TestRunningFileStaysInside(t *testing.T) {
	for _, tt := range []struct{ ident, want string }{
		{"web:abc", "web:abc"},
		{"", "_"},
		{".", "_"},
		{"..", "__"},
		{"...", "___"},
		{"/", "_"},
		{"../up", ".._up"},
		{"../../../../tmp/x", ".._.._.._.._tmp_x"},
		{"/etc/passwd", "_etc_passwd"},
		{"a/b/c", "a_b_c"},
		{`a\b`, "a_b"},
		{"a\x00b", "a_b"},
		{"a\nb", "a_b"},
		{"a b", "a_b"},
		{"a\x1b[2J", "a__2J"},
		{"caf\u00e9", "caf_"},
		{"bad\xff\xfe", "bad__"},
		{"$(x)`y`;*?~", "__x__y_____"},
		{"-rf", "-rf"},
		{".hidden", ".hidden"},
		{strings.Repeat("n", 300) + ":end", strings.Repeat("n", 251) + ":end"},
		{strings.Repeat(".", 300), strings.Repeat("_", 255)},
	} {
		t.Run(fmt.Sprintf("%.20q", tt.ident), func(t *testing.T) {
			outer := t.TempDir()
			f, err := scamp.CreateRunningFile(filepath.Join(outer, "run"), tt.ident)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := listTree(t, outer), "run "+filepath.Join("run", tt.want); got != want {
				t.Errorf("made %q, want %q", got, want)
			}
			if err := f.Remove(); err != nil {
				t.Errorf("Remove: %v", err)
			}
			if got := listTree(t, outer); got != "run" {
				t.Errorf("left %q, want the directory alone", got)
			}
		})
	}
}

// listTree lists everything below dir.
func listTree(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, _ fs.DirEntry, err error) error {
		if path != "." {
			all = append(all, filepath.FromSlash(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

func TestRunningFileIsExclusive(t *testing.T) {
	dir := t.TempDir()
	target := writeFile(t, dir, "target", "precious")
	if err := os.Symlink(target, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"target", "link", "dangling"} {
		if _, err := scamp.CreateRunningFile(dir, name); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s exists already: error %v, want one that names the directory", name, err)
		}
	}
	if text, _ := os.ReadFile(target); string(text) != "precious" {
		t.Errorf("the file now holds %q", text)
	}
	if _, err := os.Lstat(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a link was followed")
	}
}

func TestRunningFileRemovesOnlyItsOwn(t *testing.T) {
	dir := t.TempDir()
	f, err := scamp.CreateRunningFile(dir, "web")
	if err != nil {
		t.Fatal(err)
	}
	// Made before the old one goes, so that it is a file of its own.
	other := writeFile(t, dir, "other", "mine")
	if err := os.Rename(other, filepath.Join(dir, "web")); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove(); err == nil || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("Remove: error %v, want one that says it was replaced", err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "web")); err != nil || string(text) != "mine" {
		t.Errorf("the other file: %q, %v, want it left alone", text, err)
	}
}

func TestRunningFileNeedsADirectory(t *testing.T) {
	file := writeFile(t, t.TempDir(), "file", "")
	if _, err := scamp.CreateRunningFile(file, "web"); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("in a file: error %v, want one that names it", err)
	}
}

// The file of an instance that was killed is taken away at the next start of the service;
// nothing else is.
func TestRunningFilesOfKilledInstancesGo(t *testing.T) {
	dir := t.TempDir()
	create := func(ident string) *scamp.RunningFile {
		f, err := scamp.CreateRunningFile(dir, ident)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	alive, dead, others, longer := create("team/web:alive"), create("team/web:dead"), create("db:dead"), create("team/web2:dead")
	dead.Abandon()
	others.Abandon()
	longer.Abandon()
	// Made by other implementations, which lock nothing, or by nobody we know.
	writeFile(t, dir, "team_web:foreign", "")
	if err := os.Chmod(writeFile(t, dir, "team_web:full", "x"), 0o444); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("db:dead", filepath.Join(dir, "team_web:link")); err != nil {
		t.Fatal(err)
	}
	mine := create("team/web:mine")
	if got := fmt.Sprint(mine.RemoveLeftovers("team/web")); got != "[team_web:dead]" {
		t.Errorf("removed %s, want [team_web:dead]", got)
	}
	const want = "db:dead team_web2:dead team_web:alive team_web:foreign team_web:full team_web:link team_web:mine"
	if got := listTree(t, dir); got != want {
		t.Errorf("left %s\nwant %s", got, want)
	}
	if err := errors.Join(alive.Remove(), mine.Remove()); err != nil {
		t.Errorf("Remove: %v", err)
	}
}
