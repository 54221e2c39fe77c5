package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// A cacheDaemon is what scamp cache runs.
type cacheDaemon struct {
	a        *app
	path     string
	dir      *discovery.Directory
	carrier  *discovery.Multicast
	observer *discovery.Observer
	writer   *discovery.CacheWriter
	wrote    chan struct{} // one token: the state of the writer changed

	// Owned by followRules.
	started *scamp.Config // in force, for what needs a restart
	cfg     *scamp.Config // in force, for all else
	rules   *discovery.AuthorizedReader
}

// cache runs the daemon until ctx ends.
func (a *app) cache(ctx context.Context, cfg *scamp.Config) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	d, err := a.newCacheDaemon(cfg)
	if err != nil {
		return err
	}
	err = d.run(ctx, hup)
	if !errors.Is(err, errInterrupted) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	s := d.writer.State()
	a.log.Info("stopped", "cache", s.Path, "records", s.Records, "writes", s.Writes)
	if err := a.event(cacheStopped{"stopped", s.Records, s.Writes}); err != nil {
		return err
	}
	if s.Err != nil {
		return fmt.Errorf("scamp: cache file %s lacks what was heard last: %w", s.Path, s.Err)
	}
	return nil
}

// newCacheDaemon makes a daemon that is ready to run: it has the file for itself.
func (a *app) newCacheDaemon(cfg *scamp.Config) (*cacheDaemon, error) {
	d := &cacheDaemon{a: a, path: cachePath(cfg), started: cfg, cfg: cfg, wrote: make(chan struct{}, 1)}
	if info, err := os.Stat(filepath.Dir(d.path)); err != nil || !info.IsDir() {
		return nil, hint(fmt.Errorf("scamp: cache file %s: its directory is missing", d.path), "make it, or change discovery.cache_path")
	}
	var err error
	if d.carrier, err = a.openMulticast(cfg, true); err != nil {
		return nil, err
	}
	d.dir = discovery.NewDirectory(&discovery.DirectoryOptions{Limits: cfg.Limits.Discovery, Log: a.log})
	d.rules = d.readerOf(cfg)
	err = d.rules.Load() // its State and the log say what is wrong; records are published all the same
	if err != nil && cfg.PublishKnown {
		d.close()
		return nil, hint(err, "with discovery.publish = authorized nothing would be left in the cache file without rules")
	}
	d.observer = discovery.NewObserver(d.carrier, d.dir, &discovery.ObserverOptions{Log: a.log})
	d.writer = discovery.NewCacheWriter(d.path, d.dir, &discovery.CacheWriterOptions{
		Loose: cfg.LooseCache, NamedOnly: cfg.PublishKnown, Log: a.log, OnState: d.noteWrite,
	})
	if err := d.writer.Claim(); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *cacheDaemon) close() {
	d.carrier.Close()
	d.dir.Close()
}

func (d *cacheDaemon) readerOf(cfg *scamp.Config) *discovery.AuthorizedReader {
	return discovery.NewAuthorizedReader(cfg.AuthorizedPath(), d.dir, &discovery.AuthorizedReaderOptions{RequireSHA256: cfg.RequireSHA256, Log: d.a.log})
}

// run returns why ctx or the work ended.
func (d *cacheDaemon) run(ctx context.Context, hup <-chan os.Signal) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var work sync.WaitGroup
	work.Go(func() { d.followRules(ctx, hup) })                                 // ends with ctx
	work.Go(func() { d.carrier.Follow(ctx) })                                   // ends with ctx
	work.Go(func() { d.tellInstances(ctx) })                                    // ends with ctx
	work.Go(func() { d.tellWrites(ctx) })                                       // ends with ctx
	work.Go(func() { d.tellRefusals(ctx) })                                     // ends with ctx
	work.Go(func() { cancel(failure("listening", d.observer.Run(ctx))) })       // ends with ctx or the carrier
	work.Go(func() { cancel(failure("writing the cache", d.writer.Run(ctx))) }) // ends with ctx or for good reason
	err := d.a.event(cacheReady{"ready", d.path, d.carrier.Group().String(), ifaceNames(d.carrier.Ifaces())})
	if err != nil {
		cancel(err)
	}
	d.a.log.Info("listening", "group", d.carrier.Group().String(), "cache", d.path)
	<-ctx.Done()
	err = context.Cause(ctx)
	d.a.log.Info("stopping", "why", err)
	d.carrier.Close()
	work.Wait()
	d.dir.Close()
	d.tellLastWrite()
	return err
}

// failure wraps why a part of a daemon ended.
func failure(what string, err error) error {
	if err == nil || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("scamp: %s: %w", what, err)
}
