package scamp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// Write sends octets of the request's body and returns when they are on their way. It
// waits while the service takes nothing.
func (s *Stream) Write(b []byte) (int, error) {
	n, err := s.out.Write(s.ctx, b)
	if err != nil {
		err = s.sendError(err)
	}
	return n, err
}

// CloseSend ends the request's body. A handler sees the end of its Body.
func (s *Stream) CloseSend() error {
	if err := s.out.CloseSend(); err != nil {
		return s.sendError(err)
	}
	return nil
}

// sendError says why no more of the request can be sent.
func (s *Stream) sendError(err error) error {
	if s.ctx.Err() != nil {
		s.giveUp(ctxError(s.ctx))
	}
	if why := s.why(); why != nil {
		return why
	}
	if errors.Is(err, mux.ErrLost) {
		err = fmt.Errorf("%w: %w", ErrLost, err)
	}
	return s.what.failure(fmt.Errorf("request body: %w", err), RanMaybe)
}

func (s *Stream) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Abort ends the request's body as broken, with a text for the service. The service
// does not take what it got for complete: its handler's context ends, and the reply is an
// error or breaks off. If nothing of the request was sent yet, the call fails with RanNo.
func (s *Stream) Abort(text string) {
	if text == "" || text == "0" {
		text = "aborted by the caller"
	}
	s.abort(text)
	if ended, err := s.out.Ended(); ended && errors.Is(err, mux.ErrAborted) && !s.out.Started() {
		s.fail(errStreamAborted, RanNo) // nothing of it was sent, so nobody answers
		s.release(false)
	}
}

var errStreamAborted = errors.New("aborted by the caller before it was sent")

// Reply waits for the header of the reply. An error reply is an error here, as is one
// that broke off before its first octet.
func (s *Stream) Reply() (*Reply, error) {
	in, err := s.wait()
	if err == nil && !s.judged.Load() {
		if err = s.judge(in); err == nil {
			s.judged.Store(true)
		} else {
			err = s.stays(err)
		}
	}
	if err != nil {
		s.release(in == nil) // a reply that has come needs no cancel
		if in != nil {
			in.Discard() // also one that came whole: nobody reads it
		}
		return nil, err
	}
	if !in.Complete() {
		s.watch()
	}
	r := &Reply{Envelope: in.Header.Envelope, Extra: in.Header.Extra, Instance: s.what.name(), Body: s}
	r.body.s = s
	return r, nil
}

// stays has the call fail with err, also for those who read it later: a body that nobody
// may take for a reply must not look like an empty one. What was first counts.
func (s *Stream) stays(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	return s.err
}

// deadlineRace is how long before the caller's own deadline the service may end a
// handler for it: the time that is left travels in whole milliseconds.
const deadlineRace = 20 * time.Millisecond

// judge says whether the header of a reply means that the call failed (PROTOCOL 5.2,
// 5.5).
func (s *Stream) judge(in *mux.Inbound) error {
	h := &in.Header
	what := s.what
	_, end := s.out.Ended()
	aborted := errors.Is(end, mux.ErrAborted)
	if aborted {
		what.balance = nil // who refuses what was taken back is none to be avoided
	}
	if err := what.refusal(s.ctx, h); err != nil {
		if ce, ok := errors.AsType[*CallError](err); ok && aborted {
			ce.Advice = adviceGivenUp
		}
		return err
	}
	if h.Bad != "" {
		return s.what.failure(fmt.Errorf("%w: member %q of its header has an unusable type", ErrBadReply, h.Bad), RanYes)
	}
	if in.Whole() {
		return nil
	}
	if err := in.Broken(); err != nil && in.Unread() == 0 {
		return s.what.failure(s.bodyCause(err), RanMaybe)
	}
	return nil
}

// refusal is the error that the header of a reply makes of the call, nil if none.
func (a *attempt) refusal(ctx context.Context, h *packet.Header) error {
	err := replyError(h)
	switch {
	case err == nil:
		return nil
	case h.DispatchFailure():
		a.refused(err.Code)
		return a.failure(fmt.Errorf("%w: %w", ErrRefused, err), RanNo)
	}
	if at, ok := ctx.Deadline(); ok && errors.Is(err, ErrTimeout) && time.Until(at) < deadlineRace {
		// The service knows our deadline and was a moment faster to say so.
		return a.failure(fmt.Errorf("%w: %w", ErrTimeout, context.DeadlineExceeded), RanYes)
	}
	return a.failure(err, RanYes)
}

// replyError is the error a reply's header carries, nil if none (PROTOCOL 5.2).
func replyError(h *packet.Header) *RemoteError {
	code, text, failed := h.Failure()
	if !failed {
		return nil
	}
	return &RemoteError{Code: code, Text: text, Data: h.ErrorData}
}

// A callBody is the Body of the reply to a Call: whoever has the reply has the only way
// to its Stream, which serves another call when the reply was taken as a whole.
type callBody struct {
	mu    sync.Mutex
	s     *Stream // nil when it serves another, or never was one
	users int
}

// use returns the Stream, which stays until leave; nil if it is gone.
func (b *callBody) use() *Stream {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.s != nil {
		b.users++
	}
	return b.s
}

// leave ends a use. When that took the whole reply, nobody needs the Stream any more.
func (b *callBody) leave(whole bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.users--; whole && b.users == 0 {
		b.s.finished()
		b.s = nil
	}
}

func (b *callBody) Read(p []byte) (int, error) {
	s := b.use()
	if s == nil {
		return 0, io.EOF
	}
	defer b.leave(false)
	return s.Read(p)
}

func (b *callBody) WriteTo(w io.Writer) (int64, error) {
	s := b.use()
	if s == nil {
		return 0, nil
	}
	defer b.leave(false)
	return s.WriteTo(w)
}

func (b *callBody) Close() error {
	s := b.use()
	if s == nil {
		return nil
	}
	defer b.leave(false)
	return s.Close()
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
	return s.why() != nil || errors.As(err, &tx) || errors.Is(err, mux.ErrLost) || errors.Is(err, mux.ErrWindow) ||
		errors.Is(err, mux.ErrDiscarded) || errors.Is(err, errStreamClosed)
}

// body is the body of a reply that is none of a failure. It waits for the reply first.
func (s *Stream) body() (*mux.Inbound, error) {
	if !s.judged.Load() { // also when its header is there
		if _, err := s.Reply(); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.in, s.err
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
	return s.what.failure(s.bodyCause(err), RanMaybe)
}

// bodyCause names why a reply broke off.
func (s *Stream) bodyCause(err error) error {
	var tx *mux.TXERR
	switch {
	case errors.As(err, &tx):
		return fmt.Errorf("%w: %s", ErrBroken, clean(tx.Text))
	case errors.Is(err, mux.ErrLost):
		s.p.mu.Lock()
		why := cmp.Or(s.p.stopped, err) // as endAll tells those that wait for their reply
		s.p.mu.Unlock()
		return fmt.Errorf("%w: %w", ErrLost, why)
	case errors.Is(err, mux.ErrDiscarded):
		return errStreamClosed
	}
	return err
}

// bytes is Reply.Bytes.
func (s *Stream) bytes(limit int) ([]byte, error) {
	ours := limit == 0
	if ours {
		limit = s.p.limits.MaxBody
	}
	in, err := s.body()
	if err != nil {
		return nil, err
	}
	var b []byte
	if in.Whole() {
		b, err = in.Bytes(limit) // they are there, and the caller's from now on
	} else {
		whole := collector{p: s.p}
		b, err = in.Collect(limit, whole.take)
		whole.release()
	}
	if errors.Is(err, mux.ErrHeld) {
		s.release(true)
		return nil, s.what.failure(fmt.Errorf("reply body: %w", err), RanYes)
	}
	if errors.Is(err, mux.ErrTooBig) {
		if ours { // else it is the caller's limit
			s.p.log.count("body_too_big")
		}
		s.release(true)
		return nil, s.what.failure(&tooLong{limit, ours}, RanYes)
	}
	if err != nil {
		return nil, s.bodyEnd(err)
	}
	s.release(false)
	return b, nil
}

// Close gives up what is left of the call: the service is told to stop. After the
// reply was read to its end it does nothing. It never fails.
func (s *Stream) Close() error {
	s.mu.Lock()
	decided, in := s.decided, s.in
	s.mu.Unlock()
	if decided {
		if in != nil && !in.Complete() {
			in.Fail(errStreamClosed) // before the service is told, which answers that it was cancelled
		}
		s.release(true)
	} else {
		s.giveUp(errStreamClosed)
	}
	return nil
}

var errStreamClosed = errors.New("closed by the caller")
