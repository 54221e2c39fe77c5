//go:build failpoint

package discovery_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// crashServices are in the file at all times; crashingWriter changes another one.
func crashServices() (list []service) {
	for i := range 20 {
		list = append(list, service{ident: fmt.Sprintf("steady%02d", i), interval: time.Hour})
	}
	return list
}

// TestFailpointChild is a cache daemon in a process of its own, which writes the file
// as often as it may until it dies at the place named by SCAMP_FAILPOINT.
func TestFailpointChild(t *testing.T) {
	path := os.Getenv("SCAMP_FAILPOINT_CACHE")
	if path == "" {
		t.Skip("only a process that TestFailpointWriter starts does this")
	}
	d := newDirectory(t, &discovery.DirectoryOptions{Now: time.Now, Limits: discovery.Limits{
		MaxCacheWrites: 1000,
	}})
	change := func() {
		if err := d.Add(service{ident: "unsteady", interval: time.Hour, at: time.Now()}.announce()); err != nil {
			t.Error(err)
		}
	}
	for _, s := range crashServices() {
		if err := d.Add(s.announce()); err != nil {
			t.Fatal(err)
		}
	}
	change()
	w := discovery.NewCacheWriter(path, d, nil)
	discovery.SetPatience(w, 0) // everybody was heard
	run(t, w.Run)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(time.Minute); ; {
		select {
		case <-tick.C:
			change()
		case <-end:
			t.Fatalf("alive after a minute and %d writes", w.State().Writes)
		}
	}
}

// A crashing is a cache file whose writer is killed again and again.
type crashing struct {
	t      *testing.T
	path   string
	steady []byte // what the file begins with

	mu   sync.Mutex            // protects seen
	seen map[[32]byte]struct{} // sums of the whole files that were read
}

// child runs a writer until it dies at a place, or was alive for a time if place is "".
func (c *crashing) child(place string, hit int) {
	c.t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestFailpointChild$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), "SCAMP_FAILPOINT_CACHE="+c.path, fmt.Sprintf("SCAMP_FAILPOINT=%s %d", place, hit))
	out, err := cmd.CombinedOutput()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL || !strings.Contains(string(out), "dies at "+place) {
		c.t.Fatalf("writer that is to die at %s, time %d: %v, output %q: want it killed there", place, hit, err, out)
	}
}

// look reads the file once and checks that it is whole.
func (c *crashing) look() error {
	text, err := os.ReadFile(c.path)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	c.mu.Lock()
	_, known := c.seen[sum]
	c.mu.Unlock()
	if known {
		return nil
	}
	last, ok := bytes.CutPrefix(text, c.steady)
	if ok {
		last, ok = bytes.CutPrefix(last, []byte("\n%%%\n"))
	}
	if !ok {
		return fmt.Errorf("%d octets that do not begin with the steady services", len(text))
	}
	a, err := discovery.Limits{}.ParseRecord(last)
	if err == nil {
		err = a.Verify()
	}
	if err == nil && !bytes.Equal(a.Record(), last) {
		err = fmt.Errorf("last record %q: want %q", last, a.Record())
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[sum] = struct{}{}
	return nil
}

// strays are the temporary files that are there.
func (c *crashing) strays() []string {
	list, err := filepath.Glob(filepath.Join(filepath.Dir(c.path), ".discovery.*.tmp"))
	if err != nil {
		c.t.Fatal(err)
	}
	return list
}

// TestFailpointWriter is THREATS F10: wherever the writer is killed, whoever reads the
// file sees a whole one, and one temporary file at most is left, until the next start.
func TestFailpointWriter(t *testing.T) {
	kills := 5
	if os.Getenv("SCAMP_TEST_LONG") != "" {
		kills = 100
	}
	for _, place := range []string{"afterCreate", "halfWritten", "beforeSync", "beforeRename", "beforeSyncDir", "afterSyncDir"} {
		t.Run(place, func(t *testing.T) {
			t.Parallel() // they mostly wait for the writer's pauses
			c := &crashing{t: t, path: filepath.Join(t.TempDir(), "discovery"), steady: cacheText(crashServices()...), seen: make(map[[32]byte]struct{})}
			c.child("afterSyncDir", 1) // there is a file from now on

			d := newDirectory(t, &discovery.DirectoryOptions{Now: time.Now})
			reader := discovery.NewCacheReader(c.path, d, nil)
			if err := reader.Load(); err != nil {
				t.Fatal(err)
			}
			run(t, reader.Run)
			ctx, cancel := context.WithCancel(t.Context())
			var readers sync.WaitGroup
			looks, finds := 0, 0
			readers.Go(func() { // ends with ctx
				for tick := time.NewTicker(time.Millisecond); ctx.Err() == nil; looks++ {
					if err := c.look(); err != nil {
						t.Errorf("the file after %d looks: %v", looks, err)
						return
					}
					<-tick.C
				}
			})
			readers.Go(func() { // ends with ctx
				for tick := time.NewTicker(5 * time.Millisecond); ctx.Err() == nil; finds++ {
					if n := len(d.Find(discovery.Query{Action: "Sample.echo"})); n != 21 {
						t.Errorf("lookup %d finds %d instances, want 21", finds, n)
						return
					}
					<-tick.C
				}
			})
			for i := range kills {
				c.child(place, 1+i%3)
				if left := c.strays(); len(left) > 1 {
					t.Errorf("kill %d: temporary files %q: want one at most", i+1, left)
				}
			}
			cancel()
			readers.Wait()
			if s := reader.State(); s.Bad != 0 || s.Condition != discovery.CacheFresh || d.Stats().Counters["cache_unusable"] != 0 {
				t.Errorf("reader: %v, %d bad records, counters %v: want nothing amiss", s, s.Bad, d.Stats().Counters)
			}
			c.child("afterCreate", 1) // it cleans up, then leaves one of its own
			if left := c.strays(); len(left) != 1 {
				t.Errorf("after the last start: temporary files %q: want that of the last writer alone", left)
			}
			t.Logf("%d kills: %d looks at %d different files, %d lookups", kills, looks, len(c.seen), finds)
		})
	}
}
