package discovery

import (
	"context"
	"iter"
	"slices"
	"sync"
)

// A Kind says what happened to an instance.
type Kind uint8

// What may happen to an instance.
const (
	Added   Kind = iota // it can be chosen now
	Updated             // it can still be chosen, and something about it changed
	Removed             // it can no longer be chosen; Why says why
)

// String returns the name of k.
func (k Kind) String() string {
	names := [...]string{Added: "added", Updated: "updated", Removed: "removed"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

// A Why is the reason of an event.
type Why uint8

// Why an instance comes, changes or goes.
const (
	Announced    Why = iota // it announced this
	Allowed                 // the rules allow it now, or allow it more than before
	Goodbye                 // it withdrew: its newest announcement has weight 0
	Expired                 // not heard of for 2.1 intervals
	Unauthorized            // the rules do not allow it, or less than before, or another certificate has its fingerprint
	Replaced                // its newer announcement does not offer this, or has an address that is of no use here
	LeftFile                // it is no longer in the cache file
)

// String returns the name of w.
func (w Why) String() string {
	names := [...]string{
		Announced: "announced", Allowed: "allowed", Goodbye: "goodbye", Expired: "expired",
		Unauthorized: "unauthorized", Replaced: "replaced", LeftFile: "left the file",
	}
	if int(w) < len(names) {
		return names[w]
	}
	return "unknown"
}

// An Event says that something happened to one instance that matches a query.
type Event struct {
	Kind  Kind
	Why   Why
	Route Route // as it is now; as it last was, when Removed
}

// Watch returns what happens to the instances that match q, first an Added for
// each one there already. With a zero Action it watches all instances that can be
// chosen for anything that fits the rest of q; the Offer of its routes is then empty.
// The sequence
// ends when ctx does, when the directory is closed, or when the caller breaks.
//
// The directory never waits for a watcher: what happens to one instance while
// the caller is busy becomes one event, so a slow caller sees fewer events and
// always the latest state. A Watch costs memory for each instance its caller
// was told of, and for nothing else.
func (d *Directory) Watch(ctx context.Context, q Query) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		w, ok := newWatcher(q)
		if !ok {
			return // nothing can match
		}
		d.join(w)
		defer d.leave(w)
		for {
			for e, ok := w.next(); ok; e, ok = w.next() {
				if ctx.Err() != nil || !yield(e) {
					return
				}
			}
			select {
			case <-w.wake:
			case <-ctx.Done():
				return
			case <-d.closed:
				return
			}
		}
	}
}

// A watcher is the mailbox of one Watch.
type watcher struct {
	// Set by newWatcher, never changed.
	q    Query         // a normal one, or one without an action
	key  string        // of the index entries wanted, when it has an action
	wake chan struct{} // one token: there may be news

	seen map[Instance]bool // what the caller believes to be there; owned by the caller's goroutine

	mu    sync.Mutex         // protects news and order
	news  map[Instance]Event // the latest of each instance since the caller looked
	order []Instance         // keys of news, oldest first
}

func newWatcher(q Query) (*watcher, bool) {
	w := &watcher{q: q, wake: make(chan struct{}, 1), seen: make(map[Instance]bool), news: make(map[Instance]Event)}
	if q.Action == "" {
		return w, true
	}
	var ok bool
	if w.q, ok = q.normal(); !ok {
		return nil, false
	}
	key, ok := appendKey(nil, w.q.Sector, w.q.Action, w.q.Version, w.q.Envelope)
	w.key = string(key)
	return w, ok
}

// join starts w with what is there now, so that it misses nothing.
func (d *Directory) join(w *watcher) {
	d.publishing.Lock()
	defer d.publishing.Unlock()
	d.watchers = append(d.watchers, w)
	there := d.index.Load().all()
	slices.SortFunc(there, func(a, b *view) int { return compareInstances(a.peer.Instance, b.peer.Instance) })
	for _, v := range there {
		w.tell(change{new: v})
	}
}

func (d *Directory) leave(w *watcher) {
	d.publishing.Lock()
	defer d.publishing.Unlock()
	d.watchers = slices.DeleteFunc(d.watchers, func(other *watcher) bool { return other == w })
}

// tell notes a change for the caller of w, if it matters to it.
func (w *watcher) tell(c change) {
	before, was := w.route(c.old)
	after, is := w.route(c.new)
	var e Event
	switch {
	case is && was:
		why, changed := w.whyOther(c, before, after)
		if !changed {
			return
		}
		e = Event{Kind: Updated, Why: why, Route: after}
	case is:
		e = Event{Kind: Added, Why: Announced, Route: after}
		if c.old != nil && c.old.ann == c.new.ann && c.old.state == Live && c.why == Unauthorized {
			e.Why = Allowed
		}
	case was:
		e = Event{Kind: Removed, Why: w.whyGone(c), Route: before}
	default:
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	in := e.Route.Peer.Instance
	if _, ok := w.news[in]; !ok {
		w.order = append(w.order, in)
	}
	w.news[in] = e
	select {
	case w.wake <- struct{}{}:
	default: // a token is there already
	}
}

// whyOther says why the new view is another one than the old, where both have a
// route, and whether that matters.
func (w *watcher) whyOther(c change, before, after Route) (why Why, changed bool) {
	if c.old.ann != c.new.ann {
		return Announced, true
	}
	old, now := []Route{before}, []Route{after}
	if w.q.Action == "" {
		old, now = w.routes(c.old), w.routes(c.new)
	}
	lost, won := c.new.lacks(old), c.old.lacks(now)
	switch {
	case lost:
		return Unauthorized, true
	case won:
		return Allowed, true
	}
	return Announced, false
}

// A right is an action that an instance may be chosen for.
type right struct {
	sector, action string
	version        int
	rule           bool
}

// lacks tells whether v has not all the rights behind the routes, which are those of
// another view of the same announcement.
func (v *view) lacks(routes []Route) bool {
	has := make(map[right]bool, len(v.entries))
	for _, e := range v.entries {
		has[right{e.route.Sector, e.route.Action, e.route.Version, e.route.Rule}] = true
		has[right{e.route.Sector, e.route.Action, e.route.Version, false}] = true
	}
	return slices.ContainsFunc(routes, func(r Route) bool { return !has[right{r.Sector, r.Action, r.Version, r.Rule}] })
}

// routes returns the routes of v that fit a query without an action.
func (w *watcher) routes(v *view) (routes []Route) {
	for i := range v.entries {
		if r := v.entries[i].route; w.wants(r.Offer) {
			routes = append(routes, r)
		}
	}
	return routes
}

// wants tells whether an offer fits a query without an action. What is built in says
// nothing of what an instance is good for.
func (w *watcher) wants(o *Offer) bool {
	return !o.BuiltIn && w.q.covers(o.Sector, o.Version, o.Envelopes)
}

// whyGone says why the new view has no route that the old one had.
func (w *watcher) whyGone(c change) Why {
	switch {
	case c.new == nil:
		return c.why
	case c.new.state == Withdrawn:
		return Goodbye
	case c.new.state == Suspect:
		return Expired
	case c.new.obstacle == foreignLoopback && c.old.ann == c.new.ann:
		return LeftFile // which is what made its address usable
	case c.new.obstacle == foreignLoopback:
		return Replaced
	case c.old.ann == c.new.ann || w.q.announcedBy(c.new.ann) && len(c.new.ann.Actions) > 0:
		return Unauthorized
	}
	return Replaced
}

// route returns the route of v that w is interested in.
func (w *watcher) route(v *view) (Route, bool) {
	if v == nil || v.state != Live || !w.q.picks(v.peer) {
		return Route{}, false
	}
	if w.q.Action == "" {
		return Route{Peer: v.peer, Offer: new(Offer)}, slices.ContainsFunc(v.entries, func(e entry) bool { return w.wants(e.route.Offer) })
	}
	for _, e := range v.entries {
		if e.key == w.key {
			return e.route, true
		}
	}
	return Route{}, false
}

// next returns the next thing its caller has to know. What came and went while
// it was busy is nothing.
func (w *watcher) next() (Event, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.order) > 0 {
		in := w.order[0]
		w.order = w.order[1:]
		e := w.news[in]
		delete(w.news, in)
		known := w.seen[in]
		switch {
		case e.Kind == Removed && !known:
			continue
		case e.Kind == Removed:
			delete(w.seen, in)
		case known:
			e.Kind = Updated
		default:
			e.Kind, w.seen[in] = Added, true
		}
		return e, true
	}
	w.order = nil // its array may be long
	return Event{}, false
}
