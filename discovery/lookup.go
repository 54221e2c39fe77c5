package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrClosed is returned by waits on a directory that was closed.
var ErrClosed = errors.New("discovery: directory closed")

// Find returns the routes for q: instances that are alive, not withdrawn, and
// allowed by the rules to do exactly this (PROTOCOL 11.3). They come sorted by
// ident; which one to take is the caller's choice. The slice is shared and must
// not be changed; it may be kept, and then goes on to say what was true.
//
// Find takes no lock and never waits. It allocates only where Query.Service or
// Query.Host leave out some of many.
func (d *Directory) Find(q Query) []Route { return d.index.Load().find(q).live }

// Suspects returns the routes for q to instances that were not heard of for 2.1
// to 6 intervals. They are to be tried only when Find knows no other way
// (PROTOCOL 7.8). The slice is like that of Find.
func (d *Directory) Suspects(q Query) []Route { return d.index.Load().find(q).suspect }

// Wait returns what Find returns as soon as that is not empty. It ends with an
// error when ctx does or when the directory is closed, and at once when q names no
// action: nothing would ever answer it.
func (d *Directory) Wait(ctx context.Context, q Query) ([]Route, error) {
	if q.Action == "" {
		return nil, errors.New("discovery: wait: no action in the query: want one, or Watch for all services")
	}
	for {
		x := d.index.Load()
		if routes := x.find(q).live; len(routes) > 0 {
			return routes, nil
		}
		select {
		case <-x.superseded:
		case <-ctx.Done():
			return nil, fmt.Errorf("discovery: wait for %s: %w", cut(q.String()), ctx.Err())
		case <-d.closed:
			return nil, fmt.Errorf("discovery: wait for %s: %w", cut(q.String()), ErrClosed)
		}
	}
}

// A Source says how a record came to be held.
type Source struct {
	File     bool // the cache file holds the instance
	Datagram bool // it was heard
}

// String returns the sources, for people.
func (s Source) String() string {
	switch {
	case s.File && s.Datagram:
		return "file, datagram"
	case s.File:
		return "file"
	}
	return "datagram"
}

// An Entry is one record that a directory holds, whether it may be chosen or not.
type Entry struct {
	Peer         *Peer
	Announcement *Announcement // shared: not to be changed
	State        State
	Source       Source
	Named        bool          // a rule names its certificate
	Future       bool          // its timestamp was in the future when it came
	Newest       int64         // highest timestamp seen of the instance, microseconds since 1970; future ones do not count, 0 when there is no other
	Obstacle     string        // why it may not be chosen for anything, if so
	Decisions    []Decision    // of each of Announcement.Actions
	Iface        Iface         // where it was heard last, when Source says so
	Age          time.Duration // since it was heard or, else, since the file was read
	Expires      time.Duration // until its state changes if it is silent; 0 while the file holds it
}

// Allowed returns for how many of its actions it may be chosen, and how many it has,
// both without those that are built in (Announcement.BuiltIn): it may offer
// _meta.documentation whatever the rules say.
func (e *Entry) Allowed() (allowed, all int) {
	for i, decision := range e.Decisions {
		if e.Announcement.BuiltIn(&e.Announcement.Actions[i]) {
			continue
		}
		all++
		if decision.Allowed {
			allowed++
		}
	}
	return allowed, all
}

// All returns every record held, sorted by fingerprint, then ident: also what is
// withdrawn, suspect or not allowed, with the reasons. It is made for people and
// tools, not for every call.
func (d *Directory) All() []Entry { return d.List(Query{}) }

// List returns the records held of the instances that q picks and that announce what
// it asks for, in the order and the completeness of All.
func (d *Directory) List(q Query) []Entry {
	if q.Action != "" {
		n, ok := q.normal()
		if !ok {
			return nil // nothing can match
		}
		q = n
	}
	views := slices.DeleteFunc(d.index.Load().all(), func(v *view) bool { return !q.picks(v.peer) || !q.announcedBy(v.offering()) })
	var entries []Entry
	d.each(views, func(in *instance) { entries = append(entries, d.entryLocked(in, d.clock.now())) })
	rules := d.Authorized()
	for i := range entries {
		entries[i].decide(rules)
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Peer.Certificate.Fingerprint, b.Peer.Certificate.Fingerprint),
			cmp.Compare(a.Peer.Ident, b.Peer.Ident), slices.Compare(a.Peer.Instance.SHA256[:], b.Peer.Instance.SHA256[:]))
	})
	return entries
}

// Entry returns the record held of one instance, and false when there is none. It
// costs little: Named and Decisions are left out, for Authorized.Decide to say.
func (d *Directory) Entry(key Instance) (Entry, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	in := d.instances[key]
	if in == nil || in.view == nil {
		return Entry{}, false
	}
	return d.entryLocked(in, d.clock.now()), true
}

func (d *Directory) entryLocked(in *instance, now time.Duration) Entry {
	v := in.view
	e := Entry{
		Peer:         v.peer,
		Announcement: v.ann,
		State:        v.state,
		Source:       Source{File: d.inFileLocked(in), Datagram: in.heard},
		Future:       v.future,
		Newest:       in.history.top,
		Obstacle:     v.obstacle.String(),
		Age:          in.ageLocked(now),
	}
	if in.heard {
		e.Iface = in.iface
	}
	if !e.Source.File {
		e.Expires = max(d.dueLocked(in)-now, 0)
	}
	return e
}

// ageLocked returns how long ago in was heard or, else, its file was read.
func (in *instance) ageLocked(now time.Duration) time.Duration {
	if in.heard {
		return now - in.receipt
	}
	return now - in.seen
}

// decide fills in what the rules say.
func (e *Entry) decide(rules *Authorized) {
	e.Named = rules.Named(e.Peer.Certificate)
	e.Decisions = make([]Decision, len(e.Announcement.Actions))
	for i := range e.Announcement.Actions {
		a := &e.Announcement.Actions[i]
		e.Decisions[i] = rules.Decide(e.Peer.Certificate, a.Sector, a.FullName())
	}
}

// Stats returns the counts at this moment.
func (d *Directory) Stats() Stats {
	s := Stats{Counters: d.counters.snapshot()}
	certificates := make(map[[32]byte]bool)
	d.eachHeld(func(in *instance) {
		certificates[in.key.SHA256] = true
		if d.inFileLocked(in) {
			s.FromFile++
		}
		switch {
		case in.view.state == Suspect:
			s.Suspects++
		case in.view.state == Withdrawn:
			s.Withdrawn++
		case !in.view.useful():
			s.Unauthorized++
		default:
			s.Instances++
		}
	})
	s.Certificates = len(certificates)
	d.mu.Lock()
	defer d.mu.Unlock()
	s.Remembered = len(d.instances)
	return s
}

// Limits returns the limits in force.
func (d *Directory) Limits() Limits { return d.limits }
