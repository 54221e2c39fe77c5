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
	raw    syscall.RawConn // nil if there is no file descriptor to try
	writer rouser          // starts the writer goroutine

	// Made once, so that writing allocates nothing.
	try     func(fd uintptr) bool
	tryWait func(fd uintptr) bool
	tryRead func(fd uintptr) bool

	// Owned by the goroutine that reads.
	pause   pause // nil: Read passes through
	into    []byte
	got     int   // octets that the last attempt to read brought
	readErr error // what it failed with
	settled bool  // before this wait

	// Owned by whoever has set writing.
	n   int   // octets of out that the last write took
	err error // what it failed with

	mu      sync.Mutex // protects what follows
	started bool
	stall   time.Duration
	most    int     // octets that may wait when TLS writes of itself
	corked  bool    // a batch is being written: whoever corked flushes
	writing bool    // out is being written
	out     *buffer // handed to the network next, nil if nothing is
	done    int     // so many octets of out already were
	in      *buffer // appended meanwhile, nil if nothing was
	failed  error
}

// ErrWriteStalled ends a connection whose peer takes no octet for WriteStall.
var ErrWriteStalled = errors.New("mux: the peer has taken no octet for too long")

// NewLink returns a Link over conn, which it owns from now on.
func NewLink(conn net.Conn) *Link {
	l := &Link{Conn: conn, writer: rouser{wake: make(chan struct{}, 1)}}
	if sc, ok := conn.(syscall.Conn); ok && canAttempt {
		if raw, err := sc.SyscallConn(); err == nil {
			l.raw = raw
			l.try = func(fd uintptr) bool {
				l.n, l.err = attempt(fd, l.out.b[l.done:])
				return true
			}
			l.tryWait = func(fd uintptr) bool {
				l.n, l.err = attempt(fd, l.out.b[l.done:])
				return l.n > 0 || l.err != nil
			}
		}
	}
	return l
}

// start ends the pass-through. Nobody may be in Write or Read. It says whether p will be
// told before Read waits.
func (l *Link) start(limits Limits, p pause) (tells bool) {
	if l.raw != nil {
		l.pause, l.tryRead = p, l.readSome
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.started = true
	l.stall = limits.WriteStall
	l.most = 2*limits.MaxWriteQueue + 1<<20
	return l.pause != nil
}

// Write appends p. Once started it fails only when the link is closed, or when a
// peer that does not read makes TLS itself write without end.
func (l *Link) Write(p []byte) (int, error) {
	l.mu.Lock()
	if !l.started {
		l.mu.Unlock()
		return l.Conn.Write(p)
	}
	defer l.mu.Unlock()
	// What a batch adds the Conn has bounded already.
	if l.failed == nil && !l.corked && l.queuedLocked()+len(p) > l.most {
		l.failed = fmt.Errorf("%w: %d octets are waiting", ErrWriteStalled, l.queuedLocked())
		l.writer.signal()
	}
	if l.failed != nil {
		return 0, l.failed
	}
	if len(p) == 0 {
		return 0, nil // a buffer that waits is never empty
	}
	if l.in == nil {
		l.in = getBuffer()
	}
	l.in.b = append(l.in.b, p...)
	if !l.corked {
		l.writer.signal() // TLS wrote of itself: an answer to a key update, an alert
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
	defer l.mu.Unlock()
	l.corked = false
	// Whoever is writing looks for more when that is done.
	if !l.writing && l.takeLocked() {
		if l.raw != nil {
			l.writing = true
			l.mu.Unlock()
			l.n, l.err = 0, nil
			err := l.raw.Write(l.try) // sets no deadline and never waits
			l.mu.Lock()
			l.wroteLocked(err)
		}
		if l.queuedLocked() > 0 || l.failed != nil {
			l.writer.signal()
		}
	}
	return l.queuedLocked()
}

// drain writes until nothing waits, or fails. Only the writer goroutine calls it.
func (l *Link) drain() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.failed == nil {
		if l.writing || !l.takeLocked() {
			return nil // an attempt in progress signals when it leaves something
		}
		l.writing = true
		l.mu.Unlock()
		err := l.writeSome()
		l.mu.Lock()
		l.wroteLocked(err)
	}
	return l.failed
}

// writeSome waits until the network has taken octets of out, for as long as a stall
// may last.
func (l *Link) writeSome() error {
	// This deadline is below TLS, where it harms nothing: it ends no record, it
	// tells a stall. It is taken away again because one that has passed fails every
	// later attempt.
	l.Conn.SetWriteDeadline(time.Now().Add(l.stall))
	defer l.Conn.SetWriteDeadline(time.Time{})
	var err error
	l.n, l.err = 0, nil
	if l.raw != nil {
		err = l.raw.Write(l.tryWait)
	} else {
		l.n, err = l.Conn.Write(l.out.b[l.done:])
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
		if l.n == 0 {
			err = ErrWriteStalled
		}
	}
	return err
}

// takeLocked makes out the octets to write next and says whether there are any.
func (l *Link) takeLocked() bool {
	if l.out == nil {
		l.out, l.in, l.done = l.in, nil, 0
	}
	return l.out != nil
}

// wroteLocked takes the outcome of a write.
func (l *Link) wroteLocked(err error) {
	l.writing = false
	l.done += l.n
	if l.done == len(l.out.b) {
		putBuffer(l.out)
		l.out, l.done = nil, 0
	}
	if err == nil {
		err = l.err
	}
	if l.failed == nil {
		l.failed = err
	}
}

func (l *Link) queuedLocked() int {
	n := -l.done
	if l.out != nil {
		n += len(l.out.b)
	}
	if l.in != nil {
		n += len(l.in.b)
	}
	return n
}

// queued is how many octets wait to be written.
func (l *Link) queued() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queuedLocked()
}

// Close closes the connection below. What waits to be written is lost.
func (l *Link) Close() error {
	l.mu.Lock()
	if l.failed == nil {
		l.failed = net.ErrClosed
	}
	l.mu.Unlock()
	l.writer.signal()
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
// end after the last octet. It says whether there is such a thing.
func (l *Link) closeWrite() bool {
	c, ok := l.Conn.(interface{ CloseWrite() error })
	return ok && c.CloseWrite() == nil
}
