//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"
)

// mixedRows is what the others do, at random.
var mixedRows = []row{
	{id: "F28", fault: "F6, F8, F10, F14, F24 at random", seconds: 300, minOK: 0.9, run: runMixed},
}

// runMixed is F28. Each kind of fault has a course of its own, so that any may meet any.
// Rules that allow fewer than two services would be the end of most calls, whatever else
// holds: F24 has those.
func runMixed(ctx context.Context, s *stage) error {
	if err := s.open(ctx, layout{proxied: true}); err != nil {
		return err
	}
	m := &mixture{s: s, counts: make(map[string]int), drawn: make(map[string]int)}
	m.resets(s.rand("resets"))
	m.kills(s.rand("kills"))
	m.manager(s.rand("manager"))
	m.rules(s.rand("rules"))
	w := watchCache(ctx, s.cachePath(), nil)
	err := s.load(ctx, m.acts)
	w.end()
	if err != nil {
		return err
	}
	if len(m.drawn) == 0 {
		s.failures = append(s.failures, "nothing was planned: want a longer load")
	}
	for what, planned := range m.drawn {
		s.did(what, m.counts[what], planned)
	}
	if err := w.tell(s); err != nil {
		return err
	}
	s.atMost("stray_files", float64(w.strays), 1)
	records, err := s.records()
	if err != nil {
		return err
	}
	wrong := m.history.strayed(records)
	s.atMost("ran_where_not_allowed", float64(len(wrong)), 0)
	s.failures = append(s.failures, wrong[:min(3, len(wrong))]...)
	_, err = s.latencies()
	return err
}

// A mixture gathers the acts of F28.
type mixture struct {
	s       *stage
	acts    []act
	counts  map[string]int // what was done, by its name
	drawn   map[string]int // what was planned: a short load may have none of a kind
	deaths  []death
	history ruleHistory
}

// add adds an act that is counted when it is done.
func (m *mixture) add(counter string, a act) {
	m.drawn[counter]++
	do := a.do
	a.do = func(ctx context.Context) error {
		m.counts[counter]++
		return do(ctx)
	}
	m.acts = append(m.acts, a)
}

// course yields times between which there is from least to most, until the load is about
// to end.
func (m *mixture) course(r *rand.Rand, least, most time.Duration) func(yield func(time.Duration) bool) {
	return func(yield func(time.Duration) bool) {
		for at := least; at < m.s.seconds-2*time.Second; at += least + time.Duration(r.Int64N(int64(most-least)+1)) {
			if !yield(at) {
				return
			}
		}
	}
}

// resets is F6, half of the time.
func (m *mixture) resets(r *rand.Rand) {
	foul := false
	for at := range m.course(r, 3*time.Second, 12*time.Second) {
		foul = !foul
		if foul {
			m.add("resets", m.s.weatherAct(at, "connections are reset", weather{lives: [2]time.Duration{time.Second, 3 * time.Second}}))
		} else {
			m.acts = append(m.acts, m.s.weatherAct(at, "connections last", weather{}))
		}
	}
}

// kills is F8.
func (m *mixture) kills(r *rand.Rand) {
	for at := range m.course(r, 4*time.Second, 12*time.Second) {
		i := r.IntN(len(m.s.services))
		m.add("kills", m.s.killed(i, &m.deaths).when(at))
		m.acts = append(m.acts, m.s.starts(i).when(at+time.Second))
	}
}

// manager is F10 and F14: the cache manager dies, also at a failpoint, or stands still for
// a while.
func (m *mixture) manager(r *rand.Rand) {
	s, still := m.s, time.Duration(0) // until when it stands still
	for at := range m.course(r, 2*time.Second, 20*time.Second) {
		stop, lasts := r.IntN(2) == 0, time.Duration(2000+r.IntN(10000))*time.Millisecond
		failpoint := fmt.Sprintf("SCAMP_FAILPOINT=%s %d", cacheFailpoints[r.IntN(len(cacheFailpoints))], 1+r.IntN(2))
		switch {
		case at < still: // it does nothing that could go wrong
		case stop:
			still = min(at+lasts, s.seconds-time.Second)
			m.add("manager_stops", act{at, "stop the cache manager", s.signalManager(syscall.SIGSTOP)})
			m.acts = append(m.acts, act{still, "let it go on", s.signalManager(syscall.SIGCONT)})
		default:
			m.add("manager_kills", act{at, "kill cache, and next time " + failpoint, func(ctx context.Context) error {
				if err := s.cache.kill(); err != nil {
					return err
				}
				s.layout.cacheEnv = []string{failpoint}
				return s.startCache(ctx)
			}})
		}
	}
}

// signalManager signals the cache manager, unless it has died at a failpoint.
func (s *stage) signalManager(sig syscall.Signal) func(context.Context) error {
	return func(context.Context) error {
		if s.cache.gone() {
			return nil
		}
		return s.cache.signal(sig)
	}
}

// rules is F24 with at least two services allowed at any time.
func (m *mixture) rules(r *rand.Rand) {
	var prints []string
	for _, c := range m.s.services {
		prints = append(prints, c.ready.Fingerprint)
	}
	last := slices.Repeat([]bool{true}, len(prints))
	earlier := last
	m.history = ruleHistory{{time.Time{}, time.Time{}, last}}
	for at := range m.course(r, time.Second, 5*time.Second) {
		allowed := slices.Repeat([]bool{true}, len(prints))
		allowed[r.IntN(len(allowed))] = r.IntN(2) == 0
		f := ruleForms[r.IntN(len(ruleForms))]
		e := f.edit(prints, allowed, earlier, last)
		if slices.ContainsFunc(e.states, few) {
			continue
		}
		if f.text != nil {
			earlier, last = last, e.after()
		}
		m.add("edits", act{at, fmt.Sprintf("%s: %v", e.name, e.states), func(context.Context) error {
			begin := time.Now()
			err := e.do(m.s.rulesPath())
			for _, allowed := range e.states {
				m.history = append(m.history, ruleTime{begin, time.Now(), allowed})
			}
			return err
		}})
	}
}

// few says whether fewer than two are allowed.
func few(allowed []bool) bool {
	n := 0
	for _, a := range allowed {
		if a {
			n++
		}
	}
	return n < 2
}
