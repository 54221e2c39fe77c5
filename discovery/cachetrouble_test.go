package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// A troubled is a cache file to which something happens again and again, while somebody
// follows it and looks up 200 times a second what is in it at all times.
type troubled struct {
	t      *testing.T
	dir    string
	path   string
	texts  [2][]byte // both hold steady; the first one even, the second one odd
	d      *discovery.Directory
	states chan discovery.CacheState
	looked chan struct{} // whoever receives from it waits for a lookup
}

func newTroubled(t *testing.T) *troubled {
	dir := t.TempDir()
	x := &troubled{t: t, dir: dir, path: filepath.Join(dir, "discovery"), states: make(chan discovery.CacheState, 100), looked: make(chan struct{})} // two states a time
	for i, ident := range []string{"even", "odd"} {
		x.texts[i] = cacheText(service{ident: ident}, service{ident: "steady"})
	}
	x.d = newDirectory(t, &discovery.DirectoryOptions{Now: time.Now})
	x.put(x.texts[0])
	reader := discovery.NewCacheReader(x.path, x.d, &discovery.CacheReaderOptions{OnState: func(s discovery.CacheState) { x.states <- s }})
	run(t, reader.Run)
	x.await("even")
	x.awaitState(discovery.CacheFresh)
	return x
}

// beside returns the path of another file of the directory.
func (x *troubled) beside(name string) string { return filepath.Join(x.dir, name) }

func (x *troubled) check(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

// put replaces the file by a rename, whatever is there. The file seems to be written long
// enough ago that the reader need not wait whether more is written to it.
func (x *troubled) put(text []byte) {
	x.t.Helper()
	written := time.Now().Add(-200 * time.Millisecond)
	x.check(errors.Join(os.WriteFile(x.beside("new"), text, 0o644), os.Chtimes(x.beside("new"), written, written)))
	if info, err := os.Lstat(x.path); err == nil && info.IsDir() {
		x.check(os.Remove(x.path))
	}
	x.check(os.Rename(x.beside("new"), x.path))
}

// await waits until the file with ident was read.
func (x *troubled) await(ident string) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), 30*time.Second)
	defer cancel()
	if _, err := x.d.Wait(ctx, discovery.Query{Action: "Sample.echo", Ident: ident}); err != nil {
		x.t.Fatalf("the file with %s is not read: %v", ident, err)
	}
}

// awaitState waits until the reader says that the file is as it is.
func (x *troubled) awaitState(want discovery.CacheCondition) {
	x.t.Helper()
	for limit := time.After(30 * time.Second); ; {
		select {
		case s := <-x.states:
			if s.Condition == want {
				return
			}
		case <-limit:
			x.t.Fatalf("the reader does not say that the file is %v", want)
		}
	}
}

// lookUp looks up what is always there until stop, which says how often it did.
func (x *troubled) lookUp() (stop func() int) {
	done := make(chan struct{})
	var work sync.WaitGroup
	looks := 0
	work.Go(func() { // ends when done is closed
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for ; ; looks++ {
			if len(x.d.Find(discovery.Query{Action: "Sample.echo", Ident: "steady"})) != 1 {
				x.t.Errorf("lookup %d finds nothing", looks)
			}
			select {
			case x.looked <- struct{}{}:
			default:
			}
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	})
	return sync.OnceValue(func() int {
		close(done)
		work.Wait()
		return looks
	})
}

// TestCacheReaderTroubles is THREATS C3 and C4: whatever happens to the file, each time
// what is good in it is read, and not one of 200 lookups a second fails.
func TestCacheReaderTroubles(t *testing.T) {
	long := os.Getenv("SCAMP_TEST_LONG") != ""
	const bad = discovery.CacheUnreadable
	for _, tt := range []struct {
		name      string
		few       int // so many times unless there is time, because each takes a while; 0 means 100
		trouble   func(x *troubled, text []byte)
		condition discovery.CacheCondition // of what trouble left, until the good text is put; fresh means that it left the text
	}{
		{"renamed over", 0, (*troubled).put, discovery.CacheFresh},
		{"rewritten in place", 10, func(x *troubled, text []byte) {
			x.check(os.WriteFile(x.path, text, 0o644))
		}, discovery.CacheFresh},
		{"rewritten in place in pieces", 10, func(x *troubled, text []byte) {
			f, err := os.Create(x.path)
			x.check(err)
			for ; len(text) > 0; text = text[min(len(text), 512):] {
				_, err := f.Write(text[:min(len(text), 512)])
				x.check(err)
			}
			x.check(f.Close())
		}, discovery.CacheFresh},
		{"deleted and made again", 10, func(x *troubled, text []byte) {
			x.check(errors.Join(os.Remove(x.path), os.WriteFile(x.path, text, 0o644)))
		}, discovery.CacheFresh},
		{"another link", 0, func(x *troubled, text []byte) {
			name := fmt.Sprint("text", len(text)%2, text[len(text)/2])
			if _, err := os.Stat(x.beside(name)); err != nil {
				x.check(os.WriteFile(x.beside(name), text, 0o644))
			}
			x.check(errors.Join(os.Symlink(name, x.beside("link")), os.Rename(x.beside("link"), x.path)))
		}, discovery.CacheFresh},
		{"deleted", 0, func(x *troubled, _ []byte) { x.check(os.Remove(x.path)) }, discovery.CacheMissing},
		{"a link to nothing", 0, func(x *troubled, _ []byte) {
			x.check(errors.Join(os.Symlink("nothing", x.beside("link")), os.Rename(x.beside("link"), x.path)))
		}, discovery.CacheMissing},
		{"a link to a device", 0, func(x *troubled, _ []byte) {
			x.check(errors.Join(os.Symlink("/dev/zero", x.beside("link")), os.Rename(x.beside("link"), x.path)))
		}, bad},
		{"a FIFO", 0, func(x *troubled, _ []byte) {
			x.check(errors.Join(syscall.Mkfifo(x.beside("fifo"), 0o644), os.Rename(x.beside("fifo"), x.path)))
		}, bad},
		{"a directory", 0, func(x *troubled, _ []byte) {
			x.check(errors.Join(os.Remove(x.path), os.Mkdir(x.path, 0o755)))
		}, bad},
		{"0 octets", 0, func(x *troubled, _ []byte) { x.put(nil) }, bad},
		{"200 MB", 0, func(x *troubled, _ []byte) {
			x.check(errors.Join(os.WriteFile(x.beside("big"), nil, 0o644), os.Truncate(x.beside("big"), 200e6), os.Rename(x.beside("big"), x.path)))
		}, bad},
		{"64 MiB, as many as are allowed", 3, func(x *troubled, text []byte) {
			f, err := os.Create(x.beside("big"))
			x.check(err)
			_, err = f.WriteAt(text, 64<<20-int64(len(text))) // what is before the first separator is ignored
			x.check(errors.Join(err, f.Close(), os.Rename(f.Name(), x.path)))
		}, discovery.CacheFresh},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			times := 100
			if tt.few > 0 && !long {
				times = tt.few
			}
			x := newTroubled(t)
			stop := x.lookUp()
			defer stop()
			for i := 1; i <= times && !t.Failed(); i++ {
				text := x.texts[i%2]
				tt.trouble(x, text)
				if tt.condition != discovery.CacheFresh {
					x.awaitState(tt.condition)
					<-x.looked
					x.put(text)
					x.awaitState(discovery.CacheFresh)
				}
				x.await([]string{"even", "odd"}[i%2])
				<-x.looked
			}
			if n := x.d.Stats().Counters["cache_record_bad"]; n != 0 {
				t.Errorf("cache_record_bad is %d: want 0", n)
			}
			t.Logf("%d times, %d lookups", times, stop())
		})
	}
}
