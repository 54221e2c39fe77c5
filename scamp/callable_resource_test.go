//go:build resource

package scamp_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// TestResourceCallable: how long after Serve a peer that waits has its first reply, by
// multicast on loopback, and by way of a cache daemon and its file. Median of 50 rounds,
// fewer without SCAMP_TEST_LONG. Each round is one service that starts on a bus at rest.
func TestResourceCallable(t *testing.T) {
	rounds := 11
	if os.Getenv("SCAMP_TEST_LONG") != "" {
		rounds = 50
	}
	for _, tt := range []struct {
		name   string
		daemon bool
		rest   time.Duration // between rounds: the daemon writes its file at most twice a second
	}{
		{"multicast alone", false, 0},
		{"with a cache daemon", true, 1100 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			pair := scamptest.New(t).KeyPair()
			cfg := callableConfig(t, dir, pair)
			if tt.daemon {
				cfg.CachePath = filepath.Join(dir, "cache")
				runCacheDaemon(t, cfg)
			}
			open := func() *scamp.Bus {
				bus, err := scamp.Open(cfg, nil)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { bus.Close() })
				return bus
			}
			provider, caller := open(), open()
			best := time.Hour
			for try := range 3 { // the machine may be busy with something else
				listed, called := make([]time.Duration, rounds), make([]time.Duration, rounds)
				for i := range rounds {
					<-time.After(tt.rest)
					listed[i], called[i] = callableRound(t, provider, caller, pair, try*rounds+i)
				}
				t.Logf("%d rounds: listed after %v, first reply after %v (median; slowest %v)",
					rounds, median(listed), median(called), slices.Max(called).Round(time.Millisecond))
				if best = min(best, median(called)); best <= 50*time.Millisecond {
					return
				}
			}
			t.Errorf("first reply after %v: want at most 50 ms", best)
		})
	}
}

// callableRound starts a service and returns when a peer that waits knows it, and when
// it has a reply.
func callableRound(t *testing.T, provider, caller *scamp.Bus, pair *scamp.KeyPair, round int) (listed, called time.Duration) {
	action := fmt.Sprintf("Round%d.hello", round)
	svc, err := provider.NewService("callable", &scamp.ServiceOptions{KeyPair: pair, Grace: -1, Drain: -1})
	if err != nil {
		t.Fatal(err)
	}
	svc.Handle(action, func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error { return nil }, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var waiting sync.WaitGroup
	began := make(chan time.Time, 2)
	waiting.Go(func() { // ends with the wait
		_, err := caller.Directory().Wait(ctx, discovery.Query{Action: action})
		if listed = time.Since(<-began); err != nil {
			t.Error(err)
		}
	})
	waiting.Go(func() { // ends with the call
		reply, err := caller.Call(ctx, &scamp.Request{Action: action, Route: &scamp.RouteOptions{Wait: 10 * time.Second}})
		if called = time.Since(<-began); err != nil {
			t.Error(err)
			return
		}
		reply.Body.Close()
	})
	<-time.After(20 * time.Millisecond) // both wait by now; if not, the round is only harder
	start := time.Now()
	began <- start
	began <- start
	serve(t, svc)
	waiting.Wait()
	return listed, called
}

// runCacheDaemon does what scamp cache does, until the test ends.
func runCacheDaemon(t *testing.T, cfg *scamp.Config) {
	full := cfg.WithDefaults()
	m, err := discovery.NewMulticast(discovery.MulticastOptions{Group: full.MulticastAddress, Port: full.DiscoveryPort, Select: full.FollowDiscovery()})
	if err != nil {
		t.Fatal(err)
	}
	d := discovery.NewDirectory(nil)
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { discovery.NewObserver(m, d, nil).Run(ctx) })                 // ends with ctx
	work.Go(func() { discovery.NewCacheWriter(full.CachePath, d, nil).Run(ctx) }) // ends with ctx
	t.Cleanup(func() {
		cancel()
		work.Wait()
		m.Close()
		d.Close()
	})
	if !scamptest.Eventually(func() bool {
		_, err := os.Stat(full.CachePath)
		return err == nil
	}) {
		t.Fatal("the cache daemon writes no file")
	}
}

func median(times []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(times))[len(times)/2].Round(100 * time.Microsecond)
}
