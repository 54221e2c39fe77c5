package ledger

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// A Tally is the ledger of many small calls. Each caller numbers its calls from 0; of
// each call it keeps five bits, so that ten million fit into 6.25 MB. Bodies are not
// kept: each end knows from the number of a call what they must be, compares, and calls
// Wrong if they are not that.
//
// Both ends use one Tally, so they run in one process. No call of a Tally is idempotent
// or cancelled. Safe for concurrent use.
type Tally struct {
	callers, calls int

	issued, ended, ran bits
	low, high          bits // the outcome of a call that has ended, as a number

	mu    sync.Mutex // protects what follows
	wrong []Violation
	more  int // violations beyond those
	holds []Record
}

// keepWrong bounds the violations a Tally keeps; of the others it keeps the number.
const keepWrong = 100

// outcomes are what low and high number.
var outcomes = [4]Outcome{OK, Error, NotRun, MaybeRun}

// bits is a set of numbers.
type bits []atomic.Uint64

func newBits(n int) bits { return make(bits, (n+63)/64) }

// set adds i and says whether it was there.
func (b bits) set(i int) (was bool) {
	bit := uint64(1) << (i % 64)
	return b[i/64].Or(bit)&bit != 0
}

func (b bits) has(i int) bool { return b[i/64].Load()>>(i%64)&1 != 0 }

// NewTally returns a Tally for so many callers with at most so many calls each.
func NewTally(callers, calls int) *Tally {
	n := callers * calls
	return &Tally{callers: callers, calls: calls,
		issued: newBits(n), ended: newBits(n), ran: newBits(n), low: newBits(n), high: newBits(n)}
}

// Octets is how much memory the Tally holds for its calls.
func (t *Tally) Octets() int { return 5 * 8 * len(t.issued) }

// at is the place of a call. A number that nobody can have issued is a violation.
func (t *Tally) at(caller, call int) (i int, ok bool) {
	if caller < 0 || caller >= t.callers || call < 0 || call >= t.calls {
		t.violate(1, caller, call, "issued 0 times: want once")
		return 0, false
	}
	return caller*t.calls + call, true
}

// Issue notes that a call is about to be made.
func (t *Tally) Issue(caller, call int) {
	if i, ok := t.at(caller, call); ok && t.issued.set(i) {
		t.violate(1, caller, call, "issued again: want once")
	}
}

// Run notes that a handler is about to run for a call.
func (t *Tally) Run(caller, call int) {
	if i, ok := t.at(caller, call); ok && t.ran.set(i) {
		t.violate(5, caller, call, "ran again, and is not idempotent")
	}
}

// End notes that a call has ended. Its outcome counts once.
func (t *Tally) End(caller, call int, o Outcome) {
	i, ok := t.at(caller, call)
	if !ok {
		return
	}
	for n, known := range outcomes {
		if o != known {
			continue
		}
		if t.ended.set(i) {
			t.violate(1, caller, call, "ended again: want once")
			return
		}
		if n&1 != 0 {
			t.low.set(i)
		}
		if n&2 != 0 {
			t.high.set(i)
		}
		return
	}
	t.violate(1, caller, call, "outcome %q: want %s, %s, %s or %s", string(o), OK, Error, NotRun, MaybeRun)
}

// Wrong notes that octets arrived, at either end, that are not those of the call.
func (t *Tally) Wrong(caller, call int, format string, args ...any) {
	t.violate(2, caller, call, format, args...)
}

// Late notes that a call ended later than a second after its deadline.
func (t *Tally) Late(caller, call int, format string, args ...any) {
	t.violate(7, caller, call, format, args...)
}

// Start notes what is held before the first call, by name.
func (t *Tally) Start(holds map[string]int64) { t.hold(Record{Kind: KindStart, Holds: holds}) }

// Drain notes what is held when all is over.
func (t *Tally) Drain(holds map[string]int64) { t.hold(Record{Kind: KindDrain, Holds: holds}) }

func (t *Tally) hold(r Record) {
	r.By = "the process"
	t.mu.Lock()
	defer t.mu.Unlock()
	t.holds = append(t.holds, r)
}

func (t *Tally) violate(rule, caller, call int, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.wrong) == keepWrong {
		t.more++
		return
	}
	t.wrong = append(t.wrong, Violation{rule, fmt.Sprintf("%d/%d", caller, call), fmt.Sprintf(format, args...)})
}

// Check joins what both ends have noted. Nobody may be noting any more: a call that was
// said not to have run must not run later either. At least minOK of the calls must have
// ended ok, as a part of 1.
func (t *Tally) Check(minOK float64) *Report {
	report := new(Report)
	for caller := range t.callers {
		for call := range t.calls {
			t.check(report, caller, call)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	report.Violations = append(report.Violations, t.wrong...)
	if t.more > 0 {
		report.add(2, "", "%d violations beyond the first %d", t.more, keepWrong)
	}
	report.holds(t.holds, nil)
	report.rate(report.Totals.OK, report.Totals.Issued, minOK)
	report.sort()
	return report
}

// check counts one call and compares its end with whether it ran.
func (t *Tally) check(report *Report, caller, call int) {
	i := caller*t.calls + call
	issued, ended, ran := t.issued.has(i), t.ended.has(i), t.ran.has(i)
	count := &report.Totals
	if ran {
		count.Runs++
	}
	if issued {
		count.Issued++
	}
	bad := func(rule int, text string) {
		if len(report.Violations) < keepWrong {
			report.add(rule, fmt.Sprintf("%d/%d", caller, call), "%s", text)
		}
	}
	if !issued && (ended || ran) {
		bad(1, "issued 0 times: want once")
	}
	if issued && !ended {
		bad(1, "ended 0 times: want once")
	}
	if !ended {
		return
	}
	n := 0
	if t.low.has(i) {
		n |= 1
	}
	if t.high.has(i) {
		n |= 2
	}
	count.end(outcomes[n])
	switch {
	case outcomes[n] == OK && !ran:
		bad(2, "ended ok, and ran 0 times: want once")
	case outcomes[n] == NotRun && ran:
		bad(3, "ended as not run, and ran")
	}
}
