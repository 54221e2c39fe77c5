package scamp

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A requestContext is the context of one handler. It ends when the caller leaves, which
// the end of the request by TXERR means too, its time is over, the connection is lost or
// the handler has returned. It is a type of its own because most handlers never ask for
// Done: nothing is made until one does.
type requestContext struct {
	deadline time.Time // zero if none

	ended atomic.Pointer[ending] // nil while it lives; set once, under mu
	mu    sync.Mutex             // protects what follows
	given *handling              // what it is the context of; nil when that is in use again
	asked bool                   // somebody has had it
	done  chan struct{}          // nil until asked for
	after map[*afterFunc]struct{}
}

// An ending is how a requestContext ended.
type ending struct{ err, cause error }

// handlerDone is how most of them end.
var handlerDone = &ending{context.Canceled, errHandlerDone}

type afterFunc struct{ f func() }

func (c *requestContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.ended.Load() != nil {
			close(c.done)
		}
	}
	return c.done
}

func (c *requestContext) Err() error {
	if e := c.ended.Load(); e != nil {
		return e.err
	}
	return nil
}

type (
	handlingKey struct{}
	contextKey  struct{}
)

func (c *requestContext) Value(key any) any {
	switch key.(type) {
	case contextKey:
		return c
	case handlingKey:
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.given == nil { // the call is over, and this came too late
			c.given = &handling{ctx: c, rep: ReplyWriter{ctx: c, typed: true}}
		}
		c.asked = true
		return c.given
	}
	return nil
}

// release says whether nobody has what the handler was given but who calls it. Then nobody
// will have it by this context either.
func (c *requestContext) release() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked {
		return false
	}
	c.given = nil
	return true
}

// AfterFunc lets package context derive contexts from this one without a goroutine.
func (c *requestContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended.Load() != nil {
		go f() // as context.AfterFunc does; f ends it
		return func() bool { return false }
	}
	if c.after == nil {
		c.after = make(map[*afterFunc]struct{})
	}
	a := &afterFunc{f}
	c.after[a] = struct{}{}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, waiting := c.after[a]
		delete(c.after, a)
		return waiting
	}
}

// end ends the context, once. Err is context.DeadlineExceeded if the time was over,
// else context.Canceled; the cause says more.
func (c *requestContext) end(cause error) {
	e := handlerDone
	switch cause {
	case errHandlerDone:
	case errServiceTime:
		e = &ending{context.DeadlineExceeded, cause}
	default:
		e = &ending{context.Canceled, cause}
	}
	c.mu.Lock()
	if c.ended.Load() != nil {
		c.mu.Unlock()
		return
	}
	c.ended.Store(e)
	if c.done != nil {
		close(c.done)
	}
	after := c.after
	c.after = nil
	c.mu.Unlock()
	for a := range after {
		go a.f() // as context.AfterFunc does
	}
}

// why is the cause, nil while the context lives.
func (c *requestContext) why() error {
	if e := c.ended.Load(); e != nil {
		return e.cause
	}
	return nil
}

// Cause says why the context of a handler, or one made from it, has ended; nil while it has
// not. It is what context.Cause cannot say: ErrTimeout if the time of the handler or of its
// caller was over, ErrLost if the connection was lost, with ErrStopped if that is because
// the service stopped and waited no longer, or ErrClosed if its bus was closed, and else a
// *RemoteError of code "transport" whose text says whether the caller cancelled, broke off,
// or takes nothing of the reply. For any other context it is context.Cause.
func Cause(ctx context.Context) error {
	cause := context.Cause(ctx)
	if c, ok := ctx.Value(contextKey{}).(*requestContext); ok && cause != nil && cause == c.Err() {
		return c.why()
	}
	return cause // also of one made from it that ended by itself
}

// RequestFrom returns the request that a handler's context belongs to, and nil for
// any other context. It is how a typed handler sees more than its input. Who asks first when
// the handler has returned may get an empty one.
func RequestFrom(ctx context.Context) *Request {
	if g, ok := ctx.Value(handlingKey{}).(*handling); ok {
		return &g.req
	}
	return nil
}

// ReplyFrom returns the reply of the handler that ctx belongs to, for its header
// fields, and nil for any other context. It is as late as RequestFrom.
func ReplyFrom(ctx context.Context) *ReplyWriter {
	if g, ok := ctx.Value(handlingKey{}).(*handling); ok {
		return &g.rep
	}
	return nil
}
