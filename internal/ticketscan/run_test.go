package ticketscan_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/internal/ticketscan"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

type tests func() int

func (f tests) Run() int { return f() }

// TestSuiteHearsBuses: a ticket that a bus logs at whatever level, with a log of its own
// or without, fails the tests that make it do so, by the name of the test.
func TestSuiteHearsBuses(t *testing.T) {
	tells := func(level slog.Level) func(t *testing.T, show bool) *scamp.Options {
		return func(t *testing.T, _ bool) *scamp.Options {
			return &scamp.Options{Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level}))}
		}
	}
	for _, tt := range []struct {
		name string
		opts func(t *testing.T, show bool) *scamp.Options
		show bool
		code int // of the tests that show
		want int
	}{
		{"silent", func(*testing.T, bool) *scamp.Options { return nil }, true, 0, 1},
		{"loud", tells(slog.LevelDebug), true, 0, 1},
		{"deaf", tells(slog.LevelError + 4), true, 0, 1},
		{"failed anyhow", tells(slog.LevelDebug), true, 3, 3},
		{"discreet", tells(slog.LevelDebug), false, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var report bytes.Buffer
			var signature string
			code := ticketscan.Suite{Out: &report, Tests: tests(func() int {
				t.Run("inside", func(t *testing.T) { signature = panicWith(t, tt.opts(t, tt.show), tt.show) })
				return tt.code
			})}.Run()
			if code != tt.want {
				t.Errorf("exit code %d, want %d; report:\n%s", code, tt.want, &report)
			}
			if tt.show != strings.Contains(report.String(), t.Name()+"/inside: a ticket is shown: 1,7,") {
				t.Errorf("report %q, want the name of the test in it: %t", &report, tt.show)
			}
			if strings.Contains(report.String(), signature) {
				t.Errorf("report %q shows what it is about", &report)
			}
		})
	}
}

// panicWith has a handler panic with the ticket it was given, or with what the ticket
// prints as, and returns a piece of its signature.
func panicWith(t *testing.T, opts *scamp.Options, show bool) string {
	n := scamptest.New(t)
	bus := n.Bus(opts)
	n.ServeOn(bus, "sample", nil, func(s *scamp.Service) {
		s.Handle("Sample.panic", func(_ context.Context, req *scamp.Request, _ *scamp.ReplyWriter) error {
			if show {
				panic("of " + string(req.Ticket))
			}
			panic(req.Ticket)
		}, nil)
	})
	ticket := n.Ticket(scamp.TicketClaims{User: 7})
	if _, err := n.Bus(nil).Call(t.Context(), &scamp.Request{Action: "Sample.panic", Ticket: ticket}); err == nil {
		t.Error("the call succeeded, want that its handler panics")
	}
	bus.Close() // its last lines are written
	return string(ticket[len(ticket)-20:])
}

// Outside a Suite nobody hears, and a bus has the log that it was given (invariant 1).
func TestNoSuite(t *testing.T) {
	ticketscan.Hear("nowhere", []byte("anything"))
	if got := ticketscan.Log(t, nil); got != nil {
		t.Errorf("Log of nil outside a Suite: %v, want nil", got)
	}
	if own := slog.Default(); ticketscan.Log(t, own) != own {
		t.Error("Log outside a Suite is not the log it was given")
	}
}
