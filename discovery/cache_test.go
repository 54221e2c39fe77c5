package discovery_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
)

// cacheText returns a cache file of services.
func cacheText(services ...service) []byte {
	var b bytes.Buffer
	for _, s := range services {
		b.WriteString("\n%%%\n")
		b.Write(s.announce().Record())
	}
	return b.Bytes()
}

// threeServices are in most cache files of these tests.
func threeServices() []service {
	return []service{{ident: "one"}, {ident: "two", address: "beepish+tls://10.0.0.2:2"}, {ident: "three", key: "other"}}
}

func TestParseCacheFixtures(t *testing.T) {
	var cases map[string]struct{ Records, Valid int }
	fixtures.JSON("cache/cases.json", &cases)
	for file, c := range cases {
		text := fixtures.Bytes("cache/" + file)
		records, bad := discovery.ParseCache(text)
		if len(records) != c.Valid || len(records)+len(bad) != c.Records {
			t.Errorf("%s: %d records and %d bad ones %v: want %d and %d", file, len(records), len(bad), bad, c.Valid, c.Records-c.Valid)
		}
	}
	d := newDirectory(t, nil)
	records, _ := discovery.ParseCache(fixtures.Bytes("cache/duplicate_ident.cache"))
	d.LoadFile(records)
	if len(d.All()) != 1 || len(d.Find(discovery.Query{Action: "Sample.slow"})) != 1 {
		t.Errorf("duplicate_ident.cache: %d records are held: want the one with the higher timestamp", len(d.All()))
	}
}

// TestParseCacheOfReferences is PROTOCOL 17 item 62 for files: real ones, with the
// smallest keys they hold.
func TestParseCacheOfReferences(t *testing.T) {
	small := discovery.Limits{MinRSABits: 1024}
	for file, want := range map[string]int{"announce_cache": 32, "sample_discovery_cache": 1, "discovery_cache_file": 4} {
		text := reference(t, file)
		records, bad := small.ParseCache(text, nil)
		if len(records) != want || len(bad) != 0 {
			t.Errorf("%s: %d records, %d bad: want %d and none", file, len(records), len(bad), want)
		}
		strict, refused := discovery.ParseCache(text)
		for _, e := range refused {
			if counterOf(e) != "announce_badkey" || !strings.Contains(e.Error(), "tls.min_rsa_bits") {
				t.Errorf("%s: refused by default: %v: want only short keys refused, by name", file, e)
			}
		}
		if len(strict)+len(refused) != want {
			t.Errorf("%s: by default %d records and %d refused: want %d in all", file, len(strict), len(refused), want)
		}
	}
}

// TestParseCacheForms is THREATS C3.
func TestParseCacheForms(t *testing.T) {
	text := cacheText(threeServices()...)
	for _, tt := range []struct {
		name      string
		text      []byte
		good, bad int
	}{
		{"as we write it", text, 3, 0},
		{"no octet", nil, 0, 0},
		{"one line feed", []byte("\n"), 0, 0},
		{"preamble only", []byte("anything at all\n"), 0, 0},
		{"preamble before it", append([]byte("anything %%% at all\n"), text...), 3, 0},
		{"separator at octet 0", text[1:], 3, 0},
		{"no last newline", bytes.TrimRight(text, "\n"), 3, 0},
		{"CR LF", bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")), 0, 0},
		{"CR LF in one record", bytes.Replace(text, []byte("-----\n\n"), []byte("-----\r\n\r\n"), 1), 2, 1},
		{"an empty record", append([]byte("\n%%%\n"), text...), 3, 1},
		{"a separator more at the end", append(bytes.Clone(text), "\n%%%\n"...), 3, 1},
		{"a record that is too long", append(append([]byte("\n%%%\n"), bytes.Repeat([]byte("x"), 321<<10)...), text...), 3, 1},
	} {
		records, bad := discovery.ParseCache(tt.text)
		if len(records) != tt.good || len(bad) != tt.bad {
			t.Errorf("%s: %d records, %d bad %v: want %d and %d", tt.name, len(records), len(bad), bad, tt.good, tt.bad)
		}
	}
	records, bad := discovery.Limits{MaxCacheRecords: 2}.ParseCache(text, nil)
	if len(records) != 2 || len(bad) != 1 || counterOf(bad[0]) != "cache_too_big" || bad[0].Number != 3 {
		t.Errorf("three records, two allowed: %d records, %v: want two, and the third named", len(records), bad)
	}
}

// TestParseCacheCutAnywhere is THREATS C1: every whole record before a cut counts.
func TestParseCacheCutAnywhere(t *testing.T) {
	text := cacheText(threeServices()...)
	var ends []int // of the signatures, after which a record is whole
	for i := range text {
		if bytes.HasPrefix(text[i:], []byte("\n\n%%%\n")) {
			ends = append(ends, i)
		}
	}
	ends = append(ends, len(text)-1)
	if len(ends) != 3 {
		t.Fatalf("records end at %v: want three", ends)
	}
	memory := new(discovery.CacheMemory)
	for cut := range text {
		want := 0
		for _, end := range ends {
			if cut >= end {
				want++
			}
		}
		if records, bad := (discovery.Limits{}).ParseCache(text[:cut], memory); len(records) != want {
			t.Fatalf("cut at octet %d: %d records, bad: %v: want %d", cut, len(records), bad, want)
		}
	}
}

// TestParseCacheDamagedAnywhere is THREATS C2: one wrong octet costs one record.
func TestParseCacheDamagedAnywhere(t *testing.T) {
	text := cacheText(threeServices()...)
	memory := new(discovery.CacheMemory)
	for i := range text {
		if i%3 != 0 && testing.Short() {
			continue
		}
		damaged := bytes.Clone(text)
		damaged[i] ^= 1 << (i % 7)
		want := 2
		if from := max(0, i-4); i > 5 && bytes.Contains(text[from:min(i+5, len(text))], []byte("\n%%%\n")) {
			want = 1 // a separator belongs to both of its neighbours
		}
		if records, bad := (discovery.Limits{}).ParseCache(damaged, memory); len(records) < want {
			t.Fatalf("octet %d damaged: %d records, bad: %v: want at least %d", i, len(records), bad, want)
		}
	}
}

// TestParseCacheRemembers: an unchanged record is the same value, not checked again.
func TestParseCacheRemembers(t *testing.T) {
	memory := new(discovery.CacheMemory)
	services := threeServices()
	before, _ := (discovery.Limits{}).ParseCache(cacheText(services...), memory)
	services[1].at = epoch.Add(time.Hour)
	after, _ := (discovery.Limits{}).ParseCache(cacheText(services...), memory)
	if before[0] != after[0] || before[1] == after[1] || before[2] != after[2] {
		t.Error("after one record changed: want the other two to be the same values, and the changed one another")
	}
}

// A cacheFile is a file under test, and what reads it.
type cacheFile struct {
	t      *testing.T
	path   string
	d      *discovery.Directory
	reader *discovery.CacheReader
	log    *syncBuffer
	now    time.Time
	states []discovery.CacheCondition
}

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newCacheFile(t *testing.T, limits discovery.Limits) *cacheFile {
	c := &cacheFile{t: t, path: filepath.Join(t.TempDir(), "discovery"), log: new(syncBuffer), now: time.Now()}
	limits.LogRate = 1000
	c.d = newDirectory(t, &discovery.DirectoryOptions{Limits: limits, Authorized: rules("main:ALL"), Now: func() time.Time { return c.now }})
	c.reader = discovery.NewCacheReader(c.path, c.d, &discovery.CacheReaderOptions{
		Log: textLog(c.log), OnState: func(s discovery.CacheState) { c.states = append(c.states, s.Condition) },
	})
	return c
}

// put replaces the file by a rename, as every good writer does.
func (c *cacheFile) put(text []byte) {
	c.t.Helper()
	if err := errors.Join(os.WriteFile(c.path+".new", text, 0o644), os.Rename(c.path+".new", c.path)); err != nil {
		c.t.Fatal(err)
	}
	c.now = time.Now()
}

// putOld is put of a file that was written some time ago.
func (c *cacheFile) putOld(text []byte) {
	c.t.Helper()
	before := time.Now().Add(-time.Second)
	if err := errors.Join(os.WriteFile(c.path+".new", text, 0o644), os.Chtimes(c.path+".new", before, before), os.Rename(c.path+".new", c.path)); err != nil {
		c.t.Fatal(err)
	}
	c.now = time.Now()
}

// found returns the idents that Find finds.
func (c *cacheFile) found() string {
	var list []string
	for _, r := range c.d.Find(discovery.Query{Action: "Sample.echo"}) {
		list = append(list, r.Ident)
	}
	return strings.Join(list, " ")
}

// load loads the file and checks what is found then.
func (c *cacheFile) load(when, found string, condition discovery.CacheCondition) {
	c.t.Helper()
	err := c.reader.Load()
	if got := c.found(); got != found {
		c.t.Errorf("%s: %q is found, want %q", when, got, found)
	}
	s := c.reader.State()
	if s.Condition != condition || (err == nil) != (condition == discovery.CacheFresh) {
		c.t.Errorf("%s: %v, Load: %v: want it %v, and an error unless it is fresh", when, s, err, condition)
	}
}

// TestCacheReaderKeeps goes through what may happen to the file: nothing of it
// removes anybody (THREATS C3 to C5, F12; invariant 3).
func TestCacheReaderKeeps(t *testing.T) {
	c := newCacheFile(t, discovery.Limits{MaxCacheFile: 64 << 10})
	good := cacheText(threeServices()...)
	c.load("not there", "", discovery.CacheMissing)
	c.put(good)
	c.load("there", "one three two", discovery.CacheFresh)
	for _, tt := range []struct {
		name      string
		do        func() error
		condition discovery.CacheCondition
	}{
		{"removed", func() error { return nil }, discovery.CacheMissing},
		{"empty", func() error { return os.WriteFile(c.path, nil, 0o644) }, discovery.CacheUnreadable},
		{"a directory", func() error { return os.Mkdir(c.path, 0o755) }, discovery.CacheUnreadable},
		{"a FIFO", func() error { return syscall.Mkfifo(c.path, 0o644) }, discovery.CacheUnreadable},
		{"a link to a device", func() error { return os.Symlink("/dev/zero", c.path) }, discovery.CacheUnreadable},
		{"a link to nothing", func() error { return os.Symlink("nothing", c.path) }, discovery.CacheMissing},
		{"a link to itself", func() error { return os.Symlink(c.path, c.path) }, discovery.CacheUnreadable},
		{"garbled", func() error { return os.WriteFile(c.path, []byte("\n%%%\nnothing good"), 0o644) }, discovery.CacheUnreadable},
		{"something else", func() error { return os.WriteFile(c.path, []byte("hello"), 0o644) }, discovery.CacheUnreadable},
		{"too big", func() error { return os.WriteFile(c.path, bytes.Repeat(good, 20), 0o644) }, discovery.CacheUnreadable},
	} {
		if err := errors.Join(os.RemoveAll(c.path), tt.do()); err != nil {
			t.Fatal(tt.name, err)
		}
		c.load(tt.name, "one three two", tt.condition)
		if !strings.Contains(c.d.Explain(discovery.Query{Action: "Nobody.does"}).String(), "cache file "+c.path+" is "+tt.condition.String()) {
			t.Errorf("%s: an error says %q: want the state of the file in it", tt.name, c.d.Explain(discovery.Query{Action: "Nobody.does"}))
		}
	}
	// Wherever it is cut, nobody leaves, and nothing that was whole is lost.
	renewed := threeServices()
	for cut := range len(good) - 1 { // with only the last line feed missing it is whole
		if testing.Short() && cut%13 != 0 {
			continue
		}
		c.putOld(good)
		c.load("whole", "one three two", discovery.CacheFresh)
		renewed[0].at = epoch.Add(time.Duration(cut) * time.Second)
		news := cut%64 == 63 && cut > len(good)/2 // its first record is newer
		switch text := good; {
		case bytes.HasPrefix(good[cut:], []byte("\n%%%\n")):
			if err := os.Truncate(c.path, int64(cut)); err != nil { // no other cut can pass for a whole file
				t.Fatal(err)
			}
			c.now = time.Now()
		default:
			if news {
				text = cacheText(renewed...)
			}
			c.putOld(text[:cut])
		}
		c.load(fmt.Sprintf("cut to %d octets", cut), "one three two", discovery.CacheUnreadable)
		if newest := c.d.Find(discovery.Query{Action: "Sample.echo", Ident: "one"}); news && newest[0].Timestamp != renewed[0].at.UnixMicro() {
			t.Errorf("cut to %d octets: the first record, which is whole and newer, does not count", cut)
		}
	}

	os.RemoveAll(c.path)
	// Not one that could be the old file cut short: a file made anew may have its inode.
	c.put(cacheText(threeServices()[1:2]...))
	c.load("good again", "two", discovery.CacheFresh)
	if n := c.d.Stats().Counters["cache_unusable"]; n < 8 {
		t.Errorf("cache_unusable is %d: want one for each of 9 troubles", n)
	}
	lines := strings.Count(c.log.String(), "\n")
	for range 5 {
		c.reader.Load()
	}
	if more := strings.Count(c.log.String(), "\n") - lines; more != 0 {
		t.Errorf("%d log lines though nothing changed", more)
	}
}

// TestCacheReaderLoadWaits: a new file that is written in place is read when it is
// whole, though each of its pieces could be a file.
func TestCacheReaderLoadWaits(t *testing.T) {
	c := newCacheFile(t, discovery.Limits{})
	good := cacheText(threeServices()...)
	c.put(good)
	c.load("there", "one three two", discovery.CacheFresh)
	os.Remove(c.path)
	if err := os.WriteFile(c.path, cacheText(threeServices()[:1]...), 0o644); err != nil {
		t.Fatal(err)
	}
	c.now = time.Now()
	written := make(chan struct{})
	time.AfterFunc(60*time.Millisecond, func() {
		defer close(written)
		os.WriteFile(c.path, good, 0o644)
	})
	c.load("written in two pieces", "one three two", discovery.CacheFresh)
	<-written
	if c.d.Stats().Counters["cache_unusable"] != 0 {
		t.Error("half of a file was read")
	}
}

// TestCacheReaderUnreadable is THREATS C5: mode 000, and back.
func TestCacheReaderUnreadable(t *testing.T) {
	c := newCacheFile(t, discovery.Limits{})
	asNobody(t, filepath.Dir(c.path), func() {
		c.put(cacheText(threeServices()...))
		c.load("there", "one three two", discovery.CacheFresh)
		c.put(cacheText(threeServices()[1:]...))
		lines := strings.Count(c.log.String(), "\n")
		os.Chmod(c.path, 0)
		for range 3 {
			c.load("mode 000", "one three two", discovery.CacheUnreadable)
		}
		if !strings.Contains(c.reader.State().String(), "permission denied") {
			t.Errorf("mode 000: %v: want why", c.reader.State())
		}
		os.Chmod(c.path, 0o644)
		for range 3 {
			c.load("back", "three two", discovery.CacheFresh)
		}
		if n := strings.Count(c.log.String(), "\n") - lines; n != 2 {
			t.Errorf("%d log lines, want one for each change: %s", n, c.log)
		}
	})
}

// TestCacheReaderChanges is THREATS C4: each way to change the content is seen.
func TestCacheReaderChanges(t *testing.T) {
	c := newCacheFile(t, discovery.Limits{})
	all := threeServices()
	c.put(cacheText(all...))
	c.load("first", "one three two", discovery.CacheFresh)
	c.put(cacheText(all[0]))
	c.load("renamed over", "one", discovery.CacheFresh)
	os.WriteFile(c.path, cacheText(all[1]), 0o644)
	c.load("rewritten in place", "two", discovery.CacheFresh)
	os.Remove(c.path)
	os.WriteFile(c.path, cacheText(all[2]), 0o644)
	c.load("removed and made again", "three", discovery.CacheFresh)

	target := c.path + ".target"
	os.WriteFile(target, cacheText(all[0]), 0o644)
	os.Remove(c.path)
	os.Symlink(target, c.path)
	c.load("a link to a file", "one", discovery.CacheFresh)
	os.WriteFile(target, cacheText(all[1]), 0o644)
	c.load("that file changed", "two", discovery.CacheFresh)

	info, _ := os.Stat(target)
	same := cacheText(service{ident: "six", address: "beepish+tls://10.0.0.2:2"}) // of the same length
	if int64(len(same)) != info.Size() {
		t.Fatalf("%d octets: want %d", len(same), info.Size())
	}
	os.WriteFile(target, same, 0o644)
	os.Chtimes(target, info.ModTime(), info.ModTime().Add(time.Nanosecond))
	c.load("same size, one nanosecond later", "six", discovery.CacheFresh)

	reads := c.d.Stats().Counters["announce_accepted"]
	os.Chtimes(target, time.Now(), time.Now())
	c.load("touched only", "six", discovery.CacheFresh)
	if n := c.d.Stats().Counters["announce_accepted"]; n != reads {
		t.Errorf("a touched file of the same content was taken as a new one")
	}
}

// TestCacheReaderShrunk: what a rename puts in place is believed, and told when it may be
// a file that was cut just behind a record. When few are missing they have left, unless
// nobody is left of several.
func TestCacheReaderShrunk(t *testing.T) {
	c := newCacheFile(t, discovery.Limits{LogRate: 1000})
	log := new(syncBuffer)
	c.reader = discovery.NewCacheReader(c.path, c.d, &discovery.CacheReaderOptions{
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	const line = `msg="discovery: cache file holds the first records`
	var all []service
	for i := range 8 {
		all = append(all, service{ident: fmt.Sprint("s", i)})
	}
	for _, tt := range []struct {
		name         string
		services     []service
		found        string
		gone, warned int // so far
	}{
		{"eight", all, "s0 s1 s2 s3 s4 s5 s6 s7", 0, 0},
		{"three less, the last ones", all[:5], "s0 s1 s2 s3 s4", 0, 0},
		{"eight again", all, "s0 s1 s2 s3 s4 s5 s6 s7", 0, 0},
		{"half of them", all[:4], "s0 s1 s2 s3", 1, 1},
		{"two of four", all[:2], "s0 s1", 2, 1},
		{"one of two", all[:1], "s0", 3, 1},
		{"nobody of one", nil, "", 4, 1},
		{"six", all[:6], "s0 s1 s2 s3 s4 s5", 4, 1},
		{"three of six", all[:3], "s0 s1 s2", 5, 1},
		{"eight again", all, "s0 s1 s2 s3 s4 s5 s6 s7", 5, 1},
		{"half of them, but not the first ones", all[4:], "s4 s5 s6 s7", 5, 1},
		{"nobody of four", nil, "", 6, 2},
		{"two", all[:2], "s0 s1", 6, 2},
		{"nobody of two", nil, "", 7, 3},
		{"three", all[:3], "s0 s1 s2", 7, 3},
		{"nobody of three", nil, "", 8, 4},
	} {
		text := cacheText(tt.services...)
		if len(text) == 0 {
			text = []byte("\n\n")
		}
		c.putOld(text)
		c.load(tt.name, tt.found, discovery.CacheFresh)
		warned := strings.Count(log.String(), "level=WARN "+line)
		if n := c.d.Stats().Counters["cache_shrunk"]; int(n) != tt.gone || warned != tt.warned {
			t.Errorf("%s: cache_shrunk is %d, %d warnings: want %d, %d in %s", tt.name, n, warned, tt.gone, tt.warned, log)
		}
	}
	if !strings.Contains(log.String(), "level=DEBUG "+line) {
		t.Errorf("log %s: want a line for those who debug, where few left", log)
	}
}

// TestCacheReaderOldFile is THREATS C6: an older signed file with a new date.
func TestCacheReaderOldFile(t *testing.T) {
	c := newCacheFile(t, discovery.Limits{})
	one := service{ident: "one"}
	two := one
	two.at, two.actions = epoch.Add(time.Hour), []discovery.Action{{Class: "Sample", Name: "echo"}, {Class: "Sample", Name: "new"}}
	for i, s := range []service{one, two, one} {
		c.put(cacheText(s))
		c.load("version", "one", discovery.CacheFresh)
		if got := len(c.d.Find(discovery.Query{Action: "Sample.new"})) == 1; got != (i > 0) {
			t.Errorf("file %d: the newer announcement is held: %v", i+1, got)
		}
	}
	if n := c.d.Stats().Counters["announce_stale"]; n != 1 {
		t.Errorf("announce_stale is %d: want 1", n)
	}
}

// TestCacheReaderStale is PROTOCOL 17 item 75: a file whose writer is dead is not
// loaded, and what was loaded before counts.
func TestCacheReaderStale(t *testing.T) {
	c := newCacheFile(t, discovery.Limits{})
	all := threeServices()
	c.put(cacheText(all...))
	c.now = time.Now().Add(121 * time.Second)
	c.load("stale from the start", "", discovery.CacheStale)
	os.Chtimes(c.path, c.now, c.now)
	c.load("touched", "one three two", discovery.CacheFresh)
	if s := c.reader.State(); s.Records != 3 || s.Bad != 0 || s.Age > time.Second || s.Loaded.IsZero() {
		t.Errorf("%+v: want three records, just written", s)
	}
	c.now = c.now.Add(119 * time.Second)
	c.load("119 s old", "one three two", discovery.CacheFresh)
	c.now = c.now.Add(2 * time.Second)
	c.load("121 s old", "one three two", discovery.CacheStale)
	if got := c.d.Explain(discovery.Query{Action: "Nobody.does"}).String(); !strings.Contains(got, "stale: written 2m1s ago, want at most 2m0s") {
		t.Errorf("an error says %q: want how old the file is", got)
	}
	if err := c.d.Add(service{ident: "heard"}.announce()); err != nil || c.found() != "heard one three two" {
		t.Errorf("heard meanwhile: error %v, %q is found", err, c.found())
	}
	modified := c.now.Add(-200 * time.Second)
	os.WriteFile(c.path, cacheText(all[1]), 0o644)
	os.Chtimes(c.path, modified, modified)
	c.load("changed, but stale", "heard one three two", discovery.CacheStale)
	os.Chtimes(c.path, c.now, c.now)
	c.load("touched again", "heard two", discovery.CacheFresh)
	want := []discovery.CacheCondition{discovery.CacheStale, discovery.CacheFresh, discovery.CacheStale, discovery.CacheFresh}
	if fmt.Sprint(c.states) != fmt.Sprint(want) {
		t.Errorf("OnState heard %v: want %v", c.states, want)
	}
	if n := c.d.Stats().Counters["cache_stale"]; n != 2 {
		t.Errorf("cache_stale is %d: want one for each time it became so", n)
	}
}

// TestCacheReaderFutureDate: a file with a date that is far in the future is fresh as long
// as its writer gives signs of life, not for years.
func TestCacheReaderFutureDate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "discovery")
	for _, tt := range []struct {
		ahead, stale time.Duration // stale after that long
	}{
		{0, 120 * time.Second}, {5 * time.Minute, 420 * time.Second},
		{5*time.Minute + time.Second, 120 * time.Second}, {365 * 24 * time.Hour, 120 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDirectory(t, &discovery.DirectoryOptions{Now: time.Now})
			date := time.Now().Add(tt.ahead)
			if err := errors.Join(discovery.ReplaceFile(path, cacheText(service{ident: "a"})), os.Chtimes(path, date, date)); err != nil {
				t.Fatal(err)
			}
			r := discovery.NewCacheReader(path, d, &discovery.CacheReaderOptions{PollOnly: true})
			run(t, r.Run)
			for touched := range 2 {
				for _, look := range []struct {
					wait time.Duration
					want discovery.CacheCondition
				}{{tt.stale - time.Second, discovery.CacheFresh}, {2 * time.Second, discovery.CacheStale}} {
					time.Sleep(look.wait)
					synctest.Wait()
					if s := r.State(); s.Condition != look.want || len(d.All()) != 1 {
						t.Errorf("%v ahead, sign of life %d: %v, age %v, %d records: want it %v", tt.ahead, touched+1, s, s.Age, len(d.All()), look.want)
					}
				}
				date = time.Now().Add(tt.ahead + time.Millisecond)
				if err := os.Chtimes(path, date, date); err != nil {
					t.Fatal(err)
				}
				time.Sleep(999 * time.Millisecond) // the reader polls
				synctest.Wait()
			}
		})
	}
}

// TestCacheReaderFollows: Run sees a change at once where the system tells of it,
// within its poll else, also when the directory is not there yet.
func TestCacheReaderFollows(t *testing.T) {
	for _, tt := range []struct {
		name string
		mode fs.FileMode
		poll bool
		most time.Duration
	}{
		{"watched", 0o755, false, 3 * time.Second},
		{"polled because others can write the directory", 0o777, false, 3 * time.Second},
		{"polled because asked to", 0o755, true, 3 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			dir := filepath.Join(t.TempDir(), "later")
			path := filepath.Join(dir, "discovery")
			d := newDirectory(t, &discovery.DirectoryOptions{Now: time.Now})
			run(t, discovery.NewCacheReader(path, d, &discovery.CacheReaderOptions{PollOnly: tt.poll}).Run)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir, tt.mode); err != nil {
				t.Fatal(err)
			}
			for _, ident := range []string{"one", "six"} {
				if err := errors.Join(os.WriteFile(path+".new", cacheText(service{ident: ident}), 0o644), os.Rename(path+".new", path)); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), tt.most)
				defer cancel()
				if _, err := d.Wait(ctx, discovery.Query{Action: "Sample.echo", Ident: ident}); err != nil {
					t.Fatalf("the file with %s: %v", ident, err)
				}
			}
			if n := len(d.Find(discovery.Query{Action: "Sample.echo"})); n != 1 {
				t.Errorf("%d instances: want one", n)
			}
		})
	}
}

// TestCacheReaderNeverTorn is THREATS C9: a file that is replaced a thousand times a
// second is read whole, and lookups never fail meanwhile.
func TestCacheReaderNeverTorn(t *testing.T) {
	c := newCacheFile(t, discovery.Limits{})
	if mountSmall(filepath.Dir(c.path)) == nil { // so that no disk holds the writer up
		defer unmount(filepath.Dir(c.path))
	}
	c.now = time.Now().Add(time.Second)
	texts := [][]byte{cacheText(threeServices()...), cacheText(threeServices()[:2]...)}
	c.put(texts[0])
	c.load("first", "one three two", discovery.CacheFresh)

	last := 2 * time.Second
	if os.Getenv("SCAMP_TEST_LONG") != "" {
		last = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(t.Context(), last)
	defer cancel()
	var work sync.WaitGroup
	writes := 0
	work.Go(func() { // ends with ctx
		for tick := time.NewTicker(time.Millisecond); ctx.Err() == nil; writes++ {
			if err := discovery.ReplaceFile(c.path, texts[writes%2]); err != nil {
				t.Errorf("write %d: %v", writes, err)
			}
			<-tick.C
		}
	})
	var reads atomic.Int64
	for range 4 {
		work.Go(func() { // ends with ctx
			sums := [][32]byte{sha256.Sum256(texts[0]), sha256.Sum256(texts[1])}
			for tick := time.NewTicker(time.Millisecond); ctx.Err() == nil; reads.Add(1) {
				text, err := os.ReadFile(c.path)
				if err != nil || !slices.Contains(sums, sha256.Sum256(text)) {
					t.Errorf("%d octets, %v: want one of the files", len(text), err)
				}
				<-tick.C
			}
		})
	}
	loads := 0
	for tick := time.NewTicker(5 * time.Millisecond); ctx.Err() == nil; loads++ {
		<-tick.C
		if err := c.reader.Load(); err != nil {
			t.Error(err)
		}
		if got := c.found(); got != "one three two" && got != "one two" {
			t.Errorf("%q is found: want all records of one of the files", got)
		}
	}
	work.Wait()
	if n := c.d.Stats().Counters["cache_record_bad"]; n != 0 {
		t.Errorf("cache_record_bad is %d: want 0", n)
	}
	t.Logf("%d writes, %d reads and %d loads in %v", writes, reads.Load(), loads, last)
}

// TestCacheReaderBadLastRecord: whoever leaves a file leaves, also when its last record is
// a bad one (PROTOCOL 8.3). One that may be cut off is believed when the writer stands by it.
func TestCacheReaderBadLastRecord(t *testing.T) {
	all := []service{{ident: "gone"}, {ident: "stays"}, {ident: "zlast"}}
	last := bytes.TrimRight(all[2].announce().Record(), "\n")
	touched := func(i int) service { return service{ident: fmt.Sprint("m", strings.Repeat("x", i))} }
	for _, tt := range []struct {
		name    string
		end     []byte // of the last record
		changes bool   // of the text at each sign of life
		looks   int    // until it is believed
	}{
		{"signature one group of base64 too long", append(bytes.Clone(last), "AAAA\n"...), false, 1},
		{"signature that is no base64", append(bytes.Clone(last[:len(last)-4]), "----\n"...), false, 1},
		{"signature one line too short", append(bytes.Clone(last[:bytes.LastIndexByte(last, '\n')]), '\n'), false, 2},
		{"the same, and another record comes each time", append(bytes.Clone(last[:bytes.LastIndexByte(last, '\n')]), '\n'), true, 2},
		{"no signature", append(bytes.Clone(last[:bytes.LastIndex(last, []byte("\n\n"))]), '\n'), false, 2},
		{"an octet", []byte("x"), false, 2},
	} {
		c := newCacheFile(t, discovery.Limits{})
		c.putOld(cacheText(all...))
		c.load("all", "gone stays zlast", discovery.CacheFresh)
		for look := 1; look <= 3; look++ {
			list := all[1:2:2]
			if tt.changes {
				list = append([]service{touched(look)}, list...)
			}
			c.putOld(append(append(cacheText(list...), "\n%%%\n"...), tt.end...))
			at := time.Now().Add(time.Duration(look-50) * time.Second)
			if err := os.Chtimes(c.path, at, at); err != nil {
				t.Fatal(err)
			}
			err := c.reader.Load()
			if left := !strings.Contains(c.found(), "gone"); left != (look >= tt.looks) || left != (err == nil) || !strings.Contains(c.found(), "stays") {
				t.Errorf("%s, sign of life %d: %q is found, %v: want gone to leave at number %d", tt.name, look, c.found(), err, tt.looks)
			}
		}
	}
}

// TestCacheReaderRawRecords: a writer that writes packets as it received them ends each
// record with an empty line, the last one too, whoever leaves.
func TestCacheReaderRawRecords(t *testing.T) {
	for _, end := range []string{"", "\n", "\n\n", "\n\n\n"} {
		c := newCacheFile(t, discovery.Limits{})
		raw := func(list ...service) []byte {
			var b bytes.Buffer
			for _, s := range list {
				b.WriteString("\n%%%\n")
				b.Write(bytes.TrimRight(s.announce().Packet(), "\n"))
				b.WriteString(end)
			}
			return b.Bytes()
		}
		all := threeServices()
		c.putOld(raw(all...))
		c.load("all", "one three two", discovery.CacheFresh)
		c.putOld(append(raw(all[:1]...), '\n')) // a cut within the separator
		if end != "" {                          // else it is the line feed that a file may end with
			c.load("cut", "one three two", discovery.CacheUnreadable)
		}
		c.putOld(raw(all[:2]...))
		c.load(fmt.Sprintf("records end with %q, the last one left", end), "one two", discovery.CacheFresh)
		c.putOld(raw(all[:1]...))
		c.load(fmt.Sprintf("records end with %q, one more left", end), "one", discovery.CacheFresh)
	}
}

// TestCacheReaderOnlyBadLeft: when the last good service leaves a file in which whole bad
// records stay, it leaves as soon as the writer stands by that.
func TestCacheReaderOnlyBadLeft(t *testing.T) {
	bad := bytes.Replace(cacheText(service{ident: "x"}), []byte("Sample"), []byte("Simple"), 1)
	for _, tt := range []struct {
		name  string
		text  []byte
		found string
	}{
		{"a forged one", bad, ""},
		{"two", append(bytes.Clone(bad), bad...), ""},
		{"one that is cut", bad[:len(bad)-100], "a"},
		{"one that is cut before it", append(bytes.Clone(bad[:len(bad)/2]), bad...), "a"},
		{"something else", []byte("hello"), "a"},
	} {
		c := newCacheFile(t, discovery.Limits{})
		c.putOld(append(cacheText(service{ident: "a"}), tt.text...))
		if tt.name == "something else" {
			c.putOld(cacheText(service{ident: "a"}))
		}
		c.reader.Load()
		if got := c.found(); got != "a" {
			t.Errorf("%s beside a: %q is found, want a", tt.name, got)
		}
		for i := range 3 {
			c.putOld(tt.text)
			at := time.Now().Add(time.Duration(i-50) * time.Second)
			if err := os.Chtimes(c.path, at, at); err != nil {
				t.Fatal(err)
			}
			want := tt.found
			if i == 0 {
				want = "a"
			}
			c.reader.Load()
			if got := c.found(); got != want {
				t.Errorf("%s alone, sign of life %d: %q is found, %v: want %q", tt.name, i+1, got, c.reader.State(), want)
			}
		}
	}
}
