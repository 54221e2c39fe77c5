package scamp

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// A direct is a typed call of an action that this process serves with the very same
// types: its input and output are Go values that pass as they are. All else is as over
// a connection: it takes a place among the handlers, tickets are checked, its time ends
// it, it is waited for when the service stops. It begins only when it can run at once; if
// not, or if anybody is to see its octets, the call takes the connection within the
// process (openLocal), where requests wait and are refused as those of others.
//
// A call whose context can end runs its handler on a goroutine of its own, so that it
// returns at its end whatever the handler does. Any other runs it on the goroutine of
// the caller, for the way to another one and back would take longer than all the rest.
//
//	        handler returned, time over, caller gone, service closed
//	running ------------------------------------------------------> settled, by the first of these
type direct struct {
	handling // what the handler gets; until then req is the caller's
	s        *intake
	action   *action
	life     requestContext // the handler's, if the caller's can end
	route    *RouteOptions  // of the caller's request

	limit      time.Duration // by when the reply must be there, on the clock of s
	prev, next *direct       // protected by dispatcher.mu

	done    chan struct{}              // gets one value when the call is settled; nil if the caller runs the handler
	settled atomic.Pointer[settlement] // nil while it runs, then it stays
	value   values                     // the typedCall it is part of
	came    []byte                     // its JSON, once somebody asked
	read    int                        // octets of its JSON, if the handler reads that
	bare    bool                       // nobody looks at the header of the reply
	passed  bool                       // the output is there, and the caller's
}

// A settlement is how a direct call ended.
type settlement struct {
	err  error // why the call fails
	lost bool  // err is not the service's answer
}

// succeeded is that of most of them.
var succeeded = new(settlement)

// values are the input and output of a typed call.
type values interface {
	encode() ([]byte, error) // the input as JSON
	fits(*action) bool       // its handler takes and gives the same types
	call() *direct
}

// A typedCall is all that a direct call needs but its context, in one allocation.
type typedCall[In, Out any] struct {
	direct
	in  In
	out Out // the handler's until passed is set
}

// A typedAction tells the types of an action from those of others.
type typedAction[In, Out any] struct{}

func (c *typedCall[In, Out]) encode() ([]byte, error) { return encode(c.req.Action, c.in) }

func (c *typedCall[In, Out]) fits(a *action) bool {
	_, ok := a.typed.(typedAction[In, Out])
	return ok
}

func (c *typedCall[In, Out]) call() *direct { return &c.direct }

// free says whether all of it can be used for another call: it went well, on the goroutine
// of its caller, and nobody can have kept any of it but the context.
func (d *direct) free() bool { return d.passed && d.done == nil && d.ctx.release() }

// direct makes a call whose values can pass as they are, if that is so; began says that
// it did.
func (b *Bus) direct(ctx context.Context, req *Request, what *attempt) (reply *Reply, began bool, err error) {
	if what.local == nil || what.number > 1 || ctx.Err() != nil {
		return nil, false, nil
	}
	s := what.local.s.intake
	a := s.find(what.route.Action, what.route.Version)
	ends := ctx.Done() != nil
	at, bounded := ctx.Deadline()
	if a == nil || !what.route.Rule || !req.values.fits(a) || bounded && !ends {
		return nil, false, nil
	}
	if !bounded {
		limit, _ := what.limit(&b.limits)
		if !what.start.IsZero() {
			limit -= time.Since(what.start)
		}
		if limit < s.timeFor(a) {
			return nil, false, nil // a connection watches over the caller's time
		}
	}
	if !a.takes(cmp.Or(req.Envelope, "json")) || req.long(what.route, &b.limits) {
		return nil, false, nil
	}
	d := req.values.call()
	d.s, d.action = s, a
	if ends {
		d.ctx, d.done = &d.life, b.pool.signals.get()
		d.ctx.deadline = at
	} else {
		d.ctx = new(requestContext) // it may be kept when the rest is used for another call
	}
	if !s.enter(d) {
		if ends {
			b.pool.signals.put(d.done)
		}
		return nil, false, nil
	}
	d.prepare(req, b)
	trace := traceFrom(ctx)
	if trace.Sent != nil {
		d.tell(trace.Sent)
	}
	began = true
	if ends {
		go d.run() // ends with the handler
		d.wait(ctx)
		b.pool.signals.put(d.done)
	} else {
		d.run()
	}
	if err := d.failure(ctx, what); err != nil {
		if ce, ok := errors.AsType[*CallError](err); ok && ce.Ran == RanNo {
			req.Route, req.Body = d.route, nil // the caller's again, for another attempt
		}
		return nil, true, err
	}
	d.passed = true
	if trace.Replied != nil {
		trace.Replied(s.now() - d.began())
	}
	if d.bare {
		return nil, true, nil
	}
	reply = &Reply{Envelope: cmp.Or(asWritten(d.rep.Envelope), "json"), Extra: cloneExtra(d.rep.Extra), Instance: what.name()}
	reply.Body = &reply.body
	return reply, true, nil
}

// cloneExtra is what would have been read from the wire.
func cloneExtra(x Extra) Extra {
	if len(x) == 0 {
		return nil
	}
	x = maps.Clone(x)
	for name, v := range x {
		x[name] = bytes.Clone(bytes.Trim(v, " \t\r\n"))
	}
	return x
}

// asWritten is text as a header carries it: each octet that is no UTF-8 becomes U+FFFD.
func asWritten(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	return string([]rune(text))
}

// asTicket is asWritten.
func asTicket(t Ticket) Ticket { return Ticket(asWritten(string(t))) }

// long says whether no connection would take the header of a request: then one is to say so.
func (r *Request) long(route discovery.Route, limits *Limits) bool {
	if len(r.Extra) == 0 && r.Ticket == "" && r.IdentifyingToken == "" && r.Terminal == "" {
		return false
	}
	var h packet.Header
	r.header(&h, route)
	_, fits := mux.HeaderFits(&h, limits.Packet.MaxHeaderSend)
	return !fits
}

// arrived is the header of an error reply as a connection would bring it.
func arrived(h *packet.Header, limits *Limits) *packet.Header {
	if _, fits := mux.HeaderFits(h, limits.Packet.MaxHeaderSend); !fits {
		shorten(h)
	}
	in := new(packet.Header)
	if packet.NewHeaderReader(limits.Packet).Parse(h.AppendTo(nil), in) != nil {
		return h // the limits are stranger than any text
	}
	return in
}

// tell runs a hook of the caller's. One that panics leaves no place taken behind.
func (d *direct) tell(hook func()) {
	told := false
	defer func() {
		if !told {
			d.end(errFailed)
			d.s.exit(d)
		}
	}()
	hook()
	told = true
}

// prepare makes the request that the handler gets.
func (d *direct) prepare(req *Request, b *Bus) {
	g := &d.handling
	g.ctx.given = g
	g.rep.ctx, g.rep.typed = g.ctx, true
	r := &g.req
	if req != r { // With made another
		*r = *req
	}
	r.Action, r.Sector, r.Version = d.action.name, d.action.sector, d.action.version
	r.Envelope = cmp.Or(r.Envelope, "json")
	r.Extra = cloneExtra(r.Extra)
	r.Ticket, r.IdentifyingToken, r.Terminal = asTicket(r.Ticket), asTicket(r.IdentifyingToken), asTicket(r.Terminal)
	d.route, r.Route = r.Route, nil
	r.Idempotent, r.Retry, r.whole = false, nil, false
	r.Caller, r.Remote, r.claims = nil, localAddr{}, nil // they may be those of the handler that calls
	if own := b.pool.own; own != nil {
		r.Caller = own.Certificate
	}
	r.guard = &d.s.guard
	r.Body = (*valueBody)(d)
}

// run runs the handler and ends the call.
func (d *direct) run() {
	returned := false
	defer func() {
		if !returned { // the handler has ended its goroutine (runtime.Goexit)
			msg := "handler ended its goroutine"
			if d.done == nil {
				msg = "handler ended its goroutine, which was that of its caller: want no runtime.Goexit, or a context with Done for the call"
			}
			d.s.log.fault("handler_panicked", msg, "action", d.action.name)
			d.end(errFailed)
		}
		d.s.exit(d)
	}()
	if !d.open() { // it was cut before its handler began: that is over for whoever waits
		returned = true
		return
	}
	err := d.handle()
	if why := d.ctx.why(); err != nil && why != nil {
		err = why
	}
	if err == nil {
		err = d.rep.check()
	}
	if err == nil && d.tooLong() {
		err = errReplyHeader
	}
	d.end(err)
	returned = true
}

// tooLong says whether no connection would take the header of the reply.
func (d *direct) tooLong() bool {
	if len(d.rep.Extra) == 0 && len(d.rep.Envelope) <= maxErrorCode {
		return false
	}
	h := packet.Header{Type: packet.TypeReply, Envelope: d.rep.Envelope, Extra: d.rep.Extra}
	_, fits := mux.HeaderFits(&h, d.s.limits.Packet.MaxHeaderSend)
	return !fits
}

// handle calls the handler; a panic becomes an error (PROTOCOL 12.2).
func (d *direct) handle() (err error) {
	defer func() {
		if v := recover(); v != nil {
			d.s.log.panicked(d.action.name, v)
			err = errFailed
		}
	}()
	return told(d.action.handler(d.ctx, &d.req, &d.rep))
}

// end is the handler's own outcome, unless another was given in its stead.
func (d *direct) end(err error) {
	d.settle(err, false)
	d.ctx.end(errHandlerDone)
}

// settle gives the call its outcome, and says whether it had none. The handler's context is
// ended behind it: a handler that notices that must not be first.
func (d *direct) settle(err error, lost bool) bool {
	end := succeeded
	if err != nil {
		end = &settlement{err, lost}
	}
	if !d.settled.CompareAndSwap(nil, end) {
		return false
	}
	if d.done != nil {
		d.done <- struct{}{}
	}
	return true
}

// open says whether the call has no outcome yet.
func (d *direct) open() bool { return d.settled.Load() == nil }

// cut ends the call in its handler's stead, which goes on until it notices; not if it has
// ended.
func (d *direct) cut(why error, lost bool) bool {
	if !d.settle(why, lost) {
		return false
	}
	d.ctx.end(why)
	return true
}

// wait waits for the outcome, at most until the caller's context ends.
func (d *direct) wait(ctx context.Context) {
	select {
	case <-d.done:
		return
	case <-ctx.Done():
	}
	if !d.settle(ctxError(ctx), true) {
		<-d.done
		return
	}
	if ctx.Err() == context.DeadlineExceeded {
		d.ctx.end(errServiceTime)
	} else {
		d.ctx.end(errCancelled)
	}
	<-d.done
}

// failure is the error of the call as its caller sees it, nil if it has none.
func (d *direct) failure(ctx context.Context, what *attempt) error {
	end := d.settled.Load()
	switch {
	case end.err == nil:
		return nil
	case end.lost:
		return what.failure(end.err, RanMaybe)
	}
	h := packet.Header{Type: packet.TypeReply}
	errorHeader(&h, end.err)
	if _, ok := errors.AsType[notRun](end.err); ok {
		h.ErrorData = dispatchFailureData // as ReplyWriter.finish
	}
	return what.refusal(ctx, arrived(&h, d.s.limits))
}

// json is the value as octets.
func (d *direct) json() ([]byte, error) {
	if d.came == nil {
		b, err := d.value.encode()
		if err != nil {
			return nil, err
		}
		d.came = b
	}
	return d.came, nil
}

// A valueBody is the Body of a request whose value passed as it is: JSON, if anybody reads.
type valueBody direct

func (v *valueBody) Read(p []byte) (int, error) {
	b, err := (*direct)(v).json()
	if err != nil {
		return 0, &RemoteError{Code: CodeBadRequest, Text: err.Error()}
	}
	if v.read == len(b) {
		return 0, io.EOF
	}
	n := copy(p, b[v.read:])
	v.read += n
	return n, nil
}
