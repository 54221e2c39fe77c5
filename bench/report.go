package bench

import (
	"math"
	"sort"
)

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
