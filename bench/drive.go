package bench

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// drive measures everything the options ask for and reports it.
func drive(peers roster, args []string) error {
	o, err := parseOptions(peers, args)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "scampbench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	env, err := MakeEnv(dir, o.key)
	if err != nil {
		return err
	}
	report := newReport(o)
	began := time.Now()
	var next time.Duration // what another round would take
	for round := 1; round <= o.rounds; round++ {
		if round > 1 && time.Since(began)+next > o.budget {
			break
		}
		report.Rounds, next = round, 0
		for _, c := range o.cells {
			once := slices.Contains(o.once, c.Scenario)
			if once && round > 1 {
				continue
			}
			start := time.Now()
			report.Rows = append(report.Rows, pass(o, env, round, c, began)...)
			if !once {
				next += time.Since(start)
			}
		}
		if err := report.finish(o.json); err != nil { // whoever stops us keeps what is done
			return err
		}
	}
	return report.print(o)
}

// pass measures one cell of every peer: the limit, the peers in an order that turns
// with each round, and the limit again.
func pass(o *options, env *Env, round int, c Cell, began time.Time) []Row {
	names := []string{limitName}
	for i := range o.peers {
		names = append(names, o.peers[(i+round-1)%len(o.peers)])
	}
	names = append(names, againName)
	var rows []Row
	for _, name := range names {
		start := time.Now()
		res := runCell(o, strings.TrimSuffix(name, ".again"), c, env)
		rows = append(rows, Row{Round: round, Cell: c, Peer: name, Result: res})
		fmt.Fprintf(os.Stderr, "%6.1fs round %d %-8s %-14s %-16s %s (%.1fs)\n",
			time.Since(began).Seconds(), round, c.Scenario, c.Key(), name, res.brief(), time.Since(start).Seconds())
	}
	setRatios(rows)
	return rows
}

// print writes the tables, and the lines if they are asked for.
func (r *Report) print(o *options) error {
	if o.md == "" {
		fmt.Print(r.text())
	} else if err := os.WriteFile(o.md, []byte(r.text()), 0o644); err != nil {
		return err
	}
	if !o.lines {
		return nil
	}
	fmt.Println()
	return writeLines(os.Stdout, r.Summary)
}
