package pipe

import (
	"slices"
	"syscall"
	"time"
)

// A Line is how the octets that one end writes travel to the other. The zero Line has
// them there at once.
type Line struct {
	Delay time.Duration // every octet, and the end, arrives so much later
	Rate  int           // octets per second; zero means that they take no time
	// Cut breaks the connection as soon as so many more octets were written: they
	// arrive, and nothing after them. Zero means never.
	Cut int
}

// SetLine makes l the way of what e writes from now on. What is on its way arrives when
// it would have, or in its turn.
func (e *End) SetLine(l Line) {
	e.out.mu.Lock()
	defer e.out.mu.Unlock()
	t := e.out.transitLocked()
	t.Line = l
}

// Hold stops what e writes, the end too, until it is let go: it is written, takes room,
// and does not arrive. What has waited then arrives write by write, a moment apart, so
// that what a reader does in synthetic time depends on their order alone.
func (e *End) Hold(held bool) {
	e.out.mu.Lock()
	t := e.out.transitLocked()
	if t.held && !held {
		at := time.Now()
		for i := range t.parcels {
			if p := &t.parcels[i]; p.at.Before(at) {
				p.at = at
			}
			at = at.Add(moment)
		}
	}
	t.held = held
	e.out.mu.Unlock()
	e.out.arrive()
}

// Break resets the connection: what has arrived can be read, what is on its way is lost,
// and everything else fails at both ends.
func (e *End) Break() {
	e.out.fail(true)
	e.in.fail(true)
}

func (s *stream) fail(lose bool) {
	s.change(func(s *stream) {
		if s.way != nil && lose {
			s.way.drop()
		}
		s.failed = syscall.ECONNRESET
	})
}

// A transit holds what is on its way in one direction. The lock of the stream protects it.
type transit struct {
	Line
	held    bool
	free    time.Time // when the line has taken the last octet, with a Rate
	parcels []parcel
	octets  int // in parcels
	timer   *time.Timer
}

// A parcel is some octets on their way, or a word that comes behind them.
type parcel struct {
	at   time.Time
	data []byte
	word func() // called without locks
}

// segment is how many octets arrive at once where they take time.
const segment = 1460

// moment is between the arrivals of what was held.
const moment = time.Microsecond

// longBuffer is what takes the place of buffer where octets are under way for a time,
// as kernels let it grow on long lines.
const longBuffer = 4 << 20

func (s *stream) transitLocked() *transit {
	if s.way == nil {
		s.way = new(transit)
	}
	return s.way
}

// roomLocked is how many octets can be written now.
func (s *stream) roomLocked() int {
	switch {
	case s.way == nil:
		return buffer - len(s.data)
	case s.way.Delay > 0:
		return longBuffer - len(s.data) - s.way.octets
	}
	return buffer - len(s.data) - s.way.octets
}

// sendLocked puts octets on their way, for which there is room, and returns how many
// went before the line was cut.
func (s *stream) sendLocked(p []byte) (n int, cut bool) {
	t := s.way
	if t == nil {
		s.data = append(s.data, p...)
		return len(p), false
	}
	if t.Cut > 0 {
		p = p[:min(len(p), t.Cut)]
		t.Cut -= len(p)
		cut = t.Cut == 0
	}
	most := max(len(p), 1)
	if t.Rate > 0 {
		most = segment
	}
	now := time.Now()
	for part := range slices.Chunk(p, most) {
		if t.free.Before(now) {
			t.free = now
		}
		if t.Rate > 0 {
			t.free = t.free.Add(time.Duration(len(part)) * time.Second / time.Duration(t.Rate))
		}
		t.put(parcel{at: t.free.Add(t.Delay), data: slices.Clone(part)})
	}
	s.deliverLocked() // no words: they come behind the last octet
	return len(p), cut
}

// put appends a parcel. None overtakes another.
func (t *transit) put(p parcel) {
	if n := len(t.parcels); n > 0 && p.at.Before(t.parcels[n-1].at) {
		p.at = t.parcels[n-1].at
	}
	t.parcels = append(t.parcels, p)
	t.octets += len(p.data)
}

// send says a word to the other side, behind all that was written.
func (s *stream) send(word func()) {
	s.mu.Lock()
	t := s.way
	if t == nil || s.failed != nil {
		s.mu.Unlock()
		word()
		return
	}
	at := time.Now()
	if t.free.After(at) {
		at = t.free
	}
	t.put(parcel{at: at.Add(t.Delay), word: word})
	s.mu.Unlock()
	s.arrive()
}

// arrive delivers what is due.
func (s *stream) arrive() {
	s.mu.Lock()
	words := s.deliverLocked()
	s.mu.Unlock()
	for _, word := range words {
		word()
	}
}

// deliverLocked delivers what is due, but for the words, which it returns, and sets the
// timer for the rest.
func (s *stream) deliverLocked() (words []func()) {
	t := s.way
	now := time.Now()
	for len(t.parcels) > 0 && !t.held && !t.parcels[0].at.After(now) {
		p := t.parcels[0]
		t.parcels = t.parcels[1:]
		t.octets -= len(p.data)
		s.data = append(s.data, p.data...)
		if p.word != nil {
			words = append(words, p.word)
		}
	}
	t.stop()
	if len(t.parcels) > 0 && !t.held {
		t.timer = time.AfterFunc(t.parcels[0].at.Sub(now), s.arrive) // stopped by the next delivery, and drop
	}
	s.cond.Broadcast()
	return words
}

// underway says whether octets are on their way.
func (s *stream) underway() bool { return s.way != nil && s.way.octets > 0 }

// drop loses all that is on its way.
func (t *transit) drop() {
	t.stop()
	t.parcels, t.octets = nil, 0
}

func (t *transit) stop() {
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
}
