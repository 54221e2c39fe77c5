//go:build linux

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// A cacheSpec says what a cache child is.
type cacheSpec struct {
	Config      string        // path of soa.conf
	MinInterval time.Duration // zero means the configured
}

// beCache is a cache manager: it hears announcements and writes the file that
// discovery.cache_path names. It tells what its directory sees. Orders: stats; remember
// answers with the idents that are in memory; drain notes what the process holds.
func beCache(p *post) error {
	var spec cacheSpec
	if err := json.Unmarshal(p.spec, &spec); err != nil {
		return err
	}
	cfg, err := scamp.ReadConfig(spec.Config)
	if err != nil {
		return err
	}
	cfg = cfg.WithDefaults()
	cfg.Limits.Discovery.MinInterval = cmp.Or(spec.MinInterval, cfg.Limits.Discovery.MinInterval)
	carrier, err := discovery.NewMulticast(discovery.MulticastOptions{
		Group: cfg.MulticastAddress, Port: cfg.DiscoveryPort, Select: cfg.FollowDiscovery(), Interval: cfg.Interval, Log: p.log,
	})
	if err != nil {
		return err
	}
	defer carrier.Close()
	dir := discovery.NewDirectory(&discovery.DirectoryOptions{Limits: cfg.Limits.Discovery, Log: p.log})
	defer dir.Close()
	rules := discovery.NewAuthorizedReader(cfg.AuthorizedPath(), dir, &discovery.AuthorizedReaderOptions{Log: p.log})
	rules.Load() // as the daemon's: its log says what is wrong, and records are written all the same
	observer := discovery.NewObserver(carrier, dir, &discovery.ObserverOptions{Log: p.log})
	writer := discovery.NewCacheWriter(cfg.CachePath, dir, &discovery.CacheWriterOptions{Log: p.log})
	if err := writer.Claim(); err != nil {
		return err
	}
	var work sync.WaitGroup
	ended := make(chan error, 3)
	work.Go(func() { ended <- rules.Run(p.ctx) }) // ends with the post, as the others do
	work.Go(func() { ended <- observer.Run(p.ctx) })
	work.Go(func() { ended <- writer.Run(p.ctx) })
	work.Go(func() { carrier.Follow(p.ctx) })
	work.Go(func() { p.watch(p.ctx, dir, discovery.Query{Action: loadAction}) })
	settled()
	start := holds()
	start["goroutines"] += 2 // who reads our orders, and who follows the one to drain
	p.book.Start(start)
	p.obey(orders{
		"drain": func(json.RawMessage) (any, error) {
			now := drained(start, 15*time.Second)
			p.book.Drain(now)
			return now, p.book.Err()
		},
		"stats": func(json.RawMessage) (any, error) {
			all := dir.Stats().Counters
			for name, n := range carrier.Stats().Counters {
				all[name] += n
			}
			return all, nil
		},
		"remember": func(json.RawMessage) (any, error) { return idents(dir), nil },
	})
	p.tell("ready", ready{})
	<-p.ctx.Done()
	carrier.Close()
	work.Wait()
	close(ended)
	var errs []error
	for err := range ended {
		if err != nil && p.ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	p.book.Drain(drained(start, 15*time.Second))
	return errors.Join(append(errs, p.book.Err())...)
}
