package mux

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/packet"
)

// MinWindow is the window every peer has, octets (PROTOCOL 4.3).
const MinWindow = 65536

var (
	// ErrClosed is why a connection ended that was closed on this side.
	ErrClosed = errors.New("mux: connection closed")
	// ErrIdle is why a connection ended on which nothing happened for the idle time.
	ErrIdle = errors.New("mux: connection idle")
	// ErrLost ends a message whose connection ended first (PROTOCOL 4.8).
	ErrLost = errors.New("connection closed before the message finished")
	// ErrHeaderTooBig ends a message whose header is longer than we send.
	ErrHeaderTooBig = errors.New("mux: header too big")
	// ErrWindow ends a message whose sender ignored its window (PROTOCOL 4.5).
	ErrWindow = errors.New("flow control violated: too many octets sent without an ACK")
)

// Options say how a Conn behaves. The zero value works.
type Options struct {
	Limits   Limits
	Packet   packet.Limits
	Window   int              // announced to the peer as ext.win, octets; zero means Limits.MaxWindow
	NoExt    bool             // send no ext, as an old peer
	Accept   func(*Inbound)   // called for each message that arrives; see Run
	Busy     func() bool      // reports work that keeps the connection from being idle, beside open messages
	Idle     time.Duration    // close after so long without a packet while not busy; zero means never
	Counters *Counters        // nil means the Conn counts for itself
	Oddity   func(why string) // hears what was ignored: a repeated ACK, for example. May be nil; must not block
}

// A Conn is one end of a connection. All methods are safe for concurrent use.
type Conn struct {
	// Set by New, never changed.
	link      *Link
	rw        io.ReadWriter // TLS over link, or link itself
	limits    Limits
	opts      Options
	window    int // announced to the peer, octets
	maxHeader int // octets of a HEADER body we send
	count     *Counters
	start     time.Time
	done      chan struct{} // closed when the connection has ended

	in reader // owned by Run's goroutine

	lastIO    atomic.Int64 // time of the last octet read or written, since start
	unread    atomic.Int64 // octets received that nobody has taken
	openIn    atomic.Int64 // inbound messages that have not ended
	firstLine atomic.Bool  // a packet has arrived
	acks      ackList      // has its own lock

	mu       sync.Mutex // protects what follows
	err      error      // why it ended, nil while it lives
	nextOut  uint64     // number of the next HEADER (invariant 1)
	heads    queue      // HEADER not yet sent
	ready    queue      // with octets or an end to send, and window to do it
	out      map[uint64]*Outbound
	peerExt  bool // the peer has sent ext
	cancel   bool // the peer takes cancel messages
	peerWin  int  // window in force toward the peer
	credit   int  // octets in flight beyond MinWindow each, over all messages
	starved  bool // a message waits for credit
	pongs    int  // 1 when a PONG is due
	pongNo   uint64
	pumping  bool
	shutting bool
	idle     *time.Timer
}

// New returns a Conn over rw, which reads and writes through link: TLS made over
// it, its handshake done, or the link itself. Run must be called; until then
// messages queue.
func New(rw io.ReadWriter, link *Link, opts Options) *Conn {
	c := &Conn{
		link: link, rw: rw, limits: opts.Limits.WithDefaults(), opts: opts,
		count: opts.Counters, start: time.Now(), done: make(chan struct{}),
		out: make(map[uint64]*Outbound),
	}
	if c.count == nil {
		c.count = new(Counters)
	}
	c.window = max(opts.Window, MinWindow)
	if opts.Window == 0 {
		c.window = max(c.limits.MaxWindow, MinWindow)
	}
	c.peerWin = min(c.limits.MaxInflight, MinWindow)
	c.maxHeader = opts.Packet.WithDefaults().MaxHeaderSend
	c.in.init(c, rw, opts.Packet)
	link.start(c.limits)
	return c
}

// Run reads packets until the connection ends and returns why it ended; io.EOF
// means that the peer closed it between packets. It owns the only reader and the
// only writer goroutine, and neither outlives it.
//
// Options.Accept is called on the reader's goroutine with each message, when it is
// complete or when the reader would have to wait for more of it. It must not block
// and must not keep the reader from its work.
func (c *Conn) Run() error {
	var writer sync.WaitGroup
	writer.Go(c.write) // ends when c.done is closed
	if c.opts.Idle > 0 {
		c.mu.Lock()
		c.idle = time.AfterFunc(c.opts.Idle, c.checkIdle)
		c.mu.Unlock()
	}
	err := c.in.run()
	c.fail(err)
	writer.Wait()
	c.in.lose()
	return c.Err()
}

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err says why the connection ended, nil while it lives.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection at once. Everything open on it fails.
func (c *Conn) Close() { c.fail(ErrClosed) }

// fail ends the connection. The first reason counts.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	if c.idle != nil {
		c.idle.Stop()
	}
	lost := make([]*Outbound, 0, len(c.out))
	for _, o := range c.out {
		lost = append(lost, o)
	}
	for o := c.heads.pop(); o != nil; o = c.heads.pop() {
		lost = append(lost, o)
	}
	for c.ready.pop() != nil {
	}
	clear(c.out)
	for _, o := range lost {
		o.finishLocked(fmt.Errorf("%w: %w", ErrLost, err))
	}
	c.mu.Unlock()
	close(c.done)
	c.link.Close()
}

// PeerCancels says whether the peer takes cancel messages (PROTOCOL 3.7).
func (c *Conn) PeerCancels() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cancel
}

// PeerExt says whether the peer has sent ext, that is, is one of ours.
func (c *Conn) PeerExt() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peerExt
}

// Unread is how many octets of bodies have arrived that nobody has taken.
func (c *Conn) Unread() int64 { return c.unread.Load() }

// Heard says whether a packet has arrived on this connection.
func (c *Conn) Heard() bool { return c.firstLine.Load() }

// Now is the connection's clock: the time since it was made. It is monotonic and
// is what Inbound.Progress and Outbound.Progress are given in.
func (c *Conn) Now() time.Duration { return time.Since(c.start) }

// LastIO is when the last octet was read or written, on the clock of Now.
func (c *Conn) LastIO() time.Duration { return time.Duration(c.lastIO.Load()) }

// LastRead is when octets last arrived, on the clock of Now.
func (c *Conn) LastRead() time.Duration { return time.Duration(c.in.stamp.Load()) }

// Shutdown lets what is queued be written, says goodbye (TLS close_notify, end of
// the TCP stream), reads on until the peer has closed too or wait has passed, and
// ends the connection (PROTOCOL 12.5 step 4). Messages still open are lost.
func (c *Conn) Shutdown(wait time.Duration) {
	c.mu.Lock()
	c.shutting = true
	c.mu.Unlock()
	limit := time.NewTimer(wait)
	defer limit.Stop()
	c.pump(maxRounds)
	if !c.flushed(limit.C) {
		c.Close()
		return
	}
	if t, ok := c.rw.(interface{ CloseWrite() error }); ok {
		t.CloseWrite() // close_notify goes to the link's buffer
	}
	c.link.flush()
	if c.flushed(limit.C) && c.link.closeWrite() == nil {
		select {
		case <-c.done:
		case <-limit.C:
		}
	}
	c.Close()
}

// flushed waits until nothing is queued and says whether that came to pass.
func (c *Conn) flushed(limit <-chan time.Time) bool {
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		c.mu.Lock()
		idle := c.heads.n == 0 && c.ready.n == 0 && !c.pumping
		c.mu.Unlock()
		if idle && c.link.queued() == 0 {
			return true
		}
		again := time.NewTimer(pause)
		select {
		case <-again.C:
		case <-limit:
			again.Stop()
			return false
		case <-c.done:
			again.Stop()
			return false
		}
	}
}

// checkIdle runs when the idle time may have passed.
func (c *Conn) checkIdle() {
	busy := c.openIn.Load() > 0 || c.opts.Busy != nil && c.opts.Busy()
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	busy = busy || len(c.out) > 0 || c.heads.n > 0
	quiet := c.Now() - c.LastIO()
	switch {
	case busy:
		c.idle.Reset(c.opts.Idle)
	case quiet < c.opts.Idle:
		c.idle.Reset(c.opts.Idle - quiet)
	default:
		c.mu.Unlock()
		c.count.Add(IdleClosed)
		c.fail(ErrIdle)
		return
	}
	c.mu.Unlock()
}

// touch notes that octets moved.
func (c *Conn) touch() { c.lastIO.Store(int64(time.Since(c.start))) }

// odd reports something that was ignored.
func (c *Conn) odd(counter Counter, why string) {
	c.count.Add(counter)
	if c.opts.Oddity != nil {
		c.opts.Oddity(why)
	}
}
