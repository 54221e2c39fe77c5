package bench

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"time"
)

const (
	limitName = "limit-tls"
	againName = "limit-tls.again" // the second limit run of each pass: the noise gauge
)

// Main is the command: run (default), and the child modes serve and client.
func Main() {
	args := os.Args[1:]
	var err error
	switch {
	case len(args) > 0 && args[0] == "serve":
		err = childServe(args[1:])
	case len(args) > 0 && args[0] == "client":
		err = childClient(args[1:])
	case len(args) > 0 && args[0] == "list":
		for _, n := range order {
			fmt.Printf("%-16s %s\n", n, registry[n].Notes())
		}
	case len(args) > 0 && args[0] == "report":
		err = rerender(args[1:])
	case len(args) > 0 && args[0] == "run":
		err = drive(args[1:])
	default:
		err = drive(args)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "perf:", err)
		os.Exit(1)
	}
}

// Row is one cell of one peer in one round.
type Row struct {
	Round  int
	Cell   Cell
	Peer   string
	Result Result
	// Ratio holds each metric divided by limit-tls's in the same round.
	Ratio map[string]float64 `json:",omitempty"`
}

// Sum is one metric over all rounds.
type Sum struct {
	Scenario, Cell, Peer, Metric    string
	N                               int
	Median, Min, Max                float64
	RatioMedian, RatioMin, RatioMax float64
	Errs, Mismatch                  int64
	Failures                        []string `json:",omitempty"`
}

// Report is the JSON file.
type Report struct {
	Date, Go, OS, Arch, CPU, Load, Mode, Key string
	CPUs, Rounds                             int
	Peers                                    map[string]string
	Rows                                     []Row
	Summary                                  []Sum
}

func cells(scen string, durMS, warmMS int) []Cell {
	var cs []Cell
	switch scen {
	case "unary":
		for _, size := range []int{64, 1024, 16384} {
			for _, conc := range []int{1, 16, 128} {
				cs = append(cs, Cell{Scenario: scen, Size: size, Conc: conc, DurMS: durMS, WarmMS: warmMS})
			}
		}
	case "bulk":
		cs = append(cs, Cell{Scenario: scen, Size: 64, Dir: "up", DurMS: durMS}, Cell{Scenario: scen, Size: 64, Dir: "down", DurMS: durMS})
	case "hol":
		cs = append(cs, Cell{Scenario: scen, Size: 256, Dir: "up", DurMS: durMS}, Cell{Scenario: scen, Size: 256, Dir: "down", DurMS: durMS})
	case "connect":
		cs = append(cs, Cell{Scenario: scen, DurMS: durMS})
	case "idle":
		cs = append(cs, Cell{Scenario: scen, Conc: 2000})
	case "slow":
		cs = append(cs, Cell{Scenario: scen, Conc: 1000, SlowMS: 200, DurMS: 3 * durMS, WarmMS: warmMS})
	}
	return cs
}

func drive(args []string) error {
	fs := flag.NewFlagSet("perf", flag.ExitOnError)
	peers := fs.String("peers", "", "comma-separated peers (default all); limit-tls is always added")
	scens := fs.String("scenarios", "unary,bulk,hol,connect,idle,slow", "scenarios")
	only := fs.String("cells", "", "only cells whose key contains one of these comma-separated strings")
	rounds := fs.Int("rounds", 5, "interleaved rounds")
	mode := fs.String("mode", "two", "two: server and client are separate processes; one: one process")
	dur := fs.Int("dur", 500, "measured milliseconds per cell")
	warm := fs.Int("warm", 200, "warm-up milliseconds per cell")
	key := fs.String("key", "rsa", "certificate key: rsa (2048) or ecdsa (P-256)")
	out := fs.String("json", "", "write the report as JSON here")
	md := fs.String("md", "", "write the tables as Markdown here (default: standard output)")
	budget := fs.Duration("budget", 40*time.Minute, "stop starting rounds after this long")
	prof := fs.String("profile", "", "write CPU and allocation profiles of every process into this directory; the last round's stay")
	fs.Parse(args)

	dir, err := os.MkdirTemp("", "scampbench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	env, err := writeCert(dir, *key)
	if err != nil {
		return err
	}
	names := append([]string(nil), order...)
	if *peers != "" {
		names = strings.Split(*peers, ",")
	}
	list := []string{}
	for _, n := range names {
		if _, err := lookup(n); err != nil {
			return err
		}
		if n != limitName {
			list = append(list, n)
		}
	}
	rep := &Report{Date: time.Now().Format("2006-01-02 15:04"), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), CPU: cpuModel(), Mode: *mode, Key: *key, Peers: map[string]string{}}
	for _, n := range append([]string{limitName}, list...) {
		a, _ := lookup(n)
		rep.Peers[n] = a.Notes()
	}
	start := time.Now()
	two := *mode == "two"
	save := func() error {
		rep.Load = loadavg()
		rep.Summary = summarize(rep.Rows)
		if *out == "" {
			return nil
		}
		b, err := json.MarshalIndent(rep, "", " ")
		if err != nil {
			return err
		}
		return os.WriteFile(*out, append(b, '\n'), 0o644)
	}
	for round := 1; round <= *rounds && time.Since(start) < *budget; round++ {
		rep.Rounds = round
		for _, sc := range strings.Split(*scens, ",") {
			for _, c := range cells(sc, *dur, *warm) {
				if *only != "" && !containsAny(c.Key(), strings.Split(*only, ",")) {
					continue
				}
				// limit, the peers (rotated by round), limit again.
				seq := []string{limitName}
				for i := range list {
					seq = append(seq, list[(i+round-1)%len(list)])
				}
				seq = append(seq, againName)
				var rows []Row
				for _, n := range seq {
					t := time.Now()
					res := runCell(strings.TrimSuffix(n, ".again"), c, env, two, *prof)
					rows = append(rows, Row{Round: round, Cell: c, Peer: n, Result: res})
					fmt.Fprintf(os.Stderr, "%6.1fs round %d %-8s %-14s %-16s %s (%.1fs)\n", time.Since(start).Seconds(), round, c.Scenario, c.Key(), n, brief(res), time.Since(t).Seconds())
				}
				ratios(rows)
				rep.Rows = append(rep.Rows, rows...)
			}
		}
		if err := save(); err != nil {
			return err
		}
	}
	if err := save(); err != nil {
		return err
	}
	text := essence(rep) + markdown(rep)
	if *md == "" {
		fmt.Print(text)
		return nil
	}
	return os.WriteFile(filepath.Clean(*md), []byte(text), 0o644)
}

// rerender prints the tables of one or more JSON reports.
func rerender(files []string) error {
	all := &Report{}
	for i, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		var r Report
		if err := json.Unmarshal(b, &r); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		if i == 0 {
			all = &r
			continue
		}
		all.Rows = append(all.Rows, r.Rows...)
		all.Rounds = max(all.Rounds, r.Rounds)
		all.Load = r.Load
	}
	all.Summary = summarize(all.Rows)
	fmt.Print(essence(all) + markdown(all))
	return nil
}

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

func containsAny(s string, subs []string) bool {
	for _, x := range subs {
		if strings.Contains(s, x) {
			return true
		}
	}
	return false
}

func brief(r Result) string {
	if r.Failed != "" {
		return "FAILED " + r.Failed
	}
	var s []string
	for _, k := range []string{"rps", "mb_s", "p99_us", "hol_p99_us", "base_p99_us", "connect_p50_us", "conns_s", "both_kib", "peak_mib", "excess_p99_us", "cpu_us_op", "allocs_op", "sys_writes_op", "sys_reads_op", "wire_bytes_op", "foreign_cpu"} {
		if v, ok := r.M[k]; ok {
			s = append(s, k+"="+num(v))
		}
	}
	if r.Errs > 0 || r.Mismatch > 0 {
		s = append(s, fmt.Sprintf("ERRS=%d MISMATCH=%d %s", r.Errs, r.Mismatch, r.Note))
	}
	return strings.Join(s, " ")
}

// ratios divides by the geometric mean of the pass's two limit runs; the second
// limit run is divided by the first, which shows the noise.
func ratios(rows []Row) {
	first, last := rows[0].Result.M, rows[len(rows)-1].Result.M
	for i := range rows {
		rows[i].Ratio = map[string]float64{}
		for k, v := range rows[i].Result.M {
			f, l := first[k], last[k]
			d := math.Sqrt(f * l)
			if i == len(rows)-1 {
				d = f
			} else if f <= 0 || l <= 0 {
				d = math.Max(f, l)
			}
			if d > 0 && k != "foreign_cpu" {
				rows[i].Ratio[k] = v / d
			}
		}
	}
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := append([]float64(nil), v...)
	sort.Float64s(s)
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func minmax(v []float64) (lo, hi float64) {
	if len(v) == 0 {
		return
	}
	lo, hi = v[0], v[0]
	for _, x := range v {
		lo, hi = math.Min(lo, x), math.Max(hi, x)
	}
	return
}

func summarize(rows []Row) []Sum {
	type key struct{ s, c, p, m string }
	vals, rats := map[key][]float64{}, map[key][]float64{}
	errs, mism := map[key]int64{}, map[key]int64{}
	fails := map[key][]string{}
	var keys []key
	seen := map[key]bool{}
	for _, r := range rows {
		pk := key{r.Cell.Scenario, r.Cell.Key(), r.Peer, ""}
		if !seen[pk] {
			seen[pk] = true
			keys = append(keys, pk)
		}
		errs[pk] += r.Result.Errs
		mism[pk] += r.Result.Mismatch
		if r.Result.Failed != "" {
			fails[pk] = append(fails[pk], r.Result.Failed)
		}
		for m, v := range r.Result.M {
			k := pk
			k.m = m
			vals[k] = append(vals[k], v)
			if x, ok := r.Ratio[m]; ok {
				rats[k] = append(rats[k], x)
			}
		}
	}
	var out []Sum
	for _, pk := range keys {
		var ms []string
		for k := range vals {
			if k.s == pk.s && k.c == pk.c && k.p == pk.p {
				ms = append(ms, k.m)
			}
		}
		sort.Strings(ms)
		if len(ms) == 0 {
			out = append(out, Sum{Scenario: pk.s, Cell: pk.c, Peer: pk.p, Errs: errs[pk], Failures: fails[pk]})
		}
		for _, m := range ms {
			k := pk
			k.m = m
			s := Sum{Scenario: pk.s, Cell: pk.c, Peer: pk.p, Metric: m, N: len(vals[k]), Median: median(vals[k]), Errs: errs[pk], Mismatch: mism[pk], Failures: fails[pk]}
			s.Min, s.Max = minmax(vals[k])
			if len(rats[k]) > 0 {
				s.RatioMedian = median(rats[k])
				s.RatioMin, s.RatioMax = minmax(rats[k])
			}
			out = append(out, s)
		}
	}
	return out
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

func loadavg() string {
	b, _ := os.ReadFile("/proc/loadavg")
	f := strings.Fields(string(b))
	if len(f) < 3 {
		return "?"
	}
	return strings.Join(f[:3], " ")
}

func cpuModel() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for _, l := range strings.Split(string(b), "\n") {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return "?"
}
