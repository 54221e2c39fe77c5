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
	given    *handling // what it is a part of

	over  atomic.Bool // err and cause are set, and stay as they are
	mu    sync.Mutex
	done  chan struct{} // nil until asked for
	err   error
	cause error
	after map[*afterFunc]struct{}
}

type afterFunc struct{ f func() }

func (c *requestContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

func (c *requestContext) Err() error {
	if !c.over.Load() {
		return nil
	}
	return c.err
}

type handlingKey struct{}

func (c *requestContext) Value(key any) any {
	if _, ok := key.(handlingKey); ok {
		return c.given
	}
	return nil
}

// AfterFunc lets package context derive contexts from this one without a goroutine.
func (c *requestContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
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
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err, c.cause = context.Canceled, cause
	if cause == errServiceTime {
		c.err = context.DeadlineExceeded
	}
	c.over.Store(true)
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
	if !c.over.Load() {
		return nil
	}
	return c.cause
}

// Cause says why the context of a handler, or one made from it, has ended; nil while it has
// not. It is what context.Cause cannot say: ErrTimeout if the time of the handler or of its
// caller was over, ErrLost if the connection was lost, and else a *RemoteError of code
// "transport" whose text says whether the caller cancelled, broke off, or takes nothing of
// the reply. For any other context it is context.Cause.
func Cause(ctx context.Context) error {
	if g, ok := ctx.Value(handlingKey{}).(*handling); ok && ctx.Err() != nil && g.ctx.why() != nil {
		return g.ctx.why()
	}
	return context.Cause(ctx)
}

// RequestFrom returns the request that a handler's context belongs to, and nil for
// any other context. It is how a typed handler sees more than its input.
func RequestFrom(ctx context.Context) *Request {
	if g, ok := ctx.Value(handlingKey{}).(*handling); ok {
		return &g.req
	}
	return nil
}

// ReplyFrom returns the reply of the handler that ctx belongs to, for its header
// fields, and nil for any other context.
func ReplyFrom(ctx context.Context) *ReplyWriter {
	if g, ok := ctx.Value(handlingKey{}).(*handling); ok {
		return &g.rep
	}
	return nil
}
