package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// tables says which figures the table of a scenario shows.
var tables = map[string][]string{
	"unary":   {"rps", "p50_us", "p99_us", "p999_us", "cpu_us_op", "allocs_op", "sys_writes_op"},
	"bulk":    {"mb_s", "cpu_us_mb", "grow_client_mib", "grow_server_mib"},
	"hol":     {"base_p99_us", "hol_p50_us", "hol_p99_us", "hol_max_us", "bulk_mb_s"},
	"connect": {"connect_p50_us", "connect_p99_us", "conns_s", "cpu_us_op"},
	"idle":    {"client_kib", "server_kib", "both_kib", "client_goroutines", "server_goroutines"},
	"slow":    {"rps", "excess_p50_us", "excess_p99_us", "cpu_us_op", "rss_mib"},
}

func shown(scenario, figure string) bool { return slices.Contains(tables[scenario], figure) }

// essential are the columns of the table that has one line for each peer.
var essential = []struct{ head, scenario, cell, figure string }{
	{"req/s 64 B c1", "unary", "64B c1", "rps"},
	{"c16", "unary", "64B c16", "rps"},
	{"c128", "unary", "64B c128", "rps"},
	{"req/s 1 KiB c16", "unary", "1024B c16", "rps"},
	{"req/s 16 KiB c16", "unary", "16384B c16", "rps"},
	{"CPU/op 64 B c1", "unary", "64B c1", "cpu_us_op"},
	{"c16", "unary", "64B c16", "cpu_us_op"},
	{"c128", "unary", "64B c128", "cpu_us_op"},
	{"p99 64 B c1", "unary", "64B c1", "p99_us"},
	{"c128", "unary", "64B c128", "p99_us"},
	{"bulk up MB/s", "bulk", "up 64MiB", "mb_s"},
	{"down", "bulk", "down 64MiB", "mb_s"},
	{"CPU/MB up", "bulk", "up 64MiB", "cpu_us_mb"},
	{"down", "bulk", "down 64MiB", "cpu_us_mb"},
	{"HOL p99 up", "hol", "up 256MiB", "hol_p99_us"},
	{"down", "hol", "down 256MiB", "hol_p99_us"},
	{"connect p50", "connect", "-", "connect_p50_us"},
	{"idle conn KiB", "idle", "2000 conns", "both_kib"},
	{"slow CPU/op", "slow", "1000 conns 200ms", "cpu_us_op"},
}

// text renders the whole report as Markdown.
func (r *Report) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Run %s, %s %s/%s, %d CPUs (%s), %s-process mode, %s certificate, %d rounds, load average at the end %s.\n\n",
		r.Date, r.Go, r.OS, r.Arch, r.CPUs, r.CPU, r.Mode, r.Key, r.Rounds, r.Load)
	if busy := r.foreign(); busy > quiet {
		fmt.Fprintf(&b, "**Not a quiet machine**: other processes used %.0f %% of it. What is measured in time means little; counts and CPU per operation mean more.\n\n", 100*busy)
	}
	writeTargets(&b, r.Summary)
	writeEssence(&b, r.Summary)
	b.WriteString("Each figure below: median (ratio to limit-tls in the same pass: median [min-max]).\n")
	for _, c := range cellsOf(r.Summary) {
		writeCell(&b, r.Summary, c)
	}
	return b.String()
}

const quiet = 0.1 // share of the machine that others may use

// foreign is what other processes used of the machine, as the median of all rows.
func (r *Report) foreign() float64 {
	var all []float64
	for _, row := range r.Rows {
		if v, ok := row.Result.Figures["foreign_cpu"]; ok {
			all = append(all, v)
		}
	}
	median, _, _ := spread(all)
	return median
}

// writeEssence writes one line of ratios for each peer, without columns that nobody
// measured.
func writeEssence(b *strings.Builder, sums []Sum) {
	cols := slices.Clone(essential)
	cols = slices.DeleteFunc(cols, func(c struct{ head, scenario, cell, figure string }) bool {
		_, ok := find(sums, place{c.scenario, c.cell, limitName}, c.figure)
		return !ok
	})
	b.WriteString("Median ratios to limit-tls:\n\n| peer |")
	for _, c := range cols {
		b.WriteString(" " + c.head + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(cols)) + "\n")
	for _, peer := range peersOf(sums) {
		if peer == limitName {
			continue
		}
		b.WriteString("| " + peer + " |")
		for _, c := range cols {
			cell := "-"
			if s, ok := find(sums, place{c.scenario, c.cell, peer}, c.figure); ok && s.RatioMedian > 0 {
				cell = short(s.RatioMedian)
			}
			b.WriteString(" " + cell + " |")
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
}

// writeCell writes the table of one cell.
func writeCell(b *strings.Builder, sums []Sum, c place) {
	figures := tables[c.scenario]
	fmt.Fprintf(b, "\n### %s: %s\n\n| peer | %s | errors |\n|---|%s---|\n",
		c.scenario, c.cell, strings.Join(figures, " | "), strings.Repeat("---|", len(figures)))
	for _, peer := range peersOf(sums) {
		c.peer = peer
		var last Sum
		row := "| " + peer + " |"
		for _, figure := range figures {
			s, ok := find(sums, c, figure)
			if !ok {
				row += " - |"
				continue
			}
			last = s
			row += " " + short(s.Median)
			if s.RatioMedian != 0 && peer != limitName {
				row += fmt.Sprintf(" (%s [%s-%s])", short(s.RatioMedian), short(s.RatioMin), short(s.RatioMax))
			}
			row += " |"
		}
		if last.Peer == "" {
			var failed bool
			if last, failed = find(sums, c, ""); !failed {
				continue // not measured in this cell
			}
		}
		b.WriteString(row + " " + trouble(last) + " |\n")
	}
}

const maxFailure = 160 // octets of an error in a table

// trouble says what went wrong, in one cell of a table.
func trouble(s Sum) string {
	var what []string
	if s.Errs > 0 {
		what = append(what, fmt.Sprintf("%d errors", s.Errs))
	}
	if s.Mismatch > 0 {
		what = append(what, fmt.Sprintf("%d WRONG REPLIES", s.Mismatch))
	}
	if len(s.Failures) > 0 {
		f := strings.ReplaceAll(s.Failures[0], "\n", " ")
		what = append(what, fmt.Sprintf("failed in %d rounds: %s", len(s.Failures), f[:min(len(f), maxFailure)]))
	}
	return strings.Join(what, ", ")
}

// cellsOf returns the cells in the order in which they were measured.
func cellsOf(sums []Sum) []place {
	var all []place
	for _, s := range sums {
		if c := (place{s.Scenario, s.Cell, ""}); !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	return all
}

// peersOf returns the peers in the order in which the first cell measured them.
func peersOf(sums []Sum) []string {
	var all []string
	for _, s := range sums {
		if !slices.Contains(all, s.Peer) {
			all = append(all, s.Peer)
		}
	}
	return all
}

// short is a number with about three digits that mean something.
func short(v float64) string {
	digits := 2
	switch a := math.Abs(v); {
	case a >= 100:
		digits = 0
	case a >= 10:
		digits = 1
	case a < 0.1 && a > 0:
		digits = 3
	}
	return fmt.Sprintf("%.*f", digits, v)
}
