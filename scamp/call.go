package scamp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/scampbus/scamp-go/discovery"
)

// Call sends one request to an instance that offers the action and returns when the
// reply's header is there. It is safe for concurrent use.
//
// Without a deadline in ctx the call ends after rpc.timeout (75 s) without progress,
// or N + 5 seconds if the action is announced with a flag tN and its reply has not begun
// (PROTOCOL 4.9). A reply that has begun breaks off after rpc.timeout in which nothing came
// and nothing of it was left to read, but not where a heartbeat shows that the service
// lives: one of ours, one that has sent PING, or any with beepish.heartbeat. A deadline in
// ctx, however far, replaces all of these. A request
// that provably did not run is sent once more, to another instance if there is one.
// Every error of a request that could be sent is a *CallError, whose Ran says whether
// it may have run.
func (b *Bus) Call(ctx context.Context, req *Request) (*Reply, error) {
	_, reply, err := b.do(ctx, req, false)
	return reply, err
}

// Stream opens a call whose request body the caller writes piece by piece. The
// request's own Data, Body and GetBody must be empty. It returns when the request was
// handed to a connection; Stream.Reply waits for the reply. A Stream is sent once, whatever
// Idempotent and Retry say: what was written cannot be written again.
func (b *Bus) Stream(ctx context.Context, req *Request) (*Stream, error) {
	if req.Data != nil || req.Body != nil || req.GetBody != nil {
		req.closeBody()
		return nil, errStreamBody
	}
	s, _, err := b.do(ctx, req, true)
	return s, err
}

var errStreamBody = errors.New("scamp: stream: the request has a body of its own; want it written to the stream")

// do finds an instance and a connection for a request and sends it; if it provably
// did not run, once more.
func (b *Bus) do(ctx context.Context, req *Request, streamed bool) (*Stream, *Reply, error) {
	req = req.ticketed(ctx)
	if req.values != nil && req.guard != nil { // a handler passes it on: its value is that of the call it serves
		on := *req
		on.values = nil // its Body reads the value
		req = &on
	}
	handed := false // the body is closed by whoever has it
	defer func() {
		if !handed { // a Filter, a Balancer or a hook may have panicked
			req.closeBody()
		}
	}()
	q, err := b.query(req)
	if err != nil {
		return nil, nil, err
	}
	if !streamed && (req.Idempotent || req.Retry != nil) {
		if req.values != nil {
			plain, err := req.plain()
			if err != nil {
				return nil, nil, err
			}
			req = plain
		}
		handed = true
		reply, err := b.persist(ctx, req, q)
		return nil, reply, err
	}
	trace := traceFrom(ctx)
	what := attempt{balance: b.balance, bus: b}
	var failure error
	var tried []discovery.Instance
	for {
		what.number++
		route, err := b.route(ctx, req, q, &what, tried)
		switch {
		case failure != nil && (err != nil || vain(failure, route, tried)):
			return nil, nil, failure // nobody is left: what the last instance said counts
		case err != nil:
			return nil, nil, err
		}
		if trace.Routed != nil {
			trace.Routed(route)
		}
		what.route, what.local = route, b.locals.at(route)
		handed = true
		s, reply, err := b.exchange(ctx, req, &what, streamed)
		if err == nil {
			return s, reply, nil
		}
		failure = err
		tried = []discovery.Instance{route.Instance}
		if !again(ctx, req, err, what.number) {
			return nil, nil, err
		}
		if trace.Retried != nil {
			trace.Retried(what.number+1, err)
		}
	}
}

// exchange sends a request to the instance of what, or hands its value over.
func (b *Bus) exchange(ctx context.Context, req *Request, what *attempt, streamed bool) (*Stream, *Reply, error) {
	if req.values != nil {
		if reply, began, err := b.direct(ctx, req, what); began {
			return nil, reply, err
		}
		plain, err := req.plain()
		if err != nil {
			return nil, nil, err
		}
		req = plain
	}
	return b.pool.exchange(ctx, req, what, identityOf(what.route), streamed)
}

// again decides whether a failed request is sent once more (PROTOCOL 11.6).
func again(ctx context.Context, req *Request, err error, n int) bool {
	aimed := req.Route != nil && req.Route.Ident != ""
	return n == 1 && !aimed && req.repeatable() && ctx.Err() == nil && worthwhile(err, false)
}

// route finds the instance to send a request to, another than last time if there is
// one.
func (b *Bus) route(ctx context.Context, req *Request, q discovery.Query, what *attempt, tried []discovery.Instance) (discovery.Route, error) {
	routes := req.filter(b.dir.Find(q))
	if len(routes) == 0 {
		routes = req.filter(b.dir.Suspects(q))
	}
	if len(routes) == 0 && what.number == 1 && !b.closed() {
		what.begin()
		routes = b.settle(ctx, q, req, what)
	}
	switch {
	case len(routes) == 0 && b.closed():
		return discovery.Route{}, b.closedCall(q)
	case len(routes) == 0 && len(b.dir.Find(q)) > 0:
		return discovery.Route{}, b.unwanted(q)
	case len(routes) == 0:
		return discovery.Route{}, b.notFound(ctx, q)
	}
	return b.balance.choose(req, routes, tried), nil
}

// filter returns those of routes that the caller wants.
func (r *Request) filter(routes []discovery.Route) []discovery.Route {
	if r.Route == nil || r.Route.Filter == nil {
		return routes
	}
	var wanted []discovery.Route // routes are shared
	for _, route := range routes {
		if r.Route.Filter(route) {
			wanted = append(wanted, route)
		}
	}
	return wanted
}

// query is what a request asks the directory for. A request that nobody could take
// is refused here, before anything is sent.
func (b *Bus) query(req *Request) (discovery.Query, error) {
	q, err := req.checked()
	if err != nil {
		return q, err
	}
	def(&q.Sector, b.cfg.DefaultSector)
	q.Envelope = req.Envelope
	if req.Route != nil {
		q.Ident = req.Route.Ident
	}
	return q, nil
}

// With returns a Caller that fills what a request leaves empty from defaults: its
// Sector, Version, Envelope, Ticket, IdentifyingToken, Terminal, ClientID, Extra,
// Route, Idempotent and Retry. The request itself is not changed. A field that is set stays,
// but zero cannot be asked for where defaults have something: call through the bus itself
// what must not be Idempotent. What defaults hold is copied. There is no Stream: a Stream is
// the bus's own.
func (b *Bus) With(defaults Request) Caller {
	defaults.Extra, defaults.Route, defaults.Retry = cloneExtra(defaults.Extra), copyOf(defaults.Route), copyOf(defaults.Retry)
	return withDefaults{b, func() *Request { return &defaults }}
}

type withDefaults struct {
	c Caller
	d func() *Request // never changed; who prints the Caller does not see its tickets, as with heldTicket
}

// Format writes what it is, whatever the verb.
func (withDefaults) Format(f fmt.State, _ rune) { io.WriteString(f, "scamp.Bus.With") }

func (w withDefaults) Call(ctx context.Context, req *Request) (*Reply, error) {
	r, d := *req, w.d()
	if q, err := discovery.ParseAction(r.Action); err == nil { // what the action itself says is not left empty
		if q.Sector == "" {
			def(&r.Sector, d.Sector)
		}
		if q.Version == 0 {
			def(&r.Version, d.Version)
		}
	}
	def(&r.Envelope, d.Envelope)
	def(&r.Ticket, d.Ticket)
	def(&r.IdentifyingToken, d.IdentifyingToken)
	def(&r.Terminal, d.Terminal)
	def(&r.ClientID, d.ClientID)
	def(&r.Route, d.Route)
	def(&r.Idempotent, d.Idempotent)
	def(&r.Retry, d.Retry)
	if r.Extra == nil {
		r.Extra = d.Extra
	}
	return w.c.Call(ctx, &r)
}

// copyOf is what p points to, or nil, for who keeps it.
func copyOf[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Call calls an action with a JSON body and decodes the JSON reply. The action is
// "[sector:]Class.name[~version]".
//
// When it goes to a service of the same Bus whose HandleJSON takes and gives these very
// types, in and the result pass as they are, without JSON: what they point to is then
// shared by caller and handler, also when the call has ended before its handler. Fields
// that JSON leaves out pass too, and flow.max_body bounds nothing. A handler that is to
// be called through middleware, or must wait for a place, gets JSON, as does one of a
// request that is Idempotent or has Retry.
//
// If ctx has no Done, as context.Background(), such a handler runs on the caller's
// goroutine, which is what makes the call cheap: it holds the caller until it returns. Its
// context ends as ever, after worker.timeout or the time of its action, and then the
// call fails; but not before a handler that does not look at its context has returned,
// where a remote call would be over. One that ends its goroutine (runtime.Goexit, as
// testing.T.FailNow does) ends the caller's; the log says so. Give ctx a deadline or a
// cancel where a handler may hang.
func Call[Out, In any](ctx context.Context, c Caller, action string, in In) (Out, error) {
	if b, ok := c.(*Bus); ok && passes(b) {
		return callWithin[Out](ctx, b, action, in)
	}
	out, _, err := CallWith[Out](ctx, c, &Request{Action: action}, in)
	return out, err
}

// CallWith is Call with a request of the caller's making, whose body is set to the
// JSON form of in. The Reply is returned for its header; its body is at its end. An
// Idempotent request is sent again also when the reply breaks off within its body.
func CallWith[Out, In any](ctx context.Context, c Caller, req *Request, in In) (Out, *Reply, error) {
	if passes(c) {
		t := new(typedCall[In, Out])
		t.in, t.req = in, *req
		t.req.empty()
		return t.through(ctx, c)
	}
	var out Out
	data, err := encode(req.Action, in)
	if err != nil {
		return out, nil, err
	}
	r := *req
	r.empty()
	r.Data, r.whole = data, true
	reply, err := c.Call(ctx, &r)
	if err != nil {
		return out, nil, err
	}
	err = reply.decode(req, &out)
	return out, reply, err
}

// passes says whether a Caller may have the values of a typed call pass as they are. One
// that embeds a Bus has a Call of its own, which may send a request twice.
func passes(c Caller) bool {
	switch c := c.(type) {
	case *Bus:
		return c.locals.any()
	case withDefaults:
		return passes(c.c)
	}
	return false
}

// callWithin is Call where the action may be one of this process.
func callWithin[Out, In any](ctx context.Context, b *Bus, action string, in In) (Out, error) {
	spare := b.spareCalls(typedAction[In, Out]{})
	t, ok := spare.Get().(*typedCall[In, Out])
	if !ok {
		t = new(typedCall[In, Out])
	}
	t.in, t.req.Action, t.bare = in, action, true
	out, _, err := t.through(ctx, b)
	if b.opts.Balancer == nil && t.free() { // else that may have kept the request
		*t = typedCall[In, Out]{}
		spare.Put(t)
	}
	return out, err
}

// spareCalls are the typed calls of one type that were used up, for others to be made of.
func (b *Bus) spareCalls(typed any) *sync.Pool {
	spare, ok := b.spare.Load(typed)
	if !ok {
		spare, _ = b.spare.LoadOrStore(typed, new(sync.Pool))
	}
	return spare.(*sync.Pool)
}

// through is CallWith where the action may be one of this process.
func (t *typedCall[In, Out]) through(ctx context.Context, c Caller) (Out, *Reply, error) {
	t.req.values, t.req.whole, t.value = t, true, t
	reply, err := c.Call(ctx, &t.req)
	if err != nil {
		var none Out
		return none, nil, err
	}
	if t.passed {
		return t.out, reply, nil
	}
	var out Out // not that of t: a handler that was given up may still hold it
	err = reply.decode(&t.req, &out)
	return out, reply, err
}
