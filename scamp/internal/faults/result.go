//go:build linux

package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// The verdicts.
const (
	pass    = "pass"
	fail    = "fail"
	skipRow = "skip"

	interrupted = "interrupted" // by whoever runs it: it has shown nothing
)

// A result is what came of one row: an object of the JSON output.
type result struct {
	Row       string  `json:"row"`
	Fault     string  `json:"fault"`
	Verdict   string  `json:"verdict"` // pass, fail, skip or interrupted
	Seed      uint64  `json:"seed"`
	Quick     bool    `json:"quick"`
	Scale     float64 `json:"scale"`
	Rate      float64 `json:"rate"`
	Raced     bool    `json:"raced"`
	Plan      string  `json:"plan,omitempty"` // hash of what was to be called and done, and when
	Seconds   float64 `json:"seconds"`
	Issued    int     `json:"issued"`
	OK        int     `json:"ok"`
	Error     int     `json:"error"`
	NotRun    int     `json:"not_run"`
	Maybe     int     `json:"maybe"`
	Cancelled int     `json:"cancelled"`
	Runs      int     `json:"runs"`
	Twice     int     `json:"twice"` // calls that ran more than once and were not idempotent
	Lost      int     `json:"lost"`  // calls that never ended

	Violations []string           `json:"violations"`        // of the rules of THREATS 3.2
	Figures    map[string]float64 `json:"figures,omitempty"` // the row's own
	Want       map[string]string  `json:"want,omitempty"`    // their bounds
	Why        string             `json:"why,omitempty"`     // of a verdict other than pass
	Ledgers    string             `json:"ledgers,omitempty"` // where they were kept
}

// again is the command that plays the row again, with the same plan: that depends on all of
// these, and on how the program was built.
func (r *result) again() string {
	var b strings.Builder
	b.WriteString("go run ")
	if r.Raced {
		b.WriteString("-race ")
	}
	if failpoints {
		b.WriteString("-tags failpoint ")
	}
	fmt.Fprintf(&b, "./scamp/internal/faults -rows %s -seed %d", r.Row, r.Seed)
	if r.Quick {
		b.WriteString(" -quick")
	}
	if r.Scale != 1 {
		fmt.Fprintf(&b, " -scale %v", r.Scale)
	}
	if r.Rate != 1 {
		fmt.Fprintf(&b, " -rate %v", r.Rate)
	}
	return b.String()
}

// maxViolations bounds those that are told.
const maxViolations = 50

// figure notes a figure that has no bound. NaN, of no calls at all, is none.
func (s *stage) figure(name string, value float64) {
	if math.IsNaN(value) {
		return
	}
	if s.result.Figures == nil {
		s.result.Figures = make(map[string]float64)
	}
	if !math.IsNaN(value) { // that of nothing, which JSON does not know
		s.result.Figures[name] = round(value)
	}
}

// atMost notes a figure that fails the row when it is above a bound, atLeast one that
// fails it below.
func (s *stage) atMost(name string, value, most float64) {
	s.bounded(name, value, value <= most, fmt.Sprintf("<= %.6g", most))
}

func (s *stage) atLeast(name string, value, least float64) {
	s.bounded(name, value, value >= least, fmt.Sprintf(">= %.6g", least))
}

// did notes how often a row did what breaks things: as often as it was planned, and once at
// least, or it shows nothing.
func (s *stage) did(name string, times, planned int) {
	s.atLeast(name, float64(times), float64(max(planned, 1)))
}

// within is atMost for a time in milliseconds. Under the race detector it has no bound.
func (s *stage) within(name string, took, most float64) {
	if raced {
		s.figure(name, took)
		return
	}
	s.atMost(name, took, most)
}

func (s *stage) bounded(name string, value float64, ok bool, want string) {
	s.figure(name, value)
	if s.result.Want == nil {
		s.result.Want = make(map[string]string)
	}
	s.result.Want[name] = want
	if !ok {
		s.failures = append(s.failures, fmt.Sprintf("%s is %.6g, want %s", name, value, want))
	}
}

// round cuts a figure to what its reader can use.
func round(v float64) float64 {
	var short float64
	fmt.Sscanf(fmt.Sprintf("%.5g", v), "%g", &short)
	return short
}

// figures are the figures as text, sorted.
func (r *result) figures() []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(r.Figures)) {
		text := fmt.Sprintf("%s %g", name, r.Figures[name])
		if want := r.Want[name]; want != "" {
			text += " (" + want + ")"
		}
		all = append(all, text)
	}
	return all
}

// text is the result for people.
func (r *result) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-4s %-4s %5.1f s  %d issued = %d ok + %d error + %d not run + %d maybe; %d cancelled, %d runs, %d twice, %d lost  (%s)\n",
		r.Row, strings.ToUpper(r.Verdict), r.Seconds, r.Issued, r.OK, r.Error, r.NotRun, r.Maybe, r.Cancelled, r.Runs, r.Twice, r.Lost, r.Fault)
	if all := r.figures(); len(all) > 0 {
		fmt.Fprintf(&b, "     %s\n", strings.Join(all, ", "))
	}
	if r.Why != "" {
		fmt.Fprintf(&b, "     %s\n", strings.ReplaceAll(r.Why, "\n", "\n     "))
	}
	for _, v := range r.Violations {
		fmt.Fprintf(&b, "     %s\n", v)
	}
	if r.Verdict == fail {
		fmt.Fprintf(&b, "     again: %s\n", r.again())
	}
	if r.Ledgers != "" {
		fmt.Fprintf(&b, "     ledgers and logs: %s\n", r.Ledgers)
	}
	return b.String()
}
