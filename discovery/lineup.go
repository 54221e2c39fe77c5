package discovery

import "sync"

// How many candidates of each lane may wait for their signature check, and how
// many octets of text they may have together. A large bus that starts is taken
// whole; what nobody knows waits no longer than its budget lets it.
const (
	maxKnownWaiting   = 1024
	maxKnownOctets    = 8 << 20
	maxUnknownWaiting = 128
	maxUnknownOctets  = 1 << 20
)

// A lineup holds the candidates that wait for their signature check, in one line
// for each lane. A line that is full takes no more, and none is filled by the
// other's candidates. Safe for concurrent use.
type lineup struct {
	mu      sync.Mutex // protects all below
	changed sync.Cond  // signalled when a line was empty or the end came
	known   line
	unknown line
	ended   bool
}

// A line is first in, first out.
type line struct {
	waiting      []*candidate
	octets       int
	most, mostOf int // candidates; octets
}

func newLineup() *lineup {
	l := &lineup{
		known:   line{most: maxKnownWaiting, mostOf: maxKnownOctets},
		unknown: line{most: maxUnknownWaiting, mostOf: maxUnknownOctets},
	}
	l.changed.L = &l.mu
	return l
}

// add puts c in its line, unless that is full.
func (l *lineup) add(c *candidate) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := &l.unknown
	if c.known {
		q = &l.known
	}
	if len(q.waiting) >= q.most || q.octets+c.size > q.mostOf {
		return false
	}
	q.waiting = append(q.waiting, c)
	q.octets += c.size
	l.changed.Signal()
	return true
}

// next waits for a candidate and takes it out, known ones first. It returns nil
// after end.
func (l *lineup) next() *candidate {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.ended {
		if c := l.known.take(); c != nil {
			return c
		}
		if c := l.unknown.take(); c != nil {
			return c
		}
		l.changed.Wait()
	}
	return nil
}

func (q *line) take() *candidate {
	if len(q.waiting) == 0 {
		return nil
	}
	c := q.waiting[0]
	q.waiting[0] = nil
	q.waiting = q.waiting[1:]
	q.octets -= c.size
	return c
}

// empty tells whether nobody waits.
func (l *lineup) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.known.waiting)+len(l.unknown.waiting) == 0
}

// end makes next return nil from now on.
func (l *lineup) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.changed.Broadcast()
}
