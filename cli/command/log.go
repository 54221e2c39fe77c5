package command

import (
	"io"
	"log/slog"
	"strings"

	"github.com/rs/zerolog"
)

// levels are the words of --log-level.
var levels = map[string]zerolog.Level{
	"debug": zerolog.DebugLevel,
	"info":  zerolog.InfoLevel,
	"warn":  zerolog.WarnLevel,
	"error": zerolog.ErrorLevel,
	"off":   zerolog.Disabled,
}

// newLogger returns the logger of a command: lines for people, or JSON.
func newLogger(w io.Writer, level string, json bool) (*slog.Logger, error) {
	l, ok := levels[strings.ToLower(level)]
	if !ok {
		return nil, usagef("--log-level %q: want debug, info, warn, error or off", level)
	}
	if json {
		w = jsonWriter{w}
	} else {
		w = zerolog.ConsoleWriter{Out: w, NoColor: true, TimeFormat: "15:04:05"}
	}
	return slog.New(zerolog.NewSlogHandler(zerolog.New(w).Level(l))), nil
}
