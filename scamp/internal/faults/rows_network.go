//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/wire"
)

// networkRows are the rows whose fault lies between hosts, or comes from one that means
// harm.
var networkRows = []row{
	{id: "F3", fault: "1 % and 5 % IP loss, 2 % reordered", seconds: 60, minOK: 0.95, root: true, run: runLoss},
	{id: "F21", fault: "GOMEMLIMIT 128 MiB, one connection of P6, P12, P14, P21 in turn", seconds: 60, minOK: 0.9, run: runHostile},
	{id: "F22", fault: "GOMAXPROCS=1 beside a busy loop", seconds: 60, minOK: 0.95, run: runBusy},
	{id: "F27", fault: "one client cut from one of two services, one direction", seconds: 90, least: 12, minOK: 0.95, root: true, run: runOneWay},
}

// wire lays a wire between hosts of these names. It ends with the stage.
func (s *stage) wire(names ...string) (*wire.Wire, error) {
	w, err := wire.New(s.seed, names...)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) {
		return nil, skip("%v", err)
	}
	if err == nil {
		s.wires = append(s.wires, w)
	}
	return w, err
}

// runLoss is F3: everything between the services and the others loses packets, first one
// in a hundred and then one in twenty, and one in fifty is late.
func runLoss(ctx context.Context, s *stage) error {
	w, err := s.wire("serve", "call")
	if err != nil {
		return err
	}
	serve, callers := w.Hosts()[0], w.Hosts()[1]
	if err := s.open(ctx, layout{mix: baseMix().at(100), on: func(name string) *wire.Host {
		if strings.HasPrefix(name, "svc") {
			return serve
		}
		return callers
	}}); err != nil {
		return err
	}
	for _, part := range []struct {
		name    string
		loss    float64
		least   float64
		removed float64 // at most; negative: it may be
	}{{"1pct", 0.01, 0.99, 0}, {"5pct", 0.05, 0.95, -1}} {
		w.Disturb(wire.Faults{Loss: part.loss, Reorder: 0.02})
		before := time.Now()
		if err := s.loads(ctx, []wave{{name: part.name + "/", mix: s.layout.mix}}, nil); err != nil {
			return err
		}
		w.Disturb(wire.Faults{})
		all, err := s.calls()
		if err != nil {
			return err
		}
		all = all.between(before, time.Now())
		s.atLeast("ok_"+part.name, all.part(), part.least)
		s.figure("p99_ms_"+part.name, all.ok().upTo(streamed-1).quantile(0.99))
		removed := float64(s.removals(before))
		if part.removed >= 0 {
			s.atMost("removed_"+part.name, removed, part.removed)
		} else {
			s.figure("removed_"+part.name, removed)
		}
	}
	lost := w.Stats()
	least := max(1, 100*s.seconds.Minutes()*s.rate) // or the wire did not do its work
	s.atLeast("packets_lost", float64(lost.Lost), least)
	s.atLeast("packets_reordered", float64(lost.Reordered), least)
	return nil
}

// removals counts the instances that left the directory of any process after a time.
func (s *stage) removals(after time.Time) (n int) {
	for _, c := range s.watchers() {
		n += c.removals(after)
	}
	return n
}

// runBusy is F22: every process has one processor, and as many others as the machine has
// processors want all of them.
func runBusy(ctx context.Context, s *stage) error {
	one := []string{"GOMAXPROCS=1"}
	m := baseMix()
	m.Deadline = 10 * time.Second
	if err := s.open(ctx, layout{mix: m, serviceEnv: one, clientEnv: one, cacheEnv: one}); err != nil {
		return err
	}
	for i := range runtime.NumCPU() {
		c, err := s.begin(ctx, fmt.Sprintf("busy%d", i+1), launch{role: "busy", env: one})
		if err != nil {
			return err
		}
		defer c.kill()
	}
	before := time.Now()
	if err := s.load(ctx, nil); err != nil {
		return err
	}
	all, err := s.calls()
	if err != nil {
		return err
	}
	s.figure("p99_ms", all.ok().upTo(streamed-1).quantile(0.99))
	s.atMost("removed", float64(s.removals(before)), 0)
	return nil
}

// beBusy keeps a processor busy until its stage wants no more of it.
func beBusy(p *post) error {
	p.obey(nil)
	p.tell("ready", ready{})
	for n := 0; ; n++ {
		if n%(1<<20) == 0 && p.ctx.Err() != nil {
			return nil
		}
	}
}

// runOneWay is F27: what one client sends to one of two services is lost, and nothing
// else, so that the service goes on to be announced and the client to hear it.
func runOneWay(ctx context.Context, s *stage) error {
	w, err := s.wire("client", "deaf", "others")
	if err != nil {
		return err
	}
	hosts := w.Hosts()
	if err := s.open(ctx, layout{services: 2, on: func(name string) *wire.Host {
		switch {
		case name == "client1":
			return hosts[0]
		case name == "svc1":
			return hosts[1]
		}
		return hosts[2]
	}}); err != nil {
		return err
	}
	from, lasts := s.seconds/4, s.seconds/2
	var cut, mended time.Time
	if err := s.load(ctx, []act{
		{from, "cut client1 from svc1", func(context.Context) error {
			cut = time.Now()
			w.Cut(func(a, b *wire.Host, _ wire.Packet) bool { return a == hosts[0] && b == hosts[1] })
			return nil
		}},
		{from + lasts, "mend it", func(context.Context) error { mended = time.Now(); w.Cut(nil); return nil }},
	}); err != nil {
		return err
	}
	all, err := s.calls()
	if err != nil {
		return err
	}
	s.judgeOneWay(all, cut, mended, w.Stats().Cut)
	return nil
}

// judgeOneWay looks when calls of the client that was cut off failed first and last, and
// whether packets were lost at all: none of its calls need fail.
func (s *stage) judgeOneWay(all calls, cut, mended time.Time, packets uint64) {
	s.atLeast("packets_cut", float64(packets), 1)
	mine := all.where(func(m made) bool { return strings.Contains(m.id, "/client1-") })
	failed := mine.failed().between(cut.Add(-s.layout.mix.Deadline), mended)
	first := cut
	for i, m := range failed {
		if end := m.at.Add(m.took); i == 0 || end.Before(first) {
			first = end
		}
	}
	late := failed.between(first.Add(3*time.Second), mended)
	s.figure("failed", float64(len(failed)))
	s.figure("first_failure_after_s", first.Sub(cut).Seconds())
	s.atMost("failed_3s_after_the_first", float64(len(late)), 0)
	s.atLeast("ok_3s_after_the_first", float64(len(mine.ok().between(first.Add(3*time.Second), mended))), 1)
	others := all.where(func(m made) bool { return !strings.Contains(m.id, "/client1-") })
	s.atLeast("ok_of_others", others.part(), 0.99)
}
