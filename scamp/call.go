package scamp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// Call sends one request to an instance that offers the action and returns when the
// reply's header is there. It is safe for concurrent use.
//
// Without a deadline in ctx the call ends after rpc.timeout (75 s) without progress,
// or N + 5 seconds if the action is announced with a flag tN. A request that provably
// did not run is sent once more, to another instance if there is one.
func (b *Bus) Call(ctx context.Context, req *Request) (*Reply, error) {
	return b.do(ctx, req, func(p *peer, h *packet.Header, what attempt, t callTimes) (*Reply, error) {
		return p.call(ctx, req, h, what, t)
	})
}

// Stream opens a call whose request body the caller writes piece by piece. The
// request's own Data and Body must be empty.
func (b *Bus) Stream(ctx context.Context, req *Request) (*Stream, error) {
	if req.Data != nil || req.Body != nil || req.GetBody != nil {
		return nil, errors.New("scamp: stream: the request has a body of its own; want it written to the stream")
	}
	var s *Stream
	_, err := b.do(ctx, req, func(p *peer, h *packet.Header, what attempt, t callTimes) (*Reply, error) {
		var err error
		s, err = p.open(ctx, h, mux.Body{More: true}, what, t)
		return nil, err
	})
	return s, err
}

// do finds an instance and a connection for a request and hands it to send; if it
// provably did not run, once more.
func (b *Bus) do(ctx context.Context, req *Request, send func(*peer, *packet.Header, attempt, callTimes) (*Reply, error)) (*Reply, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	q, err := b.query(req)
	if err != nil {
		return nil, err
	}
	trace := traceFrom(ctx)
	var last discovery.Route
	var failure error
	for n := 1; ; n++ {
		route, err := b.route(ctx, q, n, last)
		if err != nil {
			if n > 1 {
				return nil, failure // nobody is left: what the last instance said counts
			}
			return nil, err
		}
		if trace.Routed != nil {
			trace.Routed(route)
		}
		what := attempt{action: actionText(route), instance: route.Ident + " (" + route.Address + ")", ident: route.Ident, number: n}
		reply, err := b.attempt(ctx, req, route, what, trace, send)
		if err == nil {
			return reply, nil
		}
		failure = err
		if !b.again(ctx, req, route, err, n) {
			return nil, err
		}
		if trace.Retried != nil {
			trace.Retried(n+1, err)
		}
		last = route
	}
}

// attempt sends a request to one instance.
func (b *Bus) attempt(ctx context.Context, req *Request, route discovery.Route, what attempt, trace *Trace, send func(*peer, *packet.Header, attempt, callTimes) (*Reply, error)) (*Reply, error) {
	p, info, err := b.pool.get(ctx, route.Address, identityOf(route))
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, errClosed) {
			b.balance.failed(route)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("%w: %w while connecting", ErrTimeout, err)
		}
		return nil, &CallError{Action: what.action, Instance: what.instance, Attempts: what.number, Ran: RanNo, Err: err, Advice: advice(err)}
	}
	if !info.Reused {
		b.balance.connected(route)
	}
	if trace.Connected != nil {
		trace.Connected(info)
	}
	var h packet.Header
	req.header(&h)
	h.Action, h.Version, h.Sector = route.Action, route.Version, route.Sector
	if !route.Rule {
		h.Ticket, h.IdentifyingToken = "", "" // a stranger may offer _meta actions (PROTOCOL 18)
	}
	t := callTimes{progress: b.limits.RPCTimeout}
	if route.Timeout > 0 {
		t = callTimes{total: route.Timeout + 5*time.Second}
	}
	reply, err := send(p, &h, what, t)
	var ce *CallError
	if errors.As(err, &ce) && ce.Advice == "" {
		ce.Advice = advice(err)
	}
	return reply, err
}

// again decides whether a failed request is sent once more (PROTOCOL 11.6), and
// remembers what the failure says of the instance.
func (b *Bus) again(ctx context.Context, req *Request, route discovery.Route, err error, n int) bool {
	var ce *CallError
	if !errors.As(err, &ce) || ce.Ran != RanNo {
		return false
	}
	var re *RemoteError
	if errors.As(err, &re) {
		if re.Code == CodeAuthn || re.Code == CodeAuthz {
			return false // another instance would answer the same
		}
		b.balance.refused(route)
	}
	aimed := req.Route != nil && req.Route.Ident != ""
	return n == 1 && !aimed && req.repeatable() && ctx.Err() == nil && !errors.Is(err, errClosed)
}

// route finds the instance to send a request to.
func (b *Bus) route(ctx context.Context, q discovery.Query, n int, last discovery.Route) (discovery.Route, error) {
	routes := b.dir.Find(q)
	if len(routes) == 0 {
		routes = b.dir.Suspects(q)
	}
	if len(routes) == 0 && n == 1 {
		routes = b.settle(ctx, q)
	}
	if len(routes) == 0 {
		return discovery.Route{}, b.notFound(q)
	}
	if n == 1 {
		return b.balance.choose(routes, nil), nil
	}
	return b.balance.choose(routes, &last.Instance), nil
}

// query is what a request asks the directory for.
func (b *Bus) query(req *Request) (discovery.Query, error) {
	q, err := discovery.ParseAction(req.Action)
	if err != nil {
		return q, fmt.Errorf("scamp: call: %w", err)
	}
	if q.Sector == "" {
		q.Sector = req.Sector
	}
	if q.Sector == "" {
		q.Sector = b.cfg.DefaultSector
	}
	if q.Version == 0 {
		q.Version = req.Version
	}
	q.Envelope = req.Envelope
	if req.Route != nil {
		q.Ident = req.Route.Ident
	}
	return q, nil
}

// check refuses a request that no service could take, before anything is sent.
func (r *Request) check() error {
	size := len(r.Ticket) + len(r.IdentifyingToken) + len(r.Terminal) + len(r.Envelope) + len(r.Action)
	for name, v := range r.Extra {
		size += len(name) + len(v) + 4
	}
	if size > maxHeaderText {
		return fmt.Errorf("scamp: call %s: header: ticket, tokens and extra members take %d octets, want at most %d", clean(r.Action), size, maxHeaderText)
	}
	if err := packet.CheckExtra(r.Extra); err != nil {
		return fmt.Errorf("scamp: call %s: %w", clean(r.Action), err)
	}
	if r.ClientID < 0 {
		return fmt.Errorf("scamp: call %s: client id %d: want 0 or more", clean(r.Action), r.ClientID)
	}
	return nil
}

// maxHeaderText leaves room in a header of 32768 octets for escapes and the rest.
const maxHeaderText = 15 << 10

// actionText is an action as tools write it.
func actionText(r discovery.Route) string {
	return fmt.Sprintf("%s:%s~%d", r.Sector, r.Action, r.Version)
}

// advice says what would cure an error, where one thing would.
func advice(err error) string {
	switch {
	case errors.Is(err, ErrPin):
		return "the instance was restarted with another key, or somebody else took its port; compare with scamp list services --all"
	case errors.Is(err, ErrNoDial):
		return "the instance is announced but does not answer; scamp list services shows when it was last heard"
	}
	return ""
}

// call sends a request on p and waits for the reply's header.
func (p *peer) call(ctx context.Context, req *Request, h *packet.Header, what attempt, t callTimes) (*Reply, error) {
	data, body, err := req.source()
	if err != nil {
		return nil, err
	}
	trace := traceFrom(ctx)
	s, err := p.open(ctx, h, mux.Body{Data: data, More: body != nil}, what, t)
	if err != nil {
		closeBody(body)
		return nil, err
	}
	if trace.Sent != nil {
		trace.Sent()
	}
	if body != nil {
		go s.copyBody(body) // ends when the body does, or the call and the Read it is in
	}
	began := p.conn.Now()
	reply, err := s.Reply()
	if trace.Replied != nil && err == nil {
		trace.Replied(p.conn.Now() - began)
	}
	return reply, err
}

// copyBody sends a request's body. A body that cannot be read ends the call: what
// was sent of it must not be taken for complete.
func (s *Stream) copyBody(body io.Reader) {
	defer closeBody(body)
	buf := bodyBuffers.Get().(*[]byte)
	defer bodyBuffers.Put(buf)
	for {
		n, err := body.Read(*buf)
		if n > 0 {
			if _, werr := s.out.Write(s.ctx, (*buf)[:n]); werr != nil {
				return // the call has failed, or the reply came first
			}
		}
		switch {
		case err == io.EOF:
			s.out.CloseSend()
			return
		case err != nil:
			s.giveUp(fmt.Errorf("request body: %w", err))
			return
		}
	}
}

func closeBody(body io.Reader) {
	if c, ok := body.(io.Closer); ok {
		c.Close()
	}
}

// With returns a Caller that fills what a request leaves empty from defaults: its
// Sector, Version, Envelope, Ticket, IdentifyingToken, Terminal, ClientID, Extra and
// Route. The request itself is not changed.
func (b *Bus) With(defaults Request) Caller { return withDefaults{b, defaults} }

type withDefaults struct {
	c Caller
	d Request
}

func (w withDefaults) Call(ctx context.Context, req *Request) (*Reply, error) {
	r := *req
	def(&r.Sector, w.d.Sector)
	def(&r.Version, w.d.Version)
	def(&r.Envelope, w.d.Envelope)
	def(&r.Ticket, w.d.Ticket)
	def(&r.IdentifyingToken, w.d.IdentifyingToken)
	def(&r.Terminal, w.d.Terminal)
	def(&r.ClientID, w.d.ClientID)
	def(&r.Route, w.d.Route)
	if r.Extra == nil {
		r.Extra = w.d.Extra
	}
	return w.c.Call(ctx, &r)
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Call calls an action with a JSON body and decodes the JSON reply. The action is
// "[sector:]Class.name[~version]".
func Call[Out, In any](ctx context.Context, c Caller, action string, in In) (Out, error) {
	out, _, err := CallWith[Out](ctx, c, &Request{Action: action}, in)
	return out, err
}

// CallWith is Call with a request of the caller's making, whose body is set to the
// JSON form of in. The Reply is returned for its header; its body is at its end.
func CallWith[Out, In any](ctx context.Context, c Caller, req *Request, in In) (Out, *Reply, error) {
	var out Out
	data, err := json.Marshal(in)
	if err != nil {
		return out, nil, fmt.Errorf("scamp: call %s: request body: %w", clean(req.Action), err)
	}
	r := *req
	r.Data, r.Body, r.GetBody = data, nil, nil
	reply, err := c.Call(ctx, &r)
	if err != nil {
		return out, nil, err
	}
	body, err := reply.Bytes(0)
	if err != nil {
		return out, reply, err
	}
	if len(body) == 0 {
		return out, reply, nil
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return out, reply, &CallError{Action: strings.TrimSpace(req.Action), Instance: reply.Instance, Attempts: 1, Ran: RanYes, Err: fmt.Errorf("%w: %w", errBadReply, err)}
	}
	return out, reply, nil
}
