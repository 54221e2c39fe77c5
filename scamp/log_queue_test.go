package scamp

// White-box: what the package itself logs, and how, is not to be seen from outside.

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A recorder is a handler that keeps its lines as they are, and may be told what else
// to do with each.
type recorder struct {
	*recorded
	prefix string
}

type recorded struct {
	also func()

	mu    sync.Mutex
	level slog.Level
	lines []string
}

func (r recorder) Enabled(_ context.Context, level slog.Level) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return level >= r.level
}

func (r recorder) Handle(_ context.Context, line slog.Record) error {
	text := r.prefix + line.Message
	line.Attrs(func(a slog.Attr) bool { text += fmt.Sprintf(" %s=%v", a.Key, a.Value); return true })
	r.mu.Lock()
	r.lines = append(r.lines, text)
	r.mu.Unlock()
	if r.also != nil {
		r.also()
	}
	return nil
}

func (r recorder) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		r.prefix += a.String() + " "
	}
	return r
}

func (r recorder) WithGroup(name string) slog.Handler {
	r.prefix += name + "."
	return r
}

func (r recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines
}

func newRecorded(rate int, also func()) (recorder, *logger) {
	r := recorder{recorded: &recorded{also: also}}
	limits := (&Limits{LogRate: rate, LogText: 20}).WithDefaults()
	return r, newLogger(slog.New(r), &limits)
}

// Lines of others go through the queue too, with what they were given by With and
// WithGroup.
func TestLogQueueKeepsAttributes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		r, l := newRecorded(1, func() { <-free })
		l.slog.Warn("plain", "n", 1)
		l.slog.With("who", "me").WithGroup("g").Warn("adorned", "n", 2)
		for range logQueue + 9 { // the first line is with the handler, or in the queue
			l.slog.Warn("many")
		}
		synctest.Wait()
		if got := len(r.all()); got > 1 {
			t.Fatalf("%d lines were taken by a stuck handler, want 1 at most", got)
		}
		close(free)
		l.wait()
		got := r.all()
		if n := int(l.counts["log_suppressed"]); len(got)+n != 2+logQueue+9 || n < 10 {
			t.Errorf("%d lines written and %d counted as left out, want %d together", len(got), n, 2+logQueue+9)
		}
		if got[0] != "plain n=1" || got[1] != "who=me g.adorned n=2" {
			t.Errorf("lines %q, want %q and %q", got[:2], "plain n=1", "who=me g.adorned n=2")
		}
	})
}

// A handler may end its goroutine, as t.Fatal does: the other lines are written all the
// same, and nobody waits for ever.
func TestLogHandlerEndsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRecorded(10, runtime.Goexit)
		for range 3 {
			l.warn("kind", "line")
		}
		l.wait()
		if got := len(r.all()); got != 3 {
			t.Errorf("%d lines are written, want 3", got)
		}
		l.warn("kind", "line")
		l.wait()
		if got := len(r.all()); got != 4 {
			t.Errorf("%d lines are written in the end, want 4", got)
		}
	})
}

// What a handler panics with may quote a caller: a line about it holds no control
// character, and only its stack has lines (PROTOCOL 18).
func TestLogFaultIsClean(t *testing.T) {
	r, l := newRecorded(1, nil)
	l.fault("handler_panicked", "panicked", "panic", "\x1b[2J\r\n\x9b"+strings.Repeat("x", 100), "stack", "main.f(\x1b\x07\xff\u202e)\n\tmain.go:1\r\n")
	l.wait()
	want := `panicked panic=\x1b[2J\r\n\x9bxxxxxxxxxxxxx... stack=main.f(` + "\ufffd\ufffd\ufffd\ufffd)\n\tmain.go:1\ufffd\n"
	if got := r.all(); len(got) != 1 || got[0] != want {
		t.Errorf("lines\n%q, want\n%q", got, want)
	}
}

// Lines that were left out are told by the next one that is written, even if the log
// was not interested meanwhile.
func TestLogLeftOutIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRecorded(1, nil)
		for range 4 {
			l.warn("kind", "line")
		}
		l.wait()
		for _, level := range []slog.Level{slog.LevelError, slog.LevelWarn} {
			<-time.After(time.Second)
			r.mu.Lock()
			r.level = level
			r.mu.Unlock()
			l.warn("kind", "line")
			l.wait()
		}
		if got := strings.Join(r.all(), "; "); got != "line; line left_out=3" {
			t.Errorf("lines %q, want %q", got, "line; line left_out=3")
		}
	})
}
