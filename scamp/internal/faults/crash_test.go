//go:build linux

package main

import (
	"bytes"
	"context"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A process of the stage that dies by itself fails the row, whatever its ledger says.
func TestCrashFailsTheRow(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	u := newSuite(setting{seed: 3, scale: 1, rate: 0.2}, &out, &out)
	crash := row{id: "X", fault: "a process panics", seconds: 3, minOK: 0.9, run: func(ctx context.Context, s *stage) error {
		if err := s.open(ctx, layout{}); err != nil {
			return err
		}
		return s.load(ctx, []act{{time.Second, "crash", func(context.Context) error {
			return s.cache.signal(syscall.SIGQUIT) // as a panic: stack on stderr, exit code 2
		}}})
	}}
	if err := u.run(t.Context(), []row{crash}); err == nil || !strings.Contains(out.String(), "ended by itself") {
		t.Errorf("the cache manager crashed, and the row says %v:\n%s", err, out.String())
	}
}
