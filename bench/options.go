package bench

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"
)

// options are those of a run, as the command line gave them.
type options struct {
	roster   roster
	peers    []string // without limit-tls
	cells    []Cell
	once     []string // scenarios measured in the first round only
	rounds   int
	mode     string // two or one process
	key      string
	json, md string // files; empty for none
	lines    bool
	profiles string // directory; empty for none
	budget   time.Duration
}

var scenarios = []string{"unary", "bulk", "hol", "connect", "idle", "slow"}

func parseOptions(peers roster, args []string) (*options, error) {
	o := &options{roster: peers}
	fs := flag.NewFlagSet("perf", flag.ExitOnError)
	only := fs.String("cells", "", "only cells whose key contains one of these comma-separated strings")
	named := fs.String("peers", "", "comma-separated peers (default all); limit-tls is always added")
	scen := fs.String("scenarios", strings.Join(scenarios, ","), "scenarios")
	once := fs.String("once", "", "scenarios to measure in the first round only: those whose figures hardly vary")
	dur := fs.Int("dur", 500, "measured milliseconds per cell")
	warm := fs.Int("warm", 200, "warm-up milliseconds per cell")
	fs.IntVar(&o.rounds, "rounds", 5, "interleaved rounds")
	fs.StringVar(&o.mode, "mode", "two", "two: server and client are separate processes; one: one process")
	fs.StringVar(&o.key, "key", "rsa", "certificate key: rsa (2048) or ecdsa (P-256)")
	fs.StringVar(&o.json, "json", "", "write the report as JSON here")
	fs.StringVar(&o.md, "md", "", "write the tables as Markdown here (default: standard output)")
	fs.BoolVar(&o.lines, "lines", false, "also print the figures, one JSON object a line")
	fs.StringVar(&o.profiles, "profile", "", "write CPU and allocation profiles of every process into this directory; the last round's stay")
	fs.DurationVar(&o.budget, "budget", 40*time.Minute, "start no round that would not end before this")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("bench: argument %q: want flags only", fs.Arg(0))
	}
	if o.mode != "one" && o.mode != "two" {
		return nil, fmt.Errorf("bench: -mode %q: want one or two", o.mode)
	}
	if o.rounds < 1 || *dur < 1 || *warm < 0 {
		return nil, fmt.Errorf("bench: -rounds %d -dur %d -warm %d: want at least 1, 1 and 0", o.rounds, *dur, *warm)
	}
	o.once = words(*once)
	if err := o.choose(words(*named), words(*scen), words(*only), *dur, *warm); err != nil {
		return nil, err
	}
	return o, nil
}

// choose makes peers and cells of the words that name them.
func (o *options) choose(peers, scen, only []string, dur, warm int) error {
	if len(peers) == 0 {
		peers = o.roster.names()
	}
	for _, name := range peers {
		if _, err := o.roster.find(name); err != nil {
			return err
		}
		if name != limitName {
			o.peers = append(o.peers, name)
		}
	}
	for _, s := range append(slices.Clone(scen), o.once...) {
		if !slices.Contains(scenarios, s) {
			return fmt.Errorf("bench: scenario %q: want one of %s", s, strings.Join(scenarios, ", "))
		}
	}
	for _, s := range scen {
		for _, c := range cells(s, dur, warm) {
			if len(only) == 0 || slices.ContainsFunc(only, func(w string) bool { return strings.Contains(c.Key(), w) }) {
				o.cells = append(o.cells, c)
			}
		}
	}
	if len(o.cells) == 0 {
		return fmt.Errorf("bench: no cell of %s has one of %q in its key", strings.Join(scen, ", "), only)
	}
	return nil
}

func words(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}
