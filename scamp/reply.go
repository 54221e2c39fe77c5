package scamp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// A ReplyWriter is where a handler puts its reply. The header's fields may be set
// until the first Write, ReadFrom or SetBytes. It is valid until the handler returns
// and is for one goroutine.
type ReplyWriter struct {
	Envelope string // format of the body, if it differs from the request's
	Extra    Extra  // further members of the header

	ctx   *requestContext
	body  *replying // what the handler gives as octets; nil for a direct call
	typed bool      // of a direct call
	set   bool      // SetBytes was called
	begun bool      // the header was sent, the body is written piece by piece
}

// A replying is the body of a reply as far as its handler has given it.
type replying struct {
	log *logger       // of the service; never changed
	out *mux.Outbound // the reply that is written piece by piece, once it has begun

	// Held while the reply begins, and protects what follows: a handler may have goroutines
	// that go on.
	mu      sync.Mutex
	r       *serving // nil when the handler has returned
	data    []byte
	failure error
	wrote   int64 // octets, piece by piece
}

// given is the body of the reply. A handler that is called without a service has one too.
func (w *ReplyWriter) given() *replying {
	if w.body == nil {
		w.body = new(replying)
	}
	return w.body
}

// log is that of the service; nil for a direct call, and when somebody calls a handler
// without a service.
func (w *ReplyWriter) log() *logger {
	if w == nil || w.body == nil {
		return nil
	}
	return w.body.log // not that of its serving, which may be another's by now
}

// logText is Limits.LogText of the service.
func (w *ReplyWriter) logText() int {
	if l := w.log(); l != nil {
		return l.text
	}
	return 128
}

// size is how many octets of the body the handler has given.
func (w *ReplyWriter) size() int64 {
	if w.body == nil {
		return 0
	}
	w.body.mu.Lock()
	defer w.body.mu.Unlock()
	return w.body.wrote + int64(len(w.body.data))
}

var errReplyBegun = errors.New("scamp: the reply has begun: its body was set or written already")

// SetBytes makes b the whole body of the reply. It is sent when the handler returns
// and must not be changed after that: it is the bus's until it was written.
func (w *ReplyWriter) SetBytes(b []byte) error {
	if !w.typed {
		g := w.given()
		g.mu.Lock()
		defer g.mu.Unlock()
	}
	if w.begun || w.set {
		return errReplyBegun
	}
	w.set = true
	if !w.typed {
		w.body.data = b
	}
	return nil
}

// SetJSON makes the JSON form of v the whole body of the reply.
func (w *ReplyWriter) SetJSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return &RemoteError{Code: CodeInternal, Text: "reply body: " + err.Error()}
	}
	return w.SetBytes(b)
}

// Write sends octets of the body and returns when they are on their way: a caller
// that reads slowly makes it wait. It fails when the caller has gone, or has made no
// progress for the stall time.
func (w *ReplyWriter) Write(b []byte) (int, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	g := w.body
	n, err := g.out.Write(w.ctx, b)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wrote += int64(n)
	if err != nil {
		g.failure = w.cause(err)
		return n, g.failure
	}
	return n, nil
}

// ReadFrom sends what r holds, chunk by chunk, until its end.
func (w *ReplyWriter) ReadFrom(r io.Reader) (total int64, err error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	buf := bodyBuffers.Get().(*[]byte)
	defer bodyBuffers.Put(buf)
	for {
		n, rerr := r.Read(*buf)
		if n > 0 {
			written, err := w.Write((*buf)[:n])
			total += int64(written)
			if err != nil {
				return total, err
			}
		}
		if rerr == io.EOF {
			return total, nil
		}
		if rerr != nil {
			return total, rerr
		}
	}
}

// bodyBuffers are for copying bodies: plain octets.
var bodyBuffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// cause prefers why the request was given up over how that showed.
func (w *ReplyWriter) cause(err error) error {
	if why := w.ctx.why(); why != nil {
		return why
	}
	return fmt.Errorf("scamp: reply: %w", err)
}

// begin sends the header of a reply whose body is written piece by piece.
func (w *ReplyWriter) begin() error {
	if w.typed {
		w.set = true // the call fails, as it would where the octets went out
		return errReplyTyped
	}
	g := w.given()
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.r
	switch {
	case r == nil:
		return errReplyOver
	case g.failure != nil:
		return g.failure
	case w.set:
		return errReplyBegun
	case w.begun:
		return nil
	}
	if g.failure = w.check(); g.failure != nil {
		return g.failure // finish answers with it
	}
	if !r.start(r.p.conn.Now()) {
		g.failure = w.cause(errReplyGiven)
		return g.failure
	}
	w.begun = true
	g.out = new(mux.Outbound) // never another's: it may be written to for too long
	h := w.header(r)
	if err := r.send(g.out, &h, mux.Body{More: true}); err != nil {
		g.failure = w.cause(err)
	}
	return g.failure
}

var errReplyHeader = &RemoteError{Code: CodeInternal, Text: "the header of the reply is too long"}

var (
	errReplyGiven = errors.New("answered in the handler's stead")
	errReplyTyped = errors.New("scamp: the reply of a typed handler is what it returns: want nothing written to it")
	errReplyOver  = errors.New("scamp: the reply is over: its handler has returned")
)

// hasBegun says whether the header of the reply was sent.
func (w *ReplyWriter) hasBegun() bool {
	w.body.mu.Lock()
	defer w.body.mu.Unlock()
	return w.begun
}

// check refuses a header that could not be written as the handler set it.
func (w *ReplyWriter) check() error {
	if len(w.Extra) == 0 {
		return nil
	}
	if err := packet.CheckExtra(w.Extra); err != nil {
		return &RemoteError{Code: CodeInternal, Text: "reply header: " + err.Error()}
	}
	return nil
}

// send hands the reply to the connection. A header that is too long is answered with
// an error of ours; what cannot be sent otherwise ends the connection: no request stays
// without a reply while it lives.
func (r *serving) send(out *mux.Outbound, h *packet.Header, body mux.Body) error {
	p := r.p
	out.Init(p.conn, body, nil)
	r.out = out
	err := p.conn.SendOutbound(out, h)
	switch {
	case errors.Is(err, mux.ErrHeaderTooBig):
		if h.ErrorCode == "" {
			*h = packet.Header{Type: packet.TypeReply, ID: h.ID}
			errorHeader(h, errReplyHeader)
		}
		p.answer(h, nil)
		return err
	case err != nil:
		if !errors.Is(err, mux.ErrClosed) {
			p.conn.Close()
		}
		return err
	}
	r.sent.Store(true)
	// Whoever gave the request up meanwhile did not see the reply, so that is looked
	// at here.
	if why := r.given.ctx.why(); why != nil {
		out.Abort(txerrFor(why))
		return why
	}
	return nil
}

func (w *ReplyWriter) header(r *serving) packet.Header {
	return packet.Header{Type: packet.TypeReply, ID: r.in.Header.ID, Envelope: w.Envelope, Extra: w.Extra}
}

// finish ends the reply when the handler has returned err. Octets that wait for the
// caller's window go on waiting; the peer's sweep ends that when nothing moves.
func (w *ReplyWriter) finish(err error) {
	g := w.body
	g.mu.Lock()
	r := g.r
	g.r = nil
	if err == nil {
		err = g.failure
	}
	begun, data := w.begun, g.data
	g.mu.Unlock()
	switch {
	case begun && !r.sent.Load():
		return // it could not be sent
	case begun && err != nil:
		g.out.Abort(txerrFor(err))
		return
	case begun:
		g.out.CloseSend()
		return
	}
	if err == nil {
		err = w.check()
	}
	// A short reply does not wait but for a connection that takes nothing: then this is
	// late enough.
	now := r.p.conn.LastIO()
	if len(data) > smallBody {
		now = r.p.conn.Now()
	}
	if !r.start(now) {
		return // the sweep or a cancel has answered already
	}
	h := w.header(r)
	body := mux.Body{Data: data}
	if err != nil {
		h = packet.Header{Type: packet.TypeReply, ID: h.ID}
		errorHeader(&h, err)
		if _, ok := errors.AsType[notRun](err); ok && r.p.conn.PeerExt() {
			h.ErrorData = dispatchFailureData
		}
		body.Data = nil
	}
	r.send(&r.own, &h, body)
}

// txerrFor is the text of a TXERR: never empty, never "0" (PROTOCOL 4.1).
func txerrFor(err error) string {
	text := err.Error()
	if re, ok := errors.AsType[*RemoteError](err); ok && !passedOn(err, re) {
		text = re.code() + ": " + re.text()
	}
	if text == "" || text == "0" {
		text = "the handler failed"
	}
	if len(text) > maxErrorText {
		text = text[:maxErrorText]
	}
	return text
}
