package mux

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A Link is the net.Conn beneath TLS. Until Conn takes it over it passes
// through, so that a handshake runs as usual. From then on Write only appends to
// a buffer: it never blocks, so a reader that must answer a TLS key update, a
// caller with a deadline and two peers that both send cannot hang in it. The
// buffer reaches the network by one non-blocking attempt of whoever flushes, and
// what does not fit by the connection's writer goroutine.
//
// Safe for concurrent use. Close closes the net.Conn it was made of.
type Link struct {
	net.Conn
	raw   syscall.RawConn // nil if there is no file descriptor to try
	wake  chan struct{}   // capacity 1: the writer goroutine has something to do
	stall time.Duration   // set by start

	mu       sync.Mutex
	started  bool
	corked   bool   // a batch is being written: whoever corked flushes
	writing  bool   // the octets of out belong to whoever writes them
	out      []byte // handed to the network next; the first done octets already were
	done     int
	buf      []byte // appended meanwhile
	max      int    // octets of out and buf that are too many
	err      error
	attempt  func(fd uintptr) bool // made once, so that an attempt allocates nothing
	attemptN int
	attemptE error
}

// ErrWriteStalled ends a connection whose peer takes no octet for WriteStall.
var ErrWriteStalled = errors.New("mux: the peer has taken no octet for too long")

// NewLink returns a Link over conn, which it owns from now on.
func NewLink(conn net.Conn) *Link {
	l := &Link{Conn: conn, wake: make(chan struct{}, 1)}
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			l.raw = raw
			l.attempt = l.attemptWrite
		}
	}
	return l
}

// start ends the pass-through. Nobody may be in Write.
func (l *Link) start(limits Limits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.started = true
	l.stall = limits.WriteStall
	// The queues stop at MaxWriteQueue; what TLS writes of itself comes on top.
	l.max = 2*limits.MaxWriteQueue + 1<<20
}

// Write appends p. Once started it fails only when the link is closed, or when
// a peer that does not read makes TLS itself write without end.
func (l *Link) Write(p []byte) (int, error) {
	l.mu.Lock()
	if !l.started {
		l.mu.Unlock()
		return l.Conn.Write(p)
	}
	if l.err == nil && l.queuedLocked()+len(p) > l.max {
		l.err = fmt.Errorf("%w: %d octets are waiting", ErrWriteStalled, l.queuedLocked())
	}
	if l.err != nil {
		err := l.err
		l.mu.Unlock()
		return 0, err
	}
	if l.buf == nil {
		l.buf = getBuffer()
	}
	l.buf = append(l.buf, p...)
	corked := l.corked
	l.mu.Unlock()
	if !corked {
		l.signal() // TLS wrote of itself: an answer to a key update, an alert
	}
	return len(p), nil
}

// cork says that a batch follows and that its writer will flush.
func (l *Link) cork() {
	l.mu.Lock()
	l.corked = true
	l.mu.Unlock()
}

// flush uncorks and makes one non-blocking attempt to hand the buffer to the
// network. What is left is for the writer goroutine. It returns how many octets
// still wait.
func (l *Link) flush() int {
	l.mu.Lock()
	l.corked = false
	if l.writing || !l.takeLocked() {
		n := l.queuedLocked()
		l.mu.Unlock()
		return n
	}
	if l.raw == nil {
		n := l.queuedLocked()
		l.mu.Unlock()
		l.signal()
		return n
	}
	l.writing = true
	l.mu.Unlock()
	// No deadline is set here, and the attempt never waits.
	err := l.raw.Write(l.attempt)
	l.mu.Lock()
	l.writing = false
	if err == nil {
		err = l.attemptE
	}
	l.wroteLocked(l.attemptN, err)
	n, failed := l.queuedLocked(), l.err != nil
	l.mu.Unlock()
	if n > 0 || failed {
		l.signal()
	}
	return n
}

// attemptWrite is run by flush, which owns out, on the file descriptor.
func (l *Link) attemptWrite(fd uintptr) bool {
	l.attemptN, l.attemptE = 0, nil
	for l.done+l.attemptN < len(l.out) {
		n, err := syscall.Write(int(fd), l.out[l.done+l.attemptN:])
		if n > 0 {
			l.attemptN += n
			continue
		}
		if err == syscall.EINTR {
			continue
		}
		if err != syscall.EAGAIN {
			l.attemptE = err
		}
		break
	}
	return true
}

// drain writes until nothing waits, or fails. Only the writer goroutine calls it.
func (l *Link) drain() error {
	for {
		l.mu.Lock()
		if l.err != nil {
			err := l.err
			l.mu.Unlock()
			return err
		}
		if l.writing || !l.takeLocked() {
			// An attempt in progress signals when it leaves something.
			l.mu.Unlock()
			return nil
		}
		l.writing = true
		rest := l.out[l.done:]
		l.mu.Unlock()
		// A deadline below TLS harms nothing: when it passes without progress
		// the socket is closed, and with progress the rest is written.
		l.Conn.SetWriteDeadline(time.Now().Add(l.stall))
		n, err := l.Conn.Write(rest)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil
			if n == 0 {
				err = ErrWriteStalled
			}
		}
		l.mu.Lock()
		l.writing = false
		l.wroteLocked(n, err)
		l.mu.Unlock()
	}
}

// takeLocked makes out the octets to write next and says whether there are any.
func (l *Link) takeLocked() bool {
	if l.done < len(l.out) {
		return true
	}
	if len(l.buf) == 0 {
		return false
	}
	l.out, l.buf, l.done = l.buf, nil, 0
	return true
}

func (l *Link) wroteLocked(n int, err error) {
	l.done += n
	if l.done == len(l.out) {
		putBuffer(l.out)
		l.out, l.done = nil, 0
	}
	if err != nil && l.err == nil {
		l.err = err
	}
}

func (l *Link) queuedLocked() int { return len(l.out) - l.done + len(l.buf) }

// queued is how many octets wait to be written.
func (l *Link) queued() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queuedLocked()
}

// signal wakes the writer goroutine; one waiting signal is as good as many.
func (l *Link) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Close closes the connection below. What waits to be written is lost.
func (l *Link) Close() error {
	l.mu.Lock()
	if l.err == nil {
		l.err = net.ErrClosed
	}
	l.mu.Unlock()
	l.signal()
	return l.Conn.Close()
}

// SetWriteDeadline does nothing once the Conn has taken over: a deadline on a TLS
// write would corrupt the session.
func (l *Link) SetWriteDeadline(t time.Time) error {
	l.mu.Lock()
	started := l.started
	l.mu.Unlock()
	if started {
		return nil
	}
	return l.Conn.SetWriteDeadline(t)
}

// SetDeadline is SetReadDeadline and, before the Conn takes over, SetWriteDeadline.
func (l *Link) SetDeadline(t time.Time) error {
	if err := l.SetWriteDeadline(t); err != nil {
		return err
	}
	return l.Conn.SetReadDeadline(t)
}

// closeWrite shuts the write side of a TCP connection, so that the peer sees the
// end after the last octet.
func (l *Link) closeWrite() error {
	if c, ok := l.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}
