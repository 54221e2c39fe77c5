// Package pipe is a connection in memory that behaves as TCP does: writes wait only when
// the buffer is full, a side that has closed for writing can still read, and what was
// written before a Close can be read.
package pipe

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// buffer is how many octets wait in one direction before a writer does, as in the
// buffers of a kernel. Without any, two sides that write at once would wait for ever.
const buffer = 64 << 10

// New returns both ends of a connection.
func New() (a, b *End) {
	there, back := newStream(), newStream()
	return &End{in: back, out: there}, &End{in: there, out: back}
}

// An End is one end of a connection. It is a net.Conn without addresses. Safe for
// concurrent use; whoever has it closes it.
type End struct{ in, out *stream }

// Read waits for octets, the end of the stream or the deadline.
func (e *End) Read(p []byte) (int, error) { return e.in.read(p) }

// Write waits while the buffer is full.
func (e *End) Write(p []byte) (int, error) { return e.out.write(p) }

// CloseWrite ends the stream to the other side, which reads io.EOF then.
func (e *End) CloseWrite() error {
	e.out.change(func(s *stream) { s.ended = true })
	return nil
}

// Close ends both directions.
func (e *End) Close() error {
	e.out.change(func(s *stream) { s.ended = true; s.writes.stop() })
	e.in.change(func(s *stream) { s.gone = true; s.reads.stop() })
	return nil
}

// SetReadDeadline ends waits of Read then; a zero time takes that back.
func (e *End) SetReadDeadline(t time.Time) error {
	e.in.change(func(s *stream) { s.reads.set(s, t) })
	return nil
}

// SetWriteDeadline is the same for Write.
func (e *End) SetWriteDeadline(t time.Time) error {
	e.out.change(func(s *stream) { s.writes.set(s, t) })
	return nil
}

// SetDeadline is both.
func (e *End) SetDeadline(t time.Time) error {
	e.SetReadDeadline(t)
	return e.SetWriteDeadline(t)
}

// A stream is one direction of a pipe.
type stream struct {
	mu            sync.Mutex // protects all below
	cond          sync.Cond  // something has changed
	data          []byte
	ended         bool // by its writer
	gone          bool // its reader is
	reads, writes deadline
}

func newStream() *stream {
	s := new(stream)
	s.cond.L = &s.mu
	return s
}

func (s *stream) change(f func(*stream)) {
	s.mu.Lock()
	f(s)
	s.mu.Unlock()
	s.cond.Broadcast()
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.data) == 0 || s.gone || s.reads.passed() {
		switch {
		case s.gone:
			return 0, net.ErrClosed
		case s.reads.passed():
			return 0, os.ErrDeadlineExceeded
		case s.ended:
			return 0, io.EOF
		}
		s.cond.Wait()
	}
	n := copy(p, s.data)
	s.data = append(s.data[:0], s.data[n:]...)
	s.cond.Broadcast()
	return n, nil
}

func (s *stream) write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(p) > 0 {
		switch {
		case s.ended:
			return n, net.ErrClosed
		case s.gone:
			return n, io.ErrClosedPipe
		case s.writes.passed():
			return n, os.ErrDeadlineExceeded
		}
		room := min(buffer-len(s.data), len(p))
		if room <= 0 {
			s.cond.Wait()
			continue
		}
		s.data = append(s.data, p[:room]...)
		p = p[room:]
		n += room
		s.cond.Broadcast()
	}
	return n, nil
}

// A deadline ends the waits of one side of a stream, whose lock protects it.
type deadline struct {
	timer *time.Timer
	at    time.Time // zero if there is none
	over  bool
}

// passed says whether the time is over, also when its timer has not come to say so.
func (d *deadline) passed() bool { return d.over || !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *deadline) set(s *stream, t time.Time) {
	d.stop()
	d.over, d.at = false, t
	switch wait := time.Until(t); {
	case t.IsZero():
	case wait <= 0:
		d.over = true
	default:
		var timer *time.Timer
		timer = time.AfterFunc(wait, func() { // stopped by the next set, or Close
			s.change(func(*stream) { d.over = d.over || d.timer == timer })
		})
		d.timer = timer
	}
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
