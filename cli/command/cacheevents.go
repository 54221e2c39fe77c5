package command

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// The events of the cache daemon; cache --help says when they come.
type (
	cacheReady struct {
		Event      string   `json:"event"`
		Cache      string   `json:"cache"`
		Group      string   `json:"group"` // host:port
		Interfaces []string `json:"interfaces"`
	}
	instanceEvent struct {
		Event       string `json:"event"`
		Ident       string `json:"ident"`
		Address     string `json:"address"` // host:port
		Fingerprint string `json:"fingerprint"`
		Why         string `json:"why"`
	}
	cacheWritten struct {
		Event   string `json:"event"`
		Cache   string `json:"cache"`
		Records int    `json:"records"`
		Octets  int    `json:"octets"`
		Writes  int    `json:"writes"` // since the start
	}
	cacheUnwritten struct {
		Event string `json:"event"`
		Cache string `json:"cache"`
		Error string `json:"error"`
	}
	cacheRefused struct {
		Event  string            `json:"event"`
		Counts map[string]uint64 `json:"counts"`
	}
	cacheReloaded struct {
		Event        string   `json:"event"`
		Changed      []string `json:"changed"`
		NeedsRestart []string `json:"needs_restart"`
		Rules        int      `json:"rules"`
	}
	cacheUnusable struct {
		Event string `json:"event"`
		Error string `json:"error"`
	}
	cacheStopped struct {
		Event   string `json:"event"`
		Records int    `json:"records"`
		Writes  int    `json:"writes"`
	}
)

// tellInstances tells what comes and goes until ctx ends.
func (d *cacheDaemon) tellInstances(ctx context.Context) {
	for e := range d.dir.Watch(ctx, discovery.Query{}) {
		p := e.Route.Peer
		d.a.event(instanceEvent{e.Kind.String(), p.Ident, p.Address, p.Certificate.Fingerprint, e.Why.String()})
		d.a.log.Info("instance "+e.Kind.String(), "ident", clean(p.Ident), "address", clean(p.Address), "why", e.Why.String())
	}
}

// noteWrite is called by the writer, which must not wait for those who read events.
func (d *cacheDaemon) noteWrite(discovery.CacheWriterState) {
	select {
	case d.wrote <- struct{}{}:
	default: // a token is there already
	}
}

// tellWrites tells how the file is, the latest that is known, until ctx ends.
func (d *cacheDaemon) tellWrites(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wrote:
		}
		d.tellWrite()
	}
}

// tellLastWrite tells what the writer did after tellWrites had ended.
func (d *cacheDaemon) tellLastWrite() {
	select {
	case <-d.wrote:
		d.tellWrite()
	default: // all is told
	}
}

func (d *cacheDaemon) tellWrite() {
	s := d.writer.State()
	if s.Err != nil {
		d.a.event(cacheUnwritten{"unwritten", s.Path, s.Err.Error()}) // the writer logs it
		return
	}
	d.a.event(cacheWritten{"written", s.Path, s.Records, s.Octets, s.Writes})
	d.a.log.Info("written", "cache", s.Path, "records", s.Records)
}

// refusalTime is between two summaries of what was refused.
const refusalTime = 10 * time.Second

// tellRefusals tells what was refused since the last time, until ctx ends.
func (d *cacheDaemon) tellRefusals(ctx context.Context) {
	tick := time.NewTicker(refusalTime)
	defer tick.Stop()
	told := make(map[string]uint64)
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			ended = true
		case <-tick.C:
		}
		counts := make(map[string]uint64)
		now := d.dir.Stats().Refusals()
		for name, n := range now {
			if n > told[name] {
				counts[name] = n - told[name]
			}
		}
		told = now
		if len(counts) == 0 {
			continue
		}
		d.a.event(cacheRefused{"refused", counts})
		var args []any
		for _, name := range slices.Sorted(maps.Keys(counts)) {
			args = append(args, name, counts[name])
		}
		d.a.log.Warn("refused or dropped", args...)
	}
}
