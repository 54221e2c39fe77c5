// Package pipe is a connection in memory that behaves as TCP does: writes wait only when
// the buffer is full, a side that has closed for writing can still read, and what was
// written before a Close can be read. A Line makes it slow, stop and break as networks do.
package pipe

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
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
func (e *End) Write(p []byte) (int, error) {
	n, cut, err := e.out.write(p)
	if cut {
		e.out.fail(false)
		e.in.fail(true)
		return n, syscall.ECONNRESET
	}
	return n, err
}

// CloseWrite ends the stream to the other side, which reads io.EOF then.
func (e *End) CloseWrite() error {
	e.out.change(func(s *stream) { s.shut = true })
	e.out.send(func() { e.out.change(func(s *stream) { s.ended = true }) })
	return nil
}

// Close ends both directions.
func (e *End) Close() error {
	e.out.change(func(s *stream) { s.shut = true; s.writes.stop() })
	e.in.change(func(s *stream) { s.left = true; s.reads.stop() })
	e.out.send(func() {
		e.out.change(func(s *stream) { s.ended = true })
		e.in.change(func(s *stream) { s.gone = true })
	})
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
	shut          bool // its writer has closed it
	ended         bool // and its reader knows
	left          bool // its reader has closed it
	gone          bool // and its writer knows
	failed        error
	way           *transit // nil where octets arrive when they are written
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
	for len(s.data) == 0 || s.left || s.reads.passed() {
		switch {
		case s.left:
			return 0, net.ErrClosed
		case s.reads.passed():
			return 0, os.ErrDeadlineExceeded
		case s.failed != nil && !s.underway():
			return 0, s.failed
		case s.ended && !s.underway():
			return 0, io.EOF
		}
		s.cond.Wait()
	}
	n := copy(p, s.data)
	s.data = append(s.data[:0], s.data[n:]...)
	s.cond.Broadcast()
	return n, nil
}

func (s *stream) write(p []byte) (n int, cut bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(p) > 0 {
		switch {
		case s.shut:
			return n, false, net.ErrClosed
		case s.failed != nil:
			return n, false, s.failed
		case s.gone:
			return n, false, io.ErrClosedPipe
		case s.writes.passed():
			return n, false, os.ErrDeadlineExceeded
		}
		room := min(s.roomLocked(), len(p))
		if room <= 0 {
			s.cond.Wait()
			continue
		}
		sent, cut := s.sendLocked(p[:room])
		n += sent
		if cut {
			return n, true, nil
		}
		p = p[room:]
		s.cond.Broadcast()
	}
	return n, false, nil
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
