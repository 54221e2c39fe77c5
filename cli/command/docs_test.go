package command_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/cli/command"
)

// What the documents say to type works as it stands there. The port alone is another one,
// so that the bus is one's own.
func TestDocumentedCommands(t *testing.T) {
	for _, doc := range []struct {
		file, first string // the blocks from the one that holds this on
		blocks      int
		want        string // in what they print
	}{
		{"README.md", "scamp init --dir bus", 1, `{"hello":"helloworld"}`},
		{"docs/sign.md", "scamp init --dir bus", 2, "127.0.0.1:20099"},
	} {
		t.Run(doc.file, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile("../../" + doc.file)
			if err != nil {
				t.Fatal(err)
			}
			blocks := shellBlocks(string(text), doc.first)
			if len(blocks) < doc.blocks {
				t.Fatalf("%d blocks of commands with %q, want %d", len(blocks), doc.first, doc.blocks)
			}
			script := "set -e\n" + strings.Join(blocks[:doc.blocks], "\n")
			script = strings.ReplaceAll(script, "scamp init --dir bus", "scamp init --dir bus --port "+strconv.Itoa(20000+rand.IntN(40000)))
			// On a busy machine it takes longer.
			script = strings.ReplaceAll(script, "sleep 6 ", "until scamp --config bus/soa.conf list services 2>/dev/null | grep -q helloworld; do sleep 0.1; done ")
			dir := t.TempDir()
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(self, filepath.Join(dir, "scamp")); err != nil {
				t.Fatal(err)
			}
			out, err := runShell(t, dir, script)
			if err != nil || !strings.Contains(out, doc.want) {
				t.Errorf("%s: %v\n%s\nwant it to print %q, in:\n%s", doc.file, err, out, doc.want, script)
			}
		})
	}
}

// README's table has every command, and no other.
func TestReadmeNamesEveryCommand(t *testing.T) {
	var help bytes.Buffer
	if code := command.Run([]string{"--help"}, strings.NewReader(""), &help, &help, func(string) string { return "" }); code != 0 {
		t.Fatalf("scamp --help: exit code %d: %s", code, &help)
	}
	_, list, _ := strings.Cut(help.String(), "Available Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	var want []string
	for line := range strings.Lines(list) {
		if name := strings.Fields(line)[0]; name != "help" && name != "completion" {
			want = append(want, name)
		}
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range regexp.MustCompile("(?m)^\\| `scamp .*\n").FindAllString(string(readme), -1) {
		row, _, _ = strings.Cut(row[1:], "|")
		for _, m := range regexp.MustCompile("`scamp ([a-z]+)`").FindAllStringSubmatch(row, -1) {
			got = append(got, m[1])
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if len(want) < 10 || !slices.Equal(got, want) {
		t.Errorf("the table of commands in README has %v, want %v", got, want)
	}
}

// runShell runs a script in dir, ends what it leaves in the background, and returns what
// all of them printed.
func runShell(t *testing.T, dir, script string) (string, error) {
	t.Helper()
	printed, err := os.Create(filepath.Join(dir, "printed")) // a pipe would be held open by the background
	if err != nil {
		t.Fatal(err)
	}
	defer printed.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "sh", "-c", script)
	shell.Dir, shell.Stdout, shell.Stderr = dir, printed, printed
	shell.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "SCAMP=", "SCAMP_CONFIG=", "GTSOA=", "GORACE="+noExitSleep)
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	group := -shell.Process.Pid
	err = shell.Wait()
	syscall.Kill(group, syscall.SIGKILL)
	for syscall.Kill(group, 0) == nil && ctx.Err() == nil {
		<-time.After(10 * time.Millisecond)
	}
	text, rerr := os.ReadFile(printed.Name())
	if rerr != nil {
		t.Fatal(rerr)
	}
	return string(text), err
}

// shellBlocks returns the indented blocks that are made of scamp commands, from the one
// with first on.
func shellBlocks(text, first string) (blocks []string) {
	indented := regexp.MustCompile(`(?m)(?:^    .*\n)+`)
	for _, b := range indented.FindAllString(text, -1) {
		if !strings.HasPrefix(b, "    scamp ") || len(blocks) == 0 && !strings.Contains(b, first) {
			continue
		}
		blocks = append(blocks, strings.ReplaceAll(b[4:], "\n    ", "\n"))
	}
	return blocks
}
