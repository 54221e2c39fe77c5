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

func (e *notFoundError) Error() string { return fmt.Sprintf("%v: %v", e.kind, e.why) }
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
	switch e.seen.failedAt(e.Err) {
	case RungFound, RungRule: // the text of the error says it
		e.Advice = e.seen.rulesTrouble(kind)
	case RungConfig, RungSource:
		_, e.Advice = e.seen.failure(e.seen.failedAt(e.Err), e.Err)
	}
	return e
}

// unwanted says that a caller leaves out whoever could be asked.
func (b *Bus) unwanted(q discovery.Query) error {
	return &CallError{Action: q.String(), Ran: RanNo, seen: b.sighting(q),
		Err: fmt.Errorf("%w: RouteOptions.Filter leaves out every instance of it", ErrNotFound)}
}
