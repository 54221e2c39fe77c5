//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if name, ok := childRole(os.Args); ok {
		os.Exit(beChild(name))
	}
	if err := ownMounts(); err != nil {
		fmt.Fprintln(os.Stderr, err) // rows that mount skip
	}
	os.Exit(command(os.Args[1:], os.Stdout, os.Stderr))
}

// A setting is what the flags say.
type setting struct {
	rows  string
	quick bool
	seed  uint64
	json  string
	md    string
	keep  bool
	scale float64
	rate  float64
	list  bool
}

const usage = `Faults breaks a bus of real processes under load and proves from the notes of both ends
that nothing was lost. Each row is one fault of docs/faults.md.

	go run -tags failpoint ./scamp/internal/faults                     all rows, about 45 minutes
	go run -tags failpoint ./scamp/internal/faults -quick              the CI subset, under three minutes
	go run -tags failpoint ./scamp/internal/faults -rows F6 -seed 7    one row again, with the same plan

Without the tag nobody dies at a failpoint, and rule 8 does not look at the tables of a bus.
The exit code is 1 if a row fails, or skips without being known to.

`

// command runs the program and returns its exit code.
func command(args []string, stdout, stderr io.Writer) int {
	var o setting
	flags := flag.NewFlagSet("faults", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage); flags.PrintDefaults() }
	flags.StringVar(&o.rows, "rows", "", "`IDS` of rows, with commas between; empty means all but the soak")
	flags.BoolVar(&o.quick, "quick", false, "the CI subset, or the chosen rows, cut short")
	flags.Uint64Var(&o.seed, "seed", 0, "where every random choice comes from; 0 means a random one, which is printed")
	flags.StringVar(&o.json, "json", "", "`FILE` for one JSON object a row, written as each ends; - means stdout")
	flags.StringVar(&o.md, "md", "", "`FILE` for a report in Markdown")
	flags.BoolVar(&o.keep, "keep", false, "keep ledgers and logs of rows that pass, too")
	flags.Float64Var(&o.scale, "scale", 1, "factor for the time each row loads")
	flags.Float64Var(&o.rate, "rate", 1, "factor for the calls a second, for machines that are slow")
	flags.BoolVar(&o.list, "list", false, "list the rows and exit")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if flags.NArg() > 0 || !factor(o.scale) || !factor(o.rate) {
		fmt.Fprintf(stderr, "faults: arguments %q, scale %v, rate %v: want flags alone, and factors above 0 and up to 100\n", flags.Args(), o.scale, o.rate)
		return 2
	}
	chosen, err := choose(o.rows, o.quick)
	if err == nil && !o.list {
		err = tooShort(chosen, o.quick, o.scale)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	if o.list {
		for _, r := range chosen {
			fmt.Fprintf(stdout, "%-4s %4.0f s  ok >= %-5.4g %s\n", r.id, r.lasts(o.quick, o.scale).Seconds(), r.minOK, r.fault)
		}
		return 0
	}
	if o.seed == 0 {
		o.seed = 1 + rand.Uint64N(1<<53-1) // a number that JSON holds
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newSuite(o, stdout, stderr).run(ctx, chosen); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

func factor(f float64) bool { return f > 0 && f <= 100 }
