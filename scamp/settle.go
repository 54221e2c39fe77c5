package scamp

import (
	"context"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// warmUp is how long a bus that listens itself may not have heard a live service: an
// interval and a bit. Nobody can be asked to announce himself (PROTOCOL 7), so the first
// call to a service of which no cache file tells may have to wait so long.
const warmUp = 5500 * time.Millisecond

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
	if how != nil && how.Filter != nil {
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
