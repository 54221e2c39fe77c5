//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/ledger"
)

// drainIn is how long a process may take to hold no more than at its start, and to end.
const drainIn = 30 * time.Second

// drain lets the load's processes go in the order in which they need each other, and has
// each note what it holds when the others have left it.
func (s *stage) drain(ctx context.Context) error {
	err := each(len(s.clients), func(i int) error { return s.clients[i].drain(ctx) })
	for _, p := range s.proxies {
		p.close()
	}
	err = errors.Join(err, each(len(s.services), func(i int) error { return s.services[i].drain(ctx) }), s.cache.drain(ctx))
	var ending []*child
	for _, c := range append(append(slices.Clone(s.clients), s.services...), s.cache) {
		if c != nil && !c.gone() {
			ending = append(ending, c)
		}
	}
	return errors.Join(err, each(len(ending), func(i int) error { return ending[i].stop(ctx, drainIn) }))
}

// drain has a child note what it holds. One that is gone holds nothing.
func (c *child) drain(ctx context.Context) error {
	if c == nil || c.gone() {
		return nil
	}
	return c.ask(ctx, "drain", nil, nil, drainIn)
}

// end ends whatever still runs.
func (s *stage) end() {
	for _, p := range s.proxies {
		p.close()
	}
	s.mu.Lock()
	all := slices.Clone(s.children)
	s.mu.Unlock()
	for _, c := range all {
		c.in.Close()
		c.kill()
	}
	for _, w := range s.wires {
		w.Close()
	}
}

// records joins the ledgers of all processes so far.
func (s *stage) records() ([]ledger.Record, error) {
	s.mu.Lock()
	all := slices.Clone(s.children)
	s.mu.Unlock()
	var joined []ledger.Record
	for _, c := range all {
		records, err := c.records()
		if err != nil {
			return nil, err
		}
		joined = append(joined, records...)
	}
	return joined, nil
}

// judge fills the result in. err is why the row ended.
func (s *stage) judge(ctx context.Context, err error) {
	r := s.result
	r.Plan = s.hash()
	r.Violations = []string{}
	if why, ok := isSkip(err); ok {
		r.Verdict, r.Why = skipRow, why
		return
	}
	if ctx.Err() != nil { // calls are open, and nobody has drained
		r.Verdict, r.Why = interrupted, context.Cause(ctx).Error()
		return
	}
	records, rerr := s.records()
	report := ledger.Check(records, s.row.minOK, s.drained()...)
	t := report.Totals
	if s.row.minOK > 0 && t.Issued == 0 && err == nil {
		err = errors.New("no call was noted: are the ledgers gone?")
	}
	r.Issued, r.OK, r.Error, r.NotRun, r.Maybe, r.Cancelled, r.Runs = t.Issued, t.OK, t.Error, t.NotRun, t.Maybe, t.Cancelled, t.Runs
	r.Twice, r.Lost = tally(records)
	for i, v := range report.Violations {
		if i == maxViolations {
			r.Violations = append(r.Violations, fmt.Sprintf("and %d more", len(report.Violations)-i))
			break
		}
		r.Violations = append(r.Violations, v.String())
	}
	why := slices.Clone(s.failures)
	for _, err := range []error{err, rerr} {
		if err != nil {
			why = append(why, err.Error())
		}
	}
	r.Why = strings.Join(why, "\n")
	r.Verdict = pass
	if len(why) > 0 || len(r.Violations) > 0 {
		r.Verdict = fail
	}
}

// drained are the processes that must have noted what they hold at last: all that note
// calls, or know instances, but for those that were killed.
func (s *stage) drained() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.children {
		if c.lasts() {
			if status, ok := c.status(); !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
				names = append(names, c.name)
			}
		}
	}
	return names
}

// tally counts calls that ran more than once though they were not idempotent, and those
// that never ended.
func tally(records []ledger.Record) (twice, lost int) {
	type seen struct {
		issued, ended, idempotent bool
		runs                      int
	}
	calls := make(map[string]*seen)
	for _, r := range records {
		if r.ID == "" {
			continue
		}
		c := calls[r.ID]
		if c == nil {
			c = new(seen)
			calls[r.ID] = c
		}
		switch r.Kind {
		case ledger.KindIssue:
			c.issued, c.idempotent = true, r.Idempotent
		case ledger.KindEnd:
			c.ended = true
		case ledger.KindRun:
			c.runs++
		}
	}
	for _, c := range calls {
		if c.runs > 1 && !c.idempotent {
			twice++
		}
		if c.issued && !c.ended {
			lost++
		}
	}
	return twice, lost
}
