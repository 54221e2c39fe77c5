package command_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/scampbus/scamp-go/internal/ticketscan"
)

// mayShow are the commands of scripts whose output is a ticket, as it should be.
var mayShow = regexp.MustCompile(`^exec scamp ticket mint `)

// A scanned test runs scripts and looks for tickets in all that their commands write, to
// stdout and stderr (THREATS T4).
type scanned struct{ *testing.T }

func (s scanned) Run(name string, f func(testscript.T)) {
	s.T.Run(name, func(t *testing.T) { f(scanned{t}) })
}

// Verbose has a script keep all it says for Log, also what went well.
func (s scanned) Verbose() bool { return true }

// Log is told what a script did, its commands with what they wrote, when it has ended.
func (s scanned) Log(args ...any) {
	text := fmt.Sprint(args...)
	for _, show := range ticketsShown(text) {
		s.T.Error(show)
	}
	if testing.Verbose() || s.T.Failed() {
		s.T.Log(text)
	}
}

// ticketsShown tells which commands in the log of a script have shown a ticket.
func ticketsShown(log string) (shown []string) {
	for _, part := range strings.Split("\n"+log, "\n> ") {
		part = strings.TrimPrefix(part, "\n")
		command, _, _ := strings.Cut(part, "\n")
		claims, found := ticketscan.Find([]byte(part))
		if found && !mayShow.MatchString(command) {
			shown = append(shown, fmt.Sprintf("%s: shows a ticket: %s…", command, claims))
		}
	}
	return shown
}

// findTicketsOfDaemons looks for tickets in what the daemons of a script wrote.
func findTicketsOfDaemons(t *testing.T, dir string) {
	logs, err := filepath.Glob(filepath.Join(dir, "*.err"))
	if err != nil {
		t.Error(err)
	}
	outs, _ := filepath.Glob(filepath.Join(dir, "*.out"))
	for _, path := range append(logs, outs...) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		if claims, found := ticketscan.Find(text); found {
			t.Errorf("%s shows a ticket: %s…", filepath.Base(path), claims)
		}
	}
}

// TestTicketsShown: a script whose command shows a ticket is caught, but for those that
// are there to write one.
func TestTicketsShown(t *testing.T) {
	ticket := "1,42,100,1700000000,3600,," + strings.Repeat("aB3-_9", 57)
	for _, tt := range []struct{ name, log, want string }{
		{"mint", "> exec scamp ticket mint --key k\n[stdout]\n" + ticket + "\n> cp stdout t\n", ""},
		{"verify", "> exec scamp ticket verify t\n[stdout]\nuser\t42\n", ""},
		{"call", "# a call\n> exec scamp call -v A.b\n[stderr]\nticket " + ticket + "\n", "exec scamp call -v A.b"},
		{"mint, then verify", "> exec scamp ticket mint --key k\n> exec scamp ticket verify t\n[stderr]\n" + ticket + "\n", "exec scamp ticket verify t"},
		{"the first", "[stderr of cache]\n" + ticket, "[stderr of cache]"},
	} {
		got := strings.Join(ticketsShown(tt.log), "; ")
		if tt.want == "" && got != "" || !strings.HasPrefix(got, tt.want) || strings.Contains(got, "aB3") {
			t.Errorf("%s: tickets shown in %q: %q, want %q", tt.name, tt.log, got, tt.want)
		}
	}
}
