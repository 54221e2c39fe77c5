package scamp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// A Subscription is what a service tells of some codes, kept current (PROTOCOL 14): a
// table code → key → JSON value. When its connection is lost it makes another one, maybe
// to another instance; until that has told its whole table there is none. Safe for
// concurrent use. Close must be called; that of the bus ends it too.
type Subscription struct {
	bus    *Bus
	req    Request // names the action and the instance
	query  discovery.Query
	codes  []string
	cancel context.CancelFunc
	done   chan struct{} // closed when run has returned

	mu       sync.Mutex // protects what follows
	table    *eventTable
	usable   bool
	err      error         // why it is not usable
	trying   string        // the instance that is asked, or was last
	instance string        // that told the table
	changed  chan struct{} // closed, and made anew, when any of this changes
}

// An Event is one entry of a table of events, as it is now.
type Event struct {
	Code, Key string
	Value     json.RawMessage // nil if the entry was deleted; must not be changed
	// Reset says that nothing else in this Event counts: the consumer was so slow that he
	// was not told of some deletions. All entries that there are follow.
	Reset bool
}

// errNoEvents says that an instance has no events, as far as anybody knows.
var errNoEvents = errors.New("scamp: the instance is not known to have events: nothing was asked of it, for some close the connection then")

// Subscribe subscribes to codes of a service that offers the action of req, at most 10.
// Route says which instance; Sector, Version and Envelope count too, and the rest of req
// does not. All of it is copied. It does not wait: Ready does, and Err says what is wrong
// meanwhile.
//
// Some old services close a connection on which they are asked for events. So only those
// are asked that announce the action NAME.queue_depth, as JavaScript services do, or that
// show with their reply to a harmless request that they are one of ours.
func (b *Bus) Subscribe(req *Request, codes ...string) (*Subscription, error) {
	q, err := b.query(req)
	if err != nil {
		return nil, err
	}
	if len(codes) == 0 || len(codes) > maxCodes {
		return nil, fmt.Errorf("scamp: subscribe: %d codes: want 1 to %d", len(codes), maxCodes)
	}
	for _, c := range codes {
		if !usableEventName(c) {
			return nil, fmt.Errorf("scamp: subscribe: code %q: want UTF-8 of at most %d octets", b.log.cut(c), maxEventName)
		}
	}
	ctx, cancel := context.WithCancel(b.ctx)
	s := &Subscription{bus: b, query: q, codes: slices.Clone(codes), cancel: cancel, done: make(chan struct{}),
		req:   Request{Action: req.Action, Sector: req.Sector, Version: req.Version, Envelope: req.Envelope, Route: copyOf(req.Route)},
		table: newEventTable(&b.limits), err: errLooking, changed: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil { // Close may wait already
		cancel()
		return nil, fmt.Errorf("scamp: subscribe: %w", ErrClosed)
	}
	b.work.Go(func() { s.run(ctx) }) // ends with Close, or that of the bus
	return s, nil
}

var (
	errLooking    = errors.New("no instance is found yet that offers the action")
	errConnecting = errors.New("there is no connection to it yet")
	errNotYet     = errors.New("it has not answered the subscription yet")

	errUnsubscribed error = unsubscribed{}
)

// unsubscribed is ErrClosed of a subscription.
type unsubscribed struct{}

func (unsubscribed) Error() string { return "scamp: the subscription is closed" }

func (unsubscribed) Is(target error) bool { return target == ErrClosed }

// Close ends the subscription and waits until its connection is given up.
func (s *Subscription) Close() error {
	s.cancel()
	<-s.done
	return nil
}

// Ready returns when the table is usable, or with an error when ctx or the subscription
// ends before that. The error is a *CallError that says what was wrong last, with which
// instance, and what would cure it, but for a subscription that was closed (ErrClosed).
func (s *Subscription) Ready(ctx context.Context) error {
	for {
		s.mu.Lock()
		usable, err, changed := s.usable, s.err, s.changed
		s.mu.Unlock()
		switch {
		case usable:
			return nil
		case errors.Is(err, errUnsubscribed):
			return err
		}
		select {
		case <-changed:
		case <-s.done: // a Filter or Balancer may have ended the goroutine: Err says so
			if err := s.Err(); err != nil {
				return err
			}
		case <-ctx.Done():
			return s.unready(ctx, err)
		}
	}
}

// unready is the error of Ready when its context has ended while err was wrong.
func (s *Subscription) unready(ctx context.Context, err error) error {
	ce := new(CallError)
	switch failed, ok := errors.AsType[*CallError](err); {
	case ok:
		*ce = *failed
	case errors.Is(err, errLooking):
		if missing, ok := errors.AsType[*CallError](s.bus.notFound(context.WithoutCancel(ctx), s.query)); ok {
			*ce = *missing
		}
	}
	s.mu.Lock()
	def(&ce.Instance, s.trying)
	s.mu.Unlock()
	def(&ce.Action, fmt.Sprintf("%s:%s~%d", s.query.Sector, s.query.Action, max(s.query.Version, 1)))
	if ce.Err != nil {
		err = ce.Err
	}
	ce.Err = fmt.Errorf("%w: %w", ctxError(ctx), err)
	return ce
}

// tries notes which instance is asked, and what is awaited of it.
func (s *Subscription) tries(instance string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trying, s.err = instance, err
	s.tellLocked()
}

// Err says why the table is not usable now, nil if it is.
func (s *Subscription) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Instance is the ident of the instance whose table it is, empty while there is none.
func (s *Subscription) Instance() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.instance
}

// Value returns the value of an entry. It is false if there is none, or no usable table.
// The value must not be changed.
func (s *Subscription) Value(code, key string) (json.RawMessage, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.table.entries[eventName{code, key}]
	if !s.usable || e == nil || e.value == nil {
		return nil, false
	}
	return e.value, true
}

// Changes tells each entry that there is, and from then on each that changes: to slow
// consumers the latest only. It ends with ctx, or when the subscription is closed. While
// the table is not usable it tells nothing; what is different in the next one it tells.
func (s *Subscription) Changes(ctx context.Context) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		told := uint64(0)
		for {
			events, changed := s.since(&told)
			for _, e := range events {
				if ctx.Err() != nil || !yield(e) {
					return
				}
			}
			if len(events) > 0 {
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			case <-s.done:
				return
			}
		}
	}
}

// changesAtOnce is how many changes a consumer is handed before he is asked again: what
// changes meanwhile he hears the latest of.
const changesAtOnce = 64

// since returns some of what has changed since, and what is closed when there is more.
func (s *Subscription) since(told *uint64) ([]Event, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.usable {
		return nil, s.changed
	}
	var events []Event
	upTo := s.table.change
	err := s.table.since(*told, func(e *eventEntry) bool {
		if len(events) == changesAtOnce {
			upTo = e.change - 1
			return false
		}
		events = append(events, Event{Code: e.code, Key: e.key, Value: e.value})
		return true
	})
	if err != nil {
		*told = 0
		return []Event{{Reset: true}}, s.changed
	}
	*told = upTo
	return events, s.changed
}

// tellLocked wakes who waits for a change.
func (s *Subscription) tellLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Between connections (PROTOCOL 14), without the jitter.
const (
	firstPause = 50 * time.Millisecond
	mostPause  = 10 * time.Second
)

// run keeps the subscription connected.
func (s *Subscription) run(ctx context.Context) {
	defer close(s.done)
	pauses, failures := backoff{firstPause, mostPause, s.bus.balance.rand}, 0
	var tried []discovery.Instance
	for ctx.Err() == nil {
		what := attempt{balance: s.bus.balance, bus: s.bus, number: 1}
		s.bus.log.guard("Filter or Balancer", func() {
			if s.lost(s.connect(ctx, &what, tried)) {
				failures = 0
				s.bus.log.count("subscription_lost")
			}
		}, func(err error) { s.lost(err) }) // it was not connected yet
		tried = nil
		if what.route.Peer != nil {
			tried = []discovery.Instance{what.route.Instance} // another one, if there is one
		}
		within(pauses.pause(failures), ctx.Done())
		failures++
	}
	s.lost(errUnsubscribed)
}

// lost makes the table unusable, and says whether it was usable.
func (s *Subscription) lost(err error) (was bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was = s.usable
	s.usable, s.err, s.instance = false, err, ""
	s.tellLocked()
	return was
}

// connect subscribes to one instance and keeps the table current until that is over.
func (s *Subscription) connect(ctx context.Context, what *attempt, tried []discovery.Instance) error {
	b := s.bus
	route, err := b.route(ctx, &s.req, s.query, what, tried)
	if err != nil {
		return err
	}
	what.route = route
	s.tries(what.instance(), errConnecting)
	if route.GoDialect {
		return fmt.Errorf("%w: %s", errNoEvents, clean(what.instance()))
	}
	// A connection has one subscription, so this one has a connection.
	p, err := b.pool.connected(ctx, what, identityOf(route), true, traceFrom(ctx))
	if err != nil {
		return err
	}
	s.tries(what.instance(), errNotYet)
	defer b.pool.abandon(what.link)
	defer context.AfterFunc(ctx, p.conn.Close)()
	f := &feed{s: s, p: p, more: make(chan struct{}, 1)}
	p.feed.Store(f)
	if err := f.run(what); err != nil {
		return fmt.Errorf("scamp: events of %s: %w", clean(what.instance()), err)
	}
	return nil
}

// accept makes staged the table, which is usable from now on.
func (s *Subscription) accept(staged *eventTable, instance string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, e := range s.table.entries {
		if e.value != nil && (staged.entries[name] == nil || staged.entries[name].value == nil) {
			s.table.set(name, nil) // deleting never fails
		}
	}
	// What needs more room comes last: else old and new values together might be too much,
	// though neither table is.
	for _, grows := range []bool{false, true} {
		var failed error
		staged.since(0, func(e *eventEntry) bool { // who was told nothing is not behind
			if old := s.table.entries[e.eventName]; (old == nil || len(e.value) > len(old.value)) == grows {
				_, failed = s.table.set(e.eventName, e.value)
			}
			return failed == nil
		})
		if failed != nil {
			return failed
		}
	}
	s.usable, s.err, s.instance = true, nil, instance
	s.tellLocked()
	return nil
}

// apply stores what an event says.
func (s *Subscription) apply(records []eventRecord) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	any := false
	for _, r := range records {
		changed, err := s.table.set(r.eventName, r.value)
		if err != nil {
			return err
		}
		any = any || changed
	}
	if any {
		s.tellLocked()
	}
	return nil
}
