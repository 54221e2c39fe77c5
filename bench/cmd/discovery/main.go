// Command discovery measures the directory of package discovery and prints each
// figure as one JSON object a line:
//
//	{"metric":"find_ns","value":84.1,"unit":"ns","limit_ratio":0.42}
//
// limit_ratio is the value divided by the limit that DESIGN or THREATS set for it, so
// that 1 and less is within; null where there is no limit. A limit of 0 makes it the
// value itself.
//
// It signs as many announcements as it is told to, which is what takes its time. Its
// traffic stays on loopback.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

type options struct {
	services int           // of the usual bus
	large    int           // of a large one; 0 leaves it out
	keys     int           // that they share
	rounds   int           // of what is measured more than once
	flood    time.Duration // how long
	callable int           // services started
}

func main() {
	var o options
	flag.IntVar(&o.services, "n", 10_000, "services on the usual bus")
	flag.IntVar(&o.large, "large", 100_000, "services on a large one; 0 leaves it out")
	flag.IntVar(&o.keys, "keys", 4, "keys that they share")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of each figure; the best counts, for others share the machine")
	flag.DurationVar(&o.flood, "flood", 10*time.Second, "length of the flood")
	flag.IntVar(&o.callable, "callable", 21, "services started, one after the other")
	flag.Parse()
	if err := run(os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "discovery:", err)
		os.Exit(1)
	}
}

// run measures everything and prints each figure when it is known.
func run(w io.Writer, o options) error {
	p := &printer{w: json.NewEncoder(w)}
	b, err := newBus(o.services, o.keys)
	if err != nil {
		return err
	}
	for _, measure := range []func(*printer, *bus, options) error{loading, looking, changing, flooding, calling} {
		if err := measure(p, b, o); err != nil {
			return err
		}
	}
	if o.large > 0 {
		if b, err = newBus(o.large, o.keys); err != nil {
			return err
		}
		if err := large(p, b); err != nil {
			return err
		}
	}
	return p.err
}

// A figure is one line of output.
type figure struct {
	Metric     string   `json:"metric"`
	Value      float64  `json:"value"`
	Unit       string   `json:"unit"`
	LimitRatio *float64 `json:"limit_ratio"`
}

type printer struct {
	w   *json.Encoder
	err error // the first of writing
}

const noLimit = -1

// print writes a figure. The limit is in the unit of the value.
func (p *printer) print(metric string, value float64, unit string, limit float64) {
	f := figure{Metric: metric, Value: digits(value), Unit: unit}
	switch {
	case limit > 0:
		f.LimitRatio = new(digits(value / limit))
	case limit == 0:
		f.LimitRatio = new(digits(value))
	}
	if err := p.w.Encode(f); p.err == nil {
		p.err = err
	}
}

// digits leaves four of them, which is more than any figure is worth.
func digits(v float64) float64 {
	short, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	return short
}

func milliseconds(t time.Duration) float64 { return float64(t) / float64(time.Millisecond) }
