//go:build linux

package main

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/ledger"
)

// A made is a call that was made and has ended, as its client saw it.
type made struct {
	id         string
	at         time.Time // issued
	took       time.Duration
	octets     int64 // of the longer body, as far as it is known
	outcome    ledger.Outcome
	cancelled  bool
	idempotent bool
	again      int    // times that it was sent again
	instance   string // at which it failed last: its ident and address
	text       string
}

// calls are calls that were made, in the order in which they were issued.
type calls []made

// calls reads the ledgers of the clients, which may go on meanwhile.
func (s *stage) calls() (calls, error) {
	records, err := s.records()
	if err != nil {
		return nil, err
	}
	return callsOf(records), nil
}

func callsOf(records []ledger.Record) calls {
	issued := make(map[string]ledger.Record)
	for _, r := range records {
		if r.Kind == ledger.KindIssue {
			issued[r.ID] = r
		}
	}
	var all calls
	for _, r := range records {
		i, ok := issued[r.ID]
		if r.Kind != ledger.KindEnd || !ok {
			continue
		}
		again := 0
		fmt.Sscanf(r.Text, sentAgain+"%d", &again) // 0 if it was not
		all = append(all, made{
			id: r.ID, at: i.At, took: r.At.Sub(i.At), octets: max(i.Request.Octets, r.Reply.Octets),
			outcome: r.Outcome, cancelled: r.Cancelled, idempotent: i.Idempotent, again: again, text: r.Text, instance: r.Instance,
		})
	}
	slices.SortFunc(all, func(a, b made) int { return a.at.Compare(b.at) })
	return all
}

// where returns the calls of which is says true.
func (c calls) where(is func(made) bool) calls {
	var some calls
	for _, m := range c {
		if is(m) {
			some = append(some, m)
		}
	}
	return some
}

// ok are those that succeeded.
func (c calls) ok() calls { return c.where(func(m made) bool { return m.outcome == ledger.OK }) }

// failed are those that neither succeeded nor were given up.
func (c calls) failed() calls {
	return c.where(func(m made) bool { return m.outcome != ledger.OK && !m.cancelled })
}

// upTo are those whose bodies are no longer.
func (c calls) upTo(octets int64) calls {
	return c.where(func(m made) bool { return m.octets <= octets })
}

// between are those that were issued from one time on and before another.
func (c calls) between(from, to time.Time) calls {
	return c.where(func(m made) bool { return !m.at.Before(from) && m.at.Before(to) })
}

// again counts how often calls were sent again, all together.
func (c calls) again() (n int) {
	for _, m := range c {
		n += m.again
	}
	return n
}

// quantile returns how long the calls took, in milliseconds, at a part of 1; NaN without
// calls.
func (c calls) quantile(part float64) float64 {
	if len(c) == 0 {
		return math.NaN()
	}
	times := make([]time.Duration, len(c))
	for i, m := range c {
		times[i] = m.took
	}
	slices.Sort(times)
	return ms(times[min(int(part*float64(len(times))), len(times)-1)])
}

// usual is the quantile that the calls of a second usually have: the median of those of all
// seconds. A machine that has other work now and then does not move it.
func (c calls) usual(part float64) float64 {
	var of []float64
	for len(c) > 0 {
		end := c[0].at.Add(time.Second)
		n := slices.IndexFunc(c, func(m made) bool { return !m.at.Before(end) })
		if n < 0 {
			n = len(c)
		}
		of, c = append(of, c[:n].quantile(part)), c[n:]
	}
	if len(of) == 0 {
		return math.NaN()
	}
	slices.Sort(of)
	return of[len(of)/2]
}

// part is which part of the calls that were not given up succeeded; NaN without calls.
func (c calls) part() float64 {
	ok, failed := len(c.ok()), len(c.failed())
	if ok+failed == 0 {
		return math.NaN()
	}
	return float64(ok) / float64(ok+failed)
}
