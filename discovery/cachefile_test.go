package discovery_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
)

// A daemon is a directory and the writer of its cache file, in a bubble.
type daemon struct {
	t      *testing.T
	d      *discovery.Directory
	path   string
	writer *discovery.CacheWriter
	log    *syncBuffer
	stop   func() error
}

// newDaemon starts one. The file stays from one daemon to the next.
func newDaemon(t *testing.T, path string, opts discovery.CacheWriterOptions) *daemon {
	w := &daemon{t: t, path: path, log: new(syncBuffer)}
	w.d = newDirectory(t, &discovery.DirectoryOptions{Now: time.Now, Limits: discovery.Limits{LogRate: 1000}})
	opts.Log = textLog(w.log)
	w.writer = discovery.NewCacheWriter(path, w.d, &opts)
	w.stop = run(t, w.writer.Run)
	synctest.Wait()
	return w
}

// add announces s as of now.
func (w *daemon) add(s service) {
	w.t.Helper()
	if s.at.IsZero() {
		s.at = time.Now()
	}
	if err := w.d.Add(s.announce()); err != nil {
		w.t.Error(err)
	}
}

// file returns the idents in the file, as the plain split of any reader sees them.
func (w *daemon) file() string {
	w.t.Helper()
	synctest.Wait()
	text, err := os.ReadFile(w.path)
	if err != nil {
		return "no file"
	}
	var list []string
	for _, r := range bytes.Split(text, []byte("\n%%%\n"))[1:] {
		a, err := discovery.Limits{}.ParseRecord(r)
		if err == nil {
			err = a.Verify()
		}
		if err != nil {
			w.t.Errorf("record %q: %v", r, err)
			continue
		}
		if !bytes.Equal(a.Record(), r) {
			w.t.Errorf("record of %s is not in canonical form", a.Ident)
		}
		list = append(list, a.Ident)
	}
	return strings.Join(list, " ")
}

func (w *daemon) want(when, idents string) {
	w.t.Helper()
	if got := w.file(); got != idents {
		w.t.Errorf("%s: %q is in the file, want %q", when, got, idents)
	}
}

// TestCacheWriter goes through PROTOCOL 8.2: what is written, and when.
func TestCacheWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "discovery")
	synctest.Test(t, func(t *testing.T) {
		w := newDaemon(t, path, discovery.CacheWriterOptions{})
		time.Sleep(5*time.Second - 1)
		w.want("nothing is announced yet", "no file")
		time.Sleep(2 * time.Nanosecond)
		w.want("nothing is announced for an interval", "")
		if text, err := os.ReadFile(path); string(text) != "\n\n" {
			t.Errorf("an empty cache: %q, %v: want two line feeds, because fewer octets are a broken file", text, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o644 {
			t.Errorf("mode %v, %v: want 0644", info.Mode(), err)
		}
		time.Sleep(time.Second)
		w.add(service{ident: "b"})
		time.Sleep(6 * time.Millisecond)
		w.want("6 ms after the first change", "b")
		w.add(service{ident: "a"})
		w.add(service{ident: "c", key: "other"}) // no rule names it: published all the same
		time.Sleep(99 * time.Millisecond)
		w.want("99 ms after those that follow it", "b")
		time.Sleep(2 * time.Millisecond)
		w.want("101 ms after them", "a b c") // by fingerprint, then ident
		w.add(service{ident: "d"})
		time.Sleep(890 * time.Millisecond)
		w.want("in the second of the first of two writes", "a b c")
		time.Sleep(10 * time.Millisecond)
		w.want("then", "a b d c")
		w.add(service{ident: "b", weight: -1})
		time.Sleep(600 * time.Millisecond)
		w.want("b withdrew", "a d c")
		time.Sleep(12 * time.Second)
		w.want("nobody is heard any more", "")
		if s := w.writer.State(); s.Writes < 6 || s.Writes > 7 || s.Err != nil || s.Records != 0 {
			t.Errorf("%+v: want six or seven writes", s)
		}
		if n := w.d.Stats().Counters["cache_writes_merged"]; n == 0 {
			t.Error("cache_writes_merged is 0: want three changes in one write")
		}
	})
}

// TestCacheWriterRate: however much changes, the file is written twice a second.
func TestCacheWriterRate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "discovery")
	synctest.Test(t, func(t *testing.T) {
		w := newDaemon(t, path, discovery.CacheWriterOptions{})
		for i := range 100 {
			w.add(service{ident: "a", address: fmt.Sprintf("beepish+tls://10.0.0.1:%d", i+1)})
			time.Sleep(50 * time.Millisecond)
		}
		if n := w.writer.State().Writes; n < 8 || n > 11 {
			t.Errorf("%d writes in 5 s: want about ten", n)
		}
	})
}

// TestCacheWriterSignOfLife: the file is touched every minute when nothing changes,
// and not written.
func TestCacheWriterSignOfLife(t *testing.T) {
	path := filepath.Join(t.TempDir(), "discovery")
	synctest.Test(t, func(t *testing.T) {
		w := newDaemon(t, path, discovery.CacheWriterOptions{})
		time.Sleep(time.Second)
		for range 60 {
			w.add(service{ident: "a", at: epoch})
			time.Sleep(5 * time.Second)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if age := time.Since(info.ModTime()); age > 60*time.Second || age < 0 {
				t.Errorf("after %v the file is %v old: want at most 60 s", time.Since(epoch), age)
			}
		}
		if s := w.writer.State(); s.Writes != 1 {
			t.Errorf("%d writes in five minutes without a change: want 1", s.Writes)
		}
	})
}

// TestCacheWriterRestart is PROTOCOL 17 item 76: a daemon that starts collects
// first when the file is good, and writes nothing older than what is in it.
func TestCacheWriterRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "discovery")
	synctest.Test(t, func(t *testing.T) {
		newest := time.Now().Add(time.Second)
		w := newDaemon(t, path, discovery.CacheWriterOptions{})
		w.add(service{ident: "a", at: newest})
		w.add(service{ident: "b"})
		time.Sleep(time.Second)
		w.want("first daemon", "a b")
		w.stop()

		time.Sleep(30 * time.Second)
		w = newDaemon(t, path, discovery.CacheWriterOptions{})
		w.add(service{ident: "b"})
		time.Sleep(9 * time.Second)
		w.add(service{ident: "b"})
		w.want("9 s after the restart", "a b")
		if err := w.d.Add(service{ident: "a", at: newest.Add(-time.Second)}.announce()); counterOf(err) != "announce_stale" {
			t.Errorf("an announcement older than that in the file: %v: want announce_stale", err)
		}
		time.Sleep(2 * time.Second)
		w.want("11 s after it", "b")
		w.stop()
	})
}

// TestCacheWriterRestartAges is PROTOCOL 17 item 76 for files of any age: a daemon that
// starts removes nobody that readers of the old file hold, and the file stays fresh until
// the daemon has heard them.
func TestCacheWriterRestartAges(t *testing.T) {
	for _, down := range []time.Duration{0, 90 * time.Second, 97 * time.Second, 100 * time.Second, 110 * time.Second, 119 * time.Second, 121 * time.Second, time.Hour} {
		path := filepath.Join(t.TempDir(), "discovery")
		synctest.Test(t, func(t *testing.T) {
			all := []service{{ident: "s0"}, {ident: "s1"}, {ident: "s2"}}
			w := newDaemon(t, path, discovery.CacheWriterOptions{})
			for _, s := range all {
				w.add(s)
			}
			d := newDirectory(t, &discovery.DirectoryOptions{Now: time.Now})
			r := discovery.NewCacheReader(path, d, &discovery.CacheReaderOptions{PollOnly: true})
			time.Sleep(500 * time.Millisecond)
			run(t, r.Run)
			w.stop()
			time.Sleep(down)
			stale := r.State().Condition == discovery.CacheStale
			if stale != (down > 120*time.Second) {
				t.Errorf("down for %v: stale %v", down, stale)
			}
			w = newDaemon(t, path, discovery.CacheWriterOptions{})
			began := time.Now()
			for at := range 60 { // each one is heard every five seconds, one after the other
				if i := at % 10; i%3 == 0 && i/3 < 3 {
					w.add(all[i/3])
				}
				time.Sleep(500 * time.Millisecond)
				synctest.Wait()
				s := r.State()
				if n := len(d.Find(discovery.Query{Action: "Sample.echo"})); n != 3 || !stale && s.Condition != discovery.CacheFresh {
					t.Fatalf("down for %v: %v after the start %d of 3 are found, %v", down, time.Since(began), n, s)
				}
			}
			if s := w.writer.State(); s.Records != 3 || s.Err != nil || r.State().Condition != discovery.CacheFresh {
				t.Errorf("down for %v: %+v, %v: want a file of three, and fresh", down, s, r.State())
			}
		})
	}
}

// TestCacheWriterRestartShort: a file that may be as old as a second stays fresh as well.
func TestCacheWriterRestartShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "discovery")
	synctest.Test(t, func(t *testing.T) {
		limits := discovery.Limits{CacheMaxAge: time.Second}
		if err := discovery.ReplaceFile(path, cacheText(service{ident: "a"})); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		if err := os.Chtimes(path, now, now); err != nil {
			t.Fatal(err)
		}
		d := newDirectory(t, &discovery.DirectoryOptions{Now: time.Now, Limits: limits})
		run(t, discovery.NewCacheWriter(path, d, nil).Run)
		for range 30 {
			time.Sleep(500 * time.Millisecond)
			synctest.Wait()
			if info, err := os.Stat(path); err != nil || time.Since(info.ModTime()) > time.Second {
				t.Errorf("%v after the start: modified %v, %v: want it fresh", time.Since(now), info.ModTime(), err)
			}
		}
	})
}

// TestCacheWriterLeavesOut: what old readers cannot bear, what nobody may dial,
// and on request what no rule names. Each is told once.
func TestCacheWriterLeavesOut(t *testing.T) {
	odd := signJSON(`[3,"odd","main",0.5,5000,"beepish+tls://10.0.0.5:7",["json"],[["Sample",["echo","",1]]],1700000000123]`)
	eth := discovery.Iface{Name: "eth0", Index: 2, Addr: first.Addr}
	for _, tt := range []struct {
		name string
		opts discovery.CacheWriterOptions
		want string
	}{
		{"by default", discovery.CacheWriterOptions{}, "a stranger"},
		{"strict_cache = 0", discovery.CacheWriterOptions{Loose: true}, "a odd stranger"},
		{"publish = authorized", discovery.CacheWriterOptions{NamedOnly: true}, "a"},
	} {
		path := filepath.Join(t.TempDir(), "discovery")
		synctest.Test(t, func(t *testing.T) {
			w := newDaemon(t, path, tt.opts)
			w.add(service{ident: "a"})
			w.add(service{ident: "stranger", key: "other"})
			for _, dg := range []discovery.Datagram{
				{Data: odd}, {Data: service{ident: "foreign", address: "beepish+tls://127.0.0.1:1"}.datagram(), Iface: eth},
			} {
				if err := w.d.Receive(dg); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 5 {
				time.Sleep(time.Second)
				w.add(service{ident: "a", address: fmt.Sprintf("beepish+tls://10.0.0.1:%d", i+1)})
			}
			time.Sleep(time.Second)
			w.want(tt.name, tt.want)
			if n := strings.Count(w.log.String(), "left out"); n != 1 && !tt.opts.Loose {
				t.Errorf("%s: %d lines about the odd one: want 1 in %q", tt.name, n, w.log)
			}
		})
	}
}

// TestCacheWriterKeepsOthersWhole is PROTOCOL 17 item 73a and THREATS D12: whatever
// is put around the signed octets of a packet, the file holds none of it.
func TestCacheWriterKeepsOthersWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "discovery")
	packet := service{ident: "b"}.announce().Packet()
	synctest.Test(t, func(t *testing.T) {
		w := newDaemon(t, path, discovery.CacheWriterOptions{})
		w.add(service{ident: "a"})
		w.add(service{ident: "c"})
		taken := 0
		for at := 0; at <= len(packet); at += 7 {
			for _, text := range []string{"%%%", "\n%%%", "\n%%%\n", "%%%\n", "\n\n%%%\n\n"} {
				forged := append(append(bytes.Clone(packet[:at]), text...), packet[at:]...)
				if w.d.Receive(discovery.Datagram{Data: forged}) == nil {
					taken++
				}
			}
		}
		for _, text := range []string{"%%%", "\n%%%\n", "%%%\n%%%\n"} {
			if w.d.Receive(discovery.Datagram{Data: append(bytes.Clone(packet), text...)}) == nil {
				taken++
			}
		}
		if taken == 0 {
			t.Error("none of the packets was taken: want those with a fourth section")
		}
		time.Sleep(time.Second)
		w.want("after all of them", "a b c")
	})
}

// TestCacheWriterLastWrite: who stops the writer finds in the file what was heard until
// then, and nothing is written by one that has written nothing yet.
func TestCacheWriterLastWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "discovery")
	synctest.Test(t, func(t *testing.T) {
		w := newDaemon(t, path, discovery.CacheWriterOptions{})
		w.add(service{ident: "a"})
		time.Sleep(time.Second)
		w.add(service{ident: "b"})
		time.Sleep(110 * time.Millisecond)
		w.want("first write", "a b")
		w.add(service{ident: "c"})
		began := time.Now()
		w.stop()
		w.want("stopped in the very moment of a change", "a b c")
		if took := time.Since(began); took > 500*time.Millisecond {
			t.Errorf("stopping took %v: want at most the half second between two writes", took)
		}
		writes := w.writer.State().Writes

		w = newDaemon(t, path, discovery.CacheWriterOptions{})
		w.add(service{ident: "a"})
		time.Sleep(5 * time.Second)
		w.stop()
		w.want("stopped while it collects", "a b c")
		if n := w.writer.State().Writes; writes != 3 || n != 0 {
			t.Errorf("%d writes, then %d of a writer that was stopped while it collects: want 3 and 0", writes, n)
		}
	})
}

// TestCacheWriterPublish: what is published can change while the writer runs, and with
// it or with the rules what is in the file.
func TestCacheWriterPublish(t *testing.T) {
	path := filepath.Join(t.TempDir(), "discovery")
	odd := signJSON(`[3,"odd","main",0.5,3600000,"beepish+tls://10.0.0.5:7",["json"],[["Sample",["echo","",1]]],1700000000123]`)
	synctest.Test(t, func(t *testing.T) {
		var states []discovery.CacheWriterState
		w := newDaemon(t, path, discovery.CacheWriterOptions{OnState: func(s discovery.CacheWriterState) { states = append(states, s) }})
		w.add(service{ident: "a", interval: time.Hour})
		w.add(service{ident: "stranger", key: "other", interval: time.Hour})
		if err := w.d.Receive(discovery.Datagram{Data: odd}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w.want("by default", "a stranger")
		w.writer.Publish(true, false)
		time.Sleep(2 * time.Second)
		w.want("loose", "a odd stranger")
		w.writer.Publish(false, true)
		time.Sleep(2 * time.Second)
		w.want("strict, and named only", "a")
		w.d.SetAuthorized(rules("other:Sample")) // names it, and allows nothing of what it offers
		time.Sleep(2 * time.Second)
		w.want("named only, and another is named", "a stranger")
		w.stop()
		if len(states) != 4 || states[3].Writes != 4 || states[3].Records != 2 || states[3].Err != nil {
			t.Errorf("OnState heard %+v: want four writes, the last one of two records", states)
		}
	})
}

// TestCacheWriterFirstFile: the first file waits for something to tell, over a stale
// file too, since readers listen themselves meanwhile.
func TestCacheWriterFirstFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "discovery")
	synctest.Test(t, func(t *testing.T) {
		if err := os.WriteFile(path, []byte("\n%%%\nold\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-10 * time.Minute)
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
		w := newDaemon(t, path, discovery.CacheWriterOptions{})
		time.Sleep(2 * time.Second)
		if info, err := os.Stat(path); err != nil || !info.ModTime().Equal(old) {
			t.Errorf("nothing heard for 2 s: %v, %v: want the stale file untouched", info.ModTime(), err)
		}
		w.add(service{ident: "a"})
		w.add(service{ident: "b"})
		time.Sleep(101 * time.Millisecond)
		w.want("101 ms after the first announcements", "a b")
	})
}

// TestCacheWriterRepairs: what somebody else does to the file is made good within
// two seconds, and told once each time.
func TestCacheWriterRepairs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "discovery")
	synctest.Test(t, func(t *testing.T) {
		w := newDaemon(t, path, discovery.CacheWriterOptions{})
		w.add(service{ident: "a"})
		for i, spoil := range []func() error{
			func() error { return os.Remove(path) },
			func() error { return os.WriteFile(path, []byte("garbage"), 0o644) },
			func() error { return os.Truncate(path, 0) },
		} {
			time.Sleep(2 * time.Second)
			w.want("before", "a")
			if err := spoil(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			w.want("after", "a")
			if n := strings.Count(w.log.String(), "by somebody else"); n != i+1 {
				t.Errorf("spoiled %d times: %d lines about it in %q", i+1, n, w.log)
			}
			w.add(service{ident: "a", at: time.Now()})
		}
		if n := w.d.Stats().Counters["cache_foreign"]; n != 3 {
			t.Errorf("cache_foreign is %d: want 3", n)
		}
	})
}

// TestCacheWriterIsAlone: a file has one writer at a time, and the next one can begin
// when it ended.
func TestCacheWriterIsAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "discovery")
	synctest.Test(t, func(t *testing.T) {
		w := newDaemon(t, path, discovery.CacheWriterOptions{})
		second := discovery.NewCacheWriter(path, w.d, nil)
		if err := second.Claim(); err == nil || !strings.Contains(err.Error(), "another cache daemon") {
			t.Errorf("a second writer: %v: want it refused, and why", err)
		}
		if err := discovery.NewCacheWriter(filepath.Join(dir, "other"), w.d, nil).Claim(); err != nil {
			t.Errorf("a writer of another file beside it: %v", err)
		}
		w.stop()
		if _, err := os.Stat(filepath.Join(dir, ".discovery.lock")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after the first one ended its lock is there: %v", err)
		}
		if err := second.Claim(); err != nil {
			t.Errorf("after the first one ended: %v", err)
		}
	})
}

// TestCacheWriterHoldsItsLock: who removes the lock of a writer makes no room for a second
// one. The first makes it anew, and ends where somebody else was faster.
func TestCacheWriterHoldsItsLock(t *testing.T) {
	dir := t.TempDir()
	path, lock := filepath.Join(dir, "discovery"), filepath.Join(dir, ".discovery.lock")
	synctest.Test(t, func(t *testing.T) {
		w := newDaemon(t, path, discovery.CacheWriterOptions{})
		w.add(service{ident: "a"})
		time.Sleep(2 * time.Second)
		second := discovery.NewCacheWriter(path, w.d, nil)
		if err := os.Remove(lock); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond)
		if err := second.Claim(); !errors.Is(err, discovery.ErrCacheLocked) {
			t.Errorf("a second writer 1.1 s after the lock was removed: %v, want %v", err, discovery.ErrCacheLocked)
		}
		if n := strings.Count(w.log.String(), "lock of the cache file was removed"); n != 1 {
			t.Errorf("%d lines about it in %q, want one", n, w.log)
		}

		if err := os.Remove(lock); err != nil {
			t.Fatal(err)
		}
		if err := second.Claim(); err != nil {
			t.Fatalf("a second writer at the moment the lock is removed: %v, want it to take it", err)
		}
		writes := w.writer.State().Writes
		w.add(service{ident: "b"})
		time.Sleep(4 * time.Second)
		if err := w.stop(); !errors.Is(err, discovery.ErrCacheLocked) || !strings.Contains(err.Error(), path) {
			t.Errorf("the first writer, 4 s after a second one took its lock: %v, want it ended for %v", err, discovery.ErrCacheLocked)
		}
		if n := w.writer.State().Writes; n != writes {
			t.Errorf("it wrote the file %d times more, want none", n-writes)
		}
		if _, err := os.Lstat(lock); err != nil {
			t.Errorf("the lock of the second writer: %v, want it there", err)
		}
		over, cancel := context.WithCancel(t.Context())
		cancel()
		second.Run(over) // gives its lock back; one that nobody uses any more is collected, and its lock gone
		if _, err := os.Lstat(lock); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after the second writer ended its lock is there: %v", err)
		}
	})
}

// TestCacheWriterRecovers is THREATS F11 and F12: while the file cannot be written
// the old one stays, and it is written when it can be.
func TestCacheWriterRecovers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	path := filepath.Join(dir, "discovery")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newDaemon(t, path, discovery.CacheWriterOptions{})
		time.Sleep(time.Second)
		for name, spoil := range map[string]func() error{
			"the directory is gone":     func() error { return os.RemoveAll(dir) },
			"a directory in its place":  func() error { return errors.Join(os.RemoveAll(path), os.Mkdir(path, 0o755)) },
			"a FIFO in its place":       func() error { return errors.Join(os.RemoveAll(path), syscall.Mkfifo(path, 0o644)) },
			"a link in its place":       func() error { return errors.Join(os.RemoveAll(path), os.Symlink("elsewhere", path)) },
			"everybody can write there": func() error { return os.Chmod(dir, 0o777) },
		} {
			if err := spoil(); err != nil {
				t.Fatal(name, err)
			}
			w.add(service{ident: "a", address: fmt.Sprintf("beepish+tls://10.0.0.1:%d", 1+len(name))})
			time.Sleep(3 * time.Second)
			if s := w.writer.State(); s.Err == nil {
				t.Errorf("%s: no error", name)
			}
			if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			w.want(name+", then repaired", "a")
			if s := w.writer.State(); s.Err != nil {
				t.Errorf("%s, then repaired: %v", name, s.Err)
			}
		}
		if n := w.d.Stats().Counters["cache_write_failed"]; n < 5 {
			t.Errorf("cache_write_failed is %d: want at least one for each trouble", n)
		}
		if n := strings.Count(w.log.String(), "not written"); n != 5 {
			t.Errorf("%d log lines: want one for each trouble", n)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 2 || left[0].Name() != ".discovery.lock" || left[1].Name() != "discovery" {
			t.Errorf("left in the directory: %v, %v: want the file, its lock, and nothing else", left, err)
		}
		os.Remove(path)
		w.add(service{ident: "b"})
		time.Sleep(time.Second)
		w.want("removed", "a b")
	})
}

// TestCacheWriterFullDisk is THREATS F11 with a disk that is really full.
func TestCacheWriterFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := mountSmall(dir); err != nil {
		t.Skipf("SKIPPED, NOT TESTED: a full disk: %v", err)
	}
	defer unmount(dir)
	path := filepath.Join(dir, "discovery")
	synctest.Test(t, func(t *testing.T) {
		w := newDaemon(t, path, discovery.CacheWriterOptions{})
		w.add(service{ident: "a"})
		time.Sleep(time.Second)
		w.want("while there is room", "a")
		filler := filepath.Join(dir, "filler")
		os.WriteFile(filler, make([]byte, 1<<20), 0o600) // as much as fits
		w.add(service{ident: "b"})
		time.Sleep(3 * time.Second)
		w.want("the disk is full", "a")
		if s := w.writer.State(); !errors.Is(s.Err, syscall.ENOSPC) {
			t.Errorf("the disk is full: %v: want ENOSPC", s.Err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, ".*.tmp")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		os.Remove(filler)
		time.Sleep(2 * time.Second)
		w.want("there is room again", "a b")
	})
}

// TestCacheWriterPlaces is THREATS C8: where the file may not be, and what somebody
// else put there first.
func TestCacheWriterPlaces(t *testing.T) {
	ended := func(path string) error {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		d := newDirectory(t, nil)
		return discovery.NewCacheWriter(path, d, nil).Run(ctx)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "discovery")
	if err := ended(path); !errors.Is(err, context.Canceled) {
		t.Errorf("a directory of ours: %v: want it taken", err)
	}
	os.Chmod(dir, 0o777)
	if err := ended(path); err == nil || !strings.Contains(err.Error(), "sticky") {
		t.Errorf("a directory that others can write: %v: want it refused, and what to do", err)
	}
	os.Chmod(dir, 0o777|os.ModeSticky)
	if err := ended(path); !errors.Is(err, context.Canceled) {
		t.Errorf("a sticky one: %v: want it taken", err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	os.WriteFile(secret, []byte("secret"), 0o600)
	if err := os.Symlink(secret, path); err != nil {
		t.Fatal(err)
	}
	if err := ended(path); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("a link where the file should be: %v: want it refused", err)
	}
	os.Remove(path)
	if os.Geteuid() == 0 {
		os.WriteFile(path, nil, 0o644)
		os.Chown(path, 12345, 12345)
		if err := ended(path); err == nil || !strings.Contains(err.Error(), "12345") {
			t.Errorf("a file of user 12345 in a directory that others can write: %v: want it refused", err)
		}
		os.Remove(path)
	} else {
		t.Log("SKIPPED, NOT TESTED: a file of another user, because that needs root")
	}
	if err := ended(filepath.Join(dir, "missing", "discovery")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v: want os.ErrNotExist", err)
	}
	if text, err := os.ReadFile(secret); string(text) != "secret" {
		t.Errorf("outside: %q, %v: want it untouched", text, err)
	}
}

// TestCacheWriterTemporaryIsNew is THREATS C8 for the temporary file, should somebody
// guess its name: what is there already is neither used nor followed.
func TestCacheWriterTemporaryIsNew(t *testing.T) {
	dir, secret := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for name, put := range map[string]func(string) error{
		"a file":            func(path string) error { return os.WriteFile(path, []byte("secret"), 0o644) },
		"a link":            func(path string) error { return os.Symlink(secret, path) },
		"a link to nothing": func(path string) error { return os.Symlink(secret+".new", path) },
		"a hard link":       func(path string) error { return os.Link(secret, path) },
		"a FIFO":            func(path string) error { return syscall.Mkfifo(path, 0o644) },
	} {
		if err := errors.Join(os.WriteFile(secret, []byte("secret"), 0o644), put(filepath.Join(dir, name))); err != nil {
			t.Fatal(name, err)
		}
		if err := discovery.WriteNew(root, name, []byte("cache")); !errors.Is(err, os.ErrExist) {
			t.Errorf("%s there first: %v: want os.ErrExist", name, err)
		}
		if text, err := os.ReadFile(secret); string(text) != "secret" {
			t.Errorf("%s there first: outside is %q, %v: want it untouched", name, text, err)
		}
	}
	if _, err := os.Lstat(secret + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a link to nothing was followed: %v", err)
	}
}

// TestCacheWriterLockIsOurs is THREATS C8 for the lock, whose name everybody knows.
func TestCacheWriterLockIsOurs(t *testing.T) {
	dir, secret := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	os.Chmod(dir, 0o777|os.ModeSticky)
	os.WriteFile(secret, []byte("secret"), 0o600)
	lock := filepath.Join(dir, ".discovery.lock")
	claim := func() error {
		return discovery.NewCacheWriter(filepath.Join(dir, "discovery"), newDirectory(t, nil), nil).Claim()
	}
	for _, tt := range []struct {
		name string
		put  func() error
		want string
	}{
		{"a link", func() error { return os.Symlink(secret, lock) }, "symbolic link"},
		{"a FIFO", func() error { return syscall.Mkfifo(lock, 0o644) }, "FIFO"},
		{"a directory", func() error { return os.Mkdir(lock, 0o755) }, "directory"},
		{"another user's file", func() error { return errors.Join(os.WriteFile(lock, nil, 0o644), os.Chown(lock, 12345, 12345)) }, "user 12345"},
	} {
		if err := tt.put(); errors.Is(err, os.ErrPermission) {
			t.Logf("SKIPPED, NOT TESTED: %s in the place of the lock: %v", tt.name, err)
			os.Remove(lock)
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		if err := claim(); err == nil || !strings.Contains(err.Error(), lock) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s in the place of the lock: %v: want an error with %q and its path", tt.name, err, tt.want)
		}
		if err := os.Remove(lock); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(secret); string(text) != "secret" {
		t.Errorf("outside: %q, %v: want it untouched", text, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the directory: %v, %v: want nothing", left, err)
	}
}

// TestCacheWriterRemovesStrays: what a killed writer left behind goes, and nothing
// else does (THREATS F10).
func TestCacheWriterRemovesStrays(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".discovery.ABC.tmp", ".discovery.tmp", ".other.ABC.tmp", "discovery.ABC.tmp"} {
		os.WriteFile(filepath.Join(dir, name), nil, 0o600)
	}
	synctest.Test(t, func(t *testing.T) {
		newDaemon(t, filepath.Join(dir, "discovery"), discovery.CacheWriterOptions{})
		time.Sleep(6 * time.Second)
	})
	var left []string
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if got, want := strings.Join(left, " "), ".discovery.tmp .other.ABC.tmp discovery discovery.ABC.tmp"; got != want {
		t.Errorf("left: %q, want %q", got, want)
	}
}

// TestCacheWriterAndReader: what one writes the other finds.
func TestCacheWriterAndReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "discovery")
	synctest.Test(t, func(t *testing.T) {
		w := newDaemon(t, path, discovery.CacheWriterOptions{})
		d := newDirectory(t, &discovery.DirectoryOptions{Now: time.Now})
		r := discovery.NewCacheReader(path, d, &discovery.CacheReaderOptions{PollOnly: true})
		run(t, r.Run)
		if err := w.d.Receive(discovery.Datagram{Data: fixtures.Bytes("announce/v3_v4ext.packet.z")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		want, got := w.d.All(), d.All()
		if len(got) != 1 || len(want) != 1 || !bytes.Equal(got[0].Announcement.Record(), want[0].Announcement.Record()) {
			t.Fatalf("the reader holds %d records, the daemon %d: want the same one", len(got), len(want))
		}
		w.stop()
		time.Sleep(10 * time.Minute)
		if s := r.State(); s.Condition != discovery.CacheStale || len(d.All()) != 1 {
			t.Errorf("long after the daemon died: %v, %d records: want it stale, and all kept", s, len(d.All()))
		}
	})
}
