package command_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/scampbus/scamp-go/cli/command"
	"github.com/scampbus/scamp-go/fixtures"
)

// terminal is a pseudo terminal: what is written to the second end can be read from
// the first.
func terminal(t *testing.T) (ours, theirs *os.File) {
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("SKIPPED: no pseudo terminal here: %v", err)
	}
	t.Cleanup(func() { ours.Close() })
	if err := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	return ours, theirs
}

// seenOn returns what is seen on a terminal that f writes to.
func seenOn(t *testing.T, f func(*os.File)) string {
	ours, theirs := terminal(t)
	seen := make(chan string)
	go func() { // ends when the terminal is closed
		text, _ := io.ReadAll(ours)
		seen <- string(text)
	}()
	f(theirs)
	theirs.Close()
	return strings.ReplaceAll(<-seen, "\r\n", "\n")
}

// onTerminal runs the command with stdout on a terminal and returns what is seen there.
func onTerminal(t *testing.T, env map[string]string, args ...string) string {
	return seenOn(t, func(stdout *os.File) {
		var stderr bytes.Buffer
		code := command.Run(args, strings.NewReader(""), stdout, &stderr, func(name string) string { return env[name] })
		if code != 0 {
			t.Errorf("scamp %q: exit code %d, stderr %s", args, code, &stderr)
		}
	})
}

// A reply is octets in a pipe, and nothing a terminal obeys on a terminal (THREATS X1).
func TestReplyOnTerminal(t *testing.T) {
	for _, tt := range []struct{ body, want string }{
		{"{\"a\":1}", "{\"a\":1}\n"}, // the prompt does not follow on the same line
		{"one\ntwo\n", "one\ntwo\n"},
		{"", ""},
		{"\x1b[2J\x1b]0;title\x07größe\xff", `\x1b[2J\x1b]0;title\x07größe\xff` + "\n"},
	} {
		got := seenOn(t, func(stdout *os.File) {
			if err := command.ShowBody(stdout, tt.body); err != nil {
				t.Error(err)
			}
		})
		if got != tt.want {
			t.Errorf("reply %q on a terminal: %q, want %q", tt.body, got, tt.want)
		}
		var pipe bytes.Buffer
		if err := command.ShowBody(&pipe, tt.body); err != nil || pipe.String() != tt.body {
			t.Errorf("reply %q in a pipe: %q, %v, want it unchanged", tt.body, &pipe, err)
		}
	}
}

func TestTableOnTerminal(t *testing.T) {
	dir := t.TempDir()
	cache := filepath.Join(dir, "cache")
	if err := os.WriteFile(cache, fixtures.Bytes("sample_discovery_cache"), 0o644); err != nil {
		t.Fatal(err)
	}
	rules := filepath.Join(dir, "authorized_services")
	if err := os.WriteFile(rules, []byte("41:A2:0E:D5:19:8E:AF:A1:E1:7F:80:FC:4C:3E:9B:02:17:EE:86:4A main:Sample\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "soa.conf")
	if err := os.WriteFile(config, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	const plain = `ACTION                   VERSION  INSTANCES  ENVELOPES  FLAGS        STATE
main:Sample.Item.create  1        1          json       create       ok
main:Sample.Item.list    1        1          json       noauth,read  ok
main:Sample.Item.list    2        1          json       read         ok
main:Sample.echo         1        1          json       noauth       ok
main:Sample.slow         1        1          json       t600         ok
`
	args := []string{"--config", config, "list", "actions", "--cache", cache}
	if got := onTerminal(t, map[string]string{"NO_COLOR": "1"}, args...); got != plain {
		t.Errorf("with NO_COLOR:\n%s\nwant\n%s", got, plain)
	}
	head, rest, _ := strings.Cut(plain, "\n")
	if got, want := onTerminal(t, nil, args...), "\x1b[1m"+head+"\x1b[0m\n"+rest; got != want {
		t.Errorf("in colour:\n%q\nwant\n%q", got, want)
	}
	if got := onTerminal(t, nil, "--config", config, "list", "--cache", cache, "--json"); strings.Contains(got, "\x1b") || !strings.HasPrefix(got, `{"ident":`) {
		t.Errorf("with --json: %q, want one object without colours", got)
	}
}
