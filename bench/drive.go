package bench

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

const (
	limitName = "limit-tls"
	againName = "limit-tls.again" // the second limit run of each pass: the noise gauge
)

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
