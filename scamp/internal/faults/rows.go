//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A row is one line of the table of THREATS 3.3: a fault, and what must hold under it.
type row struct {
	id    string
	fault string // as the table says it
	quick bool   // it is of the CI subset
	extra bool   // it runs only if it is named

	seconds      float64 // of load
	quickSeconds float64 // of load in the CI subset; zero means quickSeconds
	least        float64 // of load: in less the fault does not come, or not to its end
	minOK        float64 // rule 9: part of the calls that were not cancelled
	root         bool    // it needs root; anybody else skips it
	simulated    bool    // its seconds are of synthetic time

	run func(ctx context.Context, s *stage) error
}

// rows are all rows, in the order in which they run.
func rows() []row {
	return slices.Concat(proxyRows, processRows, networkRows, discoveryRows, mixedRows, soakRows)
}

// quickSeconds is how long a row of the CI subset loads.
const quickSeconds = 12

// A skipped is why a row could not run here.
type skipped struct{ why string }

func (s *skipped) Error() string { return "skipped: " + s.why }

// skip is the error of a row that this machine does not allow.
func skip(format string, args ...any) error { return &skipped{fmt.Sprintf(format, args...)} }

func isSkip(err error) (why string, ok bool) {
	var s *skipped
	if errors.As(err, &s) {
		return s.why, true
	}
	return "", false
}

// knownSkips are the rows that may skip as root too, with the reason.
var knownSkips = map[string]string{}

// choose returns the rows of a list of ids, or those that run by default.
func choose(ids string, quick bool) ([]row, error) {
	var chosen []row
	all := rows()
	if ids == "" {
		for _, r := range all {
			if !r.extra && (r.quick || !quick) {
				chosen = append(chosen, r)
			}
		}
		return chosen, nil
	}
	for id := range strings.SplitSeq(ids, ",") {
		i := slices.IndexFunc(all, func(r row) bool { return strings.EqualFold(r.id, strings.TrimSpace(id)) })
		if i < 0 {
			return nil, fmt.Errorf("faults: row %q: want one of those that -list shows", id)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// tooShort says which rows would show nothing in the time they get, nil if none.
func tooShort(chosen []row, quick bool, scale float64) error {
	var errs []error
	for _, r := range chosen {
		if got := r.lasts(quick, scale); got.Seconds() < r.least {
			errs = append(errs, fmt.Errorf("faults: row %s in %v: want %v s at least, by a larger -scale", r.id, got, r.least))
		}
	}
	return errors.Join(errs...)
}

// lasts is how long a row loads.
func (r *row) lasts(quick bool, scale float64) time.Duration {
	s := r.seconds
	if quick {
		if r.quickSeconds > 0 {
			s = r.quickSeconds
		}
		s = min(s, max(r.quickSeconds, quickSeconds))
	}
	return time.Duration(s * scale * float64(time.Second)).Round(time.Millisecond)
}
