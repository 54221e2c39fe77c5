package scamp

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// A logger tells what nobody can be told by a return, and counts. Lines of one kind
// come at most LogRate a second; the next one says how many were left out (THREATS X1).
// Whoever has a line, a connection's reader for example, never waits for the log: lines
// go through a queue to a goroutine that runs while there are any.
type logger struct {
	slog *slog.Logger // puts its lines into the queue
	to   slog.Handler // where they go
	mux  *mux.Counters
	rate int
	text int

	first int

	mu     sync.Mutex
	counts map[string]uint64
	kinds  map[string]*logKind
	told   map[string]struct{} // of whom there was a first line
	queue  []logLine
	busy   chan struct{} // closed when no line is left; nil if there are none
}

// logQueue is how many lines wait for a log that takes its time: some of each kind. What
// comes then is left out.
const logQueue = 64

// A logLine is a line that waits for its handler.
type logLine struct {
	to slog.Handler
	r  slog.Record
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
	own := &logger{to: l.Handler(), mux: new(mux.Counters), rate: limits.LogRate, text: limits.LogText, first: limits.LogFirst,
		counts: make(map[string]uint64), kinds: make(map[string]*logKind), told: make(map[string]struct{})}
	own.slog = slog.New(logQueued{own, own.to})
	return own
}

// A logQueued is a handler behind the queue of a logger: who has a line goes on at once.
type logQueued struct {
	l  *logger
	to slog.Handler
}

func (q logQueued) Enabled(ctx context.Context, level slog.Level) bool {
	return q.to.Enabled(ctx, level)
}

func (q logQueued) Handle(_ context.Context, r slog.Record) error {
	q.l.mu.Lock()
	defer q.l.mu.Unlock()
	q.l.putLocked(logLine{q.to, r.Clone()})
	return nil
}

func (q logQueued) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logQueued{q.l, q.to.WithAttrs(attrs)}
}

func (q logQueued) WithGroup(name string) slog.Handler {
	return logQueued{q.l, q.to.WithGroup(name)}
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

// oddOf is odd about one of many, whom somebody has to know by name: the first line about
// each is written whatever the others have made of the share of its kind. That is for so
// many of all kinds as Limits.LogFirst says, so that nobody can have it written for ever.
func (l *logger) oddOf(kind, who, msg string, args ...any) {
	who = kind + " " + who
	heard := l.to.Enabled(context.Background(), slog.LevelWarn)
	l.mu.Lock()
	l.counts[kind]++
	_, told := l.told[who]
	first := !told && heard && len(l.told) < l.first
	if first {
		l.told[who] = struct{}{}
	}
	l.mu.Unlock()
	if !first {
		l.warn(kind, msg, args...)
		return
	}
	skipped, _ := l.share(kind, true)
	if !l.queued(slog.LevelWarn, kind, skipped, msg, args) {
		l.mu.Lock()
		delete(l.told, who) // there was no room for it: the next one is the first
		l.mu.Unlock()
	}
}

// warn writes a line unless its kind has had its share. Strings among args come from
// the network: they are escaped and cut.
func (l *logger) warn(kind, msg string, args ...any) {
	l.put(slog.LevelWarn, kind, msg, args)
}

// fault counts and writes an error of this side, such as a handler that panicked, unless
// its kind has had its share: callers can make it happen as often as they like, and what
// a handler panics with may quote them. A "stack" is escaped but not cut, for it is long.
func (l *logger) fault(kind, msg string, args ...any) {
	l.count(kind)
	l.put(slog.LevelError, kind, msg, args)
}

// panicked counts and writes that the handler of an action panicked with v. It is called
// while the stack is that of the panic.
func (l *logger) panicked(action string, v any) {
	l.fault("handler_panicked", "handler panicked", "action", action, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
}

// guard runs what the program handed in, on a goroutine of ours. If that panics, or ends the
// goroutine, the log says so and failed is given it as an error.
func (l *logger) guard(what string, f func(), failed func(error)) {
	returned := false
	defer func() {
		if returned {
			return
		}
		v := recover()
		if v == nil { // runtime.Goexit
			l.fault("callback_panicked", "what the program handed in ended a goroutine of the bus", "function", what)
			failed(fmt.Errorf("%s ended its goroutine", what))
			return
		}
		l.fault("callback_panicked", "what the program handed in panicked", "function", what, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		if err, ok := v.(error); ok {
			failed(fmt.Errorf("%s panicked: %w", what, err))
		} else {
			failed(fmt.Errorf("%s panicked: %v", what, v))
		}
	}()
	f()
	returned = true
}

// put queues a line, which tells how many of its kind were left out before it.
func (l *logger) put(level slog.Level, kind, msg string, args []any) {
	if !l.to.Enabled(context.Background(), level) {
		return // what was left out is for the next line that somebody reads
	}
	skipped, ok := l.share(kind, false)
	if ok {
		l.queued(level, kind, skipped, msg, args)
	}
}

// queued queues a line, and says whether there was room for it.
func (l *logger) queued(level slog.Level, kind string, skipped int, msg string, args []any) bool {
	for i := 1; i < len(args); i += 2 {
		switch v := args[i].(type) {
		case string:
			if args[i-1] == "stack" {
				args[i] = cleanLines(v)
			} else {
				args[i] = l.cut(v)
			}
		case error:
			args[i] = l.cut(v.Error())
		}
	}
	r := slog.NewRecord(time.Now(), level, msg, 0)
	r.Add(args...)
	if skipped > 0 {
		r.Add("left_out", skipped)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.putLocked(logLine{l.to, r}) {
		return true
	}
	l.kindLocked(kind).skipped += skipped + 1
	return false
}

// putLocked queues a line, or counts it as left out: then it is false.
func (l *logger) putLocked(line logLine) bool {
	if len(l.queue) >= logQueue {
		l.counts["log_suppressed"]++
		return false
	}
	l.queue = append(l.queue, line)
	if l.busy == nil {
		l.busy = make(chan struct{})
		go l.write() // ends when no line is left; wait waits for it
	}
	return true
}

// write writes lines until none is left.
func (l *logger) write() {
	defer l.wrote()
	for {
		l.mu.Lock()
		if len(l.queue) == 0 {
			l.mu.Unlock()
			return
		}
		line := l.queue[0]
		l.queue[0] = logLine{}
		l.queue = l.queue[1:]
		l.mu.Unlock()
		line.to.Handle(context.Background(), line.r) // its error nobody could be told
	}
}

// wrote ends a write. A handler that ends its goroutine, as t.Fatal does, leaves lines
// that another one writes.
func (l *logger) wrote() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) > 0 {
		go l.write() // ends when no line is left; wait waits for it
		return
	}
	close(l.busy)
	l.busy, l.queue = nil, nil
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
// since the last one. The first line about somebody may be, and takes of the share.
func (l *logger) share(kind string, first bool) (skipped int, ok bool) {
	now := time.Now().Unix()
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kindLocked(kind)
	if k.second != now {
		k.second, k.lines = now, 0
	}
	if k.lines >= l.rate && !first {
		k.skipped++
		l.counts["log_suppressed"]++
		return 0, false
	}
	k.lines++
	skipped, k.skipped = k.skipped, 0
	return skipped, true
}

func (l *logger) kindLocked(kind string) *logKind {
	k := l.kinds[kind]
	if k == nil {
		k = new(logKind)
		l.kinds[kind] = k
	}
	return k
}

func (l *logger) cut(s string) string { return cutText(s, l.text) }

// cutText is the beginning of a text, escaped: the limit is for what comes from the network.
func cutText(s string, most int) string {
	if len(s) > most {
		s = s[:most] + "..."
	}
	return clean(s)
}

// cleanLines makes text of some lines harmless: of what cannot be printed it leaves line
// ends and tabs only.
func cleanLines(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
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
