package bench

import (
	"maps"
	"math"
	"slices"
)

// A Sum is one figure of one peer in one cell, over all rounds.
type Sum struct {
	Scenario, Cell, Peer, Figure    string
	N                               int
	Median, Min, Max                float64
	RatioMedian, RatioMin, RatioMax float64 // zero if there is no ratio
	Errs, Mismatch                  int64
	Failures                        []string `json:",omitempty"`
}

// A place is where the rows of one peer in one cell come together.
type place struct{ scenario, cell, peer string }

// A series is what the rounds found at one place.
type series struct {
	values, ratios map[string][]float64 // by figure
	errs, mismatch int64
	failures       []string
}

// summarize returns the figures in the order in which their cells and peers were
// first measured. A peer that has no figure has one Sum without a name.
func summarize(rows []Row) []Sum {
	var places []place
	found := make(map[place]*series)
	for _, r := range rows {
		p := place{r.Cell.Scenario, r.Cell.Key(), r.Peer}
		s := found[p]
		if s == nil {
			s = &series{values: make(map[string][]float64), ratios: make(map[string][]float64)}
			found[p] = s
			places = append(places, p)
		}
		s.add(r)
	}
	var sums []Sum
	for _, p := range places {
		sums = append(sums, found[p].sums(p)...)
	}
	return sums
}

func (s *series) add(r Row) {
	s.errs += r.Result.Errs
	s.mismatch += r.Result.Mismatch
	if r.Result.Failed != "" {
		s.failures = append(s.failures, r.Result.Failed)
	}
	for name, v := range r.Result.Figures {
		s.values[name] = append(s.values[name], v)
	}
	for name, v := range r.Ratio {
		s.ratios[name] = append(s.ratios[name], v)
	}
}

func (s *series) sums(p place) []Sum {
	base := Sum{Scenario: p.scenario, Cell: p.cell, Peer: p.peer, Errs: s.errs, Mismatch: s.mismatch, Failures: s.failures}
	if len(s.values) == 0 {
		return []Sum{base}
	}
	var sums []Sum
	for _, name := range slices.Sorted(maps.Keys(s.values)) {
		sum := base
		sum.Figure, sum.N = name, len(s.values[name])
		sum.Median, sum.Min, sum.Max = spread(s.values[name])
		if len(s.ratios[name]) > 0 {
			sum.RatioMedian, sum.RatioMin, sum.RatioMax = spread(s.ratios[name])
		}
		sums = append(sums, sum)
	}
	return sums
}

// spread returns the median and the extremes of at least one value.
func spread(values []float64) (median, lowest, highest float64) {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if n == 0 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	return (v[(n-1)/2] + v[n/2]) / 2, v[0], v[n-1]
}

// find returns the Sum of a figure, and whether there is one.
func find(sums []Sum, p place, figure string) (Sum, bool) {
	i := slices.IndexFunc(sums, func(s Sum) bool {
		return s.Figure == figure && s.Scenario == p.scenario && s.Cell == p.cell && s.Peer == p.peer
	})
	if i < 0 {
		return Sum{}, false
	}
	return sums[i], true
}
