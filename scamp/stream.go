package scamp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// A Stream is one call as two streams of octets: the request's body out, the
// reply's body in. Bus.Stream and Client.Stream open one; it must be ended by
// reading the reply to its end, or by Close. It ends by itself when its context does,
// the connection is lost, or the time of the call is over (PROTOCOL 4.9).
//
// One goroutine may write while another reads; Abort and Close may be called by any.
type Stream struct {
	// Set before the request is sent, never changed.
	p        *peer
	ctx      context.Context
	what     attempt
	began    time.Duration // when it was handed to the connection, on the clock of p.conn
	asked    time.Duration // when the caller asked, which may be before the connection was
	total    time.Duration // N + 5 s until the reply's header; zero if none
	progress time.Duration // rpc.timeout; zero if the caller's deadline bounds it all
	unit     bool          // it goes out in one piece
	unfit    bool          // Prepare found it to be none of the connection's dialect; set under p.mu

	out  mux.Outbound
	left atomic.Bool  // out of the peer's tables; set under p.mu
	uses atomic.Int32 // by those who look at it; see finished
	hid  bool         // no user of the package holds it

	judged atomic.Bool // the header of the reply speaks of no failure

	// Protected by p.mu.
	id         uint64 // request id, zero until the HEADER is made
	prev, next *Stream
	linked     bool // in the peer's tables, or left

	mu      sync.Mutex // protects what follows
	in      *mux.Inbound
	err     error         // why the call failed, a *CallError
	decided bool          // in or err is set
	signal  chan struct{} // gets one value when decided is set; nil while nobody waits
	waiting int           // so many wait for it
	leaving error         // why the caller gives up, which may end the connection before the call
	stop    func() bool   // ends the watch on ctx; nil if nobody watches yet
	owing   bool          // when last looked at, we had octets of the reply that nobody had read
	owed    time.Duration // until when that may have been so
}

// errNotTaken says that a connection ended, or was about to, before it took a request:
// nothing of the request was sent.
var errNotTaken = fmt.Errorf("%w before it took the request", ErrLost)

// errDialect says that a connection is to a service of the original Go implementation,
// which it showed after it was chosen for a request that must have one of its own
// (PROTOCOL 3.4): nothing of the request was sent.
var errDialect = errors.New("scamp: the service shows that it needs the request on a connection of its own")

// Streams that were used up, for others to be made of.
var streams = sync.Pool{New: func() any { return new(Stream) }}

func newStream() *Stream {
	s := streams.Get().(*Stream)
	s.uses.Store(1)
	return s
}

// finished gives up a Stream that no user of the package holds and whose reply was read
// to its end, if nothing else is left of the call. The last one who looks at it
// recycles it.
func (s *Stream) finished() {
	if ended, _ := s.out.Ended(); s.hid && ended && s.in.Whole() && s.left.Load() {
		s.drop()
	}
}

// drop ends one use of s.
func (s *Stream) drop() {
	if s.uses.Add(-1) > 0 {
		return
	}
	s.in.Recycle()
	*s = Stream{}
	streams.Put(s)
}

// open sends a request on p and returns its Stream. It does not wait. When it fails,
// nothing of the request was sent, and its body is as it was.
func (p *peer) open(ctx context.Context, h *packet.Header, body mux.Body, what attempt) (*Stream, error) {
	s := newStream()
	s.p, s.ctx, s.what = p, ctx, what
	s.began = p.conn.Now()
	s.asked = s.began
	if !what.start.IsZero() {
		s.asked = p.conn.At(what.start)
	}
	if _, ok := ctx.Deadline(); ok {
		// An explicit deadline of the caller is a total, and the only one.
	} else {
		limit, total := what.limit(p.limits)
		if s.asked+limit <= s.began {
			return nil, errLate
		}
		if total {
			s.total = limit
		} else {
			s.progress = limit
		}
	}
	s.unit = body.Unit
	s.out.Init(p.conn, body, (*turn)(s))
	if err := p.conn.SendOutbound(&s.out, h); err != nil {
		p.leave(s)
		if s.unfit {
			return nil, errDialect
		}
		if errors.Is(err, mux.ErrClosed) || p.conn.Err() != nil {
			return nil, fmt.Errorf("%w: %w", errNotTaken, err)
		}
		return nil, err
	}
	p.mu.Lock()
	unfit, joined := s.unfit, !s.unfit && p.joinLocked(s)
	p.mu.Unlock()
	switch {
	case unfit: // its turn has come already
		return nil, errDialect
	case !joined: // its turn has yet to come, and never will
		s.out.Abort("")
		return nil, errNotTaken
	}
	if body.More {
		s.watch()
	}
	return s, nil
}

// watch makes the call end with its context, whatever waits for it. A call that is
// sent at once and waits in Reply sees its context there.
func (s *Stream) watch() {
	if s.ctx.Done() == nil {
		return
	}
	stop := context.AfterFunc(s.ctx, func() { s.giveUp(ctxError(s.ctx)) })
	s.mu.Lock()
	again := s.stop != nil
	if !again {
		s.stop = stop
	}
	s.mu.Unlock()
	if again {
		stop()
	}
}

// A turn is a Stream as its connection sees it.
type turn Stream

// Prepare is called when the request's turn has come. The lock of the connection is
// held.
func (t *turn) Prepare(h *packet.Header) bool {
	s := (*Stream)(t)
	p := s.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if !s.unit && !p.alone && p.dialect.original(s.what.original()) {
		s.unfit = true
		if s.linked { // it waited for its turn, and whoever sent it does not any more
			s.uses.Add(1)
			go func() { // ends at once: it only must not hold these locks
				s.giveUp(errDialect)
				s.drop()
			}()
		}
		return false
	}
	now := s.began
	if s.linked {
		now = p.conn.Now() // it waited for its turn
	}
	if !p.joinLocked(s) || s.left.Load() {
		return false
	}
	p.lastID++
	s.id = p.lastID
	p.pending[s.id] = s
	h.ID = packet.NumberID(s.id)
	if ms, ok := s.remaining(now); ok {
		h.Ext.V, h.Ext.MS = 1, ms
	}
	return true
}

// deliver hands over the reply's header. The reader's goroutine calls it.
func (s *Stream) deliver(m *mux.Inbound) {
	s.mu.Lock()
	if s.decided || s.leaving != nil { // giveUp decides: the reply may be the answer to that
		s.mu.Unlock()
		m.Discard()
		return
	}
	s.in = m
	signal := s.decideLocked()
	s.mu.Unlock()
	if signal != nil {
		signal <- struct{}{}
	}
}

// decideLocked notes that in or err is set, and returns what those who wait for that
// are to be told through, once: nil if nobody waits.
func (s *Stream) decideLocked() chan<- struct{} {
	s.decided = true
	return s.signal
}

// wait waits until the call is decided, which it is at the latest when its context ends.
func (s *Stream) wait() (*mux.Inbound, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.decided {
		if s.signal == nil {
			s.signal = s.p.signals.get()
		}
		signal := s.signal
		s.waiting++
		s.mu.Unlock()
		if done := s.ctx.Done(); done == nil {
			<-signal // costs less than to select
		} else {
			select {
			case <-signal:
			case <-done:
				s.giveUp(ctxError(s.ctx))
				<-signal
			}
		}
		s.mu.Lock()
		if s.waiting--; s.waiting > 0 {
			signal <- struct{}{} // for the next of them
		} else {
			s.signal = nil
			s.p.signals.put(signal)
		}
	}
	return s.in, s.err
}

// fail ends the call unless it is decided, or cuts its reply.
func (s *Stream) fail(err error, ran Ran) {
	s.mu.Lock()
	if s.leaving != nil {
		err = s.leaving
	}
	var signal chan<- struct{}
	if !s.decided {
		s.err = s.what.failure(err, ran)
		signal = s.decideLocked()
	} else if s.err == nil {
		s.err = s.what.failure(err, RanMaybe)
	}
	in := s.in
	s.mu.Unlock()
	if signal != nil {
		signal <- struct{}{}
	}
	if in != nil {
		in.Fail(err)
	}
}

// ran is what can be said of a call that has no reply.
func (s *Stream) ran() Ran {
	if s.out.Started() {
		return RanMaybe
	}
	return RanNo
}

// lost ends a call whose connection is gone. A reply that has begun the connection has
// ended itself, unless all of it had arrived: then it can still be read.
func (s *Stream) lost(err error) {
	s.mu.Lock()
	begun := s.in != nil
	s.mu.Unlock()
	if !begun {
		s.fail(fmt.Errorf("%w: %w", ErrLost, err), s.ran())
	}
}

// giveUp ends a call whose caller no longer waits: what is unfinished is cut, and a
// peer that knows cancel is told (PROTOCOL 4.9, 3.7).
func (s *Stream) giveUp(why error) {
	s.mu.Lock()
	if s.leaving == nil {
		s.leaving = why
	}
	s.mu.Unlock()
	s.abort("cancelled by the caller") // nothing happens after its EOF
	s.fail(why, s.ran())
	s.release(true)
}

// abort cuts a request that has not ended. A peer that would take it for complete then
// loses the connection instead.
func (s *Stream) abort(text string) {
	if ended, _ := s.out.Ended(); !ended && s.p.dialect.original(s.what.original()) && s.out.Started() {
		s.p.conn.Close()
		return
	}
	s.out.Abort(text)
}

// release takes the call out of the peer's tables, once; cancel says whether the
// peer may be told to stop.
func (s *Stream) release(cancel bool) {
	s.mu.Lock()
	in, stop := s.in, s.stop
	s.mu.Unlock()
	if stop != nil {
		stop()
	}
	if s.what.done != nil {
		s.what.done()
	}
	if s.left.Load() && in != nil && cancel {
		in.Discard() // it left when its whole reply came
	}
	if !s.p.leave(s) {
		return
	}
	if ended, err := s.out.Ended(); !ended {
		s.abort("the reply has ended")
	} else if err == nil && cancel && s.id != 0 && (in == nil || !in.Complete()) {
		s.p.cancel(s.id)
	}
	if in != nil {
		in.Discard()
	}
}
