package bench

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"runtime"
	"time"
)

const (
	limitName = "limit-tls"
	againName = "limit-tls.again" // the second limit run of each pass: the noise gauge
)

// A Report is what a run found. It is also the form of the JSON file.
type Report struct {
	Date, Go, OS, Arch, CPU, Load, Mode, Key string
	CPUs, Rounds                             int
	Peers                                    map[string]string // name → notes
	Rows                                     []Row
	Summary                                  []Sum
}

// A Row is one cell of one peer in one round.
type Row struct {
	Round  int
	Cell   Cell
	Peer   string
	Result Result
	Ratio  map[string]float64 `json:",omitempty"` // each figure divided by limit-tls's in the same pass
}

func newReport(o *options) *Report {
	r := &Report{
		Date: time.Now().Format("2006-01-02 15:04"), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH,
		CPUs: runtime.NumCPU(), CPU: cpuModel(), Mode: o.mode, Key: o.key, Peers: make(map[string]string),
	}
	for _, name := range append([]string{limitName}, o.peers...) {
		if a, err := o.roster.find(name); err == nil {
			r.Peers[name] = a.Notes()
		}
	}
	return r
}

// finish computes the summary and writes the JSON file, if there is to be one.
func (r *Report) finish(file string) error {
	r.Load = loadAverage()
	r.Summary = summarize(r.Rows)
	if file == "" {
		return nil
	}
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

// readReports makes one report of the rows of many.
func readReports(files []string) (*Report, error) {
	var all *Report
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		r := new(Report)
		if err := json.Unmarshal(b, r); err != nil {
			return nil, fmt.Errorf("bench: report %s: %w", f, err)
		}
		if all == nil {
			all = r
			continue
		}
		all.Rows = append(all.Rows, r.Rows...)
		all.Rounds += r.Rounds
		all.Load = r.Load
	}
	if all == nil {
		return nil, fmt.Errorf("bench: no report: want the names of JSON files")
	}
	all.Summary = summarize(all.Rows)
	return all, nil
}

// setRatios divides the figures of one pass by the geometric mean of its two limit
// runs, which stand first and last. The second limit run is divided by the first: so
// much noise a ratio of this pass carries.
func setRatios(pass []Row) {
	first, last := pass[0].Result.Figures, pass[len(pass)-1].Result.Figures
	for i := range pass {
		pass[i].Ratio = make(map[string]float64)
		for name, v := range pass[i].Result.Figures {
			f, l := first[name], last[name]
			limit := math.Sqrt(f * l)
			switch {
			case i == len(pass)-1:
				limit = f
			case f <= 0 || l <= 0:
				limit = max(f, l) // one of the limit runs failed
			}
			if limit > 0 && name != "foreign_cpu" {
				pass[i].Ratio[name] = v / limit
			}
		}
	}
}
