package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// calling measures how long after Serve a peer that waits for the action has its
// first reply, on multicast over loopback, the median of some services.
func calling(p *printer, b *bus, o options) error {
	dir, err := os.MkdirTemp("", "bench-discovery")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	pair := b.pairs[0]
	rules := filepath.Join(dir, "authorized_services")
	if err := os.WriteFile(rules, []byte(pair.Certificate.Fingerprint+" main:ALL\n"), 0o600); err != nil {
		return err
	}
	var random [4]byte
	rand.Read(random[:])
	cfg := &scamp.Config{ // a group and a port that nobody else uses
		BusAddress:         []string{"127.0.0.1"},
		MulticastAddress:   netip.AddrFrom4([4]byte{239, 255, random[0], random[1]}),
		DiscoveryPort:      20000 + int(random[2])<<5 + int(random[3])>>3,
		AuthorizedServices: rules,
	}
	provider, err := scamp.Open(cfg, nil)
	if err != nil {
		return err
	}
	defer provider.Close()
	caller, err := scamp.Open(cfg, nil)
	if err != nil {
		return err
	}
	defer caller.Close()
	times := make([]time.Duration, o.callable)
	for i := range times {
		if times[i], err = callOne(provider, caller, pair, i); err != nil {
			return err
		}
	}
	slices.Sort(times)
	p.print("serve_to_callable_ms", milliseconds(times[len(times)/2]), "ms", 50)
	return nil
}

// callOne starts a service for which a call waits, and stops it.
func callOne(provider, caller *scamp.Bus, pair *scamp.KeyPair, number int) (took time.Duration, err error) {
	action := fmt.Sprintf("Round%d.hello", number)
	svc, err := provider.NewService("bench", &scamp.ServiceOptions{KeyPair: pair, Grace: -1, Drain: -1})
	if err != nil {
		return 0, err
	}
	svc.Handle(action, func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { return nil }, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var work sync.WaitGroup
	var start time.Time
	var served error
	ready := make(chan struct{})
	work.Go(func() { // ends with the call
		defer cancel()
		if _, err = caller.Directory().Wait(ctx, discovery.Query{Action: action}); err != nil {
			return
		}
		var reply *scamp.Reply
		if reply, err = caller.Call(ctx, &scamp.Request{Action: action}); err == nil {
			<-ready
			took = time.Since(start)
			reply.Body.Close()
		}
	})
	<-time.After(10 * time.Millisecond) // it waits by now; if not, it is only harder
	start = time.Now()
	close(ready)
	work.Go(func() { served = svc.Serve(ctx) }) // ends with the call
	work.Wait()
	return took, errors.Join(err, served)
}
