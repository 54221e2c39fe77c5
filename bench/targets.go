package bench

import (
	"fmt"
	"strings"
)

// A target is a figure that this project has set itself: what it must reach, and
// where it wants to go.
type target struct {
	place
	figure     string
	must, goal float64
	more       bool // a larger figure is better
	absolute   bool // the figure itself counts, not its ratio to limit-tls
}

// targets are those of the project's design.
var targets = []target{
	{place{"unary", "64B c1", "scamp"}, "rps", 0.45, 0.60, true, false},
	{place{"unary", "64B c16", "scamp"}, "rps", 0.33, 0.50, true, false},
	{place{"unary", "64B c128", "scamp"}, "rps", 0.22, 0.40, true, false},
	{place{"unary", "64B c1", "scamp"}, "allocs_op", 8, 4, false, true},
	{place{"unary", "64B c16", "scamp"}, "allocs_op", 8, 4, false, true},
	{place{"bulk", "up 64MiB", "scamp"}, "mb_s", 0.65, 0.85, true, false},
	{place{"bulk", "down 64MiB", "scamp"}, "mb_s", 0.70, 0.85, true, false},
	{place{"bulk", "up 64MiB", "scamp-old"}, "mb_s", 0.50, 0.60, true, false},
	{place{"bulk", "down 64MiB", "scamp-old"}, "mb_s", 0.48, 0.60, true, false},
	{place{"bulk", "up 64MiB", "scamp"}, "grow_client_mib", 8, 4, false, true},
	{place{"bulk", "up 64MiB", "scamp"}, "grow_server_mib", 8, 4, false, true},
	{place{"bulk", "down 64MiB", "scamp"}, "grow_client_mib", 8, 4, false, true},
	{place{"bulk", "down 64MiB", "scamp"}, "grow_server_mib", 8, 4, false, true},
	{place{"hol", "up 256MiB", "scamp"}, "hol_p99_us", 2.0, 1.0, false, false},
	{place{"hol", "down 256MiB", "scamp"}, "hol_p99_us", 2.0, 1.0, false, false},
	{place{"idle", "2000 conns", "scamp"}, "both_kib", 1.1, 0.7, false, false},
}

// verdict judges a figure. noise is what limit-tls was off by when it was measured
// against itself in the same run.
func (t target) verdict(value, noise float64) string {
	reached := func(want float64) bool {
		if t.more {
			return value >= want
		}
		return value <= want
	}
	switch {
	case reached(t.goal):
		return "goal"
	case reached(t.must):
		return "must"
	case t.more && value >= t.must*noise || !t.more && value <= t.must*noise:
		return "must, within the noise"
	}
	return "missed"
}

// writeTargets writes a table of the targets that were measured.
func writeTargets(b *strings.Builder, sums []Sum) {
	head := "| cell | peer | figure | measured | must | goal | noise | verdict |\n|---|---|---|---|---|---|---|---|\n"
	for _, t := range targets {
		s, ok := find(sums, t.place, t.figure)
		if !ok {
			continue
		}
		value, noise, kind := s.RatioMedian, 1.0, "ratio of "
		again, measured := find(sums, place{t.scenario, t.cell, againName}, t.figure)
		switch {
		case t.absolute:
			value, kind = s.Median, ""
		case measured && t.more:
			noise = min(again.RatioMin, 1)
		case measured:
			noise = max(again.RatioMax, 1)
		}
		b.WriteString(head)
		head = ""
		fmt.Fprintf(b, "| %s %s | %s | %s%s | %s | %s | %s | %s | %s |\n", t.scenario, t.cell, t.peer, kind, t.figure,
			short(value), short(t.must), short(t.goal), short(noise), t.verdict(value, noise))
	}
	if head == "" {
		b.WriteByte('\n')
	}
}
