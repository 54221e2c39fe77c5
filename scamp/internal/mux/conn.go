package mux

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/packet"
)

// MinWindow is the window every peer has, octets (PROTOCOL 4.3).
const MinWindow = packet.MinWindow

var (
	// ErrClosed is why a connection ended that was closed on this side.
	ErrClosed = errors.New("mux: connection closed")
	// ErrIdle is why a connection ended on which nothing happened for the idle time.
	ErrIdle = errors.New("mux: connection idle")
	// ErrSilent is why a connection ended whose peer did not answer a PING.
	ErrSilent = errors.New("mux: the peer does not answer a PING")
	// ErrLost ends a message whose connection ended first (PROTOCOL 4.8).
	ErrLost = errors.New("connection closed before the message finished")
	// ErrHeaderTooBig ends a message whose header is longer than we send.
	ErrHeaderTooBig = errors.New("mux: header too big")
	// ErrWindow ends a message whose sender ignored its window (PROTOCOL 4.5).
	ErrWindow = errors.New("flow control violated: too many octets sent without an ACK")

	errPeerClosed = errors.New("mux: the peer closed the connection")
)

// Options say how a Conn behaves. The zero value works.
type Options struct {
	Limits    Limits
	Packet    packet.Limits
	Window    int              // announced to the peer as ext.win, octets; zero means Limits.MaxWindow, the least is MinWindow
	NoExt     bool             // send no ext, as an old peer
	Accept    func(*Inbound)   // called for each message that arrives; see Run. Nil discards them
	Broken    func(*Inbound)   // called, as Accept is, when a message ends with TXERR or ErrWindow that was handed up before; may be nil
	Full      func()           // called, as Accept is, while more than Limits.MaxBuffered octets are unread and more come; may be nil
	Busy      func() bool      // reports work that keeps the connection from being idle, beside open messages
	Idle      time.Duration    // close after so long without a packet while not busy; zero means never
	Heartbeat time.Duration    // while busy, PING a peer that knows it after so long of silence, and close if it stays silent; zero means never
	PingAny   bool             // heartbeat toward every peer, also one that has not shown to know PING (PROTOCOL 4.7)
	Counters  *Counters        // nil means the Conn counts for itself
	Tallies   []*atomic.Int64  // to each is added what is unread, in whole units of TallyUnit octets
	Oddity    func(why string) // hears what was ignored: a repeated ACK, for example. May be nil; must not block
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

	lastIO  atomic.Int64 // when octets were last read or written, on the clock of Now
	unread  atomic.Int64 // octets received that nobody has taken
	excess  atomic.Int64 // of these, what only a window larger than MinWindow allows
	openIn  atomic.Int64 // inbound messages whose end has not come
	heard   atomic.Bool  // a packet has arrived
	arrived atomic.Int64 // requests and replies that have arrived
	ackAt   atomic.Int64 // octets of a message are acknowledged when so many were taken
	pace    pace         // owned by whoever has set yields
	owed    atomic.Bool  // a message was made that the reader is to write
	yields  atomic.Bool  // somebody lets others run and pumps then
	acks    ackList      // has its own lock

	mu        sync.Mutex    // protects what follows
	err       error         // why it ended, nil while it lives
	unsent    error         // why nothing can be written any more; Run ends with it
	nextOut   uint64        // number of the next HEADER (invariant 1)
	sent      int64         // requests and replies among the HEADERs sent
	over      uint64        // messages begun that have ended
	crossed   bool          // one of them ended before an earlier one
	made      *buffer       // whole packets to send first, nil if there are none
	handed    uint64        // HEADERs below were handed to TLS, the others are in made
	waiting   int           // octets that waited for the network when a batch was last written
	scratch   packet.Header // the one being made
	heads     queue         // HEADER not yet made: the link is full
	ready     queue         // something to send, and window to do it
	wide      queue         // the same, but from the budget (PROTOCOL 3.7)
	out       map[uint64]*Outbound
	tails     map[uint64]tail // ended, but part of the budget until acknowledged
	credit    int             // octets in flight beyond MinWindow each, over all messages
	peerExt   bool            // the peer has sent ext
	cancel    bool            // the peer takes cancel messages
	pings     bool            // the peer has sent PING
	heardWin  bool            // the peer has announced its window
	peerWin   int             // window in force toward the peer
	flight    int             // what of it is used: see probe
	probe     probe
	pong      bool // a PONG is due
	pongNo    uint64
	ping      bool // a PING is due
	pumping   bool
	gathering []*Outbound // those that gather tiny writes
	gather    *time.Timer
	round     time.Duration // when the batch being made was begun, on the clock of Now
	ended     *Outbound     // those whose Then is to be told, linked
	closing   bool          // no message is begun any more
	silent    bool          // nothing is sent any more: goodbye was said
	drained   chan struct{} // closed when nothing waits to be sent; nil if nobody waits for that
	alive     *time.Timer
	liveness  liveness
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
	c.window = opts.Window
	if c.window == 0 {
		c.window = c.limits.MaxWindow
	}
	c.window = max(c.window, MinWindow)
	c.peerWin = min(c.limits.MaxInflight, MinWindow)
	c.flight = c.peerWin
	c.maxHeader = opts.Packet.WithDefaults().MaxHeaderSend
	c.in.init(c, rw, opts.Packet)
	c.in.told = link.start(c.limits, &c.in)
	c.in.rests.Store(true)
	c.ackAt.Store(MinWindow / 2)
	return c
}

// Run reads packets until the connection ends and returns why it ended; io.EOF
// means that the peer closed it between packets. It owns the only reader and the
// writer goroutine, if there is one, and neither outlives it.
//
// Options.Accept is called on the reader's goroutine with each message, when it is
// complete or when the reader would have to wait for more of it. It must not block
// and must not keep the reader from its work.
func (c *Conn) Run() error {
	c.link.writer.start(c.write)
	c.watch()
	c.fail(c.reason(c.in.run()))
	c.link.writer.close()
	err := c.Err()
	c.in.lose(lost(err))
	return err
}

// lastWords is how long a connection that cannot be written is read for what the peer
// has sent before it closed.
const lastWords = time.Second

// unwritable ends the connection after a write that failed. The peer may have closed it
// behind its last reply, which the kernel still holds: so the reader reads on until
// there is nothing more, while nothing new begins.
func (c *Conn) unwritable(err error) {
	if errors.Is(err, ErrWriteStalled) || errors.Is(err, net.ErrClosed) {
		c.fail(err)
		return
	}
	c.mu.Lock()
	first := c.unsent == nil
	if first {
		c.unsent, c.closing, c.silent = err, true, true
	}
	c.mu.Unlock()
	if first {
		c.link.SetReadDeadline(time.Now().Add(lastWords))
	}
}

// reason is why the connection ends whose reader has ended with err.
func (c *Conn) reason(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unsent != nil {
		return c.unsent
	}
	return err
}

// lost is the error of a message whose connection ended because of err. That the
// stream of packets ended is not the end of a body: nobody must take it for one.
func lost(err error) error {
	if err == io.EOF {
		err = errPeerClosed
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
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
	if errors.Is(err, ErrWriteStalled) {
		c.count.Add(WriteStalled)
	}
	if c.alive != nil {
		c.alive.Stop()
	}
	if c.gather != nil {
		c.gather.Stop()
	}
	c.gathering = nil
	why := lost(err)
	for o := c.heads.pop(); o != nil; o = c.heads.pop() {
		o.finishLocked(why)
	}
	for c.ready.pop() != nil || c.wide.pop() != nil {
		// First: a message that has ended may be used again at once.
	}
	for _, o := range c.out {
		o.finishLocked(why)
	}
	clear(c.out)
	clear(c.tails)
	if c.made != nil {
		putBuffer(c.made)
		c.made = nil
	}
	ended := c.ended
	c.ended = nil
	c.mu.Unlock()
	close(c.done)
	c.link.Close()
	tellAll(ended)
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

// Ends says how many messages of ours have begun and not ended, and whether those that
// have ended did so in the order in which they began (PROTOCOL 3.4).
func (c *Conn) Ends() (open int, inOrder bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.nextOut - c.over), !c.crossed
}

// TallyUnit is in what steps Options.Tallies follow what is unread, octets: a Conn that
// has less than that unread adds nothing, so that small messages cost nothing.
const TallyUnit = 16 << 10

// tally changes the count of unread octets.
func (c *Conn) tally(n int64) {
	after := c.unread.Add(n)
	if units := after/TallyUnit - (after-n)/TallyUnit; units != 0 {
		for _, t := range c.opts.Tallies {
			t.Add(units * TallyUnit)
		}
	}
}

// Unread is how many octets of bodies have arrived that nobody has taken.
func (c *Conn) Unread() int64 { return c.unread.Load() }

// Unacknowledged is how many octets of messages that are open the peer has not acknowledged,
// and how many of those that have ended still take room in the budget.
func (c *Conn) Unacknowledged() (n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.out {
		n += o.sent - o.acked
	}
	for _, t := range c.tails {
		n += int64(overdraft(t.sent - t.acked))
	}
	return n
}

// Heard says whether a packet has arrived on this connection.
func (c *Conn) Heard() bool { return c.heard.Load() }

// Now is the connection's clock: the time since it was made. It is monotonic and
// is what Inbound.Progress and Outbound.Progress are given in.
func (c *Conn) Now() time.Duration { return time.Since(c.start) }

// At is when t was or will be, on the clock of Now.
func (c *Conn) At(t time.Time) time.Duration { return t.Sub(c.start) }

// Time is when it is or was so late on the clock of Now.
func (c *Conn) Time(at time.Duration) time.Time { return c.start.Add(at) }

// LastIO is when the last octet was read or written, on the clock of Now.
func (c *Conn) LastIO() time.Duration { return time.Duration(c.lastIO.Load()) }

// LastRead is when octets last arrived, on the clock of Now.
func (c *Conn) LastRead() time.Duration { return time.Duration(c.in.stamp.Load()) }

// odd reports something that was ignored. No lock is held.
func (c *Conn) odd(counter Counter, why string) {
	c.count.Add(counter)
	if c.opts.Oddity != nil {
		c.opts.Oddity(why)
	}
}
