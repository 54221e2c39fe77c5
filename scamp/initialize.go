package scamp

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// defaultBus is the one global of the library, set by Initialize.
var defaultBus atomic.Pointer[Bus]

// Initialize opens a bus for the configuration at path and makes it the default bus.
// An empty path means the file that the environment names, else the first of the
// usual places, else defaults (PROTOCOL 13.1). Warnings go to stderr.
func Initialize(path string) (*Bus, error) {
	var cfg *Config
	var err error
	if path == "" {
		cfg, err = FindConfig(os.Getenv)
	} else {
		cfg, err = ReadConfig(path)
	}
	if err != nil {
		return nil, err
	}
	log := slog.New(TextHandler(os.Stderr, slog.LevelWarn))
	for _, w := range cfg.Warnings {
		log.Warn("configuration", "line", w.String())
	}
	b, err := Open(cfg, &Options{Log: log})
	if err != nil {
		return nil, err
	}
	defaultBus.Store(b)
	return b, nil
}

// Default is the bus of the last Initialize, nil if there was none.
func Default() *Bus { return defaultBus.Load() }

// TextHandler returns a handler that writes lines for people to w: what Initialize logs
// with, and the command. A time of the day has 24 hours, a duration its unit. It is safe
// for concurrent use if w is.
func TextHandler(w io.Writer, level slog.Leveler) slog.Handler {
	out := zerolog.New(zerolog.ConsoleWriter{Out: w, NoColor: true, TimeFormat: time.DateTime, FormatPrepare: keepCaller, FormatFieldName: fieldName}).Level(zerolog.TraceLevel)
	return textHandler{zerolog.NewSlogHandler(out), level}
}

// keepCaller has the attribute caller, which is who calls, shown like every other: the writer
// takes the name for a line of source code.
func keepCaller(fields map[string]any) error {
	if caller, ok := fields[zerolog.CallerFieldName]; ok {
		delete(fields, zerolog.CallerFieldName)
		fields[zerolog.CallerFieldName+" "] = caller
	}
	return nil
}

func fieldName(name any) string { return strings.TrimSuffix(fmt.Sprint(name), " ") + "=" }

// A textHandler writes durations as people read them: the one below writes numbers.
type textHandler struct {
	slog.Handler
	level slog.Leveler
}

func (h textHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

func (h textHandler) Handle(ctx context.Context, r slog.Record) error {
	readable := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		readable.AddAttrs(readableAttr(a))
		return true
	})
	return h.Handler.Handle(ctx, readable)
}

func (h textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	readable := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		readable[i] = readableAttr(a)
	}
	return textHandler{h.Handler.WithAttrs(readable), h.level}
}

func (h textHandler) WithGroup(name string) slog.Handler {
	return textHandler{h.Handler.WithGroup(name), h.level}
}

func readableAttr(a slog.Attr) slog.Attr {
	a.Value = a.Value.Resolve()
	switch a.Value.Kind() {
	case slog.KindDuration:
		d := a.Value.Duration()
		if d > time.Second {
			d = d.Round(time.Millisecond)
		}
		return slog.String(a.Key, strings.Replace(d.String(), "µ", "u", 1)) // what is not ASCII would be quoted
	case slog.KindGroup:
		group := a.Value.Group()
		readable := make([]slog.Attr, len(group))
		for i := range group {
			readable[i] = readableAttr(group[i])
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(readable...)}
	}
	return a
}
