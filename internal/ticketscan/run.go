package ticketscan

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
)

// A Scanner hears lines and remembers the tickets in them. Safe for concurrent use; the
// zero value hears.
type Scanner struct {
	mu    sync.Mutex
	lines int
	found []string
}

// mostFound is how many tickets are told of: who shows one shows many.
const mostFound = 20

// Hear looks at a line, or at any text. where is for people, such as the name of a test.
func (s *Scanner) Hear(where string, text []byte) {
	claims, found := Find(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines++
	if found && len(s.found) < mostFound {
		s.found = append(s.found, fmt.Sprintf("%s: a ticket is shown: %s…, in a text that begins with %.60q", where, claims, text))
	}
}

// Log hears what is logged to it, down to the level of debug.
func (s *Scanner) Log(where string) *slog.Logger {
	return slog.New(slog.NewTextHandler(hearing{s, where}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type hearing struct {
	s     *Scanner
	where string
}

func (h hearing) Write(line []byte) (int, error) {
	h.s.Hear(h.where, line)
	return len(line), nil
}

// Report writes what was found, and says whether that was nothing.
func (s *Scanner) Report(w io.Writer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.found {
		fmt.Fprintf(w, "ticketscan: %s\n", f)
	}
	return len(s.found) == 0
}

// suite is the Scanner of the tests that Run runs; nil elsewhere (invariant 1).
var suite atomic.Pointer[Scanner]

// Tests are those of a package: a *testing.M.
type Tests interface{ Run() int }

// A Suite is tests that fail when one of them shows a ticket.
type Suite struct {
	Tests Tests
	Out   io.Writer // for the report; nil means os.Stderr
}

// Run runs the tests and returns the exit code of all.
func (s Suite) Run() int {
	heard := new(Scanner)
	suite.Store(heard)
	defer suite.Store(nil)
	code := s.Tests.Run()
	out := s.Out
	if out == nil {
		out = os.Stderr
	}
	if !heard.Report(out) {
		return max(code, 1)
	}
	return code
}

// Hear looks at a text on behalf of the tests that run, if they are a Suite.
func Hear(where string, text []byte) {
	if s := suite.Load(); s != nil {
		s.Hear(where, text)
	}
}

// Log returns what a bus of test t logs to that was given log, which may be nil: to that,
// and to the Suite that runs, if one does.
func Log(t interface{ Name() string }, log *slog.Logger) *slog.Logger {
	s := suite.Load()
	switch {
	case s == nil:
		return log
	case log == nil:
		return s.Log(t.Name())
	}
	return slog.New(slog.NewMultiHandler(s.Log(t.Name()).Handler(), log.Handler()))
}
