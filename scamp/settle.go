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
// long as the request says.
func (b *Bus) settle(ctx context.Context, q discovery.Query, how *RouteOptions) []discovery.Route {
	left, hasty := b.unsettled(), false
	if how != nil {
		hasty = how.Hasty
		if how.Wait != 0 {
			left = how.Wait
		}
	}
	if left <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	if hasty {
		return b.hurry(ctx, q)
	}
	routes, _ := b.dir.Wait(ctx, q)
	return routes
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

// unsettled is for how long a service that is there may not have been heard yet.
func (b *Bus) unsettled() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listening.IsZero() || b.carryErr != nil {
		return 0
	}
	return warmUp - time.Since(b.listening)
}
