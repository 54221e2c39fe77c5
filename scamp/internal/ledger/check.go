package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Totals counts calls by their ends. Two runs of one seed have equal Totals.
type Totals struct {
	Issued, OK, Error, NotRun, Maybe int
	Cancelled                        int // among the above
	Runs                             int
}

// A Violation is one thing that must not be.
type Violation struct {
	Rule int    // its number in the package documentation
	ID   string // of the call; empty if it is about no single one
	Text string
}

// String returns the violation in a line.
func (v Violation) String() string {
	if v.ID == "" {
		return fmt.Sprintf("rule %d: %s", v.Rule, v.Text)
	}
	return fmt.Sprintf("rule %d: call %q: %s", v.Rule, v.ID, v.Text)
}

// A Report is what Check found.
type Report struct {
	Totals     Totals
	Violations []Violation // by rule, then id
}

// String returns the violations, a line each, and the totals.
func (r *Report) String() string {
	var b strings.Builder
	for _, v := range r.Violations {
		fmt.Fprintln(&b, v)
	}
	t := r.Totals
	fmt.Fprintf(&b, "%d issued = %d ok + %d error + %d not run + %d maybe; %d cancelled, %d runs\n",
		t.Issued, t.OK, t.Error, t.NotRun, t.Maybe, t.Cancelled, t.Runs)
	return b.String()
}

// grace is how long after its deadline a call may end (rule 7).
const grace = time.Second

// A call is all that is noted of one id.
type call struct {
	id     string
	issues []Record
	ends   []Record
	runs   []Record
	served []Record
}

// Check joins records, in any order, from any number of processes. At least minOK of
// the calls that were not cancelled must have ended ok, as a part of 1. Drained are the
// processes that must have noted what they hold, at the start and after the drain: one
// that was killed need not.
func Check(records []Record, minOK float64, drained ...string) *Report {
	report := new(Report)
	calls := make(map[string]*call)
	for _, r := range records {
		if r.Kind == KindStart || r.Kind == KindDrain {
			continue
		}
		c := calls[r.ID]
		if c == nil {
			c = &call{id: r.ID}
			calls[r.ID] = c
		}
		c.add(r)
	}
	uncancelled, ok := 0, 0
	for _, id := range slices.Sorted(maps.Keys(calls)) {
		c := calls[id]
		report.count(c)
		report.check(c)
		if len(c.issues) > 0 && !c.cancelled() {
			uncancelled++
			if slices.ContainsFunc(c.ends, func(r Record) bool { return r.Outcome == OK }) {
				ok++
			}
		}
	}
	report.holds(records, drained)
	report.rate(ok, uncancelled, minOK)
	report.sort()
	return report
}

// rate applies rule 9 to the calls that were not cancelled.
func (r *Report) rate(ok, uncancelled int, minOK float64) {
	if float64(ok) < minOK*float64(uncancelled) {
		r.add(9, "", "%d of %d calls that were not cancelled ended ok: want %.4g of them", ok, uncancelled, minOK)
	}
}

func (r *Report) sort() {
	slices.SortStableFunc(r.Violations, func(a, b Violation) int { return cmp.Compare(a.Rule, b.Rule) })
}

func (c *call) add(r Record) {
	switch r.Kind {
	case KindIssue:
		c.issues = append(c.issues, r)
	case KindEnd:
		c.ends = append(c.ends, r)
	case KindRun:
		c.runs = append(c.runs, r)
	case KindServed:
		c.served = append(c.served, r)
	}
}

func (c *call) cancelled() bool {
	return slices.ContainsFunc(c.ends, func(r Record) bool { return r.Cancelled })
}

func (r *Report) add(rule int, id, format string, args ...any) {
	r.Violations = append(r.Violations, Violation{rule, id, fmt.Sprintf(format, args...)})
}

func (r *Report) count(c *call) {
	t := &r.Totals
	t.Issued += len(c.issues)
	t.Runs += len(c.runs)
	for _, end := range c.ends {
		if end.Cancelled {
			t.Cancelled++
		}
		t.end(end.Outcome)
	}
}

// end counts one end.
func (t *Totals) end(o Outcome) {
	switch o {
	case OK:
		t.OK++
	case Error:
		t.Error++
	case NotRun:
		t.NotRun++
	case MaybeRun:
		t.Maybe++
	}
}

// check applies rules 1 to 7 to one call.
func (r *Report) check(c *call) {
	if len(c.issues) != 1 {
		r.add(1, c.id, "issued %d times: want once", len(c.issues))
	}
	if len(c.ends) != 1 {
		r.add(1, c.id, "ended %d times: want once", len(c.ends))
	}
	if len(c.issues) != 1 {
		return // there is nothing to compare with
	}
	issue, end := c.issues[0], Record{}
	if len(c.ends) == 1 {
		end = c.ends[0]
	}
	r.runs(c, issue, end)
	if end.Outcome == OK {
		r.bodies(c, issue, end)
	}
	right := slices.ContainsFunc(c.served, func(s Record) bool { return s.Request == issue.Request })
	for _, s := range c.served {
		short := s.Request.Octets < issue.Request.Octets
		other := s.Request != issue.Request && (end.Outcome != OK || right) // else rule 2 says it
		if s.Complete && (short || other) {
			r.add(6, c.id, "%d octets were presented as complete that are not the %d sent", s.Request.Octets, issue.Request.Octets)
		}
	}
	if !issue.Deadline.IsZero() && end.At.After(issue.Deadline.Add(grace)) {
		r.add(7, c.id, "ended %v after its deadline", end.At.Sub(issue.Deadline).Round(time.Millisecond))
	}
}

// runs compares how often a call ran with how it ended. That it ran too often is rule 2
// or 4 where those speak of its outcome, and else rule 5.
func (r *Report) runs(c *call, issue, end Record) {
	n := len(c.runs)
	tooOften := n > 1 && !issue.Idempotent
	switch {
	case end.Outcome == OK && (n == 0 || tooOften):
		r.add(2, c.id, "ended ok, and ran %d times: want once", n)
	case end.Outcome == NotRun && n != 0:
		r.add(3, c.id, "ended as not run, and ran %d times", n)
	case end.Outcome == MaybeRun && tooOften:
		r.add(4, c.id, "ended as perhaps run, and ran %d times: want at most once", n)
	case tooOften:
		r.add(5, c.id, "ran %d times, and is not idempotent", n)
	}
	switch end.Outcome {
	case OK, Error, NotRun, MaybeRun:
	default:
		if len(c.ends) == 1 {
			r.add(1, c.id, "outcome %q: want %s, %s, %s or %s", string(end.Outcome), OK, Error, NotRun, MaybeRun)
		}
	}
}

// bodies applies rule 2 to a call that ended ok. A service that was killed after its
// reply went out has noted nothing, so no note is no violation.
func (r *Report) bodies(c *call, issue, end Record) {
	if end.Nonce != issue.Nonce {
		r.add(2, c.id, "nonce %v came back: want %v", end.Nonce, issue.Nonce)
	}
	if len(c.served) == 0 {
		return
	}
	if !slices.ContainsFunc(c.served, func(s Record) bool { return s.Request == issue.Request }) {
		r.add(2, c.id, "%d octets arrived that are not the %d sent", c.served[0].Request.Octets, issue.Request.Octets)
	}
	if !slices.ContainsFunc(c.served, func(s Record) bool { return s.Reply == end.Reply }) {
		r.add(2, c.id, "%d octets came back that are not the %d sent", end.Reply.Octets, c.served[0].Reply.Octets)
	}
}

// holds applies rule 8 to each process that noted what it holds, and to those that must.
func (r *Report) holds(records []Record, drained []string) {
	starts := make(map[string]map[string]int64)
	noted := make(map[string]bool)
	for _, s := range records {
		switch s.Kind {
		case KindStart:
			starts[s.By] = s.Holds
		case KindDrain:
			noted[s.By] = true
		}
	}
	for _, name := range drained {
		if !noted[name] {
			r.add(8, "", "%s has not noted what it holds after the drain", name)
		}
	}
	for _, d := range records {
		if d.Kind != KindDrain {
			continue
		}
		start, ok := starts[d.By]
		if !ok {
			r.add(8, "", "%s noted what it holds after the drain, and not what before", d.By)
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(d.Holds)) {
			if was, now := start[name], d.Holds[name]; now > was {
				r.add(8, "", "%s holds %d %s after the drain: want at most the %d at the start", d.By, now, name, was)
			}
		}
	}
}
