package mux

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/packet"
)

var (
	// ErrAborted is returned to whoever writes to a message that was aborted.
	ErrAborted = errors.New("mux: message aborted")

	errEnded       = errors.New("mux: message has ended")
	errTooManyOpen = errors.New("mux: too many messages are open on this connection")
)

// A Preparer completes a header when its turn has come. Prepare runs once, under
// the connection's lock, just before the header is encoded: here a request takes
// its id and is registered, so that ids rise in the order of the HEADERs. It must
// neither block nor call the Conn, and may set ID and Ext only. Returning false
// drops the message unsent.
type Preparer interface {
	Prepare(h *packet.Header) bool
}

// An Outbound is a message on its way to the peer:
//
//	          HEADER made              EOF or TXERR made
//	queued -----------------> started ----------------------> ended
//	   |                         |        connection lost
//	   +-------------------------+--------------------------> ended
//
// It is used by one goroutine at a time, except Abort, Started, Ended, Waiting and
// Progress, which any goroutine may call. It must not be copied once it was sent.
type Outbound struct {
	c       *Conn
	prepare Preparer

	moved atomic.Int64 // when the peer last accepted octets, on the Conn's clock
	over  atomic.Bool  // ended is set, and err does not change any more

	// Protected by c.mu.
	wake      chan struct{}  // capacity 1: something changed; nil while nobody has waited
	header    *packet.Header // while it waits in heads; the Conn's own copy
	no        uint64
	data      []byte // octets to send; belong to the writer until taken
	soon      bool   // see Body
	unit      bool   // HEADER, DATA and EOF go out together
	eof       bool   // nothing comes after data
	started   bool   // HEADER made, and in what is handed to TLS next
	ended     bool
	aborted   bool
	abortText string
	err       error         // why it ended, nil after EOF
	sent      int64         // octets of DATA sent
	acked     int64         // octets the peer has acknowledged
	packets   int           // DATA packets sent
	pushed    time.Duration // when the last of them was, on the Conn's clock
	acks      int           // ACKs received
	small     []byte        // tiny writes that go together, not yet octets to send
	spent     int           // tiny packets sent of themselves beyond one each gatherTime
	paid      time.Duration // until when that is accounted, on the Conn's clock

	then       Ender // told when the message has ended, nil if nobody asked
	thenNext   *Outbound
	in         *queue // where it stands, nil if in none
	prev, next *Outbound
}

// Body says what follows the header of a message.
type Body struct {
	Data []byte // octets that are at hand
	More bool   // Write and CloseSend follow; otherwise Data is all
	Soon bool   // the reader may write it when it has read what is at hand: for what it is the reason of itself
	Unit bool   // nothing of another message in between (PROTOCOL 3.4); only for at most 65536 octets
}

// Send queues a message and writes it if that needs no waiting. The header is
// copied; Body.Data must stay untouched until Wait returns or the message has
// ended. p may be nil.
func (c *Conn) Send(h *packet.Header, body Body, p Preparer) (*Outbound, error) {
	o := new(Outbound)
	o.Init(c, body, p)
	if err := c.SendOutbound(o, h); err != nil {
		return nil, err
	}
	return o, nil
}

// Init makes o a message for SendOutbound, as Send does. An Outbound that has ended
// may be used again.
func (o *Outbound) Init(c *Conn, body Body, p Preparer) {
	// Not in one: a value of this size made on the stack of a new goroutine grows it.
	*o = Outbound{}
	o.c, o.prepare = c, p
	o.data, o.eof, o.unit, o.soon = body.Data, !body.More, body.Unit, body.Soon
}

// SendOutbound is Send for an Outbound that the caller made with Init, so that it
// can be part of a larger value. A message it returns an error for has left no
// trace: nothing of it was sent, and Prepare was not called or has refused.
func (c *Conn) SendOutbound(o *Outbound, h *packet.Header) error {
	err := c.checkHeader(h)
	c.mu.Lock()
	switch {
	case o.ended:
		err = o.endErrLocked() // aborted before it was sent
	case c.err != nil:
		err = c.err
	case c.closing:
		err = ErrClosed
	case err == nil && len(c.out)+c.heads.n >= c.limits.MaxOpenMessages:
		c.count.Add(OpenMessagesExceeded)
		err = errTooManyOpen
	}
	if err != nil {
		o.finishLocked(err)
		told := c.ended != nil
		c.mu.Unlock()
		if told {
			c.pump(callerRounds)
		}
		return err
	}
	others, soon := c.othersLocked(), o.soon // o may be another's when the lock is open
	if c.fitsLocked() {
		c.made.b = c.appendHeaderLocked(c.made.b, o, h, c.waiting < bulkQueue)
		if o.ended && !o.started {
			err = o.err
		}
		if len(c.made.b) == 0 {
			putBuffer(c.made)
			c.made = nil
		}
	} else {
		o.header = kept(h)
		c.heads.push(o)
	}
	told := c.ended != nil
	c.failpointLocked("betweenRegisterAndSend")
	c.mu.Unlock()
	switch {
	case err != nil && !told:
	case soon && err == nil && c.later():
	case others && !soon:
		c.pumpTogether()
	default:
		c.pump(callerRounds)
	}
	return err
}

// kept is a copy of a header that waits for its turn: what the maps and slices of h hold is
// its sender's again.
func kept(h *packet.Header) *packet.Header {
	k := *h
	k.ErrorData = bytes.Clone(h.ErrorData)
	k.Extra = maps.Clone(h.Extra)
	for name, v := range k.Extra {
		k.Extra[name] = bytes.Clone(v)
	}
	return &k
}

// later leaves what was made to the reader, unless that is about to wait, or waits.
func (c *Conn) later() bool {
	c.owed.Store(true)
	return !c.in.rests.Load() // else it may not have seen that
}

// headerReserve is room for what Prepare and the first HEADER add.
const headerReserve = 128

// checkHeader refuses a header that would be too long before anything is done for
// it: once a request has its id, leaving it out would make a gap (PROTOCOL 3.4).
func (c *Conn) checkHeader(h *packet.Header) error {
	if size, ok := HeaderFits(h, c.maxHeader); !ok {
		return c.headerTooBig(size)
	}
	return nil
}

// HeaderFits says whether a connection that takes headers of at most so many octets takes h,
// and if not how long h is.
func HeaderFits(h *packet.Header, most int) (size int, ok bool) {
	// No octet becomes more than six in JSON, and names and numbers are short.
	text := len(h.Action) + len(h.Envelope) + len(h.Sector) + len(h.Ticket) + len(h.IdentifyingToken) +
		len(h.Terminal) + len(h.TypeText) + len(h.ErrorCode) + len(h.Error) + len(h.ErrorData)
	if len(h.Extra) > 0 {
		text += extraLen(h.Extra)
	}
	if _, short := h.ID.Number(); !short {
		text += len(h.ID.String())
	}
	if 6*text+512+headerReserve <= most {
		return 0, true
	}
	size = len(h.AppendTo(nil)) + headerReserve
	return size, size <= most
}

func extraLen(extra map[string]json.RawMessage) (n int) {
	for name, v := range extra {
		n += len(name) + len(v) + 8
	}
	return n
}

// Wait returns when the message has ended: nil when its EOF is in what is handed to TLS
// next, or was. If
// ctx ends first the message is aborted with text.
func (o *Outbound) Wait(ctx context.Context, text string) error {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	for !o.ended {
		if err := o.waitLocked(ctx); err != nil {
			o.c.mu.Unlock()
			o.Abort(text)
			o.c.mu.Lock()
			return err
		}
	}
	return o.err
}

// An Ender is told when a message has ended.
type Ender interface{ Ended() }

// Then has e told once the message has ended, by the goroutine that ended it and
// holding no lock. It is false if the message has ended already: then e is not told.
func (o *Outbound) Then(e Ender) bool {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	if o.ended {
		return false
	}
	o.then = e
	return true
}

// tellAll tells those who asked that their messages have ended.
func tellAll(o *Outbound) {
	for o != nil {
		next := o.thenNext
		o.thenNext = nil
		o.then.Ended() // may use o again
		o = next
	}
}

// Started says whether the HEADER was handed to TLS, or will be at once: from then on
// the peer may have acted on the message.
func (o *Outbound) Started() bool {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	return o.started && (o.no < o.c.handed || o.c.err == nil && !o.c.silent)
}

// Ended says whether the message has ended, and how: nil is EOF.
func (o *Outbound) Ended() (bool, error) {
	if !o.over.Load() {
		return false, nil
	}
	return true, o.err
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

// finishLocked ends the message, once.
func (o *Outbound) finishLocked(err error) {
	if o.ended {
		return
	}
	o.ended, o.err, o.data, o.small, o.header = true, err, nil, nil, nil
	o.wakeLocked()
	if o.then != nil {
		o.thenNext, o.c.ended = o.c.ended, o
	}
	o.over.Store(true) // last: from here on o may be used again, if nobody is to be told
}

func (o *Outbound) wakeLocked() {
	if o.wake == nil {
		return
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
}
