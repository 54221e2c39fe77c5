package scamp

import (
	"log/slog"
	"os"
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
	out := zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr, NoColor: true, TimeFormat: time.DateTime}).With().Timestamp().Logger().Level(zerolog.WarnLevel)
	log := slog.New(zerolog.NewSlogHandler(out))
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
