package scamp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// An attempt is one sending of a request: where it goes, and whom to tell how it went.
type attempt struct {
	route   discovery.Route
	number  int          // 1 or 2
	balance *balancer    // nil where nobody chooses among instances
	done    func()       // called when the call has left, maybe more than once; nil for most
	bus     *Bus         // nil for a Client, which asks no directory
	local   *inboundSide // the service that route leads to, if it is one of this process
	link    *entry       // the connection, once there is one
	reused  bool         // it was open before
	start   time.Time    // when the call began: finding, connecting and a first attempt count; zero if nothing took time yet
}

// action is the action as tools write it.
func (a *attempt) action() string {
	return fmt.Sprintf("%s:%s~%d", a.route.Sector, a.route.Action, a.route.Version)
}

// name is the ident of the instance; a Client knows only its address.
func (a *attempt) name() string {
	if a.route.Ident == "" {
		return a.route.Address
	}
	return a.route.Ident
}

// instance is all that tells the instance from others.
func (a *attempt) instance() string {
	if a.route.Ident == "" {
		return a.route.Address
	}
	return a.route.Ident + " (" + a.route.Address + ")"
}

// begin notes that from here on the call takes time.
func (a *attempt) begin() {
	if a.start.IsZero() {
		a.start = time.Now()
	}
}

func (a *attempt) failure(err error, ran Ran) *CallError {
	seen := a.sighting()
	return &CallError{Action: a.action(), Instance: a.instance(), Attempts: a.number, Ran: ran, Err: err, Advice: seen.advice(err), seen: seen}
}

// refused notes that the instance did not take the request.
func (a *attempt) refused(code string) {
	if a.balance != nil && !blameless(code) {
		a.balance.marks.refused(a.route)
	}
}

// limit is how long the call may wait, if its caller has set no deadline: in all until
// the reply's header if the action is announced so, else without progress. Connecting
// counts (PROTOCOL 4.9).
func (a *attempt) limit(limits *Limits) (d time.Duration, total bool) {
	if n := a.route.Timeout; n > 0 {
		return n + 5*time.Second, true
	}
	return limits.RPCTimeout, false
}

// by is when the call must have a connection, unless ctx has a deadline, which says that.
// The call has begun.
func (a *attempt) by(ctx context.Context, limits *Limits) (at time.Time, ok bool) {
	if _, has := ctx.Deadline(); has {
		return time.Time{}, false
	}
	limit, _ := a.limit(limits)
	return a.start.Add(limit), true
}

// late says whether it is too late to connect.
func (a *attempt) late(ctx context.Context, limits *Limits) bool {
	if a.start.IsZero() { // nothing took time yet
		return false
	}
	by, ok := a.by(ctx, limits)
	return ok && !time.Now().Before(by)
}

// maxConnects is how many connections to one instance a request may find closing, or to
// be of another dialect.
const maxConnects = 3

// exchange sends a request to the instance of what, over a connection that shows id.
// It waits for the reply's header unless the caller writes the body. A connection that
// ended before it took the request is replaced: nothing of the request was sent.
func (pl *pool) exchange(ctx context.Context, req *Request, what *attempt, id Identity, streamed bool) (*Stream, *Reply, error) {
	if ctx.Err() != nil {
		req.closeBody()
		return nil, nil, what.failure(ctxError(ctx), RanNo)
	}
	data, body, err := req.source()
	if err != nil {
		return nil, nil, what.failure(err, RanNo)
	}
	// The original Go implementation numbers its replies as requests are completed, and
	// takes one that was aborted for a complete one: what is known whole goes out as one
	// unit, and anything else has a connection of its own (PROTOCOL 3.4).
	long := streamed || body != nil || len(data) > mux.MinWindow
	trace := traceFrom(ctx)
	var s *Stream
	opened := false
	defer func() {
		if opened {
			return
		}
		closeBody(body)
		if what.link != nil { // a hook may have panicked: nobody else will use one that is alone
			pl.abandon(what.link)
		}
	}()
	for tries := 1; ; tries++ {
		alone := long && pl.original(*what, id)
		p, err := pl.connected(ctx, what, id, alone, trace)
		if err != nil {
			return nil, nil, err
		}
		var h packet.Header
		req.header(&h, what.route)
		unit := !long && p.dialect.original(what.original())
		s, err = p.open(ctx, &h, mux.Body{Data: data, More: streamed || body != nil, Unit: unit}, *what)
		if err == nil {
			break
		}
		switch {
		case alone:
			p.conn.Close() // nobody else will use it
		case errors.Is(err, errNotTaken):
			pl.forget(p)
		}
		if tries == maxConnects || !errors.Is(err, errNotTaken) && !errors.Is(err, errDialect) {
			return nil, nil, what.failure(err, RanNo)
		}
	}
	opened = true
	if trace.Sent != nil {
		s.tell(trace.Sent, body)
	}
	if streamed {
		return s, nil, nil
	}
	if body != nil {
		go s.copyBody(body) // ends when the body does, or the call and the Read it is in
	}
	s.hid = body == nil // else copyBody holds it too
	reply, err := s.Reply()
	if reply != nil {
		reply.Body = &reply.body
	}
	if what.start.IsZero() {
		what.start = s.p.conn.Time(s.began)
	}
	if trace.Replied != nil && err == nil {
		s.tell(func() { trace.Replied(s.p.conn.Now() - s.began) }, nil)
	}
	return s, reply, err
}

// tell runs a hook of the caller's. One that panics leaves no call behind, and no body open.
func (s *Stream) tell(hook func(), body io.Reader) {
	told := false
	defer func() {
		if !told {
			s.Close()
			closeBody(body)
		}
	}()
	hook()
	told = true
}

// errLate says that the time of a call was over before it could be sent.
var errLate = fmt.Errorf("%w before the request was sent", ErrTimeout)

// connected returns a connection to the instance of what, and remembers how that went.
func (pl *pool) connected(ctx context.Context, what *attempt, id Identity, alone bool, trace *Trace) (*peer, error) {
	what.link, what.reused = nil, false
	if e := pl.recent(what, id, alone); e != nil {
		what.link, what.reused = e, true
		trace.connected(what)
		return e.peer, nil
	}
	if what.late(ctx, pl.limits) {
		return nil, what.failure(errLate, RanNo)
	}
	e, reused, err := pl.find(what.route.Address, what.local, id, newsOf(what.route), alone)
	caller := ctx
	if err == nil && !reused {
		what.begin()
		if by, ok := what.by(ctx, pl.limits); ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, by)
			defer cancel()
		}
	}
	if err == nil {
		err = pl.await(ctx, e)
	}
	if err != nil && ctx.Err() == nil && e != nil && e.failed() && newsOf(what.route).since(e.news) {
		// That dial was begun before this announcement came, or may have been. If the target
		// may be dialed for this one now, it is.
		if again, _, aerr := pl.find(what.route.Address, what.local, id, newsOf(what.route), alone); aerr == nil {
			e, err = again, pl.await(ctx, again)
		}
	}
	if err != nil {
		switch {
		case ctx.Err() != nil:
			if caller.Err() == nil {
				err = ErrTimeout // of ours: the caller has set no deadline
			}
			err = fmt.Errorf("%w while connecting", err)
			if e != nil && e.reached.Load() {
				err = &stepError{stepTLS, err}
			}
			if e != nil && what.balance != nil {
				pl.miss(e, what.route)
			}
		case what.balance != nil && !errors.Is(err, ErrClosed):
			what.balance.marks.failed(what.route)
		}
		return nil, what.failure(err, RanNo)
	}
	if what.balance != nil && !reused {
		what.balance.marks.connected(what.route)
	}
	what.link, what.reused = e, reused
	trace.connected(what)
	return e.peer, nil
}

// ctxError says why ctx has ended. Whoever ended it may have given a cause of his own;
// the error of the context is among what it wraps all the same.
func ctxError(ctx context.Context) error {
	err := ctx.Err()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, err) {
		err = fmt.Errorf("%w: %w", err, cause)
	} else if cause != nil {
		err = cause
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %w", ErrTimeout, err)
	}
	return err
}
