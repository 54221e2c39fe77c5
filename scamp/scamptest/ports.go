package scamptest

// Where services listen, and where calls come from, when they may choose.
const (
	firstServing, lastServing = 30101, 49999
	firstCalling, lastCalling = 50001, 65535
)

// ports gives the numbers of a range in turn, so that one that is free again is given as
// late as can be.
type ports struct {
	first, last int
	given       int // so many, ever
}

// next returns the next one that is not taken. It is false when all are.
func (p *ports) next(taken func(port int) bool) (port int, ok bool) {
	for n := p.last - p.first + 1; n > 0; n-- {
		port = p.first + p.given%(p.last-p.first+1)
		p.given++
		if !taken(port) {
			return port, true
		}
	}
	return 0, false
}
