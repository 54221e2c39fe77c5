//go:build linux

package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"
)

// An act is one thing that a row does under load.
type act struct {
	at   time.Duration // after the load began
	what string        // for the plan and for errors; the same for the same seed
	do   func(ctx context.Context) error
}

// every yields the times of something that is done again and again in a load that lasts
// so long: not before it has settled, and not when it ends.
func every(lasts, interval time.Duration) func(yield func(time.Duration) bool) {
	return func(yield func(time.Duration) bool) {
		for at := interval; at < lasts-interval/2; at += interval {
			if !yield(at) {
				return
			}
		}
	}
}

// plan adds a line to what the plan's hash is made of.
func (s *stage) plan(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.planned = append(s.planned, fmt.Sprintf(format, args...))
}

// hash is that of the plan so far: the same for the same seed.
func (s *stage) hash() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := fnv.New64a()
	for _, line := range s.planned {
		fmt.Fprintln(h, line)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// A wave is calls that are made in one go.
type wave struct {
	name    string // of its random choices; waves of one row differ in it
	mix     mix
	seconds time.Duration // zero means those of the row
	ident   string        // of the instance that all are for; empty means any
}

// load makes the calls of the layout's mix from all clients for s.seconds, does the acts
// at their times, one after the other, and returns when every call has ended.
func (s *stage) load(ctx context.Context, acts []act) error {
	return s.loads(ctx, []wave{{mix: s.layout.mix}}, acts)
}

// loads is load with waves, all of which begin at once. It may be called again.
func (s *stage) loads(ctx context.Context, waves []wave, acts []act) error {
	acts = slices.SortedStableFunc(slices.Values(acts), func(a, b act) int { return cmp.Compare(a.at, b.at) })
	begin := time.Now().Add(300 * time.Millisecond)
	var loads []load // of the clients in turn
	var most time.Duration
	for _, w := range waves {
		w.mix.Rate *= s.rate
		w.seconds = cmp.Or(w.seconds, s.seconds)
		most = max(most, w.seconds+w.mix.Deadline)
		for i := range s.clients {
			l := load{Mix: w.mix, Name: fmt.Sprintf("%s/%sclient%d", s.row.id, w.name, i+1), Seed: s.seed, Clients: len(s.clients), Begin: begin, Lasts: w.seconds, Ident: w.ident}
			for p := range l.plan {
				s.plan("%v", p)
			}
			loads = append(loads, l)
		}
	}
	for _, a := range acts {
		s.plan("%v %s", a.at, a.what)
	}
	s.began = begin
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var acting sync.WaitGroup
	var failed error
	var behind time.Duration
	acting.Go(func() { // ends with the acts, or with ctx
		for _, a := range acts {
			select {
			case <-time.After(time.Until(begin.Add(a.at))):
			case <-ctx.Done():
				return
			}
			behind = max(behind, time.Since(begin.Add(a.at)))
			if err := a.do(ctx); err != nil {
				failed = fmt.Errorf("%s at %v: %w", a.what, a.at, err)
				cancel(failed) // the rest would only hide it
				return
			}
		}
	})
	late := make([]time.Duration, len(loads))
	var stalled time.Duration
	acting.Go(func() { stalled = stalls(ctx, begin.Add(s.seconds)) }) // ends with the load, or with ctx
	clients := slices.Clone(s.clients)                                // acts may put others in their place
	err := each(len(loads), func(i int) error {
		c := clients[i%len(clients)]
		var done loaded
		// Calls end a second after their deadline; what a machine adds that is slow is no reason to stop.
		err := c.ask(ctx, "load", loads[i], &done, most+time.Minute)
		if c.gone() && s.replaced(c) {
			return nil
		}
		late[i] = done.Late
		return err
	})
	acting.Wait()
	s.figure("machine_stalled_ms", ms(stalled))
	if len(acts) > 0 {
		s.figure("acts_behind_ms", ms(behind))
	}
	if failed != nil {
		return failed
	}
	if len(late) > 0 {
		s.figure("behind_ms", ms(slices.Max(late)))
	}
	return err
}

// stalls returns the longest that this process, which has nothing to do, was kept from
// running until a time: what the machine took from every process of the stage, too.
func stalls(ctx context.Context, until time.Time) (longest time.Duration) {
	const step = 5 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	for last := time.Now(); last.Before(until); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return longest
		}
		now := time.Now()
		longest, last = max(longest, now.Sub(last)-step), now
	}
	return longest
}

// replaced says whether the row has ended a client on purpose: it has put another one, or
// none, in its place.
func (s *stage) replaced(c *child) bool { return !slices.Contains(s.clients, c) }

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
