package scamptest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/internal/refusal"
)

// A Caller is a fake scamp.Caller for tests of what calls: it answers each action as it
// was told, without a bus, and remembers what it was asked. The zero Caller offers
// nothing. Safe for concurrent use; it must not be copied.
//
// Its errors are those of a bus: a *scamp.CallError that names the action, whether it
// ran, and the cause. An action without an answer is not found, as on a bus where nobody
// offers it. It decides nothing else that a bus does: it sends nothing again, knows no
// tickets and no rules.
type Caller struct {
	mu       sync.Mutex       // protects what follows
	answers  map[string]offer // by key
	requests []received
}

var _ scamp.Caller = (*Caller)(nil)

// An answer makes the body of a reply to a request, which has its body in Data.
type answer func(ctx context.Context, req *scamp.Request) ([]byte, error)

// An offer is an action as the test spelled it, and its answer. The zero offer is none.
type offer struct {
	query  discovery.Query
	answer answer
}

// A received is a request as Requests returns it.
type received struct {
	key string // of its action
	req scamp.Request
}

// Answer has c answer an action, "[sector:]Class.name[~version]", with a function from
// one JSON value to another, such as the one that HandleJSON takes. The last answer of
// an action counts. An error of fn is as one given to Fail, and its panic is the error
// "general" of a handler that panics on a bus, as is runtime.Goexit, by t.FailNow say. Fn has a
// goroutine of its own, which must end with its context. An action that is none panics, here and in
// Reply, Fail and Requests.
func Answer[In, Out any](c *Caller, action string, fn func(context.Context, In) (Out, error)) {
	c.set(action, func(ctx context.Context, req *scamp.Request) ([]byte, error) {
		var in In
		if len(req.Data) > 0 {
			if err := req.JSON(&in); err != nil {
				return nil, err
			}
		}
		out, err := fn(ctx, in)
		if err != nil {
			return nil, err
		}
		body, err := json.Marshal(out)
		if err != nil {
			return nil, &scamp.RemoteError{Code: scamp.CodeInternal, Text: "reply body: " + err.Error()}
		}
		return body, nil
	})
}

// Reply has c answer an action with the JSON form of a value, whatever it is asked.
func (c *Caller) Reply(action string, value any) {
	Answer(c, action, func(context.Context, json.RawMessage) (any, error) { return value, nil })
}

// Fail has calls of an action fail with err:
//
//   - a *scamp.CallError is returned as it is, its Action filled in;
//   - scamp.ErrNoDial, ErrRefused, ErrLost, ErrTimeout and the others of package scamp, and
//     context.Canceled and DeadlineExceeded, are what became of the call, with the Ran
//     that a bus would give them; ErrClosed is that of a bus closed before the call;
//   - a *scamp.RemoteError, and as "general" any other error, is the answer of a handler.
//
// A nil err panics: Reply and Answer are for calls that do not fail.
func (c *Caller) Fail(action string, err error) {
	if err == nil {
		panic("scamptest: Fail " + action + ": nil error: want why calls fail, or Reply")
	}
	c.set(action, func(context.Context, *scamp.Request) ([]byte, error) { return nil, err })
}

// set keeps an answer. A name that is none would never be asked for, so it panics.
func (c *Caller) set(action string, a answer) {
	q, err := discovery.ParseAction(action)
	if err != nil {
		panic(fmt.Sprintf("scamptest: %v", err))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answers == nil {
		c.answers = make(map[string]offer)
	}
	c.answers[key(q)] = offer{q, a}
}

// key is the name of an action without regard to case, as a bus compares it.
func key(q discovery.Query) string { return strings.ToLower(q.String()) }

// Requests returns the requests for an action so far, in the order they came, and those
// for all if action is empty. Each is as the caller gave it, but its body is in Data,
// whatever it was given as, and JSON decodes it; and its Ticket is that of the context
// (scamp.WithTicket) if it had none, as a bus would send it.
func (c *Caller) Requests(action string) []scamp.Request {
	q, err := discovery.ParseAction(action)
	if err != nil && action != "" {
		panic(fmt.Sprintf("scamptest: %v", err))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []scamp.Request
	for _, r := range c.requests {
		if action == "" || r.key == key(q) {
			all = append(all, r.req)
		}
	}
	return all
}

// Call answers a request. It returns when ctx ends, also if the answer does not.
func (c *Caller) Call(ctx context.Context, req *scamp.Request) (*scamp.Reply, error) {
	if t := refusal.Ticket(ctx); t != "" && req.Ticket == "" {
		with := *req
		with.Ticket, req = scamp.Ticket(t), &with
	}
	q, err := refusal.Of(req)
	if err != nil {
		if closer, ok := req.Body.(io.Closer); ok {
			closer.Close()
		}
		return nil, err
	}
	r := *req
	var broken error // why the request has no body
	r.Data, broken = bodyOf(req)
	r.Body, r.GetBody = nil, nil
	c.mu.Lock()
	o := c.answers[key(q)]
	if o.answer == nil || broken == nil && ctx.Err() == nil {
		c.requests = append(c.requests, received{key(q), r})
	}
	c.mu.Unlock()
	action := o.query.String() // as a service announces it
	switch {
	case o.answer == nil:
		return nil, c.notFound(q)
	case ctx.Err() != nil:
		return nil, failed(action, ended(ctx), scamp.RanNo)
	case broken != nil:
		return nil, unsent(action, req, broken)
	}
	body, err := within(ctx, o.answer, r)
	switch {
	case err != nil:
		return nil, shaped(ctx, action, req, err)
	case ctx.Err() != nil:
		return nil, failed(action, ended(ctx), scamp.RanMaybe)
	}
	return &scamp.Reply{Instance: instance, Body: io.NopCloser(bytes.NewReader(body))}, nil
}

// bodyOf returns the body of a request.
func bodyOf(req *scamp.Request) ([]byte, error) {
	body := req.Body
	if req.GetBody != nil {
		var err error
		if body, err = req.GetBody(); err != nil {
			return nil, notMade{err}
		}
	}
	if closer, ok := body.(io.Closer); ok {
		defer closer.Close()
	}
	if body != nil {
		return io.ReadAll(body)
	}
	return slices.Clone(req.Data), nil
}

// A notMade is the error of a GetBody.
type notMade struct{ error }

func (e notMade) Unwrap() error { return e.error }

// unsent is the error of a call whose body could not be read. A bus sends a reader's
// octets while it reads them: then the service has the request already, and may act.
func unsent(action string, req *scamp.Request, err error) error {
	ce := failed(action, fmt.Errorf("request body: %w", err), scamp.RanMaybe)
	if _, ok := errors.AsType[notMade](err); ok {
		ce = failed(action, fmt.Errorf("scamp: request body: %w", err), scamp.RanNo)
		ce.Attempts = attemptsOf(req)
	}
	ce.Advice = "see why the program's own Body or GetBody fails"
	return ce
}

// attemptsOf is how often a bus tries what nobody has received.
func attemptsOf(req *scamp.Request) int {
	switch {
	case req.Route != nil && req.Route.Ident != "" || req.Body != nil:
		return 1
	case req.Retry != nil && req.Retry.Attempts > 0:
		return req.Retry.Attempts
	case req.Idempotent:
		return 3
	}
	return 2
}

// An outcome is what became of an answer.
type outcome struct {
	body []byte
	err  error
}

// answered answers, and hands over what became of it. What panics, or ends its goroutine as
// t.FailNow does, has the text that services answer with.
func (a answer) answered(ctx context.Context, req *scamp.Request, done chan<- outcome) {
	o := outcome{err: &scamp.RemoteError{Code: scamp.CodeGeneral, Text: "the handler failed"}}
	defer func() {
		recover()
		done <- o
	}()
	body, err := a(ctx, req)
	o = outcome{body, err}
}

// within answers, at the latest when ctx ends.
func within(ctx context.Context, a answer, req scamp.Request) ([]byte, error) {
	done := make(chan outcome, 1)
	go a.answered(ctx, &req, done) // ends with the answer
	select {
	case o := <-done:
		return o.body, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ended says why ctx has ended, as a bus does.
func ended(ctx context.Context) error {
	err := context.Cause(ctx)
	if !errors.Is(err, ctx.Err()) {
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %w", scamp.ErrTimeout, err)
	}
	return err
}
