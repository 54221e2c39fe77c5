package bench

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Result is one cell's outcome for one peer in one round.
type Result struct {
	M        map[string]float64 `json:",omitempty"`
	Errs     int64              `json:",omitempty"`
	Mismatch int64              `json:",omitempty"` // replies that belong to another request
	Failed   string             `json:",omitempty"`
	Skipped  bool               `json:",omitempty"`
	Note     string             `json:",omitempty"`
}

type runner struct {
	a     Adapter
	env   *Env
	addr  string
	probe probe

	errs, mism atomic.Int64
	errMu      sync.Mutex
	firstErr   string
}

func (r *runner) fail(err error) {
	r.errs.Add(1)
	r.errMu.Lock()
	if r.firstErr == "" {
		r.firstErr = err.Error()
	}
	r.errMu.Unlock()
}

func (r *runner) run(c Cell) Result {
	ctx, cancel := context.WithTimeout(context.Background(), c.limit()-6*time.Second)
	defer cancel()
	var m map[string]float64
	var err error
	switch c.Scenario {
	case "unary":
		m, err = r.unary(ctx, c)
	case "bulk":
		m, err = r.bulk(ctx, c)
	case "hol":
		m, err = r.hol(ctx, c)
	case "connect":
		m, err = r.connect(ctx, c)
	case "idle":
		m, err = r.idle(ctx, c)
	case "slow":
		m, err = r.slow(ctx, c)
	default:
		err = fmt.Errorf("no scenario %q", c.Scenario)
	}
	res := Result{M: m, Errs: r.errs.Load(), Mismatch: r.mism.Load(), Note: r.firstErr}
	if err != nil {
		res.Failed = err.Error()
	}
	return res
}

// open connects and makes one call, so that the connection is really there.
func (r *runner) open(ctx context.Context) (Client, error) {
	c, err := r.a.Connect(ctx, r.addr, r.env)
	if err != nil {
		return nil, err
	}
	p, off := makePayload(64, 0)
	if err := r.one(ctx, c, p, off, 1, make([]byte, 0, 64), true); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// one makes one checked call.
func (r *runner) one(ctx context.Context, c Client, p []byte, off int, id uint64, dst []byte, full bool) error {
	stamp(p, off, id)
	out, err := c.Unary(ctx, p, dst)
	if err != nil {
		return err
	}
	if len(out) != len(p) || !bytes.Equal(out[off:off+16], p[off:off+16]) || full && !bytes.Equal(out, p) {
		r.mism.Add(1)
	}
	return nil
}

type both struct {
	cl, sv Snap
	busy   int64
	t      time.Time
}

func (r *runner) both() (both, error) {
	var b both
	var err error
	b.t = time.Now()
	b.busy = machineBusyUS()
	b.sv, err = r.probe.snap()
	b.cl = snap()
	return b, err
}

func (r *runner) settleBoth() (both, error) {
	settle()
	if err := r.probe.settle(); err != nil {
		return both{}, err
	}
	return r.both()
}

func cost(m map[string]float64, a, b both, ops float64) {
	cpu := float64(b.cl.CPUus - a.cl.CPUus + b.sv.CPUus - a.sv.CPUus)
	if ops > 0 {
		m["cpu_us_op"] = cpu / ops
		m["cpu_us_op_client"] = float64(b.cl.CPUus-a.cl.CPUus) / ops
		m["cpu_us_op_server"] = float64(b.sv.CPUus-a.sv.CPUus) / ops
		m["allocs_op"] = float64(b.cl.Mallocs-a.cl.Mallocs+b.sv.Mallocs-a.sv.Mallocs) / ops
		m["alloc_bytes_op"] = float64(b.cl.AllocBytes-a.cl.AllocBytes+b.sv.AllocBytes-a.sv.AllocBytes) / ops
	}
	if ops > 0 {
		m["sys_writes_op"] = float64(b.cl.SysWrites-a.cl.SysWrites+b.sv.SysWrites-a.sv.SysWrites) / ops
		m["sys_reads_op"] = float64(b.cl.SysReads-a.cl.SysReads+b.sv.SysReads-a.sv.SysReads) / ops
		m["wire_bytes_op"] = float64(b.cl.WroteBytes-a.cl.WroteBytes+b.sv.WroteBytes-a.sv.WroteBytes) / ops
	}
	wall := float64(b.t.Sub(a.t).Microseconds()) * float64(runtime.NumCPU())
	if f := (float64(b.busy-a.busy) - cpu) / wall; f > 0 {
		m["foreign_cpu"] = f
	} else {
		m["foreign_cpu"] = 0
	}
}
