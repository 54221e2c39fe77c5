package bench

import (
	"fmt"
	"time"
)

// Cell is one measurement: a scenario and its parameters.
type Cell struct {
	Scenario string // unary, bulk, hol, connect, idle, slow
	Size     int    `json:",omitempty"` // unary: payload bytes; bulk and hol: MiB
	Conc     int    `json:",omitempty"` // unary: concurrency; idle, slow: connections
	Dir      string `json:",omitempty"` // bulk, hol: up or down
	SlowMS   int    `json:",omitempty"`
	WarmMS   int
	DurMS    int
}

// Key names the cell in tables.
func (c Cell) Key() string {
	switch c.Scenario {
	case "unary":
		return fmt.Sprintf("%dB c%d", c.Size, c.Conc)
	case "bulk", "hol":
		return fmt.Sprintf("%s %dMiB", c.Dir, c.Size)
	case "idle":
		return fmt.Sprintf("%d conns", c.Conc)
	case "slow":
		return fmt.Sprintf("%d conns %dms", c.Conc, c.SlowMS)
	}
	return "-"
}

// limit is when the harness kills a cell's processes.
func (c Cell) limit() time.Duration {
	d := time.Duration(c.WarmMS+c.DurMS)*time.Millisecond + 15*time.Second
	switch c.Scenario {
	case "idle", "slow":
		d += 30 * time.Second
	case "hol":
		d += 10 * time.Second
	}
	return d
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
