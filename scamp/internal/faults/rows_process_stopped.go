//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/internal/ledger"
)

// stoppedRows are the rows in which a process is stopped, or does half of what it should.
var stoppedRows = []row{
	{id: "F17", fault: "a service stopped 5 s with 50 calls open", quick: true, seconds: 60, least: 12, minOK: 0.9, run: runServiceStopped},
	{id: "F18", fault: "a client stopped while receiving 100 MiB", seconds: 60, least: 12, minOK: 0.999, run: runReaderStopped},
	{id: "H1", fault: "SIGSTOP one of three", seconds: 60, least: 24, quickSeconds: 24, minOK: 0.9, run: runHung},
}

// openCalls are the calls that a client has open when a service is stopped: they take
// longer than that client waits once it is.
const openCalls = 50

// A hang is a service that is stopped for a while, with calls open.
type hang struct {
	stopped, went time.Time
	order         int // of those calls
}

// acts are what makes service i hang.
func (h *hang) acts(s *stage, i int, from, lasts time.Duration) []act {
	b := burst{Name: s.row.id + "/open", Calls: openCalls, Call: planned{Linger: time.Second}, Deadline: 2 * time.Second}
	c := s.services[i]
	return []act{
		{from - 300*time.Millisecond, fmt.Sprintf("open %d calls at %s", openCalls, serviceName(i)), func(context.Context) (err error) {
			b.Call.Ident = c.ready.Ident
			h.order, err = s.clients[0].order("burst", b)
			return err
		}},
		{from, "stop " + serviceName(i), func(context.Context) error {
			h.stopped = time.Now()
			return c.signal(syscall.SIGSTOP)
		}},
		{from + lasts, "let it go on", func(context.Context) error {
			h.went = time.Now()
			return c.signal(syscall.SIGCONT)
		}},
	}
}

// calls waits until those calls have ended, and returns them and all.
func (h *hang) calls(ctx context.Context, s *stage) (open, all calls, err error) {
	if _, err := s.clients[0].answer(ctx, "burst", h.order, readyIn); err != nil {
		return nil, nil, err
	}
	if all, err = s.calls(); err != nil {
		return nil, nil, err
	}
	name := s.row.id + "/open-"
	open = all.where(func(m made) bool { return len(m.id) > len(name) && m.id[:len(name)] == name })
	if len(open) != openCalls {
		return nil, nil, fmt.Errorf("%d of %d open calls have ended", len(open), openCalls)
	}
	return open, all, nil
}

// runServiceStopped is F17.
func runServiceStopped(ctx context.Context, s *stage) error {
	if err := s.open(ctx, layout{}); err != nil {
		return err
	}
	var h hang
	if err := s.load(ctx, h.acts(s, s.rand("victims").IntN(3), s.seconds/4, 5*time.Second)); err != nil {
		return err
	}
	open, all, err := h.calls(ctx, s)
	if err != nil {
		return err
	}
	s.atLeast("open_calls_timed_out", float64(len(open.failed())), openCalls)
	s.within("longest_open_call_ms", open.quantile(1), 3000) // deadline + 1 s
	return s.goesOn(ctx, all, h.went)
}

// goesOn notes what must hold when a service that was stopped has gone on: its late replies
// were counted, and calls succeed.
func (s *stage) goesOn(ctx context.Context, all calls, went time.Time) error {
	late, err := s.sum(ctx, "reply_late")
	if err != nil {
		return err
	}
	s.atLeast("reply_late", float64(late), 1)
	unknown, err := s.sum(ctx, "reply_unknown")
	if err != nil {
		return err
	}
	s.atMost("reply_unknown", float64(unknown), 0)
	after := all.between(went.Add(time.Second), s.began.Add(s.seconds))
	s.atLeast("calls_after", float64(len(after)), 1)
	s.atLeast("ok_after", after.part(), 1)
	return nil
}

// runHung is the second thing that the fault suite exists to show: who calls the others
// does not notice an instance that hangs, once the first calls to it have timed out.
func runHung(ctx context.Context, s *stage) error {
	m := mix{Rate: 200, Parts: []part{{0.7, 200}, {0.3, 8 << 10}}, Idempotent: 0.25, Deadline: 2 * time.Second}
	if err := s.open(ctx, layout{mix: m}); err != nil {
		return err
	}
	var h hang
	if err := s.load(ctx, h.acts(s, s.rand("victims").IntN(3), s.seconds/3, s.seconds/3)); err != nil {
		return err
	}
	open, all, err := h.calls(ctx, s)
	if err != nil {
		return err
	}
	s.atLeast("open_calls_timed_out", float64(len(open.failed())), openCalls)
	ofLoad := all.where(func(m made) bool { return !slices.ContainsFunc(open, func(o made) bool { return o.id == m.id }) })
	before := ofLoad.between(s.began.Add(time.Second), h.stopped.Add(-time.Second)).ok()
	during := ofLoad.between(h.stopped.Add(m.Deadline), h.went.Add(-m.Deadline))
	usual := before.usual(0.99)
	s.figure("p99_ms_before", usual)
	s.within("p99_ms_during", during.ok().usual(0.99), most(usual, 2, 5))
	s.figure("calls_during", float64(len(during)))
	// What no median shows: those whose client sent them there to see whether it is back.
	s.figure("p99_ms_before_all", before.quantile(0.99))
	s.figure("p99_ms_during_all", during.where(func(m made) bool { return !m.cancelled }).quantile(0.99))
	s.atMost("lost_to_the_hung", float64(len(during.failed())), float64(len(s.clients))*(h.went.Sub(h.stopped)-2*m.Deadline).Seconds())
	return s.goesOn(ctx, all, h.went)
}

// fetched is how much the client of F18 wants: so much more than 100 MiB that it is stopped
// in the midst of them, fetchStop later, on fast machines and on busy ones.
const (
	fetched   = 512 << 20
	fetchStop = 300 * time.Millisecond
)

// runReaderStopped is F18: what a caller does not take stays with the service, in bounds,
// and concerns nobody else.
func runReaderStopped(ctx context.Context, s *stage) error {
	m := mix{Rate: 100, Parts: []part{{0.6, 200}, {0.3, 8 << 10}, {0.1, 64 << 10}}, Idempotent: 0.25, Deadline: 2 * time.Second}
	if err := s.open(ctx, layout{mix: m}); err != nil {
		return err
	}
	reader, err := s.begin(ctx, "reader", launch{role: "client", spec: clientSpec{Config: s.configPath()}})
	if err != nil {
		return err
	}
	if err := reader.ask(ctx, "know", len(s.services), nil, readyIn); err != nil {
		return err
	}
	b := burst{Name: "F18/fetch", Calls: 1, Call: planned{Reply: fetched}, Deadline: s.seconds}
	var stopped, went time.Time
	order := 0
	from, to := s.seconds/3, s.seconds-5*time.Second
	acts := []act{
		{from, "fetch", func(context.Context) (err error) {
			order, err = reader.order("burst", b)
			return err
		}},
		{from + fetchStop, "stop the reader", func(context.Context) error {
			stopped = time.Now()
			return reader.signal(syscall.SIGSTOP)
		}},
		{to, "let it go on", func(context.Context) error {
			went = time.Now()
			return reader.signal(syscall.SIGCONT)
		}},
	}
	weighing, stop := context.WithCancel(ctx)
	var weigh sync.WaitGroup
	var held []weighed
	weigh.Go(func() { held = s.weigh(weighing) }) // ends with stop
	err = s.load(ctx, acts)
	stop()
	weigh.Wait()
	if err != nil {
		return err
	}
	if _, err := reader.answer(ctx, "burst", order, s.seconds); err != nil {
		return err
	}
	if err := reader.stop(ctx, drainIn); err != nil {
		return err
	}
	records, err := s.records()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(records, func(r ledger.Record) bool {
		return r.Kind == ledger.KindRun && r.ID == "F18/fetch-0" && r.At.Before(stopped)
	}) {
		return errors.New("the reader was stopped before its call ran: want a machine with more time")
	}
	all := callsOf(records)
	fetch := all.where(func(m made) bool { return m.id == "F18/fetch-0" })
	if len(fetch) != 1 || fetch[0].at.Add(fetch[0].took).Before(stopped) {
		return errors.New("the reader had all before it was stopped: want a longer reply")
	}
	for i := range s.services {
		// Its memory is not steady: what counts is what it never had while nothing was wrong.
		grown := peak(held, i, stopped, went) - peak(held, i, s.began.Add(2*time.Second), stopped)
		s.within(fmt.Sprintf("svc%d_mib_more", i+1), float64(grown)/(1<<20), 16)
	}
	others := all.where(func(m made) bool { return m.id != "F18/fetch-0" })
	before := others.between(s.began.Add(time.Second), stopped).ok().usual(0.99)
	s.figure("p99_ms_before", before)
	s.within("p99_ms_during", others.between(stopped, went).ok().usual(0.99), most(before, 2, 5))
	s.figure("fetch_ok", float64(len(fetch.ok())))
	// The service may give it up: it has waited for longer than WriteStall.
	if o := fetch[0].outcome; o != ledger.OK && o != ledger.MaybeRun && o != ledger.Error {
		return fmt.Errorf("the reader's call ended as %s, and its service has begun to answer", o)
	}
	return nil
}

// weighed is what the services held at a time.
type weighed struct {
	at        time.Time
	anonymous []int64
}

// weigh looks ten times a second at what the services hold, until ctx ends.
func (s *stage) weigh(ctx context.Context) (all []weighed) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return all
		case <-tick.C:
		}
		w := weighed{at: time.Now()}
		for _, c := range s.services {
			f, err := footprintOf(c.pid())
			if err != nil {
				return all // it is gone, and the row tells of that
			}
			w.anonymous = append(w.anonymous, f.anonymous)
		}
		all = append(all, w)
	}
}

// peak is the most that service i held between two times.
func peak(all []weighed, i int, from, to time.Time) (n int64) {
	for _, w := range all {
		if w.at.After(from) && w.at.Before(to) {
			n = max(n, w.anonymous[i])
		}
	}
	return n
}

// runSilent is F16: an instance that announces itself no more leaves the file and what is
// offered after 2.1 intervals, and memory after six; its connections go on.
func runSilent(ctx context.Context, s *stage) error {
	m := baseMix()
	m.Again = true
	if err := s.open(ctx, layout{mix: m, service: serviceSpec{Mutable: true}}); err != nil {
		return err
	}
	const interval = 5 * time.Second // the default
	silent := s.services[s.rand("victims").IntN(3)]
	straight, err := scamp.Dial(ctx, silent.ready.Address, scamp.Identity{Fingerprint: silent.ready.Fingerprint}, nil)
	if err != nil {
		return err
	}
	defer straight.Close()
	const muteAt = 5 * time.Second
	var muted time.Time
	straightCalls, straightFailed := 0, 0
	in := func(after time.Duration, what string, do func(ctx context.Context) error) act {
		return act{muteAt + after, what, do}
	}
	remembers := func(ctx context.Context, c *child) (bool, error) {
		var all []string
		err := c.ask(ctx, "remember", nil, &all, readyIn)
		return slices.Contains(all, silent.ready.Ident), err
	}
	listed := func() (bool, error) {
		idents, err := cachedIdents(s.cachePath())
		return idents[silent.ready.Ident], err
	}
	acts := []act{
		in(0, "mute", func(ctx context.Context) error {
			muted = time.Now()
			return silent.ask(ctx, "mute", nil, nil, readyIn)
		}),
		in(8*time.Second, "it is still listed", func(context.Context) error {
			if ok, err := listed(); !ok || err != nil {
				return fmt.Errorf("listed: %v, %w: want it there for 2.1 intervals", ok, err)
			}
			return nil
		}),
		// 2.1 intervals after what was heard last, and a second.
		in(interval*21/10+time.Second, "it is not listed", func(ctx context.Context) error {
			ok, err := listed()
			if ok || err != nil {
				return fmt.Errorf("listed: %v, %w: want it gone after 2.1 intervals", ok, err)
			}
			if ok, err := remembers(ctx, s.cache); !ok || err != nil {
				return fmt.Errorf("in memory: %v, %w: want it there for six intervals", ok, err)
			}
			return nil
		}),
		in(6*interval+time.Second, "it is forgotten", func(ctx context.Context) error {
			for _, c := range append([]*child{s.cache}, s.clients...) {
				if ok, err := remembers(ctx, c); ok || err != nil {
					return fmt.Errorf("in the memory of %s: %v, %w: want it gone after six intervals", c.name, ok, err)
				}
			}
			return nil
		}),
	}
	calling, stop := context.WithCancel(ctx)
	var call sync.WaitGroup
	call.Go(func() { // ends with stop
		for calling.Err() == nil {
			_, err := straight.Call(ctx, &scamp.Request{Action: loadAction})
			straightCalls++
			if re, ok := errors.AsType[*scamp.RemoteError](err); !ok || re.Code != scamp.CodeBadRequest {
				straightFailed++ // it was not the action that answered
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-calling.Done():
			}
		}
	})
	err = s.load(ctx, acts)
	stop()
	call.Wait()
	if err != nil {
		return err
	}
	s.figure("straight_calls", float64(straightCalls))
	s.atMost("straight_calls_failed", float64(straightFailed), 0)
	for _, c := range s.clients {
		i := slices.IndexFunc(c.directory(), func(ch change) bool { return ch.Kind == "removed" && ch.Ident == silent.ready.Ident })
		if i < 0 {
			return fmt.Errorf("%s still offers the silent instance", c.name)
		}
		s.within(c.name+"_removed_ms", ms(c.directory()[i].At.Sub(muted)), ms(interval*21/10+time.Second))
	}
	_, err = s.latencies()
	return err
}
