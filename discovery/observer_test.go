package discovery_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// run starts f, which must end with its context, and ends it with the test.
func run(t *testing.T, f func(context.Context) error) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }() // ends when ctx is cancelled
	var err error
	ended := false
	stop = func() error {
		if !ended {
			cancel()
			err, ended = <-done, true
		}
		return err
	}
	t.Cleanup(func() { stop() })
	return stop
}

// repeat sends a packet every five seconds until stopped.
func repeat(t *testing.T, c *discovery.Loopback, s service) (stop func() error) {
	packet := s.datagram()
	return run(t, func(ctx context.Context) error {
		for {
			if err := c.Send(ctx, discovery.Iface{}, packet); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(5 * time.Second):
			}
		}
	})
}

// TestObserver: what is sent is found, what is broken is counted and logged at
// most once a second, and silence of one is the end of that one (THREATS F16).
func TestObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		d := newDirectory(t, nil)
		c := discovery.NewLoopback()
		stop := run(t, discovery.NewObserver(c.Join(), d, &discovery.ObserverOptions{Log: textLog(&log)}).Run)
		repeat(t, c, service{ident: "one"})
		silence := repeat(t, c, service{ident: "two"})
		count := func() int { return len(d.Find(discovery.Query{Action: "Sample.echo"})) }
		time.Sleep(time.Minute)
		if n := count(); n != 2 {
			t.Fatalf("%d of 2 services are found", n)
		}
		silence()
		time.Sleep(12 * time.Second)
		if n := count(); n != 1 {
			t.Errorf("%d services are found 12 s after one fell silent: want 1", n)
		}
		time.Sleep(time.Second)
		for i := range 100 {
			c.Send(t.Context(), discovery.Iface{}, fmt.Appendf(nil, "junk%d\x1b[31m\n", i))
		}
		synctest.Wait()
		if n := d.Stats().Counters["announce_malformed"]; n != 100 || strings.Count(log.String(), "\n") != 1 || strings.ContainsAny(log.String(), "\x1b") {
			t.Errorf("announce_malformed is %d, log %q: want 100 and one line without control characters", n, log.String())
		}
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v: want the end of its context", err)
		}
	})
}

// TestObserverOfClosedCarrier: Run ends when nothing can come any more.
func TestObserverOfClosedCarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := discovery.NewLoopback()
		time.AfterFunc(time.Second, func() { c.Close() })
		if err := discovery.NewObserver(c, newDirectory(t, nil), nil).Run(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Run: %v: want net.ErrClosed", err)
		}
	})
}

// TestObserverGoesDeaf is THREATS F15: when nobody at all is heard, nobody
// expires for a minute, and then everybody by the rule.
func TestObserverGoesDeaf(t *testing.T) {
	for _, tt := range []struct {
		cut  time.Duration
		want string // how many services are found, every five seconds from 10 s after the cut
	}{
		{40 * time.Second, "3 3 3 3 3 3 3 3 3 3 3 3 3 3 3 3"},
		{5 * time.Minute, "3 3 3 3 3 3 3 3 3 3 3 3 0 0 0 0"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			d := newDirectory(t, &discovery.DirectoryOptions{Log: textLog(&log)})
			c := discovery.NewLoopback()
			run(t, discovery.NewObserver(c.Join(), d, nil).Run)
			for i := range 3 {
				repeat(t, c, service{ident: fmt.Sprint("deaf", i)})
				time.Sleep(time.Second)
			}
			time.Sleep(20 * time.Second)
			cut := time.Now()
			c.Disturb(func(_, _ discovery.Iface, _ []byte) discovery.Fault {
				return discovery.Fault{Drop: time.Since(cut) < tt.cut}
			})
			time.Sleep(10 * time.Second)
			var got []string
			for range 16 {
				got = append(got, fmt.Sprint(len(d.Find(discovery.Query{Action: "Sample.echo"}))))
				time.Sleep(5 * time.Second)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("cut for %v: %s are found, want %s", tt.cut, strings.Join(got, " "), tt.want)
			}
			synctest.Wait()
			if n := d.Stats().Counters["observer_blind"]; n != 1 || !strings.Contains(log.String(), "nobody is heard") {
				t.Errorf("cut for %v: observer_blind is %d, log %q: want one alarm", tt.cut, n, log.String())
			}
			time.Sleep(5 * time.Minute)
			if n := len(d.Find(discovery.Query{Action: "Sample.echo"})); n != 3 {
				t.Errorf("cut for %v: %d services are found long after: want 3", tt.cut, n)
			}
		})
	}
}

// TestObserverHearsAgain: after a cut, one that was heard again does not keep
// those alive that were not.
func TestObserverHearsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, nil)
		c := discovery.NewLoopback()
		run(t, discovery.NewObserver(c.Join(), d, nil).Run)
		repeat(t, c, service{ident: "stays"})
		goes := repeat(t, c, service{ident: "goes"})
		time.Sleep(20 * time.Second)
		cut := time.Now()
		c.Disturb(func(_, _ discovery.Iface, _ []byte) discovery.Fault {
			return discovery.Fault{Drop: time.Since(cut) < 40*time.Second}
		})
		time.Sleep(30 * time.Second)
		goes() // it ends while nobody can hear that
		time.Sleep(30 * time.Second)
		if got, want := idents(d.Find(discovery.Query{Action: "Sample.echo"})), "stays@10.0.0.5:30123"; got != want {
			t.Errorf("20 s after the end of the cut: %q, want %q", got, want)
		}
	})
}

// A leak is a carrier that says it loses datagrams.
type leak struct {
	discovery.Carrier
	lost atomic.Uint64
}

func (l *leak) Lost() uint64 { return l.lost.Load() }

// TestObserverThatLoses: whoever may have been among lost datagrams is not removed
// while they are lost, for a minute more than usual at most: invariant 10.
func TestObserverThatLoses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		loses time.Duration // from when it fell silent
		gone  time.Duration // when it is removed
	}{
		{"nothing", 0, 10500 * time.Millisecond},
		{"for half a minute", 30 * time.Second, 40500 * time.Millisecond},
		{"for ever", time.Hour, 70500 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			d := newDirectory(t, &discovery.DirectoryOptions{Log: textLog(&log)})
			segment := discovery.NewLoopback()
			c := &leak{Carrier: segment.Join()}
			stop := run(t, discovery.NewObserver(c, d, nil).Run)
			repeat(t, segment, service{ident: "stays"})
			silence := repeat(t, segment, service{ident: "goes"})
			time.Sleep(5*time.Second + time.Millisecond)
			silence()
			start := time.Now()
			found := func() string { return idents(d.Find(discovery.Query{Action: "Sample.echo"})) }
			for strings.Contains(found(), "goes") && time.Since(start) < 2*time.Minute {
				if time.Since(start) < tt.loses {
					c.lost.Add(3)
				}
				time.Sleep(500 * time.Millisecond)
			}
			if gone := time.Since(start); gone < tt.gone-time.Second || gone > tt.gone+2*time.Second {
				t.Errorf("loses %s: removed after %v: want %v", tt.name, gone, tt.gone)
			}
			if !strings.Contains(found(), "stays") {
				t.Errorf("loses %s: %q is found: want who is heard", tt.name, found())
			}
			stop()
			if n := d.Stats().Counters["observer_overrun"]; n+6 < c.lost.Load() || n > c.lost.Load() || (n > 0) != strings.Contains(log.String(), "datagrams lost") {
				t.Errorf("loses %s: %d counted of %d, log %q", tt.name, n, c.lost.Load(), log.String())
			}
		})
	}
}
