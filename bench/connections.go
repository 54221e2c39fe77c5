package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

func (r *runner) connect(ctx context.Context, c Cell) (map[string]float64, error) {
	cl, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	cl.Close()
	h := &hist{}
	a, err := r.both()
	if err != nil {
		return nil, err
	}
	end := time.Now().Add(time.Duration(c.DurMS) * time.Millisecond)
	for h.n < 300 && time.Now().Before(end) {
		t := time.Now()
		cl, err := r.open(ctx)
		if err != nil {
			r.fail(err)
			if r.errs.Load() > 20 {
				break
			}
			continue
		}
		h.add(int64(time.Since(t)))
		cl.Close()
	}
	b, err := r.both()
	if err != nil {
		return nil, err
	}
	if h.n == 0 {
		return nil, fmt.Errorf("no connection: %s", r.firstErr)
	}
	m := map[string]float64{"connect_p50_us": h.q(.5), "connect_p99_us": h.q(.99)}
	cost(m, a, b, float64(h.n))
	var n atomic.Int64
	var wg sync.WaitGroup
	t0 := time.Now()
	end = t0.Add(time.Duration(c.DurMS) * time.Millisecond)
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for time.Now().Before(end) && n.Load() < 2000 && r.errs.Load() < 50 {
				cl, err := r.open(ctx)
				if err != nil {
					r.fail(err)
					continue
				}
				cl.Close()
				n.Add(1)
			}
		}()
	}
	wg.Wait()
	m["conns_s"] = float64(n.Load()) / time.Since(t0).Seconds()
	return m, nil
}

// openMany opens n connections, 16 at a time.
func (r *runner) openMany(ctx context.Context, n int) []Client {
	cls := make([]Client, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				i := int(next.Add(1)) - 1
				if i >= n || ctx.Err() != nil || r.errs.Load() > 100 {
					return
				}
				cl, err := r.open(ctx)
				if err != nil {
					r.fail(err)
					continue
				}
				cls[i] = cl
			}
		}()
	}
	wg.Wait()
	out := cls[:0]
	for _, c := range cls {
		if c != nil {
			out = append(out, c)
		}
	}
	return out
}

func (r *runner) idle(ctx context.Context, c Cell) (map[string]float64, error) {
	warm := r.openMany(ctx, 16)
	for _, cl := range warm {
		cl.Close()
	}
	time.Sleep(100 * time.Millisecond)
	a, err := r.settleBoth()
	if err != nil {
		return nil, err
	}
	cls := r.openMany(ctx, c.Conc)
	time.Sleep(300 * time.Millisecond)
	if _, err = r.settleBoth(); err != nil {
		return nil, err
	}
	time.Sleep(100 * time.Millisecond)
	b, err := r.settleBoth()
	if err != nil {
		return nil, err
	}
	// They must still be alive.
	p, off := makePayload(64, 0)
	for i := 0; i < len(cls); i += 1 + len(cls)/20 {
		if err := r.one(ctx, cls[i], p, off, uint64(i), nil, true); err != nil {
			r.fail(err)
		}
	}
	n := float64(len(cls))
	if n == 0 {
		return nil, fmt.Errorf("no connection: %s", r.firstErr)
	}
	m := map[string]float64{
		"conns":              n,
		"client_kib":         float64(b.cl.RSSKiB-a.cl.RSSKiB) / n,
		"server_kib":         float64(b.sv.RSSKiB-a.sv.RSSKiB) / n,
		"client_goroutines":  float64(b.cl.Goroutines-a.cl.Goroutines) / n,
		"server_goroutines":  float64(b.sv.Goroutines-a.sv.Goroutines) / n,
		"heapstack_kib_both": (float64(b.cl.HeapInuse+b.cl.StackInuse+b.sv.HeapInuse+b.sv.StackInuse) - float64(a.cl.HeapInuse+a.cl.StackInuse+a.sv.HeapInuse+a.sv.StackInuse)) / 1024 / n,
	}
	m["both_kib"] = m["client_kib"] + m["server_kib"]
	return m, nil
}
