//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/internal/ledger"
)

// A clientSpec says what a client child is.
type clientSpec struct {
	Config string // path of soa.conf
	Retry  *scamp.RetryOptions
	Limits scamp.Limits
	Deaf   bool // it hears no announcements, so it knows what the cache file says alone
	User   int  // it becomes this user, who is not root; zero means that it stays who it is
}

// loaded is what a client says when it has made all its calls.
type loaded struct {
	Calls int
	Late  time.Duration // the most that a call began behind its plan
}

// beClient makes the calls of a load and notes how each ends. Orders: know N waits until
// it knows N instances; load makes the calls of a load and answers when all have ended;
// stats; drain closes the bus and notes what the process holds then.
func beClient(p *post) error {
	var spec clientSpec
	if err := json.Unmarshal(p.spec, &spec); err != nil {
		return err
	}
	cfg, err := scamp.ReadConfig(spec.Config)
	if err != nil {
		return err
	}
	start := holds()
	start["goroutines"] += 2 // who reads our orders, and who follows the one to drain
	p.book.Start(start)
	c := &client{book: p.book, retry: spec.Retry}
	opts := &scamp.Options{Log: p.log, Limits: spec.Limits, Dial: c.dial}
	if err := spec.restrict(opts); err != nil {
		return err
	}
	bus, err := scamp.Open(cfg, opts)
	if err != nil {
		return err
	}
	defer bus.Close()
	c.bus = bus
	watching, unwatch := context.WithCancel(p.ctx)
	var watch sync.WaitGroup
	watch.Go(func() { p.watch(watching, bus.Directory(), discovery.Query{Action: loadAction}) }) // ends with unwatch
	p.obey(c.orders(p.ctx), orders{
		"know": func(args json.RawMessage) (any, error) {
			var n int
			if err := json.Unmarshal(args, &n); err != nil {
				return nil, err
			}
			return nil, c.know(p.ctx, n)
		},
		"load": func(args json.RawMessage) (any, error) {
			var l load
			if err := json.Unmarshal(args, &l); err != nil {
				return nil, err
			}
			return c.load(p.ctx, &l), nil
		},
		"stats": func(json.RawMessage) (any, error) { return bus.Stats(), nil },
		"drain": func(json.RawMessage) (any, error) {
			unwatch()
			watch.Wait()
			return drainBus(p.book, bus, start, bus.Close)
		},
	})
	p.tell("ready", ready{})
	<-p.ctx.Done()
	unwatch()
	watch.Wait()
	_, err = drainBus(p.book, bus, start, bus.Close)
	return err
}

// A client makes calls.
type client struct {
	bus   *scamp.Bus
	book  *ledger.Ledger
	retry *scamp.RetryOptions

	mu    sync.Mutex // protects dials
	dials []dialed
}

// know waits until so many instances can be called.
func (c *client) know(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		known := len(c.bus.Directory().Find(discovery.Query{Action: loadAction}))
		if known >= n {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d instances of %s are known, want %d: %s", known, loadAction, n, c.bus.Directory().Explain(discovery.Query{Action: loadAction}))
		}
	}
}

// load makes the calls of a load, each at its time whatever became of those before it,
// and returns when all have ended.
func (c *client) load(ctx context.Context, l *load) loaded {
	var done loaded
	var calls sync.WaitGroup
	for p := range l.plan {
		at := l.Begin.Add(p.At)
		if wait := time.Until(at); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			break
		}
		done.Late = max(done.Late, time.Since(at))
		done.Calls++
		p.Ident = l.Ident                                   // which no plan knows: it is another in each run
		calls.Go(func() { c.call(ctx, p, l.Mix.Deadline) }) // ends with the call's deadline
	}
	calls.Wait()
	return done
}

// small is how long a body may be to be sent as octets; longer ones are streamed.
const small = 16 << 10

// sentAgain begins the note of a call that was sent more than once, before the number of
// times that it was sent again.
const sentAgain = "sent again "

// call makes one call and notes both ends of it.
func (c *client) call(ctx context.Context, p planned, limit time.Duration) {
	request := func() *body { return newBody(p.Nonce[:], p.Nonce, p.Request) }
	head, err := json.Marshal(loadHead{p.ID, p.Reply, max(p.Linger, 2*p.CancelAt)}) // one that is given up is still under way then
	if err != nil {
		return // a string and a number
	}
	req := &scamp.Request{Action: loadAction, Extra: map[string]json.RawMessage{loadMember: head}, Idempotent: p.Idempotent, Retry: c.retry}
	if p.Ident != "" {
		req.Route = &scamp.RouteOptions{Ident: p.Ident}
	}
	switch {
	case p.Request <= small:
		req.Data, _ = io.ReadAll(request()) // does not fail
	case p.Again:
		req.GetBody = func() (io.Reader, error) { return request(), nil }
	default:
		req.Body = request() // cannot be sent again
	}
	noted := sum(request())
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	deadline, _ := ctx.Deadline()
	c.book.Issue(p.ID, p.Nonce, noted, p.Idempotent, deadline)
	if p.CancelAt > 0 {
		timer := time.AfterFunc(p.CancelAt, cancel)
		defer timer.Stop()
	}
	var again atomic.Int32
	var at atomic.Value // the instance at which it failed, and was not done with
	ctx = scamp.WithTrace(ctx, &scamp.Trace{Retried: func(_ int, err error) {
		again.Add(1)
		if ce, ok := errors.AsType[*scamp.CallError](err); ok {
			at.Store(ce.Instance)
		}
	}})
	end := c.ask(ctx, req, noted, max(p.Reply, answerOctets))
	if before, ok := at.Load().(string); ok && end.Instance == "" {
		end.Instance = before
	}
	if n := again.Load(); n > 0 {
		end.Text = fmt.Sprintf("%s%d: %s", sentAgain, n, end.Text)
	}
	// One that ended before it was given up, or for its deadline, was not given up.
	end.Cancelled = end.Outcome != ledger.OK && p.CancelAt > 0 && errors.Is(ctx.Err(), context.Canceled)
	c.book.End(p.ID, end)
}

// ask makes the call and returns how it ended. It knows how many octets the reply must have: a
// service that was killed has not noted what it sent.
func (c *client) ask(ctx context.Context, req *scamp.Request, noted ledger.Sum, octets int) ledger.End {
	var got ledger.Meter
	var begin front
	reply, err := c.bus.Call(ctx, req)
	if err == nil {
		_, err = io.Copy(io.MultiWriter(&got, &begin), reply.Body)
		reply.Body.Close()
	}
	if err != nil {
		end := ledger.End{Outcome: outcome(err), Text: err.Error()}
		if ce, ok := errors.AsType[*scamp.CallError](err); ok {
			end.Instance = ce.Instance
		}
		return end
	}
	end := ledger.End{Outcome: ledger.OK, Reply: got.Sum()}
	if [32]byte(begin.b[16:]) != [32]byte(noted.SHA256) {
		end.Text = "the reply has the hash of another request" // and no nonce: rule 2
		return end
	}
	if end.Reply.Octets != int64(octets) {
		end.Text = fmt.Sprintf("%d octets came as the whole reply: want %d", end.Reply.Octets, octets) // as above
		return end
	}
	copy(end.Nonce[:], begin.b[:])
	return end
}

// outcome is how an error counts.
func outcome(err error) ledger.Outcome {
	var ce *scamp.CallError
	if !errors.As(err, &ce) {
		return ledger.Outcome(fmt.Sprintf("no CallError: %v", err)) // rule 1
	}
	switch ce.Ran {
	case scamp.RanNo:
		return ledger.NotRun
	case scamp.RanYes:
		return ledger.Error
	}
	return ledger.MaybeRun
}
