package bench

import (
	"math"
	"strings"
	"testing"
)

// row makes a row with one figure.
func row(round int, peer string, value float64) Row {
	return Row{Round: round, Cell: Cell{Scenario: "connect"}, Peer: peer, Result: Result{Figures: Figures{"conns_s": value}}}
}

// Invariant 1: a pass is divided by its own limit only.
func TestRatiosWithinAPass(t *testing.T) {
	var rows []Row
	for _, pass := range [][]Row{
		{row(1, limitName, 100), row(1, "p", 60), row(1, againName, 400)}, // limit 200
		{row(2, limitName, 10), row(2, "p", 10), row(2, againName, 10)},
		{row(3, limitName, 10), row(3, "p", 5), row(3, againName, 0)}, // the second limit run failed
	} {
		setRatios(pass)
		rows = append(rows, pass...)
	}
	for _, tt := range []struct {
		peer                string
		median, lowest, top float64
	}{
		{"p", 0.5, 0.3, 1},
		{againName, 1, 0, 4},
	} {
		s, ok := find(summarize(rows), place{"connect", "-", tt.peer}, "conns_s")
		if !ok || s.N != 3 || s.RatioMedian != tt.median || s.RatioMin != tt.lowest || s.RatioMax != tt.top {
			t.Errorf("%s: %+v, want ratio %v [%v-%v] of 3", tt.peer, s, tt.median, tt.lowest, tt.top)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, tt := range []struct {
		in                  []float64
		median, lowest, top float64
	}{
		{[]float64{3}, 3, 3, 3},
		{[]float64{3, 1}, 2, 1, 3},
		{[]float64{9, 1, 2}, 2, 1, 9},
		{[]float64{4, 3, 2, 1}, 2.5, 1, 4},
	} {
		if m, lo, hi := spread(tt.in); m != tt.median || lo != tt.lowest || hi != tt.top {
			t.Errorf("spread of %v: %v %v %v, want %v %v %v", tt.in, m, lo, hi, tt.median, tt.lowest, tt.top)
		}
	}
	if m, _, _ := spread(nil); !math.IsNaN(m) {
		t.Errorf("spread of nothing: %v, want NaN", m)
	}
}

func TestVerdict(t *testing.T) {
	speed := target{must: 0.5, goal: 0.8, more: true}
	memory := target{must: 2, goal: 1}
	for _, tt := range []struct {
		t            target
		value, noise float64
		want         string
	}{
		{speed, 0.8, 1, "goal"},
		{speed, 0.5, 1, "must"},
		{speed, 0.46, 0.9, "must, within the noise"},
		{speed, 0.44, 0.9, "missed"},
		{memory, 1, 1, "goal"},
		{memory, 2, 1, "must"},
		{memory, 2.1, 1.1, "must, within the noise"},
		{memory, 2.3, 1.1, "missed"},
	} {
		if got := tt.t.verdict(tt.value, tt.noise); got != tt.want {
			t.Errorf("verdict on %v with noise %v, must %v, goal %v: %q, want %q", tt.value, tt.noise, tt.t.must, tt.t.goal, got, tt.want)
		}
	}
}

// Every target names a cell that exists and a figure that its table shows.
func TestTargetsExist(t *testing.T) {
	for _, g := range targets {
		found := false
		for _, c := range cells(g.scenario, 1, 1) {
			found = found || c.Key() == g.cell
		}
		if !found || !shown(g.scenario, g.figure) {
			t.Errorf("target %s %s %s: no such cell or figure", g.scenario, g.cell, g.figure)
		}
	}
	sums := []Sum{
		{Scenario: "unary", Cell: "64B c1", Peer: "scamp", Figure: "rps", RatioMedian: 0.44},
		{Scenario: "unary", Cell: "64B c1", Peer: againName, Figure: "rps", RatioMin: 0.95, RatioMax: 1.2},
		{Scenario: "unary", Cell: "64B c1", Peer: "scamp", Figure: "allocs_op", Median: 9, RatioMedian: 3},
	}
	var b strings.Builder
	writeTargets(&b, sums)
	for _, want := range []string{"| ratio of rps | 0.44 | 0.45 | 0.60 | 0.95 | must, within the noise |", "| allocs_op | 9.00 | 8.00 | 4.00 | 1.00 | missed |"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("targets:\n%s\nwant a line with %q", b.String(), want)
		}
	}
}

// A report says when the machine was not quiet, and only then.
func TestReportTellsForeignLoad(t *testing.T) {
	for _, tt := range []struct {
		loads []float64
		want  string
	}{
		{nil, ""},
		{[]float64{0.05, 0.9, 0.01}, ""},
		{[]float64{0.05, 0.5, 0.6}, "other processes used 50 % of it"},
	} {
		var r Report
		for _, v := range tt.loads {
			r.Rows = append(r.Rows, Row{Result: Result{Figures: Figures{"foreign_cpu": v}}})
		}
		got := r.text()
		if strings.Contains(got, "Not a quiet machine") != (tt.want != "") || !strings.Contains(got, tt.want) {
			t.Errorf("report with foreign loads %v:\n%s\nwant %q", tt.loads, got, tt.want)
		}
	}
}

func TestShort(t *testing.T) {
	for _, tt := range []struct {
		in   float64
		want string
	}{
		{0, "0.00"}, {0.034, "0.034"}, {0.5, "0.50"}, {12.34, "12.3"}, {123.4, "123"}, {56789.1, "56789"}, {-0.25, "-0.25"},
	} {
		if got := short(tt.in); got != tt.want {
			t.Errorf("short(%v): %q, want %q", tt.in, got, tt.want)
		}
	}
}
