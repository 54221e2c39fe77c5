package scamp

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// A feed is one connection of a Subscription. The reader's goroutine hands it every
// message; the subscription's reads them in the order of their numbers, in which they
// may not come: a short one that is complete comes before a long one that is not.
type feed struct {
	s    *Subscription
	p    *peer
	more chan struct{} // capacity 1: there is a message
	next uint64        // number of the message to read next

	mu      sync.Mutex // protects what follows
	queue   map[uint64]*mux.Inbound
	flooded bool
}

// maxFeed is how many messages of a service wait: nothing holds up who reads them but a
// message that does not end.
const maxFeed = 1024

var (
	errRefusedEvents = errors.New("the instance does not accept the subscription")
	errBrokenEvent   = errors.New("an event broke off")
	errSubscribeLate = errors.New("no answer to the subscription within rpc.timeout")
)

// take takes a message that has arrived. The reader's goroutine runs it.
func (f *feed) take(m *mux.Inbound) {
	f.mu.Lock()
	flood := len(f.queue) >= maxFeed || f.p.full()
	first := flood && !f.flooded
	f.flooded = f.flooded || flood
	if !flood {
		if f.queue == nil {
			f.queue = make(map[uint64]*mux.Inbound)
		}
		f.queue[m.No()] = m
	}
	f.mu.Unlock()
	if flood {
		m.Discard()
		if first {
			f.p.log.odd("event_flood", "a service sends events that cannot be read", "peer", f.p.addr.String())
			f.p.conn.Close()
		}
		return
	}
	select {
	case f.more <- struct{}{}:
	default:
	}
}

// read returns the next message, waiting for it.
func (f *feed) read() (*mux.Inbound, error) {
	for {
		f.mu.Lock()
		m := f.queue[f.next]
		delete(f.queue, f.next)
		f.mu.Unlock()
		if m != nil {
			f.next++
			return m, nil
		}
		select {
		case <-f.more:
		case <-f.p.conn.Done():
			return nil, fmt.Errorf("%w: %w", ErrLost, f.p.conn.Err())
		}
	}
}

// run subscribes, and reads until the connection ends.
func (f *feed) run(what *attempt) error {
	var late atomic.Bool
	limit := time.AfterFunc(f.p.limits.RPCTimeout, func() {
		late.Store(true)
		f.p.conn.Close()
	})
	defer limit.Stop()
	err := f.subscribe(what.route)
	if late.Load() || err == nil && !limit.Stop() {
		return errSubscribeLate
	}
	for err == nil {
		err = f.follow(f.s.apply)
		if a, ok := errors.AsType[*answered](err); ok {
			f.p.ignore(a.m, "an answer to nothing that was asked")
			err = nil
		}
	}
	return err
}

// hasEvents says whether an instance announces what only those do that have events
// (PROTOCOL 12.3). No rule needs to allow that action: it is not called.
func hasEvents(r discovery.Route, dir *discovery.Directory) bool {
	e, _ := dir.Entry(r.Instance)
	name := discovery.ServiceName(r.Ident)
	return e.Announcement != nil && slices.ContainsFunc(e.Announcement.Actions, func(a discovery.Action) bool {
		return a.Class == name && a.Name == "queue_depth"
	})
}

// subscribe asks for the codes and reads until the table is complete.
func (f *feed) subscribe(route discovery.Route) error {
	id := uint64(1)
	if !hasEvents(route, f.s.bus.dir) {
		if err := f.probe(id); err != nil {
			return err
		}
		id++
	}
	filter, err := json.Marshal(f.s.codes)
	if err == nil {
		err = f.send(&packet.Header{Type: packet.TypeSubscribe, ID: packet.NumberID(id)}, filter)
	}
	if err != nil {
		return err
	}
	staged := newEventTable(&f.s.bus.limits)
	stage := func(records []eventRecord) error {
		for _, r := range records {
			if _, err := staged.set(r.eventName, r.value); err != nil {
				return err
			}
		}
		return nil
	}
	for {
		err := f.follow(stage)
		done, ok := errors.AsType[*answered](err)
		switch {
		case !ok && err != nil:
			return err
		case ok && done.is(packet.TypeSubscribeDone, id):
			body, err := done.m.Bytes(16)
			if err != nil || string(body) != "true" {
				return errRefusedEvents
			}
			f.p.conn.PeerPings() // and nobody else (PROTOCOL 4.7)
			return f.s.accept(staged, route.Ident)
		case ok:
			f.p.ignore(done.m, "an answer to nothing that was asked")
		}
	}
}

// probe asks for something harmless, to see whether the instance is one of ours.
func (f *feed) probe(id uint64) error {
	h := packet.Header{Type: packet.TypeRequest, ID: packet.NumberID(id), Action: "_meta.documentation", Version: 1, Envelope: "json", Sector: "main"}
	if err := f.send(&h, nil); err != nil {
		return err
	}
	for {
		err := f.follow(func([]eventRecord) error { return nil })
		done, ok := errors.AsType[*answered](err)
		switch {
		case !ok && err != nil:
			return err
		case ok && (done.is(packet.TypeReply, id) || done.is(packet.TypeNone, id)):
			done.m.Discard()
			if !f.p.conn.PeerExt() {
				return errNoEvents
			}
			return nil
		case ok:
			f.p.ignore(done.m, "an answer to nothing that was asked")
		}
	}
}

func (f *feed) send(h *packet.Header, body []byte) error {
	_, err := f.p.conn.Send(h, mux.Body{Data: body}, nil)
	return err
}

// An answered is how follow returns a message that is no event.
type answered struct{ m *mux.Inbound }

func (*answered) Error() string { return "scamp: an answer where none is awaited" }

// is says whether it is of that type and has this id.
func (a *answered) is(t packet.Type, id uint64) bool {
	n, ok := a.m.Header.ID.Number()
	return a.m.Header.Type == t && ok && n == id
}

// follow reads one message: an event goes to apply, an answer is returned.
func (f *feed) follow(apply func([]eventRecord) error) error {
	m, err := f.read()
	if err != nil {
		return err
	}
	switch m.Header.Type {
	case packet.TypeEvent:
	case packet.TypeReply, packet.TypeNone, packet.TypeSubscribeDone:
		return &answered{m}
	case packet.TypeCancel:
		m.Discard() // of no request of theirs: it came for its ext
		return nil
	default:
		f.p.ignore(m, "a message of a type that does not belong here")
		return nil
	}
	body, err := m.Bytes(f.p.limits.MaxBody)
	switch {
	case errors.Is(err, mux.ErrTooBig):
		f.p.log.count("body_too_big")
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", errBrokenEvent, err)
	}
	records, err := parseEvent(body, f.p.limits.MaxEventEntries)
	if errors.Is(err, errEventsFull) {
		f.p.log.count("event_refused")
		return err
	}
	if err != nil {
		f.p.log.odd("event_malformed", "an event is no JSON array", "peer", f.p.addr.String())
		return nil
	}
	records = slices.DeleteFunc(records, func(r eventRecord) bool { return !slices.Contains(f.s.codes, r.code) })
	return apply(records)
}
