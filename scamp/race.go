package scamp

import (
	"context"
	"errors"
	"slices"
	"time"
)

// A heat is the attempts of a race that run.
type heat struct {
	c        *campaign
	outcomes chan outcome
	cancels  []context.CancelCauseFunc // of all attempts, by number from 1
	running  int
}

// start makes an attempt beside those that run.
func (h *heat) start(ctx context.Context, a *attempt) {
	h.c.note(ctx, a)
	h.running++
	began := make(chan context.CancelCauseFunc)
	go h.c.b.log.guard("GetBody or a hook of Trace", func() { // ends when the attempt does: at the latest when it is cancelled
		h.outcomes <- h.c.attempt(ctx, a, func(cancel context.CancelCauseFunc) { began <- cancel })
	}, func(err error) {
		h.outcomes <- outcome{a.number, nil, a.failure(err, RanMaybe)}
	})
	h.cancels = append(h.cancels, <-began)
}

// errBeaten is the cause that ends an attempt when another one has a reply.
var errBeaten = errors.New("scamp: another attempt was faster")

// end ends all attempts but the winner, number 0 for none, and waits for them: the
// request is the caller's again when Call returns.
func (h *heat) end(winner int) {
	for i, cancel := range h.cancels {
		if i+1 != winner {
			cancel(errBeaten)
		}
	}
	for ; h.running > 0; h.running-- {
		out := <-h.outcomes
		if out.reply != nil {
			h.c.maybe = true // it ran, whatever the others say
			out.reply.Body.Close()
		}
		if out.err != nil {
			h.c.verdict(out.err)
		}
	}
}

// race makes an attempt, and another whenever Hedge passes without a reply or all have
// failed. The first reply counts. Its request can be sent again, so it has no Body to close.
func (c *campaign) race(ctx context.Context) (*Reply, error) {
	first, err := c.next(ctx)
	if err != nil {
		return nil, err
	}
	// None of them waits for us, but where there are more instances than anybody hedges over.
	h := &heat{c: c, outcomes: make(chan outcome, min(c.opts.Attempts, 16))}
	decided := false
	defer func() {
		if !decided { // a Balancer, a Filter or a hook panics: no attempt is to be left behind
			h.end(0)
		}
	}()
	reply, err := h.run(ctx, first)
	decided = true
	return reply, err
}

// run is the race from its first attempt to the reply that counts.
func (h *heat) run(ctx context.Context, first *attempt) (*Reply, error) {
	c := h.c
	h.start(ctx, first)
	hedge := time.NewTimer(c.opts.Hedge)
	defer hedge.Stop()
	for {
		select {
		case out := <-h.outcomes:
			h.running--
			if out.err == nil {
				h.end(out.number)
				if out = c.taken(out); out.err == nil {
					return out.reply, nil
				}
			}
			failure := c.verdict(out.err)
			if h.running > 0 && worthwhile(out.err, true) {
				continue // the others may do better
			}
			var a *attempt
			if h.running == 0 {
				a = c.further(ctx, out.err)
			}
			if a == nil {
				h.end(0)
				return nil, c.verdict(failure)
			}
			h.start(ctx, a)
		case <-hedge.C:
			if !c.hedge(ctx, h) {
				continue // nor will it be possible later: the timer stays off
			}
		}
		hedge.Reset(c.opts.Hedge)
	}
}

// hedge asks one more instance, one that does not have the request already, if there is
// one and the budget allows it.
func (c *campaign) hedge(ctx context.Context, h *heat) bool {
	if len(c.tried) >= c.opts.Attempts {
		return false
	}
	a, err := c.next(ctx)
	if err != nil || a.late(ctx, &c.b.limits) || slices.Contains(c.tried, a.route.Instance) || !c.b.retries.take() {
		return false
	}
	c.b.log.count("hedged")
	if trace := traceFrom(ctx); trace.Retried != nil {
		trace.Retried(a.number, nil)
	}
	h.start(ctx, a)
	return true
}
