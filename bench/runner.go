package bench

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Result is one cell's outcome for one peer in one round.
type Result struct {
	Figures  Figures `json:",omitempty"`
	Errs     int64   `json:",omitempty"` // calls that failed
	Mismatch int64   `json:",omitempty"` // replies that belong to another request
	Failed   string  `json:",omitempty"` // why there are no figures
	Skipped  bool    `json:",omitempty"`
	Note     string  `json:",omitempty"` // the first error
}

// Figures are measured values by name; the unit is the end of the name.
type Figures map[string]float64

// brief is the result on one line, for whoever watches.
func (r Result) brief() string {
	if r.Failed != "" {
		return "FAILED " + r.Failed
	}
	var s []string
	for _, name := range []string{
		"rps", "mb_s", "p99_us", "hol_p99_us", "base_p99_us", "connect_p50_us", "conns_s", "both_kib", "excess_p99_us",
		"cpu_us_op", "cpu_us_mb", "allocs_op", "sys_writes_op", "sys_reads_op", "wire_bytes_op", "foreign_cpu",
	} {
		if v, ok := r.Figures[name]; ok {
			s = append(s, name+"="+short(v))
		}
	}
	if r.Errs > 0 || r.Mismatch > 0 {
		s = append(s, fmt.Sprintf("ERRS=%d MISMATCH=%d %s", r.Errs, r.Mismatch, r.Note))
	}
	return strings.Join(s, " ")
}

// A runner is the client side of one cell.
type runner struct {
	a     Adapter
	env   *Env
	addr  string
	probe probe

	errs, mismatch atomic.Int64

	mu    sync.Mutex // protects first
	first string     // the first error
}

const graceTime = 6 * time.Second // left to report what hangs, before the cell is killed

func (r *runner) run(c Cell) Result {
	ctx, cancel := context.WithTimeout(context.Background(), c.limit()-graceTime)
	defer cancel()
	measure := map[string]func(context.Context, Cell) (Figures, error){
		"unary": r.unary, "bulk": r.bulk, "hol": r.hol, "connect": r.connect, "idle": r.idle, "slow": r.slow,
	}[c.Scenario]
	if measure == nil {
		return Result{Failed: fmt.Sprintf("no scenario %q", c.Scenario)}
	}
	f, err := measure(ctx, c)
	res := Result{Figures: f, Errs: r.errs.Load(), Mismatch: r.mismatch.Load(), Note: r.firstErr()}
	if err != nil {
		res.Failed = err.Error()
	}
	return res
}

// fail counts a call that failed.
func (r *runner) fail(err error) {
	r.errs.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first == "" {
		r.first = err.Error()
	}
}

func (r *runner) firstErr() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first
}

func (r *runner) noConnection() error { return fmt.Errorf("no connection: %s", r.firstErr()) }

// open connects and makes one call, so that the connection is really there.
func (r *runner) open(ctx context.Context) (Client, error) {
	c, err := r.a.Connect(ctx, r.addr, r.env)
	if err != nil {
		return nil, err
	}
	if err := r.one(ctx, c, newPayload(64, 0), 1, true); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// one makes one call and compares the reply with the request: its stamp, or all of it.
func (r *runner) one(ctx context.Context, c Client, p *payload, id uint64, full bool) error {
	p.setStamp(id)
	out, err := c.Unary(ctx, p.b, p.dst)
	if err != nil {
		return err
	}
	if len(out) != len(p.b) || !bytes.Equal(p.stampOf(out), p.stampOf(p.b)) || full && !bytes.Equal(out, p.b) {
		r.mismatch.Add(1)
	}
	return nil
}
