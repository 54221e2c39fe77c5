package scamp

import (
	"fmt"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// news is which announcement a dial is made for: who has failed at an address says nothing
// against who was announced there since. A Client knows of none.
type news struct {
	instance  discovery.Instance
	timestamp int64
}

// newsOf is the announcement behind a route.
func newsOf(r discovery.Route) news {
	if r.Peer == nil {
		return news{}
	}
	return news{r.Instance, r.Timestamp}
}

// since says whether n may have been announced since old was: of one instance the later of
// two, and clocks of different ones are not compared.
func (n news) since(old news) bool {
	return n.instance != old.instance || n.timestamp > old.timestamp
}

// outdated says whether the target failed before n was announced. It is so once until the
// target answers: who announces himself all the time must not have us flood an address
// (THREATS D22).
func (e *entry) outdated(n news) bool {
	return !e.early && !e.hurried && n.since(e.news)
}

// A pausedError is a dial that was not made, for the last one has just failed.
type pausedError struct {
	pause time.Duration // until the target is dialed again
	last  error
}

// Error says first that nothing was tried, so that nobody looks for a cause that may be
// gone.
func (e *pausedError) Error() string {
	return fmt.Sprintf("not tried, next try in %.1f s; the last one: %v", max(e.pause.Seconds(), 0.1), e.last)
}

func (e *pausedError) Unwrap() error { return e.last }
