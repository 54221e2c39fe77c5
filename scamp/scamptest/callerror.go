package scamptest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/internal/refusal"
)

// instance is who answers for a Caller, in errors and replies.
const instance = "fake"

// How calls end that fail on the way, in the words of package scamp: whether they may have
// run then, and how often a bus has tried: as often as the request allows if it is repeated.
var endings = []struct {
	err   error
	ran   scamp.Ran
	tried tried
}{
	{scamp.ErrPin, scamp.RanNo, repeated},
	{scamp.ErrNoDial, scamp.RanNo, repeated},
	{scamp.ErrNotFound, scamp.RanNo, never},
	{scamp.ErrStale, scamp.RanNo, never},
	{scamp.ErrDenied, scamp.RanNo, never},
	{scamp.ErrRefused, scamp.RanNo, repeated},
	{scamp.ErrClosed, scamp.RanNo, once},
	{scamp.ErrTimeout, scamp.RanMaybe, once},
	{context.DeadlineExceeded, scamp.RanMaybe, once},
	{context.Canceled, scamp.RanMaybe, once},
	{scamp.ErrBadReply, scamp.RanYes, once},
	{scamp.ErrBroken, scamp.RanMaybe, once},
	{scamp.ErrLost, scamp.RanMaybe, once},
}

// A tried says how often a bus has tried when a call has failed so.
type tried int

const (
	never tried = iota
	once
	repeated
)

// shaped is the error of a call whose answer is err.
func shaped(ctx context.Context, action string, req *scamp.Request, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return failed(action, ended(ctx), scamp.RanMaybe)
	}
	if ce, ok := errors.AsType[*scamp.CallError](err); ok {
		given := *ce
		if given.Action == "" {
			given.Action = action
		}
		return &given
	}
	if remote, ok := errors.AsType[*scamp.RemoteError](err); ok {
		given := *remote
		if given.Code == "" {
			given.Code = scamp.CodeGeneral
		}
		return failed(action, &given, scamp.RanYes)
	}
	for _, e := range endings {
		if errors.Is(err, e.err) {
			if e.err == context.DeadlineExceeded { // rows before it are those of ErrTimeout
				err = fmt.Errorf("%w: %w", scamp.ErrTimeout, err)
			}
			ce := failed(action, err, e.ran)
			ce.Advice = refusal.Advice(err)
			switch e.tried {
			case never:
				ce.Instance, ce.Attempts = "", 0
			case repeated:
				ce.Attempts = attemptsOf(req)
			}
			return ce
		}
	}
	return failed(action, &scamp.RemoteError{Code: scamp.CodeGeneral, Text: err.Error()}, scamp.RanYes)
}

func failed(action string, err error, ran scamp.Ran) *scamp.CallError {
	ce := &scamp.CallError{Action: action, Instance: instance, Attempts: 1, Ran: ran, Err: err}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		ce.Advice = refusal.Advice(err)
	}
	return ce
}

// notFound is the error of a call that nobody answers. It names what looks alike and has
// an answer: the actions of the same class.
func (c *Caller) notFound(q discovery.Query) error {
	why := discovery.Explanation{Query: q, Reason: discovery.NoAction}
	c.mu.Lock()
	for _, o := range c.answers {
		if strings.EqualFold(class(o.query.Action), class(q.Action)) {
			why.Near = append(why.Near, o.query.String())
		}
	}
	c.mu.Unlock()
	slices.Sort(why.Near)
	return &scamp.CallError{Action: q.String(), Ran: scamp.RanNo, Advice: refusal.Advice(scamp.ErrNotFound), Err: fmt.Errorf("%w: %v", scamp.ErrNotFound, why)}
}

// class is an action without its name.
func class(action string) string { return action[:strings.LastIndexByte(action, '.')] }
