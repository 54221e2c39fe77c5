//go:build linux

package main

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/ledger"
)

// TestLossOnAWire is F3 in small: processes on hosts of a wire that loses packets. What
// else needs hosts is placed in the same way.
func TestLossOnAWire(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, NOT TESTED: hosts that are network namespaces need root")
	}
	t.Parallel() // it waits most of the time
	code, all, out := play(t, "-rows", "F3", "-quick", "-scale", "0.1", "-rate", "0.4", "-seed", "7")
	if len(all) == 1 && all[0].Verdict == skipRow {
		t.Skipf("SKIPPED, NOT TESTED: %s", all[0].Why)
	}
	if code != 0 || len(all) != 1 || all[0].Verdict != pass || all[0].Issued < 50 {
		t.Fatalf("exit code %d, want 0 and a pass with 50 calls\n%s", code, out)
	}
	for _, name := range []string{"ok_1pct", "ok_5pct", "packets_lost", "packets_reordered", "removed_1pct"} {
		if _, ok := all[0].Figures[name]; !ok {
			t.Errorf("no figure %s in %v", name, all[0].Figures)
		}
	}
}

// TestHostileConnections is F21 in small: each attack runs, and the calls of others do not
// fail.
func TestHostileConnections(t *testing.T) {
	t.Parallel() // it waits most of the time
	code, all, out := play(t, "-rows", "F21", "-quick", "-scale", "0.2", "-rate", "0.2", "-seed", "7")
	if code != 0 || len(all) != 1 || all[0].Verdict != pass {
		t.Fatalf("exit code %d, want 0 and a pass\n%s", code, out)
	}
	for _, name := range attackOrder {
		if all[0].Figures["sent_"+name] == 0 {
			t.Errorf("figures %v: want something sent by %s", all[0].Figures, name)
		}
	}
}

// TestOneWay: when calls of the client that is cut off fail, and when they must not any
// more.
func TestOneWay(t *testing.T) {
	cut := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const second = time.Second
	call := func(client int, at time.Duration, outcome ledger.Outcome) made {
		return made{id: fmt.Sprintf("F27/client%d-%d", client, at), at: cut.Add(at), took: 2 * second, outcome: outcome}
	}
	lively := call(1, 20*second, ledger.OK)
	for _, tt := range []struct {
		name string
		all  calls
		ok   bool
	}{
		{"nothing failed, though packets were lost", calls{lively}, true},
		{"the first fails 2 s later, the last was issued 4 s later", calls{call(1, 0, ledger.MaybeRun), call(1, 4*second, ledger.MaybeRun), lively}, true},
		{"one was issued 3 s after the first failed", calls{call(1, 0, ledger.MaybeRun), call(1, 5*second, ledger.MaybeRun), lively}, false},
		{"one that began before the cut", calls{call(1, -second, ledger.MaybeRun), call(1, 4*second, ledger.MaybeRun), lively}, false},
		{"long before the cut is another fault's", calls{call(1, -10*second, ledger.MaybeRun), call(1, 0, ledger.MaybeRun), call(1, 4*second, ledger.MaybeRun), lively}, true},
		{"nothing was ok afterwards", calls{call(1, 0, ledger.MaybeRun)}, false},
		{"others fail", calls{call(2, 20*second, ledger.MaybeRun), call(2, 30*second, ledger.OK), lively}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &stage{result: new(result), layout: layout{mix: baseMix()}}
			tt.all = append(tt.all, call(2, 0, ledger.OK))
			s.judgeOneWay(tt.all, cut, cut.Add(60*second), 9)
			if (len(s.failures) == 0) != tt.ok {
				t.Errorf("%v: failures %q, want none: %v", tt.all, s.failures, tt.ok)
			}
			s = &stage{result: new(result), layout: layout{mix: baseMix()}}
			if s.judgeOneWay(tt.all, cut, cut.Add(60*second), 0); len(s.failures) == 0 {
				t.Errorf("%v: no failure though no packet was lost", tt.all)
			}
		})
	}
}

// TestNaN: a figure that is no number fails its row, and the result can be written.
func TestNaN(t *testing.T) {
	s := &stage{result: new(result)}
	s.atLeast("part", calls(nil).part(), 0.5)
	if len(s.failures) == 0 || len(s.result.Figures) != 0 {
		t.Errorf("failures %q and figures %v: want a failure and no figure", s.failures, s.result.Figures)
	}
}
