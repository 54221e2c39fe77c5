package command

import (
	"io"
	"log/slog"
	"math"
	"strings"

	"github.com/rs/zerolog"

	"github.com/scampbus/scamp-go/scamp"
)

// levels are the words of --log-level.
var levels = map[string]slog.Level{
	"debug": slog.LevelDebug,
	"info":  slog.LevelInfo,
	"warn":  slog.LevelWarn,
	"error": slog.LevelError,
	"off":   math.MaxInt,
}

// newLogger returns the logger of a command: lines for people, or JSON, where durations
// are milliseconds.
func newLogger(w io.Writer, level string, json bool) (*slog.Logger, error) {
	l, ok := levels[strings.ToLower(level)]
	if !ok {
		return nil, usagef("--log-level %q: want debug, info, warn, error or off", level)
	}
	if !json {
		return slog.New(scamp.TextHandler(w, l)), nil
	}
	to := zerolog.New(jsonWriter{w}).Level(zerologLevels[l])
	return slog.New(zerolog.NewSlogHandler(to)), nil
}

var zerologLevels = map[slog.Level]zerolog.Level{
	slog.LevelDebug: zerolog.DebugLevel, slog.LevelInfo: zerolog.InfoLevel, slog.LevelWarn: zerolog.WarnLevel,
	slog.LevelError: zerolog.ErrorLevel, math.MaxInt: zerolog.Disabled,
}
