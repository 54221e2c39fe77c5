package scamp

import "sync/atomic"

// retries counts what a bus may send again.
type retries struct {
	left     atomic.Int64 // in tenths of requests
	answered atomic.Int64 // calls, each of which pays for one whose connection is lost
}

// The budget is none of Limits: what it stops fails as it would have without Retry, and
// counts (retry_over_budget).
const (
	retryCost  = 10              // tenths: each call spares one, so that a tenth may go again
	mostSpared = 100 * retryCost // a hundred at once: what a burst may send again after any time of peace
	mostLost   = 4096            // at once: as many calls as one connection may carry (flow.max_open_messages)
)

func (r *retries) init() { r.left.Store(mostSpared / 10) }

// spare notes a request that might be sent again one day.
func (r *retries) spare() {
	if r.left.Add(1) > mostSpared {
		r.left.Add(-1)
	}
}

// some says whether take would do now.
func (r *retries) some() bool { return r.left.Load() >= retryCost }

// take says whether something may be sent again.
func (r *retries) take() bool {
	if r.left.Add(-retryCost) >= 0 {
		return true
	}
	r.left.Add(retryCost)
	return false
}

// back gives back what was taken for something that could not be sent.
func (r *retries) back() { r.left.Add(retryCost) }

// answer notes a call that was answered.
func (r *retries) answer() {
	if r.answered.Add(1) > mostLost {
		r.answered.Add(-1)
	}
}

// takeLost says whether a call whose connection was lost may be sent again beside what take
// allows. Who closes every connection answers nothing, so that this stops soon; who answers
// one and closes the next is asked twice as much as is asked of him, and never more.
func (r *retries) takeLost() bool {
	if r.answered.Add(-1) >= 0 {
		return true
	}
	r.answered.Add(1)
	return false
}
