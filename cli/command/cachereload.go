package command

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// followRules keeps the rules in step with their file, and reads the configuration
// again at each signal.
func (d *cacheDaemon) followRules(ctx context.Context, hup <-chan os.Signal) {
	for {
		follow, stop := context.WithCancel(ctx)
		var work sync.WaitGroup
		work.Go(func() { d.rules.Run(follow) }) // ends with follow
		select {
		case <-hup:
		case <-ctx.Done():
		}
		stop()
		work.Wait()
		if ctx.Err() != nil {
			return
		}
		if err := d.reload(); err != nil {
			d.a.log.Error("not reloaded: what was in force stays so", "error", err)
			d.a.event(cacheUnusable{"unusable", err.Error()})
		}
	}
}

// What a change of a key takes.
var (
	liveKeys    = []string{"bus.authorized_services", "bus.require_sha256", "discovery.publish", "discovery.strict_cache"}
	restartKeys = []string{
		"bus.address", "discovery.address", "discovery.cache_max_age", "discovery.cache_path", "discovery.interval", "discovery.max_actions",
		"discovery.max_packet", "discovery.multicast_address", "discovery.port", "tls.min_rsa_bits",
	}
)

// reload reads the configuration and the rules again, and puts in force what can change
// while the daemon runs: all of it, or nothing.
func (d *cacheDaemon) reload() error {
	cfg, err := d.a.config()
	if err != nil {
		return err
	}
	cfg = cfg.WithDefaults()
	rules := d.rules
	if cfg.AuthorizedPath() != d.cfg.AuthorizedPath() || cfg.RequireSHA256 != d.cfg.RequireSHA256 {
		if err := checkRules(cfg); err != nil {
			return err
		}
		rules = d.readerOf(cfg)
	}
	err = rules.Load()
	if state := rules.State(); err != nil && (state.Rules != nil || cfg.PublishKnown) { // else there were none at the start
		return err
	}
	changed, restart := differing(d.cfg, cfg, liveKeys), differing(d.started, cfg, restartKeys)
	d.cfg, d.rules = cfg, rules
	d.writer.Publish(cfg.LooseCache, cfg.PublishKnown)
	n := 0
	if z := rules.State().Rules; z != nil {
		n = len(z.Rules())
	}
	d.a.log.Info("reloaded", "changed", changed, "rules", n)
	if len(restart) > 0 {
		d.a.log.Warn("these keys changed, and take effect when the daemon is started again", "keys", restart)
	}
	return d.a.event(cacheReloaded{"reloaded", list(changed), list(restart), n})
}

// checkRules says why the rules of a configuration cannot be used.
func checkRules(cfg *scamp.Config) error {
	limits := cfg.Limits.Discovery.WithDefaults()
	text, _, err := discovery.ReadFile(cfg.AuthorizedPath(), limits.MaxAuthzFile)
	if err != nil {
		return fmt.Errorf("scamp: rules: %w", err)
	}
	rules, err := limits.ParseAuthorized(bytes.NewReader(text), cfg.AuthorizedPath())
	if err != nil {
		return err
	}
	return rules.Damage()
}

// differing returns those of keys that two configurations set to different values.
func differing(a, b *scamp.Config, keys []string) (list []string) {
	for _, key := range keys {
		x, _ := a.Lookup(key)
		y, _ := b.Lookup(key)
		if x != y {
			list = append(list, key)
		}
	}
	return list
}
