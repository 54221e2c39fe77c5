//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/internal/ledger"
)

// starvedRows are the rows in which a process runs out of descriptors.
var starvedRows = []row{
	{id: "F19", fault: "64 descriptors on a service, 200 clients", seconds: 60, minOK: 1, run: runServiceStarved},
	{id: "F20", fault: "no descriptors on the clients", seconds: 30, least: 20, quickSeconds: 24, minOK: 0.4, run: runClientsStarved},
}

const (
	starvedFiles = 64
	crowdSize    = 200
)

// runServiceStarved is F19. Clients that have a connection go on; of a crowd that comes
// later so many are served as there are descriptors, and the rest when those have left.
func runServiceStarved(ctx context.Context, s *stage) error {
	m := mix{Rate: 20, Parts: []part{{1, 200}}, Idempotent: 0.25, Deadline: 2 * time.Second}
	if err := s.open(ctx, layout{services: 1, mix: m, service: serviceSpec{Files: starvedFiles}}); err != nil {
		return err
	}
	svc := s.services[0]
	var crowd sync.WaitGroup
	crowding, disperse := context.WithCancel(ctx)
	defer crowd.Wait()
	defer disperse()
	var in, served atomic.Int32
	var idle footprint
	var idleAt time.Time
	var refused uint64
	acts := []act{
		{s.seconds / 6, "a crowd comes", func(context.Context) error {
			for range crowdSize {
				crowd.Go(func() { s.joinCrowd(crowding, svc, &in, &served) }) // ends with disperse
			}
			return nil
		}},
		// From here on nothing changes but that those outside try again.
		{s.seconds / 3, "look at the service", func(ctx context.Context) (err error) {
			idleAt = time.Now()
			if idle, err = footprintOf(svc.pid()); err != nil {
				return err
			}
			stats, err := svc.stats(ctx)
			refused = stats["accept_failed"]
			return err
		}},
		{s.seconds * 2 / 3, "look again, and disperse", func(ctx context.Context) error {
			now, err := footprintOf(svc.pid())
			if err != nil {
				return err
			}
			stats, err := svc.stats(ctx)
			if err != nil {
				return err
			}
			over := time.Since(idleAt)
			s.figure("crowd_served", float64(served.Load()))
			s.figure("descriptors", float64(now.descriptors))
			s.within("cpu_percent", 100*float64(now.cpu-idle.cpu)/float64(over), 20)
			s.atLeast("accept_failed", float64(stats["accept_failed"]), 1)
			// It waits 5 ms at first and a second at last; who gives up makes it begin anew.
			s.atMost("accept_failed_per_s", float64(stats["accept_failed"]-refused)/over.Seconds(), 50)
			disperse()
			return nil
		}},
		{s.seconds*2/3 + 5*time.Second, "somebody new comes", func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			c, err := scamp.Dial(ctx, svc.ready.Address, scamp.Identity{Fingerprint: svc.ready.Fingerprint}, nil)
			if err != nil {
				return err
			}
			defer c.Close()
			return answered(ctx, c)
		}},
	}
	if err := s.load(ctx, acts); err != nil {
		return err
	}
	s.atLeast("crowd_in", float64(in.Load()), starvedFiles/4)
	_, err := s.latencies()
	return err
}

// joinCrowd tries to connect, again and again, and stays where it is once it was served,
// until ctx ends.
func (s *stage) joinCrowd(ctx context.Context, svc *child, in, served *atomic.Int32) {
	for ctx.Err() == nil {
		c, err := scamp.Dial(ctx, svc.ready.Address, scamp.Identity{Fingerprint: svc.ready.Fingerprint}, nil)
		if err != nil {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			continue
		}
		in.Add(1)
		if answered(ctx, c) == nil {
			served.Add(1)
		}
		<-ctx.Done()
		c.Close()
	}
}

// answered makes a call that is for the service alone to answer.
func answered(ctx context.Context, c scamp.Caller) error {
	_, err := c.Call(ctx, &scamp.Request{Action: loadAction})
	if re, ok := errors.AsType[*scamp.RemoteError](err); ok && re.Code == scamp.CodeBadRequest {
		return nil // the action itself
	}
	return fmt.Errorf("call without the member %s: %w, want %s", loadMember, err, scamp.CodeBadRequest)
}

// runClientsStarved is F20: the clients can open nothing more, and then all services are
// other processes. What cannot be sent did not run, and all is well when there are
// descriptors again.
func runClientsStarved(ctx context.Context, s *stage) error {
	m := baseMix()
	m.Again = true
	if err := s.open(ctx, layout{mix: m}); err != nil {
		return err
	}
	limit := func(n int) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			return each(len(s.clients), func(i int) error { return s.clients[i].ask(ctx, "files", n, nil, readyIn) })
		}
	}
	var poor, rich time.Time
	acts := []act{
		{s.seconds / 6, "no more descriptors", limit(3)}, // what it has it keeps
		{s.seconds/6 + time.Second, "restart all services", func(ctx context.Context) error {
			old := append([]*child{}, s.services...)
			if err := each(len(old), func(i int) error { return old[i].stop(ctx, drainIn) }); err != nil {
				return err
			}
			poor = time.Now()
			for i := range old {
				if err := s.startService(ctx, i); err != nil {
					return err
				}
			}
			return nil
		}},
		{s.seconds / 2, "descriptors again", func(ctx context.Context) error {
			rich = time.Now()
			return limit(0)(ctx)
		}},
	}
	if err := s.load(ctx, acts); err != nil {
		return err
	}
	all, err := s.latencies()
	if err != nil {
		return err
	}
	without := all.between(poor, rich)
	failed := without.failed()
	s.atLeast("not_run_without", float64(len(failed.where(func(m made) bool { return m.outcome == ledger.NotRun }))), 10)
	s.atMost("failed_otherwise", float64(len(failed.where(func(m made) bool { return m.outcome != ledger.NotRun }))), 0)
	after := all.between(rich.Add(7*time.Second), s.began.Add(s.seconds)) // pollWatched, the longest a change of the cache file may take
	s.atLeast("calls_after", float64(len(after)), 1)
	s.atLeast("ok_after", after.part(), 1)
	return nil
}
