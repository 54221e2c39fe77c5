package bench

import (
	"fmt"
	"time"
)

// A Cell is one measurement: a scenario and its parameters.
type Cell struct {
	Scenario string // unary, bulk, hol, connect, idle, slow
	Size     int    `json:",omitempty"` // unary: payload bytes; bulk and hol: MiB
	Conc     int    `json:",omitempty"` // unary: callers; idle, slow: connections
	Dir      string `json:",omitempty"` // bulk, hol: up or down
	SlowMS   int    `json:",omitempty"` // slow: milliseconds that the handler sleeps
	WarmMS   int    // milliseconds before measuring
	DurMS    int    // milliseconds measured
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
	d := c.warm() + c.measured() + 15*time.Second
	switch c.Scenario {
	case "idle", "slow":
		d += 30 * time.Second
	case "hol":
		d += 10 * time.Second
	}
	return d
}

func (c Cell) warm() time.Duration     { return time.Duration(c.WarmMS) * time.Millisecond }
func (c Cell) measured() time.Duration { return time.Duration(c.DurMS) * time.Millisecond }

// cells returns the cells of a scenario.
func cells(scenario string, durMS, warmMS int) []Cell {
	switch scenario {
	case "unary":
		var all []Cell
		for _, size := range []int{64, 1024, 16384} {
			for _, conc := range []int{1, 16, 128} {
				all = append(all, Cell{Scenario: scenario, Size: size, Conc: conc, DurMS: durMS, WarmMS: warmMS})
			}
		}
		return all
	case "bulk":
		return []Cell{{Scenario: scenario, Size: 64, Dir: "up", DurMS: durMS}, {Scenario: scenario, Size: 64, Dir: "down", DurMS: durMS}}
	case "hol":
		return []Cell{{Scenario: scenario, Size: 256, Dir: "up", DurMS: durMS}, {Scenario: scenario, Size: 256, Dir: "down", DurMS: durMS}}
	case "connect":
		return []Cell{{Scenario: scenario, DurMS: durMS}}
	case "idle":
		return []Cell{{Scenario: scenario, Conc: 2000}}
	case "slow":
		return []Cell{{Scenario: scenario, Conc: 1000, SlowMS: 200, DurMS: 3 * durMS, WarmMS: warmMS}}
	}
	return nil
}
