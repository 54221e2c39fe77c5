package bench

import (
	"context"
	"fmt"
	"time"
)

const (
	warmBody     = 4 << 20 // bytes sent before measuring
	maxTransfers = 12
)

// bulk measures one body after the other: first what memory it takes, then how fast
// it goes.
func (r *runner) bulk(ctx context.Context, c Cell) (Figures, error) {
	cl, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	t := transfer{cl: cl, dir: c.Dir, alone: true}
	if err := t.run(ctx, warmBody); err != nil {
		return nil, err
	}
	base, err := r.settled()
	if err != nil {
		return nil, err
	}
	n := int64(c.Size) << 20
	if err := t.run(ctx, n); err != nil {
		return nil, err
	}
	a, err := r.now()
	if err != nil {
		return nil, err
	}
	f := Figures{
		"peak_client_mib": mib(a.client.PeakKiB), "peak_server_mib": mib(a.server.PeakKiB),
		"grow_client_mib": mib(a.client.PeakKiB - base.client.RSSKiB), "grow_server_mib": mib(a.server.PeakKiB - base.server.RSSKiB),
	}
	began, times := time.Now(), 0
	for times < maxTransfers && (times == 0 || time.Since(began) < c.measured()) {
		if err := t.run(ctx, n); err != nil {
			return nil, err
		}
		times++
	}
	wall := time.Since(began)
	b, err := r.now()
	if err != nil {
		return nil, err
	}
	megabytes := float64(times) * float64(n) / 1e6
	f["mb_s"] = megabytes / wall.Seconds()
	costs := make(Figures)
	costs.cost(a, b, megabytes)
	f["cpu_us_mb"], f["foreign_cpu"] = costs["cpu_us_op"], costs["foreign_cpu"]
	f["allocs_mb"], f["sys_writes_mb"], f["sys_reads_mb"] = costs["allocs_op"], costs["sys_writes_op"], costs["sys_reads_op"]
	return f, nil
}

// A transfer is one body, up or down.
type transfer struct {
	cl    Client
	dir   string
	alone bool // nothing else needs the connection, so limit-tls may take one of its own
}

// run moves n bytes and fails if any is missing.
func (t transfer) run(ctx context.Context, n int64) error {
	raw, _ := t.cl.(RawBulker)
	if raw != nil && !(t.alone && raw.RawBulk()) {
		raw = nil
	}
	var got int64
	var err error
	var w CountWriter
	switch up := t.dir == "up"; {
	case up && raw != nil:
		got, err = raw.RawUp(new(Pattern), n)
	case up:
		got, err = t.cl.BulkUp(ctx, new(Pattern), n)
	case raw != nil:
		_, err = raw.RawDown(n, &w)
		got = w.N
	default:
		_, err = t.cl.BulkDown(ctx, n, &w)
		got = w.N
	}
	if err == nil && got != n {
		err = fmt.Errorf("bulk %s: %d bytes arrived, want %d", t.dir, got, n)
	}
	return err
}
