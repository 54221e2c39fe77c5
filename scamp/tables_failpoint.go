//go:build failpoint

package scamp

// Tables counts what calls and requests have in the tables of a bus and of its services. It
// is empty when nothing is under way. Only builds for tests have it: a process of theirs
// says with it what is left when all is over (THREATS 3.2, rule 8). The map is the caller's.
func (b *Bus) Tables() map[string]int { return b.tables() }
