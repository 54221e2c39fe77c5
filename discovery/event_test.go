package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// A tape writes down what a Watch tells, until its test ends.
type tape struct {
	mu    sync.Mutex
	lines []string
}

func record(t *testing.T, events iter.Seq[discovery.Event]) *tape {
	tp := new(tape)
	done := make(chan struct{})
	go func() { // ends with the events, which end with the directory
		defer close(done)
		for e := range events {
			tp.mu.Lock()
			tp.lines = append(tp.lines, fmt.Sprintf("%s %v %v %s", e.Route.Ident, e.Kind, e.Why, e.Route.Address))
			tp.mu.Unlock()
		}
	}()
	t.Cleanup(func() { <-done })
	return tp
}

// take returns what was told since the last take.
func (tp *tape) take() string {
	synctest.Wait()
	tp.mu.Lock()
	defer tp.mu.Unlock()
	lines := tp.lines
	tp.lines = nil
	return strings.Join(lines, "; ")
}

// TestWatchTellsWhy goes through every reason why an instance comes and goes.
func TestWatchTellsWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, nil)
		s := service{ident: "a", address: "beepish+tls://10.0.0.1:1"}
		later := func(seconds int) service {
			l := s
			l.at = epoch.Add(time.Duration(seconds) * time.Second)
			return l
		}
		d.Add(s.announce())
		action := record(t, d.Watch(t.Context(), discovery.Query{Action: "Sample.echo"}))
		all := record(t, d.Watch(t.Context(), discovery.Query{}))
		ident := record(t, d.Watch(t.Context(), discovery.Query{Action: "Sample.echo", Ident: "b"}))
		t.Cleanup(d.Close) // before the tapes are waited for

		moved := later(1)
		moved.address = "beepish+tls://10.0.0.1:2"
		other := later(2)
		other.actions = []discovery.Action{{Class: "Sample", Name: "other"}}
		gone := later(4)
		gone.weight = -1
		for _, tt := range []struct {
			name      string
			do        func()
			want, all string
		}{
			{"there before", func() {}, "a added announced 10.0.0.1:1", ""},
			{"repeated", func() { d.Add(s.announce()) }, "", ""},
			{"new address", func() { d.Add(moved.announce()) }, "a updated announced 10.0.0.1:2", ""},
			{"another action", func() { d.Add(other.announce()) }, "a removed replaced 10.0.0.1:2", "a updated announced 10.0.0.1:1"},
			{"the action again", func() { d.Add(later(3).announce()) }, "a added announced 10.0.0.1:1", "a updated announced 10.0.0.1:1"},
			{"no rule", func() { d.SetAuthorized(nil) }, "a removed unauthorized 10.0.0.1:1", ""},
			{"a rule", func() { d.SetAuthorized(rules()) }, "a added allowed 10.0.0.1:1", ""},
			{"the same rules", func() { d.SetAuthorized(rules()) }, "", ""},
			{"silence", func() { time.Sleep(11 * time.Second) }, "a removed expired 10.0.0.1:1", ""},
			{"only late", func() { d.Add(later(3).announce()) }, "a added announced 10.0.0.1:1", ""},
			{"withdrawn", func() { d.Add(gone.announce()) }, "a removed goodbye 10.0.0.1:1", ""},
			{"long after", func() { time.Sleep(time.Hour) }, "", ""},
			{"resumed", func() { d.Add(later(5).announce()) }, "a added announced 10.0.0.1:1", ""},
			{"in the file, not heard", func() { d.LoadFile([]*discovery.Announcement{later(5).announce()}); time.Sleep(time.Hour) }, "", ""},
			{"left the file", func() { d.LoadFile(nil) }, "a removed left the file 10.0.0.1:1", ""},
			{"another instance", func() { d.Add(service{ident: "b"}.announce()) }, "b added announced 10.0.0.5:30123", ""},
		} {
			tt.do()
			if tt.all == "" {
				tt.all = tt.want
			}
			if got := action.take(); got != tt.want {
				t.Errorf("%s: the action's watcher is told %q, want %q", tt.name, got, tt.want)
			}
			if got := all.take(); got != tt.all {
				t.Errorf("%s: the watcher of everything is told %q, want %q", tt.name, got, tt.all)
			}
		}
		if got, want := ident.take(), "b added announced 10.0.0.5:30123"; got != want {
			t.Errorf("the watcher of b is told %q, want %q", got, want)
		}
	})
}

// TestWatchSlowly: a caller that is busy sees the latest state of each instance,
// keeps nobody waiting, and costs no memory for what came and went meanwhile.
func TestWatchSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, nil)
		at := 0
		put := func(ident string, weight int) {
			at++
			if err := d.Add(service{ident: ident, weight: weight, at: epoch.Add(time.Duration(at) * time.Second)}.announce()); err != nil {
				t.Error(err)
			}
		}
		put("stays", 1)
		put("goes", 1)
		put("returns", 1)
		var got []string
		for e := range d.Watch(t.Context(), discovery.Query{Action: "Sample.echo"}) {
			got = append(got, fmt.Sprintf("%s %v %v", e.Route.Ident, e.Kind, e.Why))
			if len(got) == 3 { // all three were told; now much happens while we are busy
				for range 5 {
					put("stays", 1)
					put("returns", -1)
					put("returns", 1)
					put("passing", 1)
					put("passing", -1)
				}
				put("goes", -1)
				put("new", 1)
				put("new", 1)
			}
			if len(got) == 7 {
				break
			}
		}
		slices.Sort(got)
		want := []string{
			"goes added announced", "goes removed goodbye", "new added announced", "returns added announced",
			"returns updated announced", "stays added announced", "stays updated announced",
		}
		if !slices.Equal(got, want) {
			t.Errorf("told:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// TestWatchEnds: with its context, with the directory, with its caller; and what
// cannot be matched ends at once.
func TestWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan string, 3)
		watch := func(name string, ctx context.Context, q discovery.Query) {
			go func() { // ends with the watch, which is what is tested
				for range d.Watch(ctx, q) {
				}
				ended <- name
			}()
		}
		watch("impossible", t.Context(), discovery.Query{Action: "a:b:c"})
		if got := <-ended; got != "impossible" {
			t.Error(got)
		}
		watch("context", ctx, discovery.Query{})
		watch("closed", t.Context(), discovery.Query{})
		synctest.Wait()
		cancel()
		if got := <-ended; got != "context" {
			t.Error(got)
		}
		d.Close()
		if got := <-ended; got != "closed" {
			t.Error(got)
		}
	})
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, nil)
		q := discovery.Query{Action: "Sample.echo"}
		time.AfterFunc(3*time.Second, func() { d.Add(service{key: "other", ident: "stranger"}.announce()) })
		time.AfterFunc(5*time.Second, func() { d.Add(service{}.announce()) })
		start := time.Now()
		routes, err := d.Wait(t.Context(), q)
		if err != nil || len(routes) != 1 || time.Since(start) != 5*time.Second {
			t.Errorf("Wait: %s, %v after %v: want the one that came after 5 s", idents(routes), err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := d.Wait(ctx, discovery.Query{Action: "Nobody.does"}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "main:Nobody.does~1") {
			t.Errorf("Wait for nobody: %v: want the end of the context and the name", err)
		}
		time.AfterFunc(time.Second, d.Close)
		if _, err := d.Wait(t.Context(), discovery.Query{Action: "Nobody.does"}); !errors.Is(err, discovery.ErrClosed) {
			t.Errorf("Wait on a directory that is closed: %v: want ErrClosed", err)
		}
		if n := len(d.Find(q)); n != 1 {
			t.Errorf("Find on a closed directory: %d routes: want what was known", n)
		}
	})
}
