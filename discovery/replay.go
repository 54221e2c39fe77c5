package discovery

import (
	"slices"
	"time"
)

// maxFutures is how many timestamps of one instance are remembered as future
// ones (PROTOCOL 7.9).
const maxFutures = 4

// A history is what is remembered of the timestamps of one instance, so that an
// old announcement cannot replace a newer one. It outlives the announcement.
// Only announcements with a good signature change it.
type history struct {
	seen      bool    // at least one that was not a future one
	top       int64   // the highest of these
	withdrawn bool    // what bore it was a withdrawal
	futures   []int64 // timestamps that were future ones when they came, at most maxFutures
}

// A verdict is what the replay rule says about an announcement.
type verdict uint8

const (
	replaces     verdict = iota // it takes the place of what is held
	repeats                     // it is what is held
	stale                       // a newer one was seen
	equivocation                // same time, other octets: what is held stays
	tooEarly                    // a future one, while another is held
	elsewhere                   // it is what is held, for another network of its host
)

// judge applies PROTOCOL 7.9 to a, given what is held, nil when nothing is or
// when it has expired. future says whether a and held are future ones.
func (h *history) judge(a, held *Announcement, future, heldFuture bool) verdict {
	switch {
	case held != nil && held.seal.json == a.seal.json:
		return repeats
	case h.seen && a.Timestamp < h.top:
		return stale
	case h.seen && a.Timestamp == h.top && !future:
		return h.same(a, held, heldFuture)
	case !future:
		return replaces // also a held future one with a higher number
	case held == nil:
		return replaces
	case !heldFuture:
		return tooEarly
	case a.Timestamp < held.Timestamp:
		return stale
	case a.Timestamp == held.Timestamp && !a.Withdrawn():
		return equivocation
	}
	return replaces
}

// same judges other octets with the highest timestamp seen: a withdrawal wins
// and stays, else what is held stays while it is fresh.
func (h *history) same(a, held *Announcement, heldFuture bool) verdict {
	switch {
	case a.Withdrawn() && !h.withdrawn:
		return replaces
	case h.withdrawn && !a.Withdrawn():
		return stale // a withdrawal outlives its record (THREATS 2.2 rule 5)
	case held != nil && !heldFuture:
		return equivocation
	}
	return replaces
}

// future tells whether a timestamp is a future one, and remembers it if so.
func (h *history) future(timestamp int64, now time.Time, skew time.Duration) bool {
	if slices.Contains(h.futures, timestamp) {
		return true
	}
	if timestamp <= now.Add(skew).UnixMicro() {
		return false
	}
	h.futures = append(h.futures, timestamp)
	if len(h.futures) > maxFutures {
		// One that was overtaken is stale by now. Else the furthest goes: our
		// clock will still call it future when it comes again.
		drop := slices.IndexFunc(h.futures, func(t int64) bool { return h.seen && t < h.top })
		if drop < 0 {
			drop = slices.Index(h.futures, slices.Max(h.futures))
		}
		h.futures = slices.Delete(h.futures, drop, drop+1)
	}
	return true
}

// take notes that a is held now. A future one never counts as the highest seen.
func (h *history) take(a *Announcement, future bool) {
	if !future && (!h.seen || a.Timestamp >= h.top) {
		h.seen, h.top, h.withdrawn = true, a.Timestamp, a.Withdrawn()
	}
}
