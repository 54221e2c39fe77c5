package scamptest

import (
	"sync/atomic"
	"time"
)

// A Clock is a wall clock that may be wrong. The zero Clock is right. Give its Now to a
// bus, whose announcements and judgement of tickets go by it:
//
//	clock := new(scamptest.Clock)
//	bus := net.Bus(&scamp.Options{Now: clock.Now})
//	clock.Skew(-time.Hour)
//
// Safe for concurrent use.
type Clock struct{ ahead atomic.Int64 }

// Now is the time that the clock shows.
func (c *Clock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// Skew sets the clock so far ahead of the right time, or behind if it is negative.
func (c *Clock) Skew(ahead time.Duration) { c.ahead.Store(int64(ahead)) }
