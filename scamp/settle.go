package scamp

import (
	"context"
	"errors"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// warmUp is how long a bus that listens itself may not have heard a live service: an
// interval and a bit. Nobody can be asked to announce himself (PROTOCOL 7), so the first
// call to a service of which no cache file tells may have to wait so long.
const warmUp = 5500 * time.Millisecond

// hastyTime is between looks whether somebody heard may have been meant.
const hastyTime = 50 * time.Millisecond

// settle waits for somebody to ask while he may just not have been heard yet, or for as
// long as the request says, but not beyond the time of the call, which what has begun.
func (b *Bus) settle(ctx context.Context, q discovery.Query, req *Request, what *attempt) []discovery.Route {
	left, how := b.unsettled(), req.Route
	if how != nil {
		if how.Wait != 0 {
			left = how.Wait
		}
	}
	if _, ok := ctx.Deadline(); !ok {
		left = min(left, b.limits.RPCTimeout-time.Since(what.start))
	}
	if left <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	switch {
	case how != nil && how.Hasty:
		return req.filter(b.hurry(ctx, q))
	case how != nil && how.Filter != nil:
		return b.patient(ctx, q, req)
	}
	routes, _ := b.dir.Wait(ctx, q)
	return routes
}

// patient waits until somebody is there whom the caller wants: those whom he does not
// want may have been there all the time.
func (b *Bus) patient(ctx context.Context, q discovery.Query, req *Request) []discovery.Route {
	for range b.dir.Watch(ctx, q) {
		if routes := req.filter(b.dir.Find(q)); len(routes) > 0 {
			return routes
		}
	}
	return nil
}

// hurry waits like Directory.Wait, but no longer than until something is heard that may
// have been meant.
func (b *Bus) hurry(ctx context.Context, q discovery.Query) []discovery.Route {
	for ctx.Err() == nil {
		if likely(b.dir.Explain(q)) {
			return b.dir.Find(q)
		}
		slice, cancel := context.WithTimeout(ctx, hastyTime)
		routes, err := b.dir.Wait(slice, q)
		cancel()
		if err == nil || errors.Is(err, discovery.ErrClosed) {
			return routes
		}
	}
	return nil
}

// likely tells whether what is heard explains that the query has no answer.
func likely(e discovery.Explanation) bool {
	switch e.Reason {
	case discovery.NoAction:
		return len(e.Near) > 0
	case discovery.HasWithdrawn, discovery.HasExpired, discovery.OtherIdent:
		return false // an instance may be about to start, or not heard yet
	}
	return true
}

// unsettled is for how long a service that is there may not have been heard yet. Where
// nobody can be heard, waiting would only put off saying why.
func (b *Bus) unsettled() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listening.IsZero() || b.carryErr != nil || b.multicast != nil && len(b.multicast.Ifaces()) == 0 {
		return 0
	}
	return warmUp - time.Since(b.listening)
}
