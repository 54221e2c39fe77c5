package scamp

import (
	"context"
	"fmt"

	"github.com/scampbus/scamp-go/discovery"
)

// A notFoundError says why nobody can be asked. It makes its text when somebody reads
// it: calls may fail in a loop, and a directory knows much.
type notFoundError struct {
	kind error // ErrNotFound, ErrDenied or ErrStale
	why  discovery.Explanation
}

// Error leaves out what would cure it: that is the advice of the call.
func (e *notFoundError) Error() string {
	text, _ := e.why.Parts()
	if e.why.Stale != "" {
		text += "; " + e.why.Stale
	}
	return fmt.Sprintf("%v: %s", e.kind, text)
}

func (e *notFoundError) Unwrap() error { return e.kind }

// notFound says why nobody can be asked, as precisely as is known (PROTOCOL 11.3).
// The caller may have left while we waited to hear of somebody.
func (b *Bus) notFound(ctx context.Context, q discovery.Query) error {
	why := b.dir.Explain(q)
	kind := ErrNotFound
	switch {
	case why.Reason == discovery.NotAuthorized:
		kind = ErrDenied
	case why.Stale != "":
		kind = ErrStale
	}
	e := &CallError{Action: q.String(), Ran: RanNo, Err: &notFoundError{kind, why}, seen: b.sighting(q)}
	e.seen.explained(why)
	if ctx.Err() != nil {
		e.Err = fmt.Errorf("%w: %w", e.Err, ctxError(ctx))
	}
	e.Advice = e.seen.fix(e.Err)
	return e
}

// closedCall says that nobody can be asked any more.
func (b *Bus) closedCall(q discovery.Query) error {
	e := &CallError{Action: q.String(), Ran: RanNo, Err: ErrClosed, seen: b.sighting(q)}
	e.Advice = e.seen.advice(e.Err)
	return e
}

// unwanted says that a caller leaves out whoever could be asked.
func (b *Bus) unwanted(q discovery.Query) error {
	e := &CallError{Action: q.String(), Ran: RanNo, seen: b.sighting(q),
		Err: fmt.Errorf("%w: RouteOptions.Filter leaves out every instance of it", ErrNotFound)}
	e.Advice = e.seen.fix(e.Err)
	return e
}
