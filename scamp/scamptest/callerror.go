package scamptest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// instance is who answers for a Caller, in errors and replies.
const instance = "fake"

// How calls end that fail on the way, in the words of package scamp: whether they may have
// run then, and how often a bus has tried: as often as the request allows if it is repeated.
var endings = []struct {
	err    error
	ran    scamp.Ran
	tried  tried
	advice string
}{
	{scamp.ErrPin, scamp.RanNo, repeated, "the instance was restarted with another key, or somebody else took its port; compare with scamp list services --all"},
	{scamp.ErrNoDial, scamp.RanNo, repeated, "the instance is announced but does not answer; scamp show IDENT tells when it announced itself"},
	{scamp.ErrNotFound, scamp.RanNo, never, whatThereIs},
	{scamp.ErrStale, scamp.RanNo, never, "is scamp cache running, with the same discovery.cache_path?"},
	{scamp.ErrDenied, scamp.RanNo, never, ""},
	{scamp.ErrRefused, scamp.RanNo, repeated, "the instance is busy or shutting down: call again in a moment; if it stays so, start more instances, or raise " +
		"Limits.MaxConcurrency and MaxQueue of the service (its counters queue_full, held_refused and buffered_refused tell which)"},
	{scamp.ErrClosed, scamp.RanNo, once, "what the call went through was closed by the program: call before that, or make another one"},
	{scamp.ErrTimeout, scamp.RanMaybe, once, moreTime},
	{context.DeadlineExceeded, scamp.RanMaybe, once, moreTime},
	{context.Canceled, scamp.RanMaybe, once, gaveUp},
	{scamp.ErrBadReply, scamp.RanYes, once, "see that both sides mean the same by the action, in type and version: the service documents it in _meta.documentation, and scamp call shows what it sends"},
	{scamp.ErrBroken, scamp.RanMaybe, once, "see in the log of the service why it gave the reply up; a call that may run twice can be Idempotent, and is sent again"},
	{scamp.ErrLost, scamp.RanMaybe, once, "see whether the service has ended or was started anew (scamp show IDENT, and its log); a call that may run twice can be Idempotent, and is sent again"},
}

// What a bus advises where a call also fails otherwise than by what Fail is given.
const (
	whatThereIs = "scamp list actions --all shows what there is"
	moreTime    = "give the call more time (a later deadline, or rpc.timeout where there is none; scamp call: --timeout), or see why the service is slow: its access log tells how long handlers take"
	gaveUp      = "the program itself gave the call up: nothing need be wrong with the instance"
)

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
			ce.Advice = e.advice
			if errors.Is(err, syscall.ECONNREFUSED) && e.err == scamp.ErrNoDial {
				ce.Advice = "the instance is announced but does not answer: is its process gone, or a firewall in between? scamp show IDENT tells when it announced itself"
			}
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
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		ce.Advice = moreTime
	case errors.Is(err, context.Canceled):
		ce.Advice = gaveUp
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
	return &scamp.CallError{Action: q.String(), Ran: scamp.RanNo, Advice: whatThereIs, Err: fmt.Errorf("%w: %v", scamp.ErrNotFound, why)}
}

// class is an action without its name.
func class(action string) string { return action[:strings.LastIndexByte(action, '.')] }
