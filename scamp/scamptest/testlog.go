package scamptest

import (
	"log/slog"
	"sync"
	"testing"
)

// A testLog is where buses without a Log write what is wrong on their side, such as a
// handler that panicked: the log of the test, for as long as it takes lines.
type testLog struct {
	mu sync.Mutex // held while a line is written, so that none comes after the end
	t  testing.TB // nil when the test has ended
}

// errorLog returns the log of a test for lines of level ERROR. It is silent from when the
// cleanups that are made after this call have run.
func errorLog(t testing.TB) *slog.Logger {
	w := &testLog{t: t}
	t.Cleanup(w.end)
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelError}))
}

func (w *testLog) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.t != nil {
		w.t.Logf("%s", line)
	}
	return len(line), nil
}

func (w *testLog) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.t = nil
}
