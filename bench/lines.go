package bench

import (
	"encoding/json"
	"io"
	"strconv"
)

// A line is one figure in the form that scripts read: one JSON object a line.
type line struct {
	Cell        string  `json:"cell"` // scenario and key
	Peer        string  `json:"peer"`
	Figure      string  `json:"figure"`
	Rounds      int     `json:"rounds"`
	Median      float64 `json:"median"`
	Min         float64 `json:"min"`
	Max         float64 `json:"max"`
	RatioMedian float64 `json:"ratio_median"` // to limit-tls in the same pass; zero if there is none
	RatioMin    float64 `json:"ratio_min"`
	RatioMax    float64 `json:"ratio_max"`
}

// writeLines writes the figures that the tables show.
func writeLines(w io.Writer, sums []Sum) error {
	enc := json.NewEncoder(w)
	for _, s := range sums {
		if !shown(s.Scenario, s.Figure) {
			continue
		}
		err := enc.Encode(line{
			Cell: s.Scenario + " " + s.Cell, Peer: s.Peer, Figure: s.Figure, Rounds: s.N,
			Median: round(s.Median), Min: round(s.Min), Max: round(s.Max),
			RatioMedian: round(s.RatioMedian), RatioMin: round(s.RatioMin), RatioMax: round(s.RatioMax),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// round keeps four digits: no figure means more.
func round(v float64) float64 {
	r, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	return r
}
