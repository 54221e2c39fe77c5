package bench

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxConnects = 2000
	maxAlone    = 300 // connections made one at a time
	maxRefused  = 20
	dialers     = 8  // of connect
	openers     = 16 // of openMany
	warmIdle    = 16 // connections that come and go before memory is measured
	calm        = 100 * time.Millisecond
)

// connect measures connect, first call and close: one at a time, then many.
func (r *runner) connect(ctx context.Context, c Cell) (Figures, error) {
	cl, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	cl.Close()
	h := new(hist)
	a, err := r.now()
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(c.measured()); h.n < maxAlone && time.Now().Before(end) && r.errs.Load() < maxRefused; {
		t := time.Now()
		cl, err := r.open(ctx)
		if err != nil {
			r.fail(err)
			continue
		}
		h.add(time.Since(t))
		cl.Close()
	}
	b, err := r.now()
	if err != nil {
		return nil, err
	}
	if h.n == 0 {
		return nil, r.noConnection()
	}
	f := Figures{"connect_p50_us": h.q(.5), "connect_p99_us": h.q(.99), "conns_s": r.dialMany(ctx, c.measured())}
	f.cost(a, b, float64(h.n))
	return f, nil
}

// dialMany returns how many connections a second several dialers make.
func (r *runner) dialMany(ctx context.Context, d time.Duration) float64 {
	var n atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range dialers {
		all.Go(func() { // ends after d
			for time.Since(began) < d && n.Load() < maxConnects && r.errs.Load() < 2*maxRefused {
				cl, err := r.open(ctx)
				if err != nil {
					r.fail(err)
					continue
				}
				cl.Close()
				n.Add(1)
			}
		})
	}
	all.Wait()
	return float64(n.Load()) / time.Since(began).Seconds()
}

// openMany opens n connections, or as many as can be had.
func (r *runner) openMany(ctx context.Context, n int) []Client {
	clients := make([]Client, n)
	var next atomic.Int64
	var all sync.WaitGroup
	for range openers {
		all.Go(func() { // ends when all are open
			for ctx.Err() == nil && r.errs.Load() < maxLost {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				cl, err := r.open(ctx)
				if err != nil {
					r.fail(err)
					continue
				}
				clients[i] = cl
			}
		})
	}
	all.Wait()
	return slices.DeleteFunc(clients, func(c Client) bool { return c == nil })
}

// idle measures what a connection holds that was used once.
func (r *runner) idle(ctx context.Context, c Cell) (Figures, error) {
	for _, cl := range r.openMany(ctx, warmIdle) {
		cl.Close()
	}
	time.Sleep(calm) // what closing started is to end
	a, err := r.settled()
	if err != nil {
		return nil, err
	}
	clients := r.openMany(ctx, c.Conc)
	if len(clients) == 0 {
		return nil, r.noConnection()
	}
	time.Sleep(3 * calm)
	if _, err := r.settled(); err != nil { // twice: finalizers free more
		return nil, err
	}
	time.Sleep(calm)
	b, err := r.settled()
	if err != nil {
		return nil, err
	}
	r.callSome(ctx, clients)
	n := float64(len(clients))
	heap := func(s Snap) float64 { return float64(s.HeapInuse + s.StackInuse) }
	f := Figures{
		"conns":              n,
		"client_kib":         float64(b.client.RSSKiB-a.client.RSSKiB) / n,
		"server_kib":         float64(b.server.RSSKiB-a.server.RSSKiB) / n,
		"client_goroutines":  float64(b.client.Goroutines-a.client.Goroutines) / n,
		"server_goroutines":  float64(b.server.Goroutines-a.server.Goroutines) / n,
		"heapstack_kib_both": (heap(b.client) + heap(b.server) - heap(a.client) - heap(a.server)) / 1024 / n,
	}
	f["both_kib"] = f["client_kib"] + f["server_kib"]
	return f, nil
}

// callSome calls on some of the connections: they must still be alive.
func (r *runner) callSome(ctx context.Context, clients []Client) {
	p := newPayload(64, 0)
	for i := 0; i < len(clients); i += 1 + len(clients)/20 {
		if err := r.one(ctx, clients[i], p, uint64(i), true); err != nil {
			r.fail(err)
		}
	}
}
