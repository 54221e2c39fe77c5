package scamp

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// A logger tells what nobody can be told by a return, and counts. Lines of one kind
// come at most LogRate a second; the next one says how many were left out (THREATS X1).
// Whoever has a line, a connection's reader for example, never waits for the log: lines
// go through a queue to a goroutine that runs while there are any.
type logger struct {
	slog *slog.Logger
	mux  *mux.Counters
	rate int
	text int

	mu     sync.Mutex
	counts map[string]uint64
	kinds  map[string]*logKind
	queue  []slog.Record
	busy   chan struct{} // closed when no line is left; nil if there are none
}

// logQueue is how many lines wait for a log that takes its time: some of each kind. What
// comes then is left out.
const logQueue = 64

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
	l.put(slog.LevelWarn, kind, skipped, msg, args)
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
	l.put(slog.LevelError, kind, skipped, msg, args)
}

// put queues a line, which tells how many of its kind were left out before it.
func (l *logger) put(level slog.Level, kind string, skipped int, msg string, args []any) {
	if !l.slog.Enabled(context.Background(), level) {
		return
	}
	r := slog.NewRecord(time.Now(), level, msg, 0)
	r.Add(args...)
	if skipped > 0 {
		r.Add("left_out", skipped)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) >= logQueue {
		l.counts["log_suppressed"]++
		l.kinds[kind].skipped += skipped + 1
		return
	}
	l.queue = append(l.queue, r)
	if l.busy == nil {
		l.busy = make(chan struct{})
		go l.write() // ends when no line is left; wait waits for it
	}
}

// write writes lines until none is left.
func (l *logger) write() {
	for {
		l.mu.Lock()
		if len(l.queue) == 0 {
			close(l.busy)
			l.busy, l.queue = nil, nil
			l.mu.Unlock()
			return
		}
		r := l.queue[0]
		l.queue[0] = slog.Record{}
		l.queue = l.queue[1:]
		l.mu.Unlock()
		l.slog.Handler().Handle(context.Background(), r) // its error nobody could be told
	}
}

// wait waits until every line is written.
func (l *logger) wait() {
	l.mu.Lock()
	busy := l.busy
	l.mu.Unlock()
	if busy != nil {
		<-busy
	}
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
