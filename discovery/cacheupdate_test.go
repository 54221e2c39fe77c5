package discovery_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
)

// signedAs is an announcement of ident with that weight and timestamp in seconds.
func signedAs(t *testing.T, key, ident string, weight int, seconds int64) *discovery.Announcement {
	t.Helper()
	a := offer(discovery.Action{Class: "Sample", Name: "echo"})
	a.Ident, a.Weight, a.Timestamp, a.Certificate = ident, weight, seconds*1e6, mustCertificate(key)
	if _, err := a.Sign(mustKey(key)); err != nil {
		t.Fatal(err)
	}
	return &a
}

// update puts announcements into the file, with what the options say.
func update(path string, opts *discovery.CacheUpdateOptions, all ...*discovery.Announcement) (discovery.CacheUpdate, error) {
	return discovery.UpdateCacheFile(context.Background(), path, all, opts)
}

// filed returns ident and timestamp in seconds of each good record of a cache file.
func filed(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	records, _ := discovery.ParseCache(text)
	var all []string
	for _, a := range records {
		all = append(all, fmt.Sprintf("%s@%d", a.Ident, a.Timestamp/1e6))
	}
	return strings.Join(all, " ")
}

// A record takes the place of the one of its instance and of no other.
func TestUpdateCacheFileUpserts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "discovery")
	for _, step := range []struct {
		name    string
		put     []*discovery.Announcement
		changes string
		want    string
	}{
		{"into no file", []*discovery.Announcement{signedAs(t, "sample", "b:1", 1, 2e9)}, "[added]", "b:1@2000000000"},
		{"again", []*discovery.Announcement{signedAs(t, "sample", "b:1", 1, 2e9)}, "[unchanged]", "b:1@2000000000"},
		{"more", []*discovery.Announcement{signedAs(t, "sample", "a:1", 1, 2e9), signedAs(t, "sample", "c:1", 1, 2e9)},
			"[added added]", "a:1@2000000000 b:1@2000000000 c:1@2000000000"},
		{"newer", []*discovery.Announcement{signedAs(t, "sample", "b:1", 1, 2e9+1)}, "[replaced]", "a:1@2000000000 b:1@2000000001 c:1@2000000000"},
		{"a withdrawal", []*discovery.Announcement{signedAs(t, "sample", "a:1", 0, 2e9)}, "[removed]", "b:1@2000000001 c:1@2000000000"},
		{"of nobody", []*discovery.Announcement{signedAs(t, "sample", "x:1", 0, 2e9)}, "[not there]", "b:1@2000000001 c:1@2000000000"},
		{"nothing", nil, "[]", "b:1@2000000001 c:1@2000000000"},
		{"same ident, other key", []*discovery.Announcement{signedAs(t, "other", "b:1", 1, 1e9)}, "[added]", ""},
	} {
		done, err := update(path, nil, step.put...)
		if got := fmt.Sprint(done.Changes); err != nil || got != step.changes {
			t.Fatalf("%s: changes %s, %v, want %s", step.name, got, err, step.changes)
		}
		if got := filed(t, path); step.want != "" && got != step.want {
			t.Fatalf("%s: the file holds %s, want %s", step.name, got, step.want)
		}
		if n := len(strings.Fields(filed(t, path))); n != done.Records {
			t.Errorf("%s: told of %d records, want %d", step.name, done.Records, n)
		}
	}
	text, _ := os.ReadFile(path)
	records, _ := discovery.ParseCache(text)
	if !slices.IsSortedFunc(records, func(a, b *discovery.Announcement) int {
		return strings.Compare(a.Certificate.Fingerprint+a.Ident, b.Certificate.Fingerprint+b.Ident)
	}) {
		t.Errorf("records in the order %v, want by fingerprint, then ident", filed(t, path))
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the file: %v, %v, want mode 0644", info.Mode(), err)
	}
	// The last one leaves an empty cache, which readers believe.
	if _, err := update(path, nil, signedAs(t, "sample", "b:1", 0, 2e9+2), signedAs(t, "sample", "c:1", 0, 2e9+2), signedAs(t, "other", "b:1", 0, 1e9)); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); string(text) != "\n\n" {
		t.Errorf("a file that nobody is left in: %q, want two newlines", text)
	}
}

// What is not ours stays octet for octet: records that nobody can read, odd line widths,
// a text before the first record, a separator without its first newline.
func TestUpdateCacheFileKeepsOthers(t *testing.T) {
	for _, tt := range []struct {
		name, more string
		unreadable int
	}{
		{"two_records", "", 0},
		{"two_records", "\n%%%\ngarbage\n\n", 1},
		{"two_records", "\n%%%\n", 1},
		{"preamble_and_bad_record", "", 0}, // its signature is bad
		{"no_leading_newline", "", 0},
		{"duplicate_ident", "", 0},
		{"empty", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "discovery")
			before := append(fixtures.Bytes("cache/"+tt.name+".cache"), tt.more...)
			if err := os.WriteFile(path, before, 0o600); err != nil {
				t.Fatal(err)
			}
			mine := signedAs(t, "sample", "zzz:mine", 1, 2e9)
			if tt.name == "empty" {
				before = nil
			}
			done, err := update(path, nil, mine)
			if err != nil {
				t.Fatal(err)
			}
			after, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			record := append([]byte("\n%%%\n"), mine.Record()...)
			if bytes.Count(after, record) != 1 {
				t.Fatalf("the file lacks the new record, or has it twice:\n%s", after)
			}
			rest := split(bytes.Replace(after, record, nil, 1))
			if want := split(before); !slices.Equal(rest, want) {
				t.Errorf("without the new record the file holds\n%q\nwant\n%q", rest, want)
			}
			if len(done.Bad) != tt.unreadable {
				t.Errorf("%d records told as unreadable, want %d", len(done.Bad), tt.unreadable)
			}
			// And out again.
			if _, err := update(path, nil, signedAs(t, "sample", "zzz:mine", 0, 2e9)); err != nil {
				t.Fatal(err)
			}
			again, _ := os.ReadFile(path)
			if got, want := split(again), split(before); !slices.Equal(got, want) {
				t.Errorf("with the new record out again the file holds\n%q\nwant\n%q", got, want)
			}
		})
	}
}

// split returns the parts of a cache file in an order of their own, without the newline
// that one part has and another lacks.
func split(text []byte) []string {
	parts := strings.Split(strings.TrimPrefix("\n"+string(text), "\n"), "%%%\n")
	for i, p := range parts {
		parts[i] = strings.TrimRight(p, "\n")
	}
	slices.Sort(parts)
	return parts
}

func TestUpdateCacheFileRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "discovery")
	held := signedAs(t, "sample", "a:1", 1, 2e9)
	if _, err := update(path, nil, held); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)
	other := signedAs(t, "sample", "a:1", 1, 2e9)
	other.Address = "beepish+tls://10.0.0.6:1"
	if _, err := other.Sign(mustKey("sample")); err != nil {
		t.Fatal(err)
	}
	loose, err := discovery.SignJSON([]byte(`[3,"loose:1","main",1.0,5000,"beepish+tls://10.0.0.5:1",["json"],[["A",["b","",1]]],2000000000000]`),
		mustCertificate("sample"), mustKey("sample"))
	if err != nil {
		t.Fatal(err)
	}
	unsigned := offer(discovery.Action{Class: "Sample", Name: "echo"})
	file := writeTemp(t, dir, "file", "bus.address = 127.0.0.1\n")
	if err := os.Mkdir(filepath.Join(dir, "shared"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "shared"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, path string
		opts       *discovery.CacheUpdateOptions
		put        []*discovery.Announcement
		want       string
	}{
		{"an older one", path, nil, []*discovery.Announcement{signedAs(t, "sample", "a:1", 1, 2e9-1)}, "want a larger one"},
		{"another one of the same moment", path, nil, []*discovery.Announcement{other}, "want a larger one"},
		{"an instance twice", path, nil, []*discovery.Announcement{held, other}, "comes twice"},
		{"one not in strict form", path, nil, []*discovery.Announcement{loose}, "not in strict form"},
		{"one without signature", path, nil, []*discovery.Announcement{&unsigned}, "no signature"},
		{"too many records", path, &discovery.CacheUpdateOptions{Limits: discovery.Limits{MaxCacheRecords: 1}}, []*discovery.Announcement{signedAs(t, "sample", "b:1", 1, 2e9)}, "2 records: want at most 1"},
		{"too many octets", path, &discovery.CacheUpdateOptions{Limits: discovery.Limits{MaxCacheFile: 2500}}, []*discovery.Announcement{signedAs(t, "sample", "b:1", 1, 2e9)}, "octets: want at most 2500"},
		{"a file of something else", file, nil, []*discovery.Announcement{held}, "no record in it: want a cache file"},
		{"a directory", dir, nil, []*discovery.Announcement{held}, "want a regular file"},
		{"a directory that is not there", filepath.Join(dir, "no", "file"), nil, []*discovery.Announcement{held}, "no such file"},
		{"a directory of others", filepath.Join(dir, "shared", "file"), nil, []*discovery.Announcement{held}, "can be written by other users"},
	} {
		if _, err := update(tt.path, tt.opts, tt.put...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Errorf("a refused update left %q, want the file untouched", after)
	}
	if _, err := update(path, &discovery.CacheUpdateOptions{Loose: true}, loose); err != nil {
		t.Errorf("one not in strict form, with Loose: %v, want it taken", err)
	}
	// A record that is signed by nobody ranks nothing.
	forged := bytes.Replace(before, []byte("2000000000000]"), []byte("2900000000000]"), 1)
	if err := os.WriteFile(path, forged, 0o644); err != nil {
		t.Fatal(err)
	}
	if done, err := update(path, nil, held); err != nil || fmt.Sprint(done.Changes) != "[replaced]" {
		t.Errorf("over a forged record with a later timestamp: %v, %v, want it replaced", done.Changes, err)
	}
}

// A daemon that writes the file keeps it; two updates wait for each other.
func TestUpdateCacheFileAndOtherWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "discovery")
	dir := discovery.NewDirectory(nil)
	defer dir.Close()
	writer := discovery.NewCacheWriter(path, dir, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	if err := writer.Claim(); err != nil {
		t.Fatal(err)
	}
	run.Go(func() { writer.Run(ctx) }) // ends with cancel
	a := signedAs(t, "sample", "a:1", 1, 2e9)
	if _, err := update(path, nil, a); !errors.Is(err, discovery.ErrCacheLocked) || !strings.Contains(err.Error(), "another cache daemon writes it") {
		t.Errorf("beside a daemon: error %v, want one that says so", err)
	}
	stopped, stop := context.WithCancel(ctx)
	stop()
	if _, err := discovery.UpdateCacheFile(stopped, path, []*discovery.Announcement{a}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("beside a daemon, given up: error %v, want %v", err, context.Canceled)
	}
	if _, err := update(path, &discovery.CacheUpdateOptions{IgnoreLock: true}, a); err != nil {
		t.Errorf("beside a daemon, its lock ignored: %v, want it done", err)
	}
	cancel()
	run.Wait()

	path = filepath.Join(t.TempDir(), "discovery")
	const writers = 8
	errs := make([]error, writers)
	for i := range writers {
		b := signedAs(t, "sample", fmt.Sprintf("w:%d", i), 1, 2e9)
		run.Go(func() { _, errs[i] = update(path, nil, b) })
	}
	run.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if got := len(strings.Fields(filed(t, path))); got != writers {
		t.Errorf("%d updates at once left %d records, want all", writers, got)
	}
}

// A timestamp in the future ranks below every other one, whatever the numbers, as it does
// for readers (PROTOCOL 7.9 rule 2).
func TestUpdateCacheFileFuture(t *testing.T) {
	path := filepath.Join(t.TempDir(), "discovery")
	now := time.Unix(1.9e9, 0)
	opts := &discovery.CacheUpdateOptions{Now: func() time.Time { return now }}
	for _, step := range []struct {
		name    string
		seconds int64
		weight  int
		want    string // change, or what the error says
		file    string
	}{
		{"a future one into no file", 2.2e9, 1, "added", "b:1@2200000000"},
		{"a lower future one", 2.1e9, 1, "want a larger one", "b:1@2200000000"},
		{"a higher future one", 2.3e9, 1, "replaced", "b:1@2300000000"},
		{"a sane one over it", 1.8e9, 1, "replaced", "b:1@1800000000"},
		{"a future one over the sane one", 2.2e9, 1, "is in the future", "b:1@1800000000"},
		{"a future withdrawal", 2.2e9, 0, "is in the future", "b:1@1800000000"},
		{"a little ahead, which is sane", 1.9e9 + 299, 1, "replaced", "b:1@1900000299"},
		{"older again", 1.9e9, 1, "want a larger one", "b:1@1900000299"},
	} {
		a := signedAs(t, "sample", "b:1", step.weight, step.seconds)
		done, err := update(path, opts, a)
		if got := fmt.Sprint(done.Changes, err); !strings.Contains(got, step.want) {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
		if got := filed(t, path); got != step.file {
			t.Errorf("%s: the file holds %s, want %s", step.name, got, step.file)
		}
	}
}

// An update waits for no lock that nobody can give back.
func TestUpdateCacheFileWaitsForTheLockAlone(t *testing.T) {
	dir := t.TempDir()
	lock := filepath.Join(dir, ".discovery.lock")
	if err := os.Mkdir(lock, 0o755); err != nil {
		t.Fatal(err)
	}
	a := signedAs(t, "sample", "a:1", 1, 2e9)
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := update(filepath.Join(dir, "discovery"), nil, a)
		if took := time.Since(began); err == nil || !strings.Contains(err.Error(), lock) || took > 0 {
			t.Errorf("a directory in the place of the lock: error %v after %v, want one at once", err, took)
		}
	})
}

// A daemon that starts waits for an update to end, and takes nothing of it for a stray.
func TestUpdateCacheFileWhileDaemonStarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "discovery")
	ended, end := context.WithCancel(t.Context())
	end()
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, nil)
		first, second := discovery.NewCacheWriter(path, d, nil), discovery.NewCacheWriter(path, d, nil)
		if err := first.Claim(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(1900*time.Millisecond, func() { first.Run(ended) })
		if err := second.Claim(); err != nil {
			t.Errorf("the lock was held for 1.9 s: %v, want it waited for", err)
		}
		second.Run(ended)
	})
	d := newDirectory(t, nil)
	var work sync.WaitGroup
	for i := range 3 {
		a := signedAs(t, "sample", fmt.Sprintf("w:%d", i), 1, 2e9)
		work.Go(func() {
			for range 20 {
				if _, err := update(path, nil, a); err != nil {
					t.Errorf("update while daemons start: %v", err)
				}
			}
		})
	}
	work.Go(func() {
		for range 40 {
			if err := discovery.NewCacheWriter(path, d, nil).Run(ended); !errors.Is(err, context.Canceled) {
				t.Errorf("start while updates run: %v, want %v", err, context.Canceled)
			}
		}
	})
	work.Wait()
}

// A file that stays as it is gets a sign of life, or readers would take it for stale.
func TestUpdateCacheFileGivesSignOfLife(t *testing.T) {
	path := filepath.Join(t.TempDir(), "discovery")
	a := signedAs(t, "sample", "a:1", 1, 2e9)
	old := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, now := range []time.Time{old, old.Add(time.Hour)} {
		if _, err := update(path, &discovery.CacheUpdateOptions{Now: func() time.Time { return now }}, a); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || !info.ModTime().Equal(now) {
			t.Errorf("modified %v, %v, want %v", info.ModTime(), err, now)
		}
	}
}

// writeTemp writes a file and returns its path.
func writeTemp(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
