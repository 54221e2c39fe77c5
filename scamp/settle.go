package scamp

import (
	"context"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// warmUp is how long a bus that listens itself may not have heard a live service: an
// interval and a bit.
const warmUp = 5500 * time.Millisecond

// settle waits for an action while it may just not have been heard yet: every service
// repeats itself once an interval.
func (b *Bus) settle(ctx context.Context, q discovery.Query) []discovery.Route {
	left := b.unsettled()
	if left <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	routes, _ := b.dir.Wait(ctx, q)
	return routes
}

// unsettled is for how long a live service may not have been heard yet.
func (b *Bus) unsettled() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listening.IsZero() || b.carryErr != nil {
		return 0
	}
	return warmUp - time.Since(b.listening)
}
