package mux

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/packet"
)

var (
	// ErrAborted is returned to whoever writes to a message that was aborted.
	ErrAborted = errors.New("mux: message aborted")
	errEnded   = errors.New("mux: message has ended")
)

// A Preparer completes a header when its turn has come. Prepare runs once, under
// the connection's lock, just before the header is encoded: here a request takes
// its id and is registered, so that ids rise in the order of the HEADERs. It must
// neither block nor call the Conn. Returning false drops the message unsent.
type Preparer interface {
	Prepare(h *packet.Header) bool
}

// An Outbound is a message on its way to the peer:
//
//	          HEADER written           EOF or TXERR written
//	queued -----------------> started ----------------------> ended
//	   |                         |        connection lost
//	   +-------------------------+--------------------------> ended
//
// It is used by one goroutine at a time, except Abort, Started, Acked and
// Progress, which any goroutine may call.
type Outbound struct {
	c       *Conn
	prepare Preparer
	wake    chan struct{} // capacity 1: data was taken, or the message has ended

	moved atomic.Int64 // when the peer last accepted octets, on the Conn's clock

	// Protected by c.mu.
	header    packet.Header
	no        uint64
	data      []byte // octets to send; belong to the writer until taken
	unit      bool   // HEADER, DATA and EOF go out together
	eof       bool   // nothing comes after data
	started   bool   // HEADER handed to TLS
	ended     bool
	aborted   bool
	abortText string
	err       error         // why it ended, nil after EOF
	sent      int64         // octets of DATA sent
	acked     int64         // octets the peer has acknowledged
	packets   int           // DATA packets sent
	pushed    time.Duration // when the last of them was, on the Conn's clock
	ackCount  int           // ACKs received
	queued    bool          // in a queue
	next      *Outbound
}

// Body says what follows the header of a message.
type Body struct {
	Data []byte // octets that are at hand
	More bool   // Write and CloseSend follow; otherwise Data is all
	Unit bool   // nothing of another message in between (PROTOCOL 3.4); only for at most 65536 octets
}

// Send queues a message and writes it if that needs no waiting. The header is
// copied; Body.Data must stay untouched until Wait returns or the message has
// ended. p may be nil.
func (c *Conn) Send(h *packet.Header, body Body, p Preparer) (*Outbound, error) {
	o := &Outbound{c: c, prepare: p, header: *h, data: body.Data, eof: !body.More, unit: body.Unit}
	if err := c.SendOutbound(o); err != nil {
		return nil, err
	}
	return o, nil
}

// SendOutbound is Send for an Outbound that the caller made with Init, so that it
// can be part of a larger value.
func (c *Conn) SendOutbound(o *Outbound) error {
	if o.wake == nil {
		o.wake = make(chan struct{}, 1)
	}
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		o.ended, o.err = true, c.err
		return c.err
	}
	if len(c.out)+c.heads.n >= c.limits.MaxOpenMessages {
		defer c.mu.Unlock()
		o.ended, o.err = true, errTooManyOpen
		return errTooManyOpen
	}
	c.heads.push(o)
	c.mu.Unlock()
	c.pump(callerRounds)
	return nil
}

var errTooManyOpen = errors.New("mux: too many messages are open on this connection")

// Init makes o a message for SendOutbound, as Send does.
func (o *Outbound) Init(c *Conn, h *packet.Header, body Body, p Preparer) {
	*o = Outbound{c: c, prepare: p, header: *h, data: body.Data, eof: !body.More, unit: body.Unit, wake: o.wake}
}

// Write sends p and returns when its octets have been taken, the message has
// ended, or ctx has: then it says how many were taken, and p is the caller's again.
func (o *Outbound) Write(ctx context.Context, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c := o.c
	c.mu.Lock()
	if o.ended || o.eof || o.aborted {
		defer c.mu.Unlock()
		return 0, o.endErrLocked()
	}
	o.data = p
	c.scheduleLocked(o)
	c.mu.Unlock()
	c.pump(callerRounds)
	err := o.waitTaken(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(p) - len(o.data)
	o.data = nil
	if n < len(p) && err == nil {
		err = o.endErrLocked()
	}
	if n == len(p) {
		err = nil
	}
	return n, err
}

func (o *Outbound) endErrLocked() error {
	switch {
	case o.err != nil:
		return o.err
	case o.aborted:
		return ErrAborted
	}
	return errEnded
}

// waitTaken waits until data is empty, the message has ended or ctx has.
func (o *Outbound) waitTaken(ctx context.Context) error {
	for {
		o.c.mu.Lock()
		taken := len(o.data) == 0 || o.ended || o.aborted
		o.c.mu.Unlock()
		if taken {
			return nil
		}
		select {
		case <-o.wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// CloseSend ends the message well: EOF follows its last octet.
func (o *Outbound) CloseSend() error {
	c := o.c
	c.mu.Lock()
	if o.ended || o.aborted {
		defer c.mu.Unlock()
		if o.eof && o.err == nil {
			return nil
		}
		return o.endErrLocked()
	}
	o.eof = true
	c.scheduleLocked(o)
	c.mu.Unlock()
	c.pump(callerRounds)
	return nil
}

// Abort ends the message with TXERR and text, which must not be empty or "0"; a
// message whose HEADER was not written yet leaves without a trace. Octets not yet
// taken are dropped. Aborting a message that has ended does nothing.
func (o *Outbound) Abort(text string) {
	c := o.c
	c.mu.Lock()
	if o.ended || o.aborted {
		c.mu.Unlock()
		return
	}
	o.aborted, o.abortText, o.data = true, text, nil
	if !o.started {
		c.heads.remove(o)
		o.finishLocked(ErrAborted)
		c.mu.Unlock()
		return
	}
	c.scheduleLocked(o)
	o.wakeLocked()
	c.mu.Unlock()
	c.pump(callerRounds)
}

// Wait returns when the message has ended: nil after its EOF was handed to TLS. If
// ctx ends first the message is aborted with text.
func (o *Outbound) Wait(ctx context.Context, text string) error {
	for {
		o.c.mu.Lock()
		ended, err := o.ended, o.err
		o.c.mu.Unlock()
		if ended {
			return err
		}
		select {
		case <-o.wake:
		case <-ctx.Done():
			o.Abort(text)
			return context.Cause(ctx)
		}
	}
}

// Started says whether the HEADER was handed to TLS: from then on the peer may
// have acted on the message.
func (o *Outbound) Started() bool {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	return o.started
}

// Ended says whether the message has ended, and how: nil is EOF.
func (o *Outbound) Ended() (bool, error) {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	return o.ended, o.err
}

// Progress is when the peer last accepted octets of this message, on the clock of
// Conn.Now; zero if it never did.
func (o *Outbound) Progress() time.Duration { return time.Duration(o.moved.Load()) }

// Waiting says whether octets wait to be sent, and when some last were, on the clock
// of Conn.Now: sent, or acknowledged.
func (o *Outbound) Waiting() (moved time.Duration, waiting bool) {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	return max(o.pushed, o.Progress()), len(o.data) > 0 && !o.ended
}

// finishLocked ends the message. It is called once for each.
func (o *Outbound) finishLocked(err error) {
	if o.ended {
		return
	}
	o.ended, o.err, o.data = true, err, nil
	o.c.moveLocked(o, o.sent, o.sent) // gives the credit back
	o.wakeLocked()
}

func (o *Outbound) wakeLocked() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}
