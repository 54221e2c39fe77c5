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
	Envelope string                     // format of the body, if it differs from the request's
	Extra    map[string]json.RawMessage // further members of the header

	r *serving

	out     mux.Outbound
	data    []byte
	set     bool // SetBytes was called
	begun   bool // the header was sent
	failure error
}

var errReplyBegun = errors.New("scamp: the reply has begun: its body was set or written already")

// SetBytes makes b the whole body of the reply. It is sent when the handler returns
// and must not be changed after that: it is the bus's until it was written.
func (w *ReplyWriter) SetBytes(b []byte) error {
	if w.begun || w.set {
		return errReplyBegun
	}
	w.data, w.set = b, true
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
	n, err := w.out.Write(&w.r.ctx, b)
	if err != nil {
		w.failure = w.cause(err)
		return n, w.failure
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
	if why := w.r.ctx.why(); why != nil {
		return why
	}
	return fmt.Errorf("scamp: reply: %w", err)
}

// begin sends the header of a reply whose body is written piece by piece.
func (w *ReplyWriter) begin() error {
	switch {
	case w.failure != nil:
		return w.failure
	case w.set:
		return errReplyBegun
	case w.begun:
		return nil
	}
	if !w.r.start() {
		w.failure = w.cause(errors.New("given up"))
		return w.failure
	}
	h := w.header()
	if err := w.send(&h, mux.Body{More: true}); err != nil {
		w.failure = w.cause(err)
	}
	return w.failure
}

// send hands the reply to the connection. Whoever gave the request up meanwhile did
// not see it there, so that is looked at here.
func (w *ReplyWriter) send(h *packet.Header, body mux.Body) error {
	w.begun = true
	w.out.Init(w.r.p.conn, h, body, nil)
	if err := w.r.p.conn.SendOutbound(&w.out); err != nil {
		return err
	}
	w.r.sent.Store(true)
	if why := w.r.ctx.why(); why != nil {
		w.out.Abort(txerrFor(why))
		return why
	}
	return nil
}

func (w *ReplyWriter) header() packet.Header {
	return packet.Header{Type: packet.TypeReply, ID: w.r.in.Header.ID, Envelope: w.Envelope, Extra: w.Extra}
}

// finish ends the reply when the handler has returned err.
func (w *ReplyWriter) finish(err error) {
	if err == nil {
		err = w.failure
	}
	if w.begun {
		if err != nil {
			w.out.Abort(txerrFor(err))
			return
		}
		w.out.CloseSend()
		// Octets that wait for the caller's window go on waiting here; the sweep
		// ends that when nothing moves.
		w.out.Wait(&w.r.ctx, "service gave up: the caller takes nothing")
		return
	}
	if !w.r.start() {
		return // the sweep or a cancel has answered already
	}
	h := w.header()
	body := mux.Body{Data: w.data}
	if err != nil {
		body.Data = nil
		h.Extra = nil
		errorHeader(&h, err)
	}
	if w.send(&h, body) != nil {
		return
	}
	w.out.Wait(&w.r.ctx, "service gave up: the caller takes nothing")
}

// txerrFor is the text of a TXERR: never empty, never "0" (PROTOCOL 4.1).
func txerrFor(err error) string {
	var re *RemoteError
	text := err.Error()
	if errors.As(err, &re) {
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
