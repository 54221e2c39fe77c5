package scamp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// A Stream is one call as two streams of octets: the request's body out, the
// reply's body in. Bus.Stream and Client.Stream open one; it must be ended by
// reading the reply to its end, or by Close.
//
// One goroutine may write while another reads; Abort and Close may be called by any.
type Stream struct {
	// Set before the request is sent, never changed.
	p        *peer
	ctx      context.Context
	what     attempt
	began    time.Duration // on the clock of p.conn
	total    time.Duration // N + 5 until the reply's header; zero if none
	progress time.Duration // rpc.timeout; zero if the caller's deadline bounds it all

	out  mux.Outbound
	done chan struct{} // closed when in or err is set

	// Protected by p.mu.
	id         uint64 // request id, zero until the HEADER is written
	left       bool   // out of the peer's tables
	prev, next *Stream
	linked     bool

	mu      sync.Mutex // protects what follows
	in      *mux.Inbound
	err     error       // why the call failed, a *CallError
	decided bool        // done is closed
	stop    func() bool // ends the watch on ctx; nil if nobody watches yet
}

// attempt names what a Stream is for, in errors.
type attempt struct {
	action   string // sector:Class.name~version
	instance string // ident and address
	ident    string
	number   int
}

// open sends a request on p and returns its Stream. It does not wait.
func (p *peer) open(ctx context.Context, h *packet.Header, body mux.Body, what attempt, times callTimes) (*Stream, error) {
	s := &Stream{p: p, ctx: ctx, what: what, done: make(chan struct{}), total: times.total, progress: times.progress}
	s.began = p.conn.Now()
	if _, ok := ctx.Deadline(); ok {
		s.progress = 0 // an explicit deadline of the caller is a total
	}
	if !p.join(s) {
		return nil, s.failure(errors.Join(ErrLost, p.conn.Err()), RanNo)
	}
	s.out.Init(p.conn, h, body, s)
	if err := p.conn.SendOutbound(&s.out); err != nil {
		p.leave(s)
		return nil, s.failure(fmt.Errorf("%w: %w", ErrLost, err), RanNo)
	}
	if body.More {
		s.watch()
	}
	return s, nil
}

// watch makes the call end with its context, whatever waits for it. A call that is
// sent at once and waits in Reply sees its context there.
func (s *Stream) watch() {
	stop := context.AfterFunc(s.ctx, func() { s.giveUp(context.Cause(s.ctx)) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop == nil {
		s.stop = stop
		return
	}
	stop()
}

// callTimes bound a call beside its context (PROTOCOL 4.9).
type callTimes struct {
	total    time.Duration
	progress time.Duration
}

// Prepare is called by the connection when the request's turn has come.
func (s *Stream) Prepare(h *packet.Header) bool {
	p := s.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.left {
		return false
	}
	p.lastID++
	s.id = p.lastID
	p.pending[s.id] = s
	h.ID = packet.NumberID(s.id)
	if ms, ok := s.remaining(); ok {
		h.Ext.V, h.Ext.MS = 1, ms
	}
	return true
}

// remaining is the time the caller has left, for the service to know.
func (s *Stream) remaining() (milliseconds int64, ok bool) {
	left := time.Duration(0)
	if at, has := s.ctx.Deadline(); has {
		left, ok = time.Until(at), true
	} else if s.total > 0 {
		left, ok = s.began+s.total-s.p.conn.Now(), true
	}
	return max(int64(left/time.Millisecond), 1), ok
}

// deliver hands over the reply's header. The reader's goroutine calls it.
func (s *Stream) deliver(m *mux.Inbound) {
	s.mu.Lock()
	if s.decided {
		s.mu.Unlock()
		m.Discard()
		return
	}
	s.in, s.decided = m, true
	s.mu.Unlock()
	close(s.done)
}

// fail ends the call unless it is decided, or cuts its reply.
func (s *Stream) fail(err error, ran Ran) {
	s.mu.Lock()
	if !s.decided {
		s.err, s.decided = s.failure(err, ran), true
		close(s.done)
	} else if s.err == nil {
		s.err = s.failure(err, RanMaybe)
	}
	in := s.in
	s.mu.Unlock()
	if in != nil {
		in.Fail(err)
	}
}

func (s *Stream) failure(err error, ran Ran) *CallError {
	return &CallError{Action: s.what.action, Instance: s.what.instance, Attempts: s.what.number, Ran: ran, Err: err}
}

// giveUp ends a call whose caller no longer waits: what is unfinished is cut, and a
// peer that knows cancel is told (PROTOCOL 4.9, 3.7).
func (s *Stream) giveUp(why error) {
	s.out.Abort("cancelled by the caller") // nothing happens after its EOF
	ran := RanNo
	if s.out.Started() {
		ran = RanMaybe
	}
	if errors.Is(why, context.DeadlineExceeded) {
		why = fmt.Errorf("%w: %w", ErrTimeout, why)
	}
	s.fail(why, ran)
	s.release(true)
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
	if !s.p.leave(s) {
		return
	}
	if ended, err := s.out.Ended(); !ended {
		s.out.Abort("the reply has ended")
	} else if err == nil && cancel && s.id != 0 && s.p.conn.PeerCancels() && (in == nil || !in.Complete()) {
		s.p.sendCancel(s.id)
	}
	if in != nil {
		in.Discard()
	}
}

// Write sends octets of the request's body and returns when they are on their way.
func (s *Stream) Write(b []byte) (int, error) {
	n, err := s.out.Write(s.ctx, b)
	if err == nil {
		return n, nil
	}
	if why := s.why(); why != nil {
		return n, why
	}
	return n, s.failure(fmt.Errorf("request body: %w", err), RanMaybe)
}

func (s *Stream) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// CloseSend ends the request's body. A handler sees the end of its Body.
func (s *Stream) CloseSend() error {
	if err := s.out.CloseSend(); err != nil {
		if why := s.why(); why != nil {
			return why
		}
		return s.failure(fmt.Errorf("request body: %w", err), RanMaybe)
	}
	return nil
}

// Abort ends the request's body as broken, with a text for the service. The service
// does not take what it got for complete; the reply still comes.
func (s *Stream) Abort(text string) {
	if text == "" || text == "0" {
		text = "aborted by the caller"
	}
	s.out.Abort(text)
}

// Reply waits for the header of the reply. An error reply is an error here.
func (s *Stream) Reply() (*Reply, error) {
	select {
	case <-s.done:
	case <-s.ctx.Done():
		s.giveUp(context.Cause(s.ctx))
		<-s.done
	}
	s.mu.Lock()
	in, err := s.in, s.err
	s.mu.Unlock()
	if err != nil {
		s.release(true)
		return nil, err
	}
	if err := replyError(&in.Header); err != nil {
		ran := RanYes
		if in.Header.DispatchFailure() {
			ran = RanNo
		}
		failed := s.failure(err, ran)
		if ran == RanNo {
			failed.Err = fmt.Errorf("%w: %w", ErrRefused, err)
		}
		s.release(false)
		return nil, failed
	}
	if in.Header.Bad != "" {
		s.release(false)
		return nil, s.failure(fmt.Errorf("%w: member %q of its header has an unusable type", errBadReply, in.Header.Bad), RanYes)
	}
	if !in.Complete() {
		s.watch()
	}
	return &Reply{Envelope: in.Header.Envelope, Extra: in.Header.Extra, Instance: s.what.ident, Body: s, s: s}, nil
}

// replyError is the error a reply's header carries, nil if none (PROTOCOL 5.2).
func replyError(h *packet.Header) *RemoteError {
	if h.ErrorCode == "" && h.Error == "" {
		return nil
	}
	return &RemoteError{Code: h.ErrorCode, Text: h.Error, Data: h.ErrorData}
}

// Read reads the reply's body; it waits for the reply first. At the end it returns
// io.EOF. A reply that breaks off is an error, never a short body.
func (s *Stream) Read(b []byte) (int, error) {
	in, err := s.body()
	if err != nil {
		return 0, err
	}
	n, err := in.Read(b)
	return n, s.bodyEnd(err)
}

// WriteTo writes the reply's body to w as it arrives.
func (s *Stream) WriteTo(w io.Writer) (int64, error) {
	in, err := s.body()
	if err != nil {
		return 0, err
	}
	n, err := in.WriteTo(w)
	if err == nil {
		s.release(false)
		return n, nil
	}
	if s.brokeOff(err) {
		return n, s.bodyEnd(err)
	}
	return n, err
}

// brokeOff says whether err came from the connection and not from a writer.
func (s *Stream) brokeOff(err error) bool {
	var tx *mux.TXERR
	return s.why() != nil || errors.As(err, &tx) || errors.Is(err, mux.ErrLost) || errors.Is(err, mux.ErrWindow)
}

func (s *Stream) body() (*mux.Inbound, error) {
	s.mu.Lock()
	in, err := s.in, s.err
	s.mu.Unlock()
	if in == nil && err == nil {
		if _, err := s.Reply(); err != nil {
			return nil, err
		}
		return s.body()
	}
	return in, err
}

// bodyEnd makes of the end of a body what the caller sees.
func (s *Stream) bodyEnd(err error) error {
	switch {
	case err == nil:
		return nil
	case err == io.EOF:
		s.release(false)
		return io.EOF
	}
	if why := s.why(); why != nil {
		return why
	}
	s.release(false)
	return s.failure(bodyCause(err), RanMaybe)
}

// bodyCause names why a reply broke off.
func bodyCause(err error) error {
	var tx *mux.TXERR
	switch {
	case errors.As(err, &tx):
		return fmt.Errorf("%w: %s", errTXERR, clean(tx.Text))
	case errors.Is(err, mux.ErrLost):
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return err
}

// bytes is Reply.Bytes.
func (s *Stream) bytes(limit int) ([]byte, error) {
	if limit == 0 {
		limit = s.p.limits.MaxBody
	}
	in, err := s.body()
	if err != nil {
		return nil, err
	}
	b, err := in.Bytes(limit)
	if errors.Is(err, mux.ErrTooBig) {
		s.release(true)
		return nil, s.failure(fmt.Errorf("reply body: longer than %d octets; read Body as a stream, or raise flow.max_body", limit), RanYes)
	}
	if err != nil {
		return nil, s.bodyEnd(err)
	}
	s.release(false)
	return b, nil
}

// Close gives up what is left of the call: the service is told to stop. After the
// reply was read to its end it does nothing.
func (s *Stream) Close() error {
	s.mu.Lock()
	if !s.decided {
		s.err, s.decided = s.failure(errors.New("closed by the caller"), RanMaybe), true
		close(s.done)
	}
	s.mu.Unlock()
	s.release(true)
	return nil
}

// expiry says when the call ends by itself, on the clock of p.conn, and whether ever.
func (s *Stream) expiry() (time.Duration, bool) {
	s.mu.Lock()
	in := s.in
	s.mu.Unlock()
	if in == nil {
		if s.total > 0 {
			return s.began + s.total, true
		}
		return max(s.began, s.out.Progress()) + s.progress, s.progress > 0
	}
	// The reply is under way. A slow reader of ours is not the peer's fault, and a
	// peer of ours may be quiet for as long as it lives.
	if s.progress == 0 && s.total == 0 || s.p.conn.PeerExt() {
		return 0, false
	}
	if in.Unread() > 0 {
		return s.p.conn.Now() + s.p.limits.RPCTimeout, true
	}
	return in.Progress() + s.p.limits.RPCTimeout, true
}

// expire ends a call whose time is over. It is not known whether it ran.
func (s *Stream) expire() {
	silent := s.p.conn.LastRead() < s.began
	s.giveUp(fmt.Errorf("%w: RPC timeout, no progress from the service", ErrTimeout))
	if silent {
		s.p.retire()
	}
}
