package scamp

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// RetryOptions say how often and when a request is sent again. A nil pointer means the
// defaults.
//
// What provably did not run may always be sent again; what may have run only if the
// request is Idempotent. The deadline of the call bounds all attempts together. Beyond
// the first redispatch of what did not run, which the protocol asks for (PROTOCOL 11.6),
// a bus sends again at most a tenth of what it sends: when everybody fails, more requests
// would not help. The first loss of an established connection under a call is not among
// that tenth, for one death breaks many calls at once; but of those a bus sends no more
// again than Idempotent calls, and others with Retry, were answered.
//
// AttemptTimeout and Hedge do nothing for a request that is not Idempotent, so that one
// RetryOptions can be the default of all (Bus.With). A request that is aimed
// (RouteOptions.Ident), or has a Body that cannot be made again, is sent once whatever
// Attempts and Idempotent say. A request with a negative one of these is refused.
type RetryOptions struct {
	Attempts int // in all; zero means 2, or 3 for an Idempotent request; 1 means that nothing is sent again

	// Pause comes before the third attempt, and twice as much before each one after, with
	// jitter. A call whose time it would use up fails at once. Zero means 50 ms.
	Pause time.Duration

	// AttemptTimeout gives an attempt of an Idempotent request up for another one, at
	// another instance if there is one, when its reply has not begun by then: an instance
	// that hangs costs that much. The last attempt has as long as the call, and so has each
	// one if this is zero.
	AttemptTimeout time.Duration

	// Hedge sends an Idempotent request to another instance as well when the reply has
	// not begun by then, and once more for each attempt left; the first reply counts and
	// the others are cancelled. Trace.Retried has no cause then, and GetBody is called by
	// several goroutines at once. It must not wait: Call returns, also with a reply or at its
	// deadline, when no attempt is in GetBody any more. Zero means never.
	Hedge time.Duration
}

// check refuses what cannot be meant.
func (o *RetryOptions) check() error {
	switch {
	case o == nil:
		return nil
	case o.Attempts < 0:
		return fmt.Errorf("retry: Attempts %d: want 0 or more", o.Attempts)
	case o.Pause < 0:
		return fmt.Errorf("retry: Pause %v: want 0 or more", o.Pause)
	case o.AttemptTimeout < 0:
		return fmt.Errorf("retry: AttemptTimeout %v: want 0 or more", o.AttemptTimeout)
	case o.Hedge < 0:
		return fmt.Errorf("retry: Hedge %v: want 0 or more", o.Hedge)
	}
	return nil
}

// A campaign is a call whose user has said how it is to be repeated.
type campaign struct {
	b       *Bus
	req     *Request
	opts    RetryOptions
	q       discovery.Query
	started time.Time
	tried   []discovery.Instance // one for each attempt
	spared  bool                 // it was sent again as one whose connection was lost
	maybe   bool                 // an attempt that failed may have run
	pause   time.Duration        // before the next attempt, from the third on
	limit   time.Duration        // of the call without a deadline, at the instance last tried
}

// errAttempt is the cause that ends an attempt, not the call.
var errAttempt = fmt.Errorf("%w: no reply within the time of one attempt", ErrTimeout)

// An outcome is how one attempt ended.
type outcome struct {
	number int // of the attempt, from 1
	reply  *Reply
	err    error
}

// persist sends a request until one attempt ends it, as RetryOptions say.
func (b *Bus) persist(ctx context.Context, req *Request, q discovery.Query) (*Reply, error) {
	c := &campaign{b: b, req: req, q: q, started: time.Now()}
	if req.Retry != nil {
		c.opts = *req.Retry
	}
	if c.opts.Attempts == 0 {
		c.opts.Attempts = 2
		if req.Idempotent {
			c.opts.Attempts = 3
		}
	}
	def(&c.opts.Pause, 50*time.Millisecond)
	c.pause = c.opts.Pause
	if !req.Idempotent {
		c.opts.AttemptTimeout, c.opts.Hedge = 0, 0
	}
	if !req.repeatable() || req.Route != nil && req.Route.Ident != "" {
		c.opts.Attempts = 1
	}
	b.retries.spare()
	send := c.series
	if c.opts.Hedge > 0 && c.opts.Attempts > 1 {
		send = c.race
	}
	reply, err := send(ctx)
	if err == nil {
		b.retries.answer()
	}
	return reply, err
}

// series makes one attempt after the other.
func (c *campaign) series(ctx context.Context) (*Reply, error) {
	handed := false // the body is closed by whoever has it
	defer func() {
		if !handed { // a Filter, a Balancer or a hook may have panicked
			c.req.closeBody()
		}
	}()
	a, err := c.next(ctx)
	if err != nil {
		return nil, err
	}
	for {
		c.note(ctx, a)
		handed = true
		out := c.taken(c.attempt(ctx, a, nil))
		if out.err == nil {
			return out.reply, nil
		}
		failure := c.verdict(out.err)
		if a = c.further(ctx, out.err); a == nil {
			return nil, failure // what the last instance said counts
		}
	}
}

// taken takes the body of a reply where its caller wants that as a whole: then a reply that
// breaks off is an attempt that failed.
func (c *campaign) taken(out outcome) outcome {
	if out.err == nil && c.req.whole {
		if err := out.reply.collect(len(c.tried)); err != nil {
			out.reply, out.err = nil, err
		}
	}
	return out
}

// further chooses the instance for another attempt after one that failed with err, and
// rests before it if it must. It returns nil if the call has failed.
func (c *campaign) further(ctx context.Context, err error) *attempt {
	if !c.again(ctx, err) {
		return nil
	}
	rest := c.rest()
	if c.left(ctx) <= rest {
		return nil
	}
	refund := c.pay(err)
	if refund == nil {
		return nil
	}
	if !c.sleep(ctx, rest) {
		refund()
		return nil
	}
	a, nobody := c.next(ctx)
	if nobody != nil || a.late(ctx, &c.b.limits) || vain(err, a.route, c.tried) {
		refund()
		return nil
	}
	if trace := traceFrom(ctx); trace.Retried != nil {
		trace.Retried(a.number, err)
	}
	return a
}

// verdict is the error of an attempt as that of the call: when one attempt may have run,
// the call may have.
func (c *campaign) verdict(err error) error {
	ce, ok := errors.AsType[*CallError](err)
	c.maybe = c.maybe || !ok || ce.Ran != RanNo
	if !ok {
		return err
	}
	all := *ce
	all.Attempts = len(c.tried) // in a race others were made after this one
	if all.Ran == RanNo && c.maybe {
		all.Ran = RanMaybe
	}
	return &all
}

// rest is how long to wait before the next attempt.
func (c *campaign) rest() time.Duration {
	if len(c.tried) < 2 {
		return 0
	}
	jitter := time.Duration(c.b.balance.rand(int(c.pause/time.Microsecond)+1)) * time.Microsecond
	rest := c.pause/2 + jitter/2
	c.pause += min(c.pause, math.MaxInt64-c.pause)
	return rest
}

// left is the time that the call has left for other attempts.
func (c *campaign) left(ctx context.Context) time.Duration {
	if at, ok := ctx.Deadline(); ok {
		return time.Until(at)
	}
	return c.limit - time.Since(c.started)
}

// sleep waits, and says whether ctx let it.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// sleep waits, and says whether the call may go on: not when its bus is closed.
func (c *campaign) sleep(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return true
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.b.ctx, cancel)()
	return sleep(ctx, d)
}

// next chooses the instance for one more attempt, one that was not tried if there is one.
func (c *campaign) next(ctx context.Context) (*attempt, error) {
	a := &attempt{balance: c.b.balance, bus: c.b, number: len(c.tried) + 1, start: c.started}
	var err error
	if a.route, err = c.b.route(ctx, c.req, c.q, a, c.tried); err == nil {
		a.local = c.b.locals.at(a.route)
	}
	return a, err
}

// note notes that an attempt is about to be made.
func (c *campaign) note(ctx context.Context, a *attempt) {
	c.tried = append(c.tried, a.route.Instance)
	c.limit, _ = a.limit(&c.b.limits)
	if trace := traceFrom(ctx); trace.Routed != nil {
		trace.Routed(a.route)
	}
}

// attempt sends the request once. Began is given what ends it from outside, before it
// begins; nil means that nobody wants to.
func (c *campaign) attempt(ctx context.Context, a *attempt, began func(context.CancelCauseFunc)) outcome {
	mine, cancel := context.WithCancelCause(ctx)
	a.done = func() { cancel(nil) } // when the reply was read to its end, or given up
	begun := false
	defer func() {
		if !begun { // a hook or GetBody may have panicked
			cancel(nil)
		}
	}()
	if began != nil {
		began(cancel)
	}
	var decided atomic.Bool                                      // by the timer, or by how the attempt ended
	if c.opts.AttemptTimeout > 0 && a.number < c.opts.Attempts { // else there is no other one to give it up for
		timer := time.AfterFunc(c.opts.AttemptTimeout, func() {
			if !c.b.retries.some() {
				c.b.log.count("retry_over_budget")
			} else if decided.CompareAndSwap(false, true) {
				cancel(errAttempt)
			}
		})
		defer timer.Stop()
	}
	_, reply, err := c.b.pool.exchange(mine, c.req, a, identityOf(a.route), false)
	if !decided.CompareAndSwap(false, true) && err == nil {
		reply.Body.Close() // the timer was first, and nothing more of the reply will come
		err = a.failure(errAttempt, RanMaybe)
	}
	begun = err == nil
	if err != nil {
		// What the service said, or how the connection ended, is not to be hidden.
		if ce, ok := errors.AsType[*CallError](err); ok && ctx.Err() == nil && errors.Is(err, errAttempt) {
			given := *ce // the caller has cancelled nothing
			given.Err = errAttempt
			err = &given
		}
	}
	return outcome{a.number, reply, err}
}

// again decides whether a request that failed so may be sent once more.
func (c *campaign) again(ctx context.Context, err error) bool {
	if len(c.tried) >= c.opts.Attempts || ctx.Err() != nil || !worthwhile(err, c.req.Idempotent) {
		return false
	}
	return len(c.tried) == 1 || !blameless(remoteCode(err))
}

// pay takes from the budget what another attempt after one that failed with err costs, and
// returns what gives it back; nil says that there is not enough.
func (c *campaign) pay(err error) (refund func()) {
	r := &c.b.retries
	switch {
	case len(c.tried) == 1 && !c.maybe: // PROTOCOL 11.6
		return func() {}
	case !c.spared && errors.Is(err, ErrLost) && r.takeLost():
		c.spared = true
		return func() { r.answered.Add(1) }
	case r.take():
		return r.back
	}
	c.b.log.count("retry_over_budget")
	return nil
}

// worthwhile says whether a request that failed so could do better elsewhere, and may
// be sent there.
func worthwhile(err error, idempotent bool) bool {
	ce, ok := errors.AsType[*CallError](err)
	if !ok || errors.Is(err, ErrClosed) {
		return false
	}
	re, answered := errors.AsType[*RemoteError](err)
	switch {
	case answered && alikeElsewhere(re.Code):
		return false // another instance would answer the same
	case ce.Ran == RanNo:
		return !errors.Is(err, ErrTimeout) || errors.Is(err, errAttempt)
	case ce.Ran == RanMaybe:
		return idempotent
	}
	return false // it ran, and said no
}

// alikeElsewhere says whether a code speaks of who calls: another instance would answer the
// same, though nothing ran (PROTOCOL 5.5).
func alikeElsewhere(code string) bool { return code == CodeAuthn || code == CodeAuthz }

// blameless says whether a code speaks of who calls, of the one connection, or of a third
// service that the instance asks: it is none to be avoided for that, and that the request
// did not run there is worth the one redispatch of PROTOCOL 11.6, not more.
func blameless(code string) bool {
	return alikeElsewhere(code) || code == CodeRateLimit || code == CodeInternal
}

// vain says whether a request that failed so would only be refused again: a quota, or a
// third service that fails, is worth another instance, not the same one at once.
func vain(err error, r discovery.Route, tried []discovery.Instance) bool {
	return blameless(remoteCode(err)) && slices.Contains(tried, r.Instance)
}
