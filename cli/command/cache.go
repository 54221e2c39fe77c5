package command

import (
	"errors"
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
read them. It is the only writer of that file; readers see the old file or the new one. Its
lock lies beside the file: a second daemon ends with 1, and so does one whose lock somebody
removed, when another daemon has taken it since.

It runs until SIGINT, SIGTERM or --timeout; then it writes what changed last, gives its lock
back and says what it did. The file stays. The exit code is 1 when that last write fails. One daemon a host is enough, and a bus without
discovery.cache_path needs none: it listens itself.

Rules are read again whenever their file changes. At SIGHUP the configuration is read again
too, and bus.authorized_services, bus.require_sha256, discovery.publish and
discovery.strict_cache take effect; it says which other keys changed that need a restart. A
configuration that cannot be used changes nothing.

With --json it prints events, one a line:
  ready     cache, group (HOST:PORT), interfaces: it listens, and nobody else writes the file
  added     ident, address, fingerprint, why (announced, allowed): it can be called now
  updated   the same: something about it changed
  removed   the same; why: goodbye, expired, unauthorized, replaced
  written   cache, records, octets, writes: the file was written; writes counts since the start
  unwritten cache, error: the file cannot be written; the old one stays, and it is tried again
  refused   counts: what was refused or dropped within 10 seconds, each by its name
  reloaded  changed, needs_restart: keys that differ; rules: how many are in force
  unusable  error: at SIGHUP, the configuration or the rules; the old ones stay in force
  stopped   records, writes`,
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

// noAddress is what to do where discovery has no address.
const noAddress = "set bus.address (or discovery.address) in the configuration, for example bus.address = 127.0.0.1"

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
		err := errors.Join(m.Problems()...)
		if err == nil {
			err = scamp.ErrNoIface
		}
		return nil, hint(err, noAddress)
	}
	for _, err := range m.Problems() {
		if errors.Is(err, scamp.ErrNoIface) {
			a.log.Warn("no announcement is heard", "error", err, "fix", noAddress)
			continue
		}
		a.log.Warn("discovery goes on without an interface", "error", err)
	}
	return m, nil
}

// An event is one JSON line of a daemon.
type event struct {
	Event string `json:"event"`
}

// event prints an event if events are wanted. That nobody reads them any more is told
// once, and is no reason for a daemon to end.
func (a *app) event(v any) error {
	if !a.json {
		return nil
	}
	err := a.printJSON(v)
	if errors.Is(err, errStdout) {
		a.deaf.Do(func() { a.log.Warn("no event is told any more", "error", err) })
		return nil
	}
	return err
}

func ifaceNames(ifaces []discovery.Iface) []string {
	names := make([]string, len(ifaces))
	for i, iface := range ifaces {
		names[i] = iface.String()
	}
	return names
}

// warmUp is how long to listen before one may believe to know everybody: each service
// repeats itself once an interval.
const warmUp = 6 * time.Second
