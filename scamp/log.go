package scamp

import (
	"log/slog"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// A logger tells what nobody can be told by a return, and counts. Lines of one kind
// come at most LogRate a second; the next one says how many were left out (THREATS X1).
type logger struct {
	slog *slog.Logger
	mux  *mux.Counters
	rate int
	text int

	mu     sync.Mutex
	counts map[string]uint64
	kinds  map[string]*logKind
}

type logKind struct {
	second  int64 // of the line last written
	lines   int   // in that second
	skipped int
}

func newLogger(l *slog.Logger, limits *Limits) *logger {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	return &logger{slog: l, mux: new(mux.Counters), rate: limits.LogRate, text: limits.LogText,
		counts: make(map[string]uint64), kinds: make(map[string]*logKind)}
}

// count counts one.
func (l *logger) count(name string) {
	l.mu.Lock()
	l.counts[name]++
	l.mu.Unlock()
}

// odd counts and writes a line about something a peer did. kind is the counter.
func (l *logger) odd(kind, msg string, args ...any) {
	l.mu.Lock()
	l.counts[kind]++
	l.mu.Unlock()
	l.warn(kind, msg, args...)
}

// warn writes a line unless its kind has had its share. Strings among args come from
// the network: they are escaped and cut.
func (l *logger) warn(kind, msg string, args ...any) {
	skipped, ok := l.share(kind)
	if !ok {
		return
	}
	for i := 1; i < len(args); i += 2 {
		switch v := args[i].(type) {
		case string:
			args[i] = l.cut(v)
		case error:
			args[i] = l.cut(v.Error())
		}
	}
	if skipped > 0 {
		args = append(args, "left_out", skipped)
	}
	l.slog.Warn(msg, args...)
}

// fault counts and writes an error of this side, such as a handler that panicked, unless
// its kind has had its share: callers can make it happen as often as they like. Nothing
// is cut, for a stack is long.
func (l *logger) fault(kind, msg string, args ...any) {
	l.count(kind)
	skipped, ok := l.share(kind)
	if !ok {
		return
	}
	if skipped > 0 {
		args = append(args, "left_out", skipped)
	}
	l.slog.Error(msg, args...)
}

// share says whether a line of that kind may be written now, and how many were left out
// since the last one.
func (l *logger) share(kind string) (skipped int, ok bool) {
	now := time.Now().Unix()
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kinds[kind]
	if k == nil {
		k = new(logKind)
		l.kinds[kind] = k
	}
	if k.second != now {
		k.second, k.lines = now, 0
	}
	if k.lines >= l.rate {
		k.skipped++
		l.counts["log_suppressed"]++
		return 0, false
	}
	k.lines++
	skipped, k.skipped = k.skipped, 0
	return skipped, true
}

func (l *logger) cut(s string) string {
	if len(s) > l.text {
		s = s[:l.text] + "..."
	}
	return clean(s)
}

// each calls f for every counter that has counted.
func (l *logger) each(f func(name string, n uint64)) {
	l.mux.Each(f)
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, n := range l.counts {
		f(name, n)
	}
}
