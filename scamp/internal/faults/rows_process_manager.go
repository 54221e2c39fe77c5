//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// managerRows are the rows whose fault is in the cache manager, or in its file.
var managerRows = []row{
	{id: "F10", fault: "kill -9 the cache manager each 2 s, at random failpoints", quick: true, seconds: 120, quickSeconds: 20, minOK: 1, run: runManagerKills},
	{id: "F11", fault: "cache on a full tmpfs of 256 KiB", seconds: 60, least: 12, minOK: 1, root: true, run: runFull},
	{id: "F12", fault: "cache deleted, a directory, of mode 000, a FIFO, 5 s each", seconds: 60, least: 52, quickSeconds: 52, minOK: 1, root: true, run: runSpoilt},
	{id: "F14", fault: "cache manager stopped 30 s", quick: true, seconds: 90, least: 20, quickSeconds: 20, minOK: 1, run: runManagerStopped},
	{id: "F16", fault: "one service silent, its port alive", seconds: 60, least: 37, quickSeconds: 37, minOK: 1, run: runSilent},
}

// everybody wants services, as they are when it is called, in a cache file.
func everybody(services []*child) func(idents map[string]bool) error {
	var names []string
	for _, c := range services {
		names = append(names, c.ready.Ident)
	}
	return func(idents map[string]bool) error {
		for _, name := range names {
			if !idents[name] {
				return fmt.Errorf("%d records, and not that of %s", len(idents), name)
			}
		}
		return nil
	}
}

// cacheFailpoints are the places of the cache writer at which a manager may die, if the
// program is built with the tag failpoint.
var cacheFailpoints = []string{"afterCreate", "halfWritten", "beforeSync", "beforeRename", "beforeSyncDir", "afterSyncDir"}

// managerCollects is longer than a manager that finds a file listens before it writes
// another one.
const managerCollects = 14 * time.Second

// runManagerKills is F10. A manager dies at a failpoint if it comes there in time and the
// program has any, else wherever it is: one that lives for two seconds does not write yet,
// so each third one has longer. One service more comes and goes, so that there is something
// to write.
func runManagerKills(ctx context.Context, s *stage) error {
	if err := s.open(ctx, layout{services: 4}); err != nil {
		return err
	}
	steady, moody := s.services[:3], s.services[3]
	kills, atFailpoint := 0, 0
	r := s.rand("places")
	var acts []act
	gaps := []time.Duration{2 * time.Second, 2 * time.Second, managerCollects}
	var lives []time.Duration // of managers that have a failpoint and are killed
	for i, at := 1, gaps[0]; at < s.seconds-time.Second; i, at = i+1, at+gaps[i%len(gaps)] {
		if i > 1 {
			lives = append(lives, gaps[(i-1)%len(gaps)])
		}
		failpoint := fmt.Sprintf("SCAMP_FAILPOINT=%s %d", cacheFailpoints[r.IntN(len(cacheFailpoints))], 1+r.IntN(2))
		acts = append(acts, act{at, "kill cache, and next time " + failpoint, func(ctx context.Context) error {
			if s.cache.gone() {
				atFailpoint++
			}
			if err := s.cache.kill(); err != nil {
				return err
			}
			kills++
			s.layout.cacheEnv = []string{failpoint}
			return s.startCache(ctx)
		}})
	}
	planned := len(acts)
	offered := true
	for at := range every(s.seconds, 600*time.Millisecond) {
		acts = append(acts, act{at, "svc4 comes or goes", func(ctx context.Context) error {
			offered = !offered
			if offered {
				return moody.ask(ctx, "resume", nil, nil, readyIn)
			}
			return moody.ask(ctx, "suspend", nil, nil, readyIn)
		}})
	}
	w := watchCache(ctx, s.cachePath(), everybody(steady))
	err := s.load(ctx, acts)
	w.end()
	if err != nil {
		return err
	}
	s.did("kills", kills, planned)
	if failpoints && slices.ContainsFunc(lives, func(d time.Duration) bool { return d >= managerCollects }) {
		s.atLeast("at_failpoints", float64(atFailpoint), 1)
	} else {
		s.figure("at_failpoints", float64(atFailpoint)) // no manager could come to one
	}
	s.atMost("stray_files", float64(w.strays), 1)
	if err := w.tell(s); err != nil {
		return err
	}
	_, err = s.latencies()
	return err
}

// runFull is F11: the old file stays whole while there is no room for a new one, and the
// new one comes as soon as there is. Mounts are this process's own: see ownMounts.
func runFull(ctx context.Context, s *stage) error {
	if !haveOwnMounts() {
		return skip("it mounts, and has no mount namespace of its own")
	}
	dir := filepath.Dir(s.cachePath())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k,mode=755"); err != nil {
		return fmt.Errorf("mount a tmpfs at %s: %w", dir, err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	m := baseMix()
	m.Again = true
	if err := s.open(ctx, layout{mix: m}); err != nil {
		return err
	}
	filler := filepath.Join(dir, "filler")
	var w *cacheWatch
	var waited time.Duration
	third := s.seconds / 3
	acts := []act{
		{third, "fill the file system", func(context.Context) error { return fill(filler) }},
		{third + 2*time.Second, "restart svc1", func(ctx context.Context) error {
			old := s.services[0]
			if err := s.startService(ctx, 0); err != nil {
				return err
			}
			return old.stop(ctx, drainIn)
		}},
		{2 * third, "make room", func(ctx context.Context) (err error) {
			w.end()
			stats, err := s.cache.stats(ctx)
			if err != nil {
				return err
			}
			s.atLeast("cache_write_failed", float64(stats["cache_write_failed"]), 1)
			if err := os.Remove(filler); err != nil {
				return err
			}
			want := everybody(s.services)
			waited, err = eventually(ctx, 20*time.Second, func() error {
				idents, err := cachedIdents(s.cachePath())
				if err == nil {
					err = want(idents)
				}
				return err
			})
			return err
		}},
	}
	w = watchCache(ctx, s.cachePath(), everybody(s.services)) // until there is room, the file is that of the start
	err := s.load(ctx, acts)
	w.end()
	if err != nil {
		return err
	}
	s.atMost("recovered_s", waited.Seconds(), 6) // an interval, and the writer's own pause
	if err := w.tell(s); err != nil {
		return err
	}
	_, err = s.latencies()
	return err
}

// fill writes a file until there is no room.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, size := range []int{4096, 1} { // to the last octet
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
	if err != nil && err.(*os.PathError).Err != syscall.ENOSPC {
		return err
	}
	return nil
}

// eventually waits until do returns nil, and says how long that took.
func eventually(ctx context.Context, within time.Duration, do func() error) (time.Duration, error) {
	began := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := do()
		took := time.Since(began)
		if err == nil {
			return took, nil
		}
		if took > within {
			return took, fmt.Errorf("after %v: %w", took.Round(time.Millisecond), err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return took, context.Cause(ctx)
		}
	}
}

// ordinaryUser is nobody, by number: any user who is not root.
const ordinaryUser = 65534

// spoils are what F12 makes of the cache file. A manager that runs would put it right at
// once, so it is stopped meanwhile.
var spoils = []struct {
	name string
	do   func(path string) error
	undo func(path string) error
}{
	{"deleted", os.Remove, nil},
	{"a directory", func(path string) error {
		if err := os.Remove(path); err != nil {
			return err
		}
		return os.Mkdir(path, 0o755)
	}, os.Remove},
	{"of mode 000", func(path string) error { return os.Chmod(path, 0) }, func(path string) error { return os.Chmod(path, 0o644) }},
	{"a FIFO", func(path string) error {
		if err := os.Remove(path); err != nil {
			return err
		}
		return unix.Mkfifo(path, 0o644)
	}, os.Remove},
}

// spoiltMaxAge is discovery.cache_max_age in F12.
const spoiltMaxAge = 10 * time.Second

// runSpoilt is F12: within the file's maximum age nobody notices; then those who can hear
// announcements go on with them, and one who cannot goes on with what he knows and says
// clearly why he knows no more (PROTOCOL 8.3). That one is not root either, so that the mode
// of a file means something.
func runSpoilt(ctx context.Context, s *stage) error {
	m := baseMix()
	m.Again = true
	err := s.open(ctx, layout{mix: m, config: fmt.Sprintf("discovery.cache_max_age = %.0f\n", spoiltMaxAge.Seconds())})
	if err != nil {
		return err
	}
	for _, dir := range []string{s.suite.dir, s.dir} { // for that one
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	deaf, err := s.begin(ctx, "deaf", launch{role: "client", spec: clientSpec{Config: s.configPath(), Deaf: true, User: ordinaryUser}})
	if err != nil {
		return err
	}
	if err := deaf.ask(ctx, "know", len(s.services), nil, readyIn); err != nil {
		return err
	}
	try := func(ctx context.Context, action string) (t tried, err error) {
		err = deaf.ask(ctx, "try", action, &t, readyIn)
		return t, err
	}
	failed := 0
	var acts []act
	gap, lasts := 3*time.Second, 5*time.Second
	at := gap
	for _, spoil := range spoils {
		acts = append(acts, act{at, "cache " + spoil.name, func(context.Context) error {
			if err := s.cache.signal(syscall.SIGSTOP); err != nil {
				return err
			}
			return spoil.do(s.cachePath())
		}})
		for i := range 8 {
			acts = append(acts, act{at + time.Duration(i+1)*lasts/9, "a deaf client tries", func(ctx context.Context) error {
				t, err := try(ctx, loadAction)
				if !t.OK {
					failed++
				}
				return err
			}})
		}
		acts = append(acts, act{at + lasts, "cache as it was", func(context.Context) error {
			if spoil.undo != nil {
				if err := spoil.undo(s.cachePath()); err != nil {
					return err
				}
			}
			return s.cache.signal(syscall.SIGCONT)
		}})
		at += lasts + gap
	}
	// And once more, for longer than the file may be old.
	var known, unknown tried
	acts = append(acts,
		act{at, "cache deleted for good", func(context.Context) error {
			if err := s.cache.signal(syscall.SIGSTOP); err != nil {
				return err
			}
			return os.Remove(s.cachePath())
		}},
		act{at + spoiltMaxAge + 4*time.Second, "a deaf client tries", func(ctx context.Context) (err error) {
			if known, err = try(ctx, loadAction); err == nil {
				unknown, err = try(ctx, "Load.unknown")
			}
			return err
		}},
		act{at + spoiltMaxAge + 6*time.Second, "cache manager goes on", func(context.Context) error { return s.cache.signal(syscall.SIGCONT) }})
	if err := s.load(ctx, acts); err != nil {
		return err
	}
	s.atMost("failed_lookups_within_max_age", float64(failed), 0)
	if !known.OK {
		return fmt.Errorf("a deaf client %v after its cache file was deleted: %s: want it to go on with what it knows", spoiltMaxAge+4*time.Second, known.Text)
	}
	if !unknown.Stale || !strings.Contains(unknown.Text, s.cachePath()) {
		return fmt.Errorf("an action that a deaf client does not know, without its cache file: %s: want ErrStale, and the file named", unknown.Text)
	}
	if _, err := s.latencies(); err != nil {
		return err
	}
	return deaf.stop(ctx, drainIn)
}

// runManagerStopped is F14: whoever was stopped has heard nobody for longer than an
// instance may be silent, and removes none for that.
func runManagerStopped(ctx context.Context, s *stage) error {
	if err := s.open(ctx, layout{}); err != nil {
		return err
	}
	from, to := s.seconds/9, s.seconds/9+min(30*time.Second, s.seconds*6/10)
	acts := []act{
		{from, "stop the cache manager", func(context.Context) error { return s.cache.signal(syscall.SIGSTOP) }},
		{to, "let it go on", func(context.Context) error { return s.cache.signal(syscall.SIGCONT) }},
	}
	began := time.Now()
	w := watchCache(ctx, s.cachePath(), everybody(s.services))
	err := s.load(ctx, acts)
	w.end()
	if err != nil {
		return err
	}
	s.figure("stopped_s", (to - from).Seconds())
	s.atMost("removed_by_manager", float64(s.cache.removals(began)), 0)
	removed := 0
	for _, c := range s.clients {
		removed += c.removals(began)
	}
	s.atMost("removed_by_clients", float64(removed), 0)
	if err := w.tell(s); err != nil {
		return err
	}
	_, err = s.latencies()
	return err
}
