package ledger_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/scampbus/scamp-go/scamp/internal/ledger"
)

// tallied is a call of a Tally that keeps every rule.
func tallied(l *ledger.Tally, caller, call int, o ledger.Outcome, ran bool) {
	l.Issue(caller, call)
	if ran {
		l.Run(caller, call)
	}
	l.End(caller, call, o)
}

// TestTallyFindsEachRule breaks one rule at a time among calls that keep them all.
func TestTallyFindsEachRule(t *testing.T) {
	for _, tt := range []struct {
		name  string
		do    func(l *ledger.Tally)
		minOK float64
		want  string
	}{
		{"nothing", func(*ledger.Tally) {}, 0.5, ""},
		{"issued twice", func(l *ledger.Tally) { l.Issue(0, 0) }, 0, `rule 1: call "0/0": issued again`},
		{"never issued", func(l *ledger.Tally) { l.Run(1, 9) }, 0, `rule 1: call "1/9": issued 0 times`},
		{"never ended", func(l *ledger.Tally) { l.Issue(1, 9) }, 0, `rule 1: call "1/9": ended 0 times`},
		{"ended twice", func(l *ledger.Tally) { l.End(0, 0, ledger.Error) }, 0, `rule 1: call "0/0": ended again`},
		{"no outcome", func(l *ledger.Tally) { l.Issue(1, 9); l.End(1, 9, ledger.MaybeRun); l.End(1, 8, "lost") }, 0, `rule 1: call "1/8": outcome "lost"`},
		{"a number nobody has", func(l *ledger.Tally) { l.Run(7, 0) }, 0, `rule 1: call "7/0": issued 0 times`},
		{"a negative number", func(l *ledger.Tally) { l.Run(0, -1) }, 0, `rule 1: call "0/-1": issued 0 times`},
		{"ok and never ran", func(l *ledger.Tally) { tallied(l, 1, 9, ledger.OK, false) }, 0, `rule 2: call "1/9": ended ok, and ran 0 times`},
		{"other octets", func(l *ledger.Tally) { l.Wrong(0, 0, "%d octets", 7) }, 0, `rule 2: call "0/0": 7 octets`},
		{"not run and ran", func(l *ledger.Tally) { tallied(l, 1, 9, ledger.NotRun, true) }, 0, `rule 3: call "1/9": ended as not run, and ran`},
		{"ran twice", func(l *ledger.Tally) { l.Run(0, 0) }, 0, `rule 5: call "0/0": ran again`},
		{"late", func(l *ledger.Tally) { l.Late(0, 0, "after 2s") }, 0, `rule 7: call "0/0": after 2s`},
		{"something is left", func(l *ledger.Tally) {
			l.Start(map[string]int64{"goroutines": 7})
			l.Drain(map[string]int64{"goroutines": 8})
		}, 0, `rule 8: the process holds 8 goroutines`},
		{"too few are ok", func(*ledger.Tally) {}, 0.75, "rule 9: 2 of 4 calls"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := ledger.NewTally(2, 70)
			tallied(l, 0, 0, ledger.OK, true)
			tallied(l, 0, 63, ledger.OK, true)
			tallied(l, 0, 64, ledger.MaybeRun, false)
			tallied(l, 1, 0, ledger.NotRun, false)
			tt.do(l)
			got := l.Check(tt.minOK)
			if tt.want == "" && len(got.Violations) > 0 || tt.want != "" && (len(got.Violations) != 1 || !strings.HasPrefix(got.Violations[0].String(), tt.want)) {
				t.Errorf("%s: %v\nwant one violation %q", tt.name, got, tt.want)
			}
		})
	}
}

// The totals are those of a ledger of the same calls, and a flood of violations neither
// grows without end nor passes unseen.
func TestTallyTotals(t *testing.T) {
	const callers, calls = 8, 1000
	l := ledger.NewTally(callers, calls)
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for i := range calls {
				o := []ledger.Outcome{ledger.OK, ledger.Error, ledger.NotRun, ledger.MaybeRun}[i%4]
				tallied(l, c, i, o, i%4 < 2)
			}
		})
	}
	all.Wait()
	got := l.Check(0.25)
	want := ledger.Totals{Issued: 8000, OK: 2000, Error: 2000, NotRun: 2000, Maybe: 2000, Runs: 4000}
	if got.Totals != want || len(got.Violations) > 0 {
		t.Errorf("%v\nwant %+v and no violation", got, want)
	}
	if l.Octets() > callers*calls {
		t.Errorf("%d calls take %d octets, want less than one each", callers*calls, l.Octets())
	}
	for i := range calls {
		if i%4 < 2 {
			l.Run(0, i)
		}
	}
	got = l.Check(0)
	if n := len(got.Violations); n != 101 || !strings.Contains(got.String(), "400 violations beyond") {
		t.Errorf("%d violations, want 100 of 500 and the number of the others", n)
	}
}
