package bench

import (
	"context"
	"fmt"
	"math/rand"
	"sync"
	"sync/atomic"
	"time"
)

func (r *runner) unary(ctx context.Context, c Cell) (map[string]float64, error) {
	cl, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	const maxOps = 2_000_000
	var phase atomic.Int32
	var total atomic.Int64
	hs := make([]*hist, c.Conc)
	var wg sync.WaitGroup
	for w := range hs {
		h := &hist{}
		hs[w] = h
		wg.Add(1)
		go func() {
			defer wg.Done()
			p, off := makePayload(c.Size, 0)
			dst := make([]byte, 0, len(p))
			for i := uint64(0); ; i++ {
				ph := phase.Load()
				if ph == 2 {
					break
				}
				t := time.Now()
				if err := r.one(ctx, cl, p, off, uint64(w)<<32|i, dst, i&1023 == 0); err != nil {
					r.fail(err)
					if ctx.Err() != nil || r.errs.Load() > 1000 {
						return
					}
					continue
				}
				if ph == 1 {
					h.add(int64(time.Since(t)))
					if h.n >= maxOps {
						return
					}
				}
			}
			total.Add(int64(h.n))
		}()
	}
	time.Sleep(time.Duration(c.WarmMS) * time.Millisecond)
	a, err := r.both()
	if err != nil {
		return nil, err
	}
	phase.Store(1)
	t0 := time.Now()
	time.Sleep(time.Duration(c.DurMS) * time.Millisecond)
	phase.Store(2)
	wall := time.Since(t0)
	b, err := r.both()
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(6 * time.Second):
		return nil, fmt.Errorf("HUNG: workers still waiting for replies 6 s after the end (%d replies counted so far, %d errors)", total.Load(), r.errs.Load())
	}
	all := &hist{}
	for _, h := range hs {
		all.merge(h)
	}
	if all.n == 0 {
		return nil, fmt.Errorf("no reply at all")
	}
	m := map[string]float64{"rps": float64(all.n) / wall.Seconds(), "p50_us": all.q(.5), "p99_us": all.q(.99), "p999_us": all.q(.999), "max_us": float64(all.max) / 1e3}
	cost(m, a, b, float64(all.n))
	return m, nil
}

func (r *runner) slow(ctx context.Context, c Cell) (map[string]float64, error) {
	cls := r.openMany(ctx, c.Conc)
	if len(cls) == 0 {
		return nil, fmt.Errorf("no connection: %s", r.firstErr)
	}
	var phase atomic.Int32
	hs := make([]*hist, len(cls))
	var wg sync.WaitGroup
	for i, cl := range cls {
		h := &hist{}
		hs[i] = h
		wg.Add(1)
		go func() {
			defer wg.Done()
			p, off := makePayload(64, c.SlowMS)
			dst := make([]byte, 0, len(p))
			time.Sleep(time.Duration(rand.Intn(c.SlowMS)) * time.Millisecond)
			for k := uint64(0); ; k++ {
				ph := phase.Load()
				if ph == 2 {
					return
				}
				t := time.Now()
				if err := r.one(ctx, cl, p, off, uint64(i)<<32|k, dst, false); err != nil {
					r.fail(err)
					if ctx.Err() != nil || r.errs.Load() > 1000 {
						return
					}
					continue
				}
				if ph == 1 {
					h.add(max(0, int64(time.Since(t))-int64(c.SlowMS)*1e6))
				}
			}
		}()
	}
	time.Sleep(time.Duration(c.WarmMS+c.SlowMS) * time.Millisecond)
	a, err := r.both()
	if err != nil {
		return nil, err
	}
	phase.Store(1)
	t0 := time.Now()
	time.Sleep(time.Duration(c.DurMS) * time.Millisecond)
	phase.Store(2)
	wall := time.Since(t0)
	b, err := r.both()
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		return nil, fmt.Errorf("HUNG: workers still waiting 10 s after the end")
	}
	all := &hist{}
	for _, h := range hs {
		all.merge(h)
	}
	if all.n == 0 {
		return nil, fmt.Errorf("no reply at all")
	}
	m := map[string]float64{
		"rps": float64(all.n) / wall.Seconds(), "excess_p50_us": all.q(.5), "excess_p99_us": all.q(.99),
		"rss_client_mib": float64(b.cl.RSSKiB) / 1024, "rss_server_mib": float64(b.sv.RSSKiB) / 1024,
	}
	m["rss_mib"] = m["rss_client_mib"] + m["rss_server_mib"]
	cost(m, a, b, float64(all.n))
	return m, nil
}
