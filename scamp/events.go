package scamp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// Publish tells all subscribers of code that the entry with this key now has a value:
// its JSON form. A nil value deletes the entry; a value equal to the one there is told
// to nobody (PROTOCOL 14). It does not wait for anybody: a subscriber that is slow is told
// the latest value of each entry. Safe for concurrent use, also before Serve.
//
// Whoever can connect to the service can subscribe: publish nothing that is secret. The
// service itself publishes its current announcement under the code "announce".
func (s *Service) Publish(code, key string, value any) error {
	name := eventName{code, key}
	if code == announceCode {
		return fmt.Errorf("scamp: publish %q: want another code: under this one the service publishes its announcement", code)
	}
	if !usableEventName(code) || !usableEventName(key) {
		return fmt.Errorf("scamp: publish %q, key %q: want UTF-8 of at most %d octets each", s.bus.log.cut(code), s.bus.log.cut(key), maxEventName)
	}
	var text json.RawMessage
	if value != nil {
		var err error
		if text, err = json.Marshal(value); err != nil {
			return fmt.Errorf("scamp: publish %q, key %q: %w", clean(code), clean(key), err)
		}
	}
	if string(text) == "null" {
		text = nil
	}
	if err := s.events.publish(name, text); err != nil {
		return fmt.Errorf("scamp: publish %q, key %q: %w: want at most %d entries and %d octets (Limits.MaxEventEntries, MaxEventOctets)",
			clean(code), clean(key), err, s.bus.limits.MaxEventEntries, s.bus.limits.MaxEventOctets)
	}
	return nil
}

// announceCode is the code under which every service publishes its announcement.
const announceCode = "announce"

// announced publishes the text of what the service announces from now on.
func (s *Service) announced(text []byte) {
	value, _ := json.Marshal(string(text)) // a string can be encoded
	if err := s.events.publish(eventName{code: announceCode}, value); err != nil {
		s.bus.log.slog.Warn("the announcement is not told to subscribers", "service", clean(s.name), "error", err)
	}
}

// A Notification is a message from a caller that has no answer (PROTOCOL 14).
type Notification struct {
	Data   []byte                 // the body, valid until the handler returns
	Caller *discovery.Certificate // the client certificate the caller showed; nil if it is anonymous
	Remote net.Addr               // where it came from
}

// An eventSource is the events of one service: the table, and who is told of it.
type eventSource struct {
	limits *Limits
	log    *logger
	notify func(context.Context, *Notification) // nil: notifications are drained
	work   sync.WaitGroup                       // goroutines of subscribers

	mu     sync.Mutex // protects what follows
	table  *eventTable
	of     map[*peer]*subscriber
	n      int // of these, with a filter
	closed bool
}

func newEventSource(limits *Limits, log *logger, notify func(context.Context, *Notification)) *eventSource {
	return &eventSource{limits: limits, log: log, notify: notify, table: newEventTable(limits), of: make(map[*peer]*subscriber)}
}

// A subscriber is one connection that has sent a subscribe or notify. What it sends is
// looked at, and what it is told is sent, by one goroutine that runs while there is
// something to do: so all of it happens in order, and one event is on its way at a time.
type subscriber struct {
	src *eventSource
	p   *peer
	ctx context.Context // of its notifications; ends with the connection
	end context.CancelFunc

	// Protected by src.mu.
	asks    []*eventAsk
	refused bool                // a subscribe after these was refused
	codes   map[string]struct{} // the filter; nil if not subscribed
	told    uint64              // up to which change
	working bool
	gone    bool // the connection has ended
}

// An eventAsk is a subscribe or notify that waits for its turn.
type eventAsk struct {
	id    packet.RequestID
	in    *mux.Inbound // not read yet; nil if the filter is known
	codes map[string]struct{}
	kind  askKind
}

// An askKind is what a message wants.
type askKind uint8

const (
	askInvalid askKind = iota
	askCancel
	askSubscribe
	askNotify
)

const (
	maxAsks      = 16       // that wait on one connection
	maxCodes     = 10       // of a subscribe (PROTOCOL 14)
	maxFilter    = 16 << 10 // octets of its body
	eventAtOnce  = 64 << 10 // octets of changes that go in one event, and one record more
	eventHandler = "events" // names the handler of notifications in the log
)

// publish stores a value and has subscribers told.
func (src *eventSource) publish(name eventName, value json.RawMessage) error {
	src.mu.Lock()
	defer src.mu.Unlock()
	changed, err := src.table.set(name, value)
	if err != nil {
		src.log.count("event_refused")
		return err
	}
	if !changed {
		return nil
	}
	for _, s := range src.of {
		if _, ok := s.codes[name.code]; ok {
			s.startLocked()
		}
	}
	return nil
}

// subscribe takes a subscribe that has arrived. The reader's goroutine runs it.
func (src *eventSource) subscribe(p *peer, m *mux.Inbound) {
	ask := &eventAsk{id: m.Header.ID}
	switch {
	case m.Header.Bad != "" || m.Unread() > maxFilter:
		m.Discard()
	case m.Whole():
		ask.read(m)
	default:
		ask.in = m
	}
	if src.enqueue(p, ask) {
		return
	}
	if ask.in != nil {
		ask.in.Discard()
	}
	src.done(p, ask.id, ask.kind == askCancel && ask.in == nil)
}

// notified takes a notify that has arrived. The reader's goroutine runs it.
func (src *eventSource) notified(p *peer, m *mux.Inbound) {
	if src.notify == nil {
		m.Discard()
		return
	}
	if !src.enqueue(p, &eventAsk{kind: askNotify, in: m}) {
		m.Discard()
		src.log.count("notify_dropped")
	}
}

// enqueue has an ask wait for its turn. It is false if it is to be refused, or answered
// at once since there is nothing that it could change.
func (src *eventSource) enqueue(p *peer, ask *eventAsk) bool {
	src.mu.Lock()
	defer src.mu.Unlock()
	s := src.of[p]
	if ask.in == nil && ask.kind <= askCancel && (s == nil || s.codes == nil && !s.working) {
		return false
	}
	if src.closed {
		return false
	}
	if s == nil {
		s = &subscriber{src: src, p: p}
		s.ctx, s.end = context.WithCancel(context.Background())
		src.of[p] = s
	}
	if len(s.asks) >= maxAsks {
		if ask.kind != askNotify {
			src.log.count("subscribe_refused")
			ask.kind, s.refused = askInvalid, true
		}
		return false
	}
	if ask.kind != askNotify {
		s.refused = false
	}
	s.asks = append(s.asks, ask)
	s.startLocked()
	return true
}

// leave forgets a connection that has ended.
func (src *eventSource) leave(p *peer) {
	src.mu.Lock()
	defer src.mu.Unlock()
	s := src.of[p]
	if s == nil {
		return
	}
	s.filterLocked(nil)
	s.gone, s.asks = true, nil
	s.end()
	delete(src.of, p)
}

// close waits for what runs for subscribers, whose connections have ended, at most so
// long: a handler of notifications may not look at its context.
func (src *eventSource) close(most time.Duration) {
	src.mu.Lock()
	src.closed = true
	src.mu.Unlock()
	ended := make(chan struct{})
	go func() { src.work.Wait(); close(ended) }() // ends with the last handler
	within(most, ended)
}

// done answers a subscribe.
func (src *eventSource) done(p *peer, id packet.RequestID, accepted bool) {
	p.answer(&packet.Header{Type: packet.TypeSubscribeDone, ID: id}, fmt.Append(nil, accepted))
}

// read reads the filter of a subscribe whose body is there or has yet to come.
func (a *eventAsk) read(m *mux.Inbound) {
	body, err := m.Bytes(maxFilter)
	if err != nil {
		return
	}
	var codes []*string
	switch err := json.Unmarshal(body, &codes); {
	case err != nil || len(codes) > maxCodes:
		return
	case codes == nil:
		a.kind = askCancel
		return
	}
	filter := make(map[string]struct{}, len(codes))
	for _, c := range codes {
		if c == nil { // null is no string
			return
		}
		filter[*c] = struct{}{}
	}
	a.kind, a.codes = askSubscribe, filter
}

// startLocked has the goroutine of s look for something to do.
func (s *subscriber) startLocked() {
	if !s.working && !s.gone && !s.src.closed {
		s.working = true
		s.src.work.Go(s.run) // ends when there is nothing to do, or with the connection
	}
}

// filterLocked changes what s is subscribed to; nil is nothing.
func (s *subscriber) filterLocked(codes map[string]struct{}) {
	if (s.codes == nil) != (codes == nil) {
		if codes == nil {
			s.src.n--
		} else {
			s.src.n++
		}
	}
	s.codes = codes
}

// run does what there is to do for a subscriber.
func (s *subscriber) run() {
	for {
		ask, body, err := s.next()
		switch {
		case err != nil:
			s.src.log.odd("subscriber_behind", "a subscriber is cut off that has missed too much", "peer", s.p.addr.String())
			s.p.conn.Close()
		case ask != nil && ask.kind == askNotify:
			s.hear(ask.in)
		case ask != nil:
			s.answer(ask)
		case body != nil:
			s.tell(body)
		default:
			return
		}
	}
}

// next returns what to do next: a message to look at, or an event to send.
func (s *subscriber) next() (ask *eventAsk, body []byte, err error) {
	s.src.mu.Lock()
	defer s.src.mu.Unlock()
	if len(s.asks) > 0 {
		ask, s.asks = s.asks[0], s.asks[1:]
		return ask, nil, nil
	}
	if s.refused {
		s.refused = false
		s.filterLocked(nil)
	}
	if s.codes != nil && !s.gone {
		if body, err = s.changesLocked(eventAtOnce); body != nil || err != nil {
			if err != nil {
				s.filterLocked(nil)
			}
			return nil, body, err
		}
	}
	s.working = false
	return nil, nil, nil
}

// changesLocked is an event with what s was not told yet, nil if there is nothing.
// Records follow until the body has so many octets; what is left is for the next.
func (s *subscriber) changesLocked(most int) (body []byte, err error) {
	t, told := s.src.table, s.src.table.change
	err = t.since(s.told, func(e *eventEntry) bool {
		if _, ok := s.codes[e.code]; !ok {
			return true
		}
		if len(body) >= most {
			told = e.change - 1
			return false
		}
		if body == nil {
			body = append(body, '[')
		} else {
			body = append(body, ',')
		}
		body = appendEvent(body, e)
		return true
	})
	s.told = told
	if body != nil {
		body = append(body, ']')
	}
	return body, err
}

// answer answers a subscribe: one event with all current entries, then subscribe_done
// (PROTOCOL 14). More is not sent before that event is out, so a subscriber that takes
// nothing has one of them held at most.
func (s *subscriber) answer(ask *eventAsk) {
	if ask.in != nil {
		ask.read(ask.in)
		if ask.kind == askInvalid {
			ask.in.Discard()
		}
	}
	src := s.src
	src.mu.Lock()
	if ask.kind == askSubscribe && s.codes == nil && src.n >= src.limits.MaxSubscribers {
		src.log.count("subscribe_refused")
		ask.kind = askInvalid
	}
	if s.gone || ask.kind != askSubscribe {
		s.filterLocked(nil)
		src.mu.Unlock()
		src.done(s.p, ask.id, ask.kind == askCancel)
		return
	}
	s.filterLocked(ask.codes)
	s.told = 0
	body, _ := s.changesLocked(math.MaxInt) // nobody is behind who was told nothing
	src.mu.Unlock()
	if body == nil {
		body = []byte("[]")
	}
	if !s.hold(body) {
		src.mu.Lock()
		s.filterLocked(nil)
		src.mu.Unlock()
		src.done(s.p, ask.id, false)
		return
	}
	defer s.p.hold.give(s.p.share, len(body))
	if o := s.send(body); o != nil {
		src.done(s.p, ask.id, true)
		s.await(o)
	}
}

// hold counts an event as held for the subscriber's address, if that may be.
func (s *subscriber) hold(body []byte) bool {
	ok := s.p.hold.take(s.p.share, len(body))
	if !ok {
		s.src.log.count("held_refused")
	}
	return ok
}

// tell sends an event and waits until it is out.
func (s *subscriber) tell(body []byte) {
	if !s.hold(body) {
		s.p.conn.Close() // it would miss something
		return
	}
	defer s.p.hold.give(s.p.share, len(body))
	if o := s.send(body); o != nil {
		s.await(o)
	}
}

// send begins to send an event. A connection that cannot take it is closed: it would
// miss something.
func (s *subscriber) send(body []byte) *mux.Outbound {
	o, err := s.p.conn.Send(&packet.Header{Type: packet.TypeEvent}, mux.Body{Data: body}, nil)
	if err != nil {
		s.p.conn.Close()
		return nil
	}
	return o
}

// await waits until an event is out. A subscriber that takes none of it for SendStall
// loses its connection.
func (s *subscriber) await(o *mux.Outbound) {
	out := make(ended)
	if !o.Then(out) {
		return
	}
	conn, stall := s.p.conn, s.p.limits.Mux.SendStall
	began := conn.Now()
	timer := time.NewTimer(stall)
	defer timer.Stop()
	for {
		select {
		case <-out:
			return
		case <-timer.C:
		}
		moved, _ := o.Waiting()
		if left := max(moved, began) + stall - conn.Now(); left > 0 {
			timer.Reset(left)
			continue
		}
		s.src.log.odd("subscriber_stalled", "a subscriber is cut off that takes no event", "peer", s.p.addr.String())
		conn.Close()
		<-out
		return
	}
}

// An ended is closed when a message has ended.
type ended chan struct{}

func (e ended) Ended() { close(e) }

// hear hands a notification to its handler.
func (s *subscriber) hear(in *mux.Inbound) {
	held := collector{p: s.p}
	defer held.release()
	body, err := in.Collect(s.src.limits.MaxBody, held.take)
	if err != nil {
		if errors.Is(err, mux.ErrTooBig) {
			s.src.log.count("body_too_big")
		}
		s.src.log.count("notify_dropped")
		return
	}
	defer func() {
		if v := recover(); v != nil {
			s.src.log.fault("handler_panicked", "handler panicked", "action", eventHandler, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	s.src.notify(s.ctx, &Notification{Data: body, Caller: s.p.cert, Remote: s.p.addr})
}
