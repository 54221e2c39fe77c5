//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// A cacheWatch looks at a cache file ten times a second, as a reader that knows nothing of
// earlier looks, and remembers what was wrong with it.
type cacheWatch struct {
	path string
	want func(idents map[string]bool) error // what else must hold of a whole file; nil for nothing

	stop context.CancelFunc
	work sync.WaitGroup

	mu     sync.Mutex // protects what follows
	looks  int
	bad    int
	first  error // that made a look bad
	strays int   // most temporary files at a look
}

const cacheLook = 100 * time.Millisecond

// watchCache watches the cache file at path until end is called.
func watchCache(ctx context.Context, path string, want func(idents map[string]bool) error) *cacheWatch {
	w := &cacheWatch{path: path, want: want}
	ctx, w.stop = context.WithCancel(ctx)
	w.work.Go(func() { // ends with ctx
		tick := time.NewTicker(cacheLook)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				w.look()
			}
		}
	})
	return w
}

// end ends the watch.
func (w *cacheWatch) end() {
	w.stop()
	w.work.Wait()
}

func (w *cacheWatch) look() {
	idents, err := cachedIdents(w.path)
	if err == nil && w.want != nil {
		err = w.want(idents)
	}
	dir, name := filepath.Split(w.path)
	strays, globErr := filepath.Glob(filepath.Join(dir, "."+name+".*.tmp"))
	err = errors.Join(err, globErr)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	w.strays = max(w.strays, len(strays))
	if err != nil {
		w.bad++
		if w.first == nil {
			w.first = fmt.Errorf("look %d: %w", w.looks, err)
		}
	}
}

// tell notes what was seen as figures of a row, and returns the first thing that was wrong.
func (w *cacheWatch) tell(s *stage) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.figure("cache_looks", float64(w.looks))
	s.atMost("cache_bad_looks", float64(w.bad), 0)
	return w.first
}

// cachedIdents reads a cache file as a whole: each record must be good.
func cachedIdents(path string) (map[string]bool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(text) < 2 {
		return nil, fmt.Errorf("%s: %d octets: want a cache file", path, len(text))
	}
	records, bad := discovery.ParseCache(text)
	if len(bad) > 0 {
		return nil, fmt.Errorf("%s: %d of its records are bad, the first: %w", path, len(bad), bad[0])
	}
	idents := make(map[string]bool, len(records))
	for _, a := range records {
		if err := a.Verify(); err != nil {
			return nil, fmt.Errorf("%s: record of %q: %w", path, a.Ident, err)
		}
		idents[a.Ident] = true
	}
	return idents, nil
}
