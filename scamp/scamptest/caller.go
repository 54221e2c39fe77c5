package scamptest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
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
	mu       sync.Mutex // protects what follows
	answers  map[string]answer
	requests []received
}

var _ scamp.Caller = (*Caller)(nil)

// An answer makes the body of a reply to a request, which has its body in Data.
type answer func(ctx context.Context, req *scamp.Request) ([]byte, error)

// A received is a request as Requests returns it.
type received struct {
	action string
	req    scamp.Request
}

// Answer has c answer an action, "[sector:]Class.name[~version]", with a function from
// one JSON value to another, such as the one that HandleJSON takes. The last answer of
// an action counts. An error of fn is as one given to Fail.
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
//   - scamp.ErrNoDial, ErrRefused, ErrLost, ErrTimeout and the others of errors.Is are
//     what became of the call, with the Ran that a bus would give them;
//   - a *scamp.RemoteError, and as "general" any other error, is the answer of a handler.
func (c *Caller) Fail(action string, err error) {
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
		c.answers = make(map[string]answer)
	}
	c.answers[q.String()] = a
}

// Requests returns the requests for an action so far, in the order they came, and those
// for all if action is empty. Each is as the caller gave it, but its body is in Data,
// whatever it was given as, and JSON decodes it.
func (c *Caller) Requests(action string) []scamp.Request {
	q, err := discovery.ParseAction(action)
	if err != nil && action != "" {
		panic(fmt.Sprintf("scamptest: %v", err))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []scamp.Request
	for _, r := range c.requests {
		if action == "" || r.action == q.String() {
			all = append(all, r.req)
		}
	}
	return all
}

// Call answers a request. It returns when ctx ends, also if the answer does not.
func (c *Caller) Call(ctx context.Context, req *scamp.Request) (*scamp.Reply, error) {
	q, err := discovery.ParseAction(req.Action)
	if err != nil {
		return nil, fmt.Errorf("scamp: call: %w", err)
	}
	q.Sector, q.Version = cmp.Or(q.Sector, req.Sector), cmp.Or(q.Version, req.Version)
	action := q.String()
	r := *req
	if r.Data, err = bodyOf(req); err != nil {
		return nil, &scamp.CallError{Action: action, Ran: scamp.RanNo, Err: fmt.Errorf("scamp: request body: %w", err)}
	}
	r.Body, r.GetBody = nil, nil
	if ctx.Err() != nil {
		return nil, failed(action, ended(ctx), scamp.RanNo)
	}
	c.mu.Lock()
	c.requests = append(c.requests, received{action, r})
	a := c.answers[action]
	c.mu.Unlock()
	if a == nil {
		return nil, c.notFound(q)
	}
	body, err := within(ctx, a, r)
	switch {
	case err != nil:
		return nil, shaped(ctx, action, err)
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
			return nil, err
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

// within answers, at the latest when ctx ends.
func within(ctx context.Context, a answer, req scamp.Request) ([]byte, error) {
	if ctx.Done() == nil {
		return a(ctx, &req)
	}
	type outcome struct {
		body []byte
		err  error
	}
	done := make(chan outcome, 1)
	go func() { // ends with the answer
		body, err := a(ctx, &req)
		done <- outcome{body, err}
	}()
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
