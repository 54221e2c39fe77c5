package scamp_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/scamp"
)

// TestTextHandler: people read the day, 24 hours, and durations with their unit.
func TestTextHandler(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(scamp.TextHandler(&out, slog.LevelWarn))
	log.Info("not shown", "age", time.Second)
	log.With("for", 90*time.Second).WithGroup("of").Warn("shown", "age", 1500*time.Millisecond, slog.Group("more", "took", 3*time.Microsecond), "n", 7)
	log.Warn("refused", "caller", "AB:CD", "asks", "main:A.b")
	line := out.String()
	if strings.Contains(line, "not shown") || strings.Contains(line, "AM") || strings.Contains(line, "PM") {
		t.Errorf("log: %q, want one line, and 24 hours", line)
	}
	if _, err := time.ParseInLocation(time.DateTime, line[:min(len(line), len(time.DateTime))], time.Local); err != nil {
		t.Errorf("log: %q: %v, want the time first", line, err)
	}
	for _, want := range []string{"WRN shown", "for=1m30s", "age=1.5s", "took=3us", "n=7", "WRN refused", " caller=AB:CD"} {
		if !strings.Contains(line, want) {
			t.Errorf("log: %q, want %q in it", line, want)
		}
	}
}
