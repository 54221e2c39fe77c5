package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

func (r *runner) transfer(ctx context.Context, cl Client, dir string, n int64) error {
	var got int64
	var err error
	raw, ok := cl.(RawBulker)
	ok = ok && raw.RawBulk() && ctx.Value(sharedKey{}) == nil
	switch {
	case dir == "up" && ok:
		got, err = raw.RawUp(&patternReader{}, n)
	case dir == "up":
		got, err = cl.BulkUp(ctx, &patternReader{}, n)
	default:
		w := &CountWriter{}
		if ok {
			_, err = raw.RawDown(n, w)
		} else {
			_, err = cl.BulkDown(ctx, n, w)
		}
		got = w.N
	}
	if err == nil && got != n {
		err = fmt.Errorf("bulk %s: %d of %d bytes", dir, got, n)
	}
	return err
}

type sharedKey struct{}

func (r *runner) bulk(ctx context.Context, c Cell) (map[string]float64, error) {
	cl, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	if err := r.transfer(ctx, cl, c.Dir, 4<<20); err != nil {
		return nil, err
	}
	base, err := r.settleBoth()
	if err != nil {
		return nil, err
	}
	n := int64(c.Size) << 20
	if err := r.transfer(ctx, cl, c.Dir, n); err != nil {
		return nil, err
	}
	peak, err := r.both()
	if err != nil {
		return nil, err
	}
	m := map[string]float64{
		"peak_client_mib": float64(peak.cl.HWMKiB) / 1024, "peak_server_mib": float64(peak.sv.HWMKiB) / 1024,
		"grow_client_mib": float64(peak.cl.HWMKiB-base.cl.RSSKiB) / 1024, "grow_server_mib": float64(peak.sv.HWMKiB-base.sv.RSSKiB) / 1024,
	}
	m["peak_mib"] = m["peak_client_mib"] + m["peak_server_mib"]
	a, err := r.both()
	if err != nil {
		return nil, err
	}
	t0 := time.Now()
	k := 0
	for k < 12 && (k == 0 || time.Since(t0) < time.Duration(c.DurMS)*time.Millisecond) {
		if err := r.transfer(ctx, cl, c.Dir, n); err != nil {
			return nil, err
		}
		k++
	}
	wall := time.Since(t0)
	b, err := r.both()
	if err != nil {
		return nil, err
	}
	mb := float64(k) * float64(n) / 1e6
	m["mb_s"] = mb / wall.Seconds()
	x := map[string]float64{}
	cost(x, a, b, mb)
	m["cpu_us_mb"], m["foreign_cpu"] = x["cpu_us_op"], x["foreign_cpu"]
	return m, nil
}

func (r *runner) hol(ctx context.Context, c Cell) (map[string]float64, error) {
	cl, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ctx = context.WithValue(ctx, sharedKey{}, true)
	if err := r.transfer(ctx, cl, c.Dir, 4<<20); err != nil {
		return nil, err
	}
	p, off := makePayload(64, 0)
	dst := make([]byte, 0, 64)
	id := uint64(0)
	ping := func(stop func() bool) *hist {
		h := &hist{}
		for !stop() && h.n < 200_000 {
			id++
			t := time.Now()
			if err := r.one(ctx, cl, p, off, id, dst, false); err != nil {
				r.fail(err)
				if ctx.Err() != nil || r.errs.Load() > 100 {
					break
				}
				continue
			}
			h.add(int64(time.Since(t)))
			time.Sleep(200 * time.Microsecond)
		}
		return h
	}
	end := time.Now().Add(time.Duration(c.DurMS) * time.Millisecond / 2)
	base := ping(func() bool { return time.Now().After(end) })
	n := int64(c.Size) << 20
	done := make(chan error, 1)
	var over atomic.Bool
	t0 := time.Now()
	var wall time.Duration
	go func() {
		err := r.transfer(ctx, cl, c.Dir, n)
		wall = time.Since(t0)
		over.Store(true)
		done <- err
	}()
	time.Sleep(2 * time.Millisecond)
	h := ping(over.Load)
	if err := <-done; err != nil {
		return nil, err
	}
	m := map[string]float64{
		"base_p50_us": base.q(.5), "base_p99_us": base.q(.99),
		"pings": float64(h.n), "bulk_mb_s": float64(n) / 1e6 / wall.Seconds(),
	}
	if h.n > 0 {
		m["hol_p50_us"], m["hol_p99_us"], m["hol_max_us"] = h.q(.5), h.q(.99), float64(h.max)/1e3
	}
	return m, nil
}
