package bench

import (
	"fmt"
	"math"
	"strings"
)

// essence is one line per peer: median ratios to limit-tls of the main figures.
func essence(rep *Report) string {
	cols := []struct{ head, s, c, m string }{
		{"req/s 64 B c1", "unary", "64B c1", "rps"}, {"c16", "unary", "64B c16", "rps"}, {"c128", "unary", "64B c128", "rps"},
		{"req/s 1 KiB c16", "unary", "1024B c16", "rps"}, {"req/s 16 KiB c16", "unary", "16384B c16", "rps"},
		{"CPU/op 64 B c1", "unary", "64B c1", "cpu_us_op"}, {"c16", "unary", "64B c16", "cpu_us_op"}, {"c128", "unary", "64B c128", "cpu_us_op"},
		{"p99 64 B c1", "unary", "64B c1", "p99_us"}, {"c128", "unary", "64B c128", "p99_us"},
		{"bulk up MB/s", "bulk", "up 64MiB", "mb_s"}, {"down", "bulk", "down 64MiB", "mb_s"},
		{"HOL p99 up", "hol", "up 256MiB", "hol_p99_us"}, {"down", "hol", "down 256MiB", "hol_p99_us"},
		{"connect p50", "connect", "-", "connect_p50_us"}, {"idle conn KiB", "idle", "2000 conns", "both_kib"}, {"slow CPU/op", "slow", "1000 conns 200ms", "cpu_us_op"},
	}
	var b strings.Builder
	b.WriteString("Median ratios to limit-tls:\n\n| peer |")
	for _, c := range cols {
		b.WriteString(" " + c.head + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(cols)) + "\n")
	seen := map[string]bool{}
	for _, s := range rep.Summary {
		if seen[s.Peer] || s.Peer == limitName {
			continue
		}
		seen[s.Peer] = true
		fmt.Fprintf(&b, "| %s |", s.Peer)
		for _, c := range cols {
			v := "-"
			for _, x := range rep.Summary {
				if x.Peer == s.Peer && x.Scenario == c.s && x.Cell == c.c && x.Metric == c.m && x.RatioMedian > 0 {
					if v = num(x.RatioMedian); x.RatioMedian < 0.1 {
						v = fmt.Sprintf("%.3f", x.RatioMedian)
					}
				}
			}
			b.WriteString(" " + v + " |")
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	return b.String()
}

func num(v float64) string {
	switch a := math.Abs(v); {
	case a >= 10000:
		return fmt.Sprintf("%.0f", v)
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// tables says which metrics each scenario's table shows.
var tables = map[string][]string{
	"unary":   {"rps", "p50_us", "p99_us", "p999_us", "cpu_us_op", "allocs_op"},
	"bulk":    {"mb_s", "cpu_us_mb", "peak_client_mib", "peak_server_mib"},
	"hol":     {"base_p99_us", "hol_p50_us", "hol_p99_us", "hol_max_us", "bulk_mb_s"},
	"connect": {"connect_p50_us", "connect_p99_us", "conns_s", "cpu_us_op"},
	"idle":    {"client_kib", "server_kib", "both_kib", "client_goroutines", "server_goroutines"},
	"slow":    {"rps", "excess_p50_us", "excess_p99_us", "cpu_us_op", "rss_mib"},
}

func markdown(rep *Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Run %s, %s %s/%s, %d CPUs (%s), %s-process mode, %s certificate, %d rounds, load average at the end %s.\n\n", rep.Date, rep.Go, rep.OS, rep.Arch, rep.CPUs, rep.CPU, rep.Mode, rep.Key, rep.Rounds, rep.Load)
	b.WriteString("Each figure: median (ratio to limit-tls in the same round: median [min-max]).\n")
	idx := map[[4]string]Sum{}
	var ck [][2]string
	seenC := map[[2]string]bool{}
	peersOf := map[[2]string][]string{}
	seenP := map[[3]string]bool{}
	for _, s := range rep.Summary {
		c := [2]string{s.Scenario, s.Cell}
		if !seenC[c] {
			seenC[c] = true
			ck = append(ck, c)
		}
		if p := [3]string{s.Scenario, s.Cell, s.Peer}; !seenP[p] {
			seenP[p] = true
			peersOf[c] = append(peersOf[c], s.Peer)
		}
		idx[[4]string{s.Scenario, s.Cell, s.Peer, s.Metric}] = s
	}
	for _, c := range ck {
		ms := tables[c[0]]
		fmt.Fprintf(&b, "\n### %s: %s\n\n| peer | %s | errors |\n|---|%s---|\n", c[0], c[1], strings.Join(ms, " | "), strings.Repeat("---|", len(ms)))
		for _, p := range peersOf[c] {
			fmt.Fprintf(&b, "| %s |", p)
			var any Sum
			for _, m := range ms {
				s, ok := idx[[4]string{c[0], c[1], p, m}]
				if !ok {
					b.WriteString(" - |")
					continue
				}
				any = s
				fmt.Fprintf(&b, " %s", num(s.Median))
				if s.RatioMedian != 0 && p != limitName {
					fmt.Fprintf(&b, " (%s [%s-%s])", num(s.RatioMedian), num(s.RatioMin), num(s.RatioMax))
				}
				b.WriteString(" |")
			}
			if any.Peer == "" {
				any = idx[[4]string{c[0], c[1], p, ""}]
			}
			e := ""
			if any.Errs > 0 {
				e += fmt.Sprintf("%d errors ", any.Errs)
			}
			if any.Mismatch > 0 {
				e += fmt.Sprintf("%d WRONG REPLIES ", any.Mismatch)
			}
			if len(any.Failures) > 0 {
				f := any.Failures[0]
				if len(f) > 160 {
					f = f[:160]
				}
				e += fmt.Sprintf("failed in %d rounds: %s", len(any.Failures), strings.ReplaceAll(f, "\n", " "))
			}
			fmt.Fprintf(&b, " %s |\n", e)
		}
	}
	return b.String()
}
