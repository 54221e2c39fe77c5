package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// sourceHelp is what list and show say about where they look.
const sourceHelp = `Where they come from: --cache FILE, or - for stdin; else the configured
discovery.cache_path; else ` + scamp.DefaultCachePath + ` if it exists; else the network, after
listening for 6 seconds. A cache file that is older than discovery.cache_max_age is shown with a
warning, and without --cache the exit code is then 8. For one that is missing, cannot be
read or is none, it is 8 in any case. Who said goodbye is not in a cache file, nor who fell silent for
longer than 2.1 intervals: scamp watch, and scamp cache --json with the reason, tell of that as it happens.`

// A source is where list and show take instances from.
type source struct {
	cache   string // flag --cache
	flagged bool   // there is such a flag
}

func (s *source) flag(cmd *cobra.Command) {
	s.flagged = true
	cmd.Flags().StringVar(&s.cache, "cache", "", "read this cache `FILE`, or - for stdin")
}

// A catalog is what is known of the bus at one moment.
type catalog struct {
	dir     *discovery.Directory
	entries []discovery.Entry
	rules   string // the rules file, for advice
	stale   error  // the cache file is old; the entries are what it says
	empty   string // what to say if there are no entries
}

// open reads everything that is announced.
func (s *source) open(ctx context.Context, a *app) (*catalog, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	cfg = cfg.WithDefaults()
	c := &catalog{rules: cfg.AuthorizedPath()}
	c.dir = discovery.NewDirectory(&discovery.DirectoryOptions{Limits: cfg.Limits.Discovery, Log: a.log})
	defer c.dir.Close() // nothing expires while it is looked at
	a.readRules(cfg, c.dir)
	if err := s.fill(ctx, a, cfg, c); err != nil {
		return nil, err
	}
	c.entries = c.dir.All()
	return c, nil
}

// readRules puts the rules into dir, or says why there are none.
func (a *app) readRules(cfg *scamp.Config, dir *discovery.Directory) {
	path := cfg.AuthorizedPath()
	if path == "" {
		a.log.Warn("no rules, so nothing counts as authorized: want --config FILE")
		return
	}
	// The directory's own log says why they cannot be read.
	discovery.NewAuthorizedReader(path, dir, &discovery.AuthorizedReaderOptions{RequireSHA256: cfg.RequireSHA256, Log: a.log}).Load()
}

func (s *source) fill(ctx context.Context, a *app, cfg *scamp.Config, c *catalog) error {
	switch {
	case s.cache == "-":
		text, err := readAll(a.stdin, "stdin", cfg.Limits.Discovery.MaxCacheFile)
		if err != nil {
			return noCacheFile(err)
		}
		return a.takeCache(text, "stdin", cfg, c)
	case s.cache != "":
		err := a.readCacheFile(s.cache, cfg, c)
		if _, ok := errors.AsType[*fs.PathError](err); ok && !errors.Is(err, fs.ErrPermission) {
			err = hint(err, "--cache takes a file, or - for stdin")
		}
		return err
	case cfg.CachePath != "":
		err := a.readCacheFile(cfg.CachePath, cfg, c)
		if errors.Is(err, fs.ErrNotExist) {
			return hint(err, "is scamp cache running with this configuration?")
		}
		return err
	case exists(scamp.DefaultCachePath):
		return a.readCacheFile(scamp.DefaultCachePath, cfg, c)
	}
	return a.hear(ctx, cfg, c, s.flagged)
}

// cacheThere says why what --cache names is no cache file that can be followed.
func cacheThere(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: errors.New("want a regular file")}
	}
	if err != nil {
		return hint(noCacheFile(err), "--cache takes a file")
	}
	return nil
}

// noCacheFile is the error of a cache file that is missing, closed to this user, or none.
func noCacheFile(err error) error {
	return &codedError{ExitStale, fmt.Errorf("scamp: cache file: %w", err)}
}

func (a *app) readCacheFile(path string, cfg *scamp.Config, c *catalog) error {
	text, info, err := discovery.ReadFile(path, cfg.Limits.Discovery.MaxCacheFile)
	if err != nil {
		return noCacheFile(err)
	}
	a.tellAhead(path, info.ModTime(), cfg)
	if age := time.Since(info.ModTime()); age > cfg.Limits.Discovery.CacheMaxAge {
		c.stale = exitf(ExitStale, "scamp: cache file %s: last written %v ago, want at most %v: is scamp cache running?",
			path, age.Round(time.Second), cfg.Limits.Discovery.CacheMaxAge)
	}
	c.empty = fmt.Sprintf("nothing is announced: the cache file was written %v ago, and services announce themselves every %v; who said goodbye or fell silent is not in it",
		max(time.Since(info.ModTime()), 0).Round(100*time.Millisecond), cfg.Interval)
	return a.takeCache(text, path, cfg, c)
}

// tellAhead warns of a cache file that is dated in the future: its age is not known, and
// what looks at it once takes it for new.
func (a *app) tellAhead(path string, modified time.Time, cfg *scamp.Config) {
	if time.Until(modified) > cfg.WithDefaults().Limits.Discovery.WithDefaults().FutureSkew {
		a.say("warning: cache file %s is dated %s, in the future: how old it is nobody can tell, and who is dead may look alive; set the clock, and start scamp cache anew",
			clean(path), modified.UTC().Format(time.RFC3339))
	}
}

// takeCache reads a cache file. Its records are judged one by one; without one good
// record only a blank file is a cache file, that of an empty bus.
func (a *app) takeCache(text []byte, name string, cfg *scamp.Config, c *catalog) error {
	records, bad := cfg.Limits.Discovery.ParseCache(text, nil)
	for _, b := range bad {
		a.log.Warn("a record is left out", "cache", name, "error", b)
	}
	switch {
	case len(text) == 0:
		return exitf(ExitStale, "scamp: cache file %s: no octet in it: want a cache file", clean(name))
	case len(records) == 0 && len(bytes.TrimSpace(text)) > 0:
		return exitf(ExitStale, "scamp: cache file %s: no good record in it, %d bad ones: want a cache file", clean(name), len(bad))
	}
	c.dir.LoadFile(records)
	return nil
}

// hear listens until every live service has announced itself once. Where that cannot be,
// a flag --cache may help, if there is one.
func (a *app) hear(ctx context.Context, cfg *scamp.Config, c *catalog, flagged bool) error {
	carrier, err := a.openMulticast(cfg, false)
	if err != nil && flagged {
		return hint(err, "or name a cache file with --cache FILE")
	}
	if err != nil {
		return err
	}
	a.say("listening to %v for %v, since there is no cache file", carrier.Group(), warmUp)
	c.empty = fmt.Sprintf("nobody was heard on %v within %v: is a service running, with this group and port, and on the network of %s?",
		carrier.Group(), warmUp, joined(ifaceNames(carrier.Ifaces())))
	listen, cancel := context.WithTimeout(ctx, warmUp)
	defer cancel()
	observer := discovery.NewObserver(carrier, c.dir, &discovery.ObserverOptions{Log: a.log})
	var work sync.WaitGroup
	work.Go(func() { observer.Run(listen) }) // ends with listen
	<-listen.Done()
	carrier.Close()
	work.Wait()
	switch why := context.Cause(ctx); {
	case errors.Is(why, context.DeadlineExceeded):
		return exitf(ExitTimeout, "scamp: --timeout %v is over before everybody could be heard, want at least %v", a.timeout, warmUp)
	default:
		return why
	}
}

// finish tells of a stale cache, and fails for it unless the file was asked for by
// name.
func (s *source) finish(a *app, c *catalog) error {
	if c.stale == nil {
		return nil
	}
	if s.cache == "" {
		return c.stale
	}
	a.log.Warn("this is old", "reason", c.stale)
	return nil
}
