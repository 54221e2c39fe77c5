package scamp

// A CounterRow is a row of the table of counters.
type CounterRow struct{ Part, Name, Counts, Limit string }

// Counters is the table of counters.
func Counters() (all []CounterRow) {
	for _, g := range counterTable {
		for _, c := range g.counters {
			all = append(all, CounterRow{g.part, c.name, c.counts, c.limit})
		}
	}
	return all
}
