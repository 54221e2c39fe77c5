package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxCalls  = 2_000_000 // of one caller
	maxErrors = 1000      // of a cell, before its callers give up
)

// The phases of a load.
const (
	warming int32 = iota
	measuring
	over
)

// A load is callers that make one call after the other, each on its client.
type load struct {
	r     *runner
	cell  Cell
	phase atomic.Int32
	hists []*hist // by caller
}

// A loaded is what a load found.
type loaded struct {
	hist
	wall time.Duration
	a, b moment // when measuring began and ended
}

// load runs a load with one caller for each of clients, which may repeat.
func (r *runner) load(ctx context.Context, c Cell, clients []Client) (*loaded, error) {
	l := &load{r: r, cell: c}
	var callers sync.WaitGroup
	for i, cl := range clients {
		h := new(hist)
		l.hists = append(l.hists, h)
		callers.Go(func() { l.call(ctx, cl, uint64(i), h) }) // ends when the load is over
	}
	res, err := l.measure()
	l.phase.Store(over)
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() { callers.Wait(); close(done) }() // ends with the callers
	select {
	case <-done:
	case <-time.After(graceTime + time.Duration(c.SlowMS)*time.Millisecond):
		return nil, fmt.Errorf("HUNG: callers still wait for replies %v after the end, %d errors", graceTime, r.errs.Load())
	}
	for _, h := range l.hists {
		res.merge(h)
	}
	if res.n == 0 {
		return nil, errors.New("no reply at all: " + r.firstErr())
	}
	return res, nil
}

// measure warms up and measures.
func (l *load) measure() (*loaded, error) {
	time.Sleep(l.cell.warm() + time.Duration(l.cell.SlowMS)*time.Millisecond)
	res := new(loaded)
	var err error
	if res.a, err = l.r.now(); err != nil {
		return nil, err
	}
	l.phase.Store(measuring)
	began := time.Now()
	time.Sleep(l.cell.measured())
	l.phase.Store(over)
	res.wall = time.Since(began)
	res.b, err = l.r.now()
	return res, err
}

// call is one caller.
func (l *load) call(ctx context.Context, cl Client, caller uint64, h *hist) {
	slow := time.Duration(l.cell.SlowMS) * time.Millisecond
	size := l.cell.Size
	if slow > 0 {
		size = 64
		time.Sleep(rand.N(slow)) // so that they do not call in step
	}
	p := newPayload(size, l.cell.SlowMS)
	for i := uint64(0); h.n < maxCalls; i++ {
		phase := l.phase.Load()
		if phase == over {
			return
		}
		t := time.Now()
		if err := l.r.one(ctx, cl, p, caller<<32|i, i&1023 == 0); err != nil {
			l.r.fail(err)
			if ctx.Err() != nil || l.r.errs.Load() > maxErrors {
				return
			}
			continue
		}
		if phase == measuring {
			h.add(max(0, time.Since(t)-slow))
		}
	}
}

// unary measures calls on one connection.
func (r *runner) unary(ctx context.Context, c Cell) (Figures, error) {
	cl, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	l, err := r.load(ctx, c, slices.Repeat([]Client{cl}, c.Conc))
	if err != nil {
		return nil, err
	}
	f := Figures{
		"rps": float64(l.n) / l.wall.Seconds(), "p50_us": l.q(.5), "p99_us": l.q(.99), "p999_us": l.q(.999), "max_us": float64(l.max) / 1e3,
	}
	f.cost(l.a, l.b, float64(l.n))
	return f, nil
}

// slow measures many connections with one call each at a time, whose handler sleeps.
func (r *runner) slow(ctx context.Context, c Cell) (Figures, error) {
	clients := r.openMany(ctx, c.Conc)
	if len(clients) == 0 {
		return nil, r.noConnection()
	}
	l, err := r.load(ctx, c, clients)
	if err != nil {
		return nil, err
	}
	f := Figures{
		"rps": float64(l.n) / l.wall.Seconds(), "excess_p50_us": l.q(.5), "excess_p99_us": l.q(.99),
		"rss_client_mib": mib(l.b.client.RSSKiB), "rss_server_mib": mib(l.b.server.RSSKiB),
	}
	f["rss_mib"] = f["rss_client_mib"] + f["rss_server_mib"]
	f.cost(l.a, l.b, float64(l.n))
	return f, nil
}

func mib(kib int64) float64 { return float64(kib) / 1024 }
