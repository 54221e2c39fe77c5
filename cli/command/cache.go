package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

func (a *app) cacheCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cache",
		Short: "Run the cache daemon",
		Long: `Cache listens to announcements and keeps the valid ones in the cache file that
discovery.cache_path names (default ` + scamp.DefaultCachePath + `), where programs on this host
read them. It is the only writer of that file; readers see the old file or the new one.

It runs until SIGINT, SIGTERM or --timeout; the file stays. One daemon a host is enough, and a
bus without discovery.cache_path needs none: it listens itself.

With --json it prints events: {"event":"ready","cache":PATH,"group":HOST:PORT,"interfaces":[...]},
{"event":"added"|"updated"|"removed","ident":...,"address":...,"fingerprint":...,"why":...} for
each instance that can be called, and {"event":"stopped"}.`,
		Example: `  scamp --config bus/soa.conf cache
  scamp --config bus/soa.conf cache --json --log-level warn`,
		Args:        args(cobra.NoArgs),
		Annotations: map[string]string{logLevelOf: "info"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			ctx, cancel := a.limit(cmd.Context())
			defer cancel()
			return a.cache(ctx, cfg.WithDefaults())
		},
	}
}

// cachePath is the file of the cache daemon.
func cachePath(cfg *scamp.Config) string {
	if cfg.CachePath == "" {
		return scamp.DefaultCachePath
	}
	return cfg.CachePath
}

// openMulticast opens what the configuration says of discovery, and tells of the
// interfaces that are left out. Only who follows them can begin without any.
func (a *app) openMulticast(cfg *scamp.Config, follow bool) (*discovery.Multicast, error) {
	m, err := discovery.NewMulticast(discovery.MulticastOptions{
		Group: cfg.MulticastAddress, Port: cfg.DiscoveryPort, Select: cfg.FollowDiscovery(), Interval: cfg.Interval, Log: a.log,
	})
	if err != nil {
		return nil, err
	}
	if len(m.Ifaces()) == 0 && !follow {
		m.Close()
		return nil, hint(errors.Join(m.Problems()...), "set bus.address (or discovery.address) in the configuration, for example bus.address = 127.0.0.1")
	}
	for _, err := range m.Problems() {
		a.log.Warn("discovery goes on without an interface", "error", err)
	}
	return m, nil
}

// cache runs the daemon until ctx ends.
func (a *app) cache(ctx context.Context, cfg *scamp.Config) error {
	path := cachePath(cfg)
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return hint(fmt.Errorf("scamp: cache file %s: its directory is missing", path), "make it, or change discovery.cache_path")
	}
	carrier, err := a.openMulticast(cfg, true)
	if err != nil {
		return err
	}
	dir := discovery.NewDirectory(&discovery.DirectoryOptions{Limits: cfg.Limits.Discovery, Log: a.log})
	rules := discovery.NewAuthorizedReader(cfg.AuthorizedPath(), dir, &discovery.AuthorizedReaderOptions{RequireSHA256: cfg.RequireSHA256, Log: a.log})
	rules.Load() // its State and the log say what is wrong; records are published all the same
	writer := discovery.NewCacheWriter(path, dir, &discovery.CacheWriterOptions{Loose: cfg.LooseCache, NamedOnly: cfg.PublishKnown, Log: a.log})
	observer := discovery.NewObserver(carrier, dir, &discovery.ObserverOptions{Log: a.log})

	if err := writer.Claim(); err != nil {
		carrier.Close()
		dir.Close()
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var work sync.WaitGroup
	work.Go(func() { rules.Run(ctx) })                                        // ends with ctx
	work.Go(func() { carrier.Follow(ctx) })                                   // ends with ctx
	work.Go(func() { a.watchInstances(ctx, dir) })                            // ends with ctx
	work.Go(func() { cancel(failure("listening", observer.Run(ctx))) })       // ends with ctx or the carrier
	work.Go(func() { cancel(failure("writing the cache", writer.Run(ctx))) }) // ends with ctx or for good reason
	err = a.event(cacheReady{"ready", path, carrier.Group().String(), ifaceNames(carrier.Ifaces())})
	if err != nil {
		cancel(err)
	}
	a.log.Info("listening", "group", carrier.Group().String(), "cache", path)
	<-ctx.Done()
	err = context.Cause(ctx)
	carrier.Close()
	work.Wait()
	dir.Close()
	if errors.Is(err, errInterrupted) || errors.Is(err, context.DeadlineExceeded) {
		a.log.Info("stopped")
		return a.event(event{"stopped"})
	}
	return err
}

// failure wraps why a part of a daemon ended.
func failure(what string, err error) error {
	if err == nil || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("scamp: %s: %w", what, err)
}

// An event is one JSON line of a daemon.
type event struct {
	Event string `json:"event"`
}

type cacheReady struct {
	Event      string   `json:"event"`
	Cache      string   `json:"cache"`
	Group      string   `json:"group"` // host:port
	Interfaces []string `json:"interfaces"`
}

type instanceEvent struct {
	Event       string `json:"event"`
	Ident       string `json:"ident"`
	Address     string `json:"address"` // host:port
	Fingerprint string `json:"fingerprint"`
	Why         string `json:"why"`
}

// event prints an event if events are wanted.
func (a *app) event(v any) error {
	if !a.json {
		return nil
	}
	return a.printJSON(v)
}

func ifaceNames(ifaces []discovery.Iface) []string {
	names := make([]string, len(ifaces))
	for i, iface := range ifaces {
		names[i] = iface.String()
	}
	return names
}

// watchInstances tells what comes and goes until ctx ends.
func (a *app) watchInstances(ctx context.Context, dir *discovery.Directory) {
	for e := range dir.Watch(ctx, discovery.Query{}) {
		p := e.Route.Peer
		a.event(instanceEvent{e.Kind.String(), p.Ident, p.Address, p.Certificate.Fingerprint, e.Why.String()})
		a.log.Info("instance "+e.Kind.String(), "ident", clean(p.Ident), "address", clean(p.Address), "why", e.Why.String())
	}
}

// warmUp is how long to listen before one may believe to know everybody: each service
// repeats itself once an interval.
const warmUp = 6 * time.Second
