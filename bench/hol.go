package bench

import (
	"context"
	"time"
)

const (
	pingPause = 200 * time.Microsecond
	maxPings  = 200_000
	maxLost   = 100 // pings that fail, before there are no more
	holStart  = 2 * time.Millisecond
)

// hol measures what a small call waits behind a large body on the same connection.
func (r *runner) hol(ctx context.Context, c Cell) (Figures, error) {
	cl, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	t := transfer{cl: cl, dir: c.Dir}
	if err := t.run(ctx, warmBody); err != nil {
		return nil, err
	}
	alone, cancel := context.WithTimeout(ctx, c.measured()/2)
	defer cancel()
	base := r.ping(ctx, cl, alone.Done())

	n := int64(c.Size) << 20
	ended := make(chan struct{})
	var bulkErr error
	var wall time.Duration
	go func() { // ends with the transfer, at the latest with ctx
		defer close(ended)
		began := time.Now()
		bulkErr = t.run(ctx, n)
		wall = time.Since(began)
	}()
	time.Sleep(holStart) // the body is to be on its way before the first call
	h := r.ping(ctx, cl, ended)
	<-ended
	if bulkErr != nil {
		return nil, bulkErr
	}
	f := Figures{
		"base_p50_us": base.q(.5), "base_p99_us": base.q(.99),
		"pings": float64(h.n), "bulk_mb_s": float64(n) / 1e6 / wall.Seconds(),
	}
	if h.n > 0 {
		f["hol_p50_us"], f["hol_p99_us"], f["hol_max_us"] = h.q(.5), h.q(.99), float64(h.max)/1e3
	}
	return f, nil
}

// ping makes small calls, with a pause after each, until stop is closed.
func (r *runner) ping(ctx context.Context, cl Client, stop <-chan struct{}) *hist {
	p := newPayload(64, 0)
	h := new(hist)
	for id := uint64(1); h.n < maxPings; id++ {
		select {
		case <-stop:
			return h
		default:
		}
		t := time.Now()
		if err := r.one(ctx, cl, p, id, false); err != nil {
			r.fail(err)
			if ctx.Err() != nil || r.errs.Load() > maxLost {
				return h
			}
			continue
		}
		h.add(time.Since(t))
		time.Sleep(pingPause)
	}
	return h
}
