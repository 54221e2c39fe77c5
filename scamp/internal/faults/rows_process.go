//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/ledger"
)

// processRows are the rows whose fault is in a process: it dies, stops, starves, or finds
// its files changed.
var processRows = slices.Concat([]row{
	{id: "F8", fault: "kill -9 a random service each 3 s, started anew after 1 s", seconds: 120, least: 6, minOK: 0.97, run: runKills},
	{id: "F9", fault: "rolling restart, 100 times", quick: true, seconds: 200, minOK: 1, run: runRestarts},
	{id: "K1", fault: "kill -9 one of three under 500 requests a second", quick: true, seconds: 60, minOK: 0.97, run: runKillOne},
}, managerRows, stoppedRows, starvedRows, rulesRows)

// A death is that of a service.
type death struct {
	at, gone time.Time // just before, and just after: a busy system takes its time to kill
	address  string
	ident    string
}

// killed kills service i and notes that.
func (s *stage) killed(i int, deaths *[]death) act {
	return act{what: fmt.Sprintf("kill %s", serviceName(i)), do: func(context.Context) error {
		c, at := s.services[i], time.Now()
		err := c.kill()
		*deaths = append(*deaths, death{at, time.Now(), c.ready.Address, c.ready.Ident})
		return err
	}}
}

// starts starts service i again.
func (s *stage) starts(i int) act {
	return act{what: fmt.Sprintf("start %s", serviceName(i)), do: func(ctx context.Context) error { return s.startService(ctx, i) }}
}

// then notes the time after the act, before that just before it.
func (a act) then(times *[]time.Time) act {
	do := a.do
	a.do = func(ctx context.Context) error {
		err := do(ctx)
		*times = append(*times, time.Now())
		return err
	}
	return a
}

func (a act) before(times *[]time.Time) act {
	do := a.do
	a.do = func(ctx context.Context) error {
		*times = append(*times, time.Now())
		return do(ctx)
	}
	return a
}

// when is the act at a time.
func (a act) when(at time.Duration) act { a.at = at; return a }

// runKills is F8. After a death callers may try the address once more now and then, not as
// often as they have calls.
func runKills(ctx context.Context, s *stage) error {
	if err := s.open(ctx, layout{}); err != nil {
		return err
	}
	var deaths []death
	var acts []act
	victims, kills := s.rand("victims"), 0
	for at := range every(s.seconds, 3*time.Second) {
		i := victims.IntN(len(s.services))
		acts = append(acts, s.killed(i, &deaths).when(at), s.starts(i).when(at+time.Second))
		kills++
	}
	if err := s.load(ctx, acts); err != nil {
		return err
	}
	if _, err := s.latencies(); err != nil {
		return err
	}
	s.did("kills", len(deaths), kills)
	return s.backsOff(ctx, deaths)
}

// backsOff looks at how often the clients tried to connect to the dead. From two seconds
// after a death on tries are at least two seconds apart (PROTOCOL 11.5: after 1, 2, 4 s).
func (s *stage) backsOff(ctx context.Context, deaths []death) error {
	tries, early := 0, 0
	for _, c := range s.clients {
		var all []dialed
		if err := c.ask(ctx, "dials", nil, &all, readyIn); err != nil {
			return err
		}
		for _, d := range deaths {
			last := time.Time{}
			for _, try := range all {
				if try.Address != d.address || try.At.Before(d.at) {
					continue
				}
				if try.At.After(d.gone.Add(2 * time.Second)) {
					tries++
					if try.At.Sub(last) < 1900*time.Millisecond {
						early++
					}
				}
				last = try.At
			}
		}
	}
	s.figure("dials_to_the_dead", float64(tries))
	s.atMost("dials_beyond_back_off", float64(early), 0)
	return nil
}

// runRestarts is F9: one service after the other is told to stop, and another process takes
// its place. Bodies can be produced again, as those of whoever wants nothing to fail.
func runRestarts(ctx context.Context, s *stage) error {
	m := baseMix()
	m.Again = true
	if err := s.open(ctx, layout{mix: m}); err != nil {
		return err
	}
	restarts := 0
	var stopping sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	var acts []act
	for at := range every(s.seconds, 1980*time.Millisecond) { // 100 times in 200 s
		i := len(acts) % len(s.services)
		acts = append(acts, act{at, "restart " + serviceName(i), func(ctx context.Context) error {
			old := s.services[i]
			stopping.Go(func() { // ends with the old process
				err := old.stop(ctx, drainIn)
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			})
			if err := s.startService(ctx, i); err != nil {
				return err
			}
			restarts++
			return nil
		}})
	}
	err := s.load(ctx, acts)
	stopping.Wait()
	if err := errors.Join(append(errs, err)...); err != nil {
		return err
	}
	all, err := s.latencies()
	if err != nil {
		return err
	}
	s.did("restarts", restarts, len(acts))
	s.atMost("failed", float64(len(all.failed())), 0)
	return nil
}

// runKillOne is the first thing that the fault suite exists to show: calls that may run
// twice survive the death of an instance, and of the others those fail that were at it.
func runKillOne(ctx context.Context, s *stage) error {
	m := mix{Rate: 500, Parts: []part{{0.7, 200}, {0.3, 8 << 10}}, Idempotent: 0.5, Deadline: 2 * time.Second}
	// A handler takes a while, so that each instance that dies has calls in hand.
	if err := s.open(ctx, layout{mix: m, service: serviceSpec{Work: 20 * time.Millisecond}}); err != nil {
		return err
	}
	var deaths []death
	var acts []act
	victims, kills := s.rand("victims"), 0
	for at := range every(s.seconds, min(5*time.Second, s.seconds/5)) {
		i := victims.IntN(len(s.services))
		acts = append(acts, s.killed(i, &deaths).when(at), s.starts(i).when(at+time.Second))
		kills++
	}
	if err := s.load(ctx, acts); err != nil {
		return err
	}
	all, err := s.latencies()
	if err != nil {
		return err
	}
	// Whoever sends before the system has told him that the connection is gone is in flight.
	const told = 50 * time.Millisecond
	failed := all.failed()
	atDeath := func(m made) bool {
		return slices.ContainsFunc(deaths, func(d death) bool {
			return m.at.Before(d.gone.Add(told)) && m.at.Add(m.took).After(d.at) && strings.HasPrefix(m.instance, d.ident+" ")
		})
	}
	s.did("kills", len(deaths), kills)
	s.atLeast("in_flight_at_kills", float64(len(all.where(atDeath))), 1) // failed there, or sent again
	s.figure("failed", float64(len(failed)))
	s.figure("failed_maybe", float64(len(failed.where(func(m made) bool { return m.outcome == ledger.MaybeRun }))))
	s.atMost("failed_idempotent", float64(len(failed.where(func(m made) bool { return m.idempotent }))), 0)
	s.atMost("failed_beside_those_in_flight", float64(len(failed.where(func(m made) bool { return !atDeath(m) }))), 0)
	return nil
}

// sum adds up a counter of all clients' buses.
func (s *stage) sum(ctx context.Context, counter string) (uint64, error) {
	var n uint64
	for _, c := range s.clients {
		all, err := c.stats(ctx)
		if err != nil {
			return 0, err
		}
		n += all[counter]
	}
	return n, nil
}

// most returns the larger of two bounds of a figure that is compared with another: so many
// times that, or so much more, which is what a busy machine may add.
func most(than, times, more float64) float64 { return max(than*times, than+more) }
