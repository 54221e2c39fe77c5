package scamp

// TablesOf is what Bus.tables says.
func TablesOf(b *Bus) map[string]int { return b.tables() }
