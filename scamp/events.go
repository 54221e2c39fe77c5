package scamp

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
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
// Whoever can connect to the service can subscribe, and with CallersEnforce only those
// whom a rule of the callers file names. Tickets are not asked for: publish nothing that
// only some of them may know. The service itself publishes its current announcement under
// the code "announce", for everybody.
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
	if s.bus.closed() { // nobody is there to hear it
		return fmt.Errorf("scamp: publish %q, key %q: %w", clean(code), clean(key), ErrClosed)
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
	intake *intake                              // has its notifications in hand, and places for their handlers
	notify func(context.Context, *Notification) // nil: notifications are drained
	judge  *callerJudge                         // of who subscribes and notifies; set before anybody can
	work   sync.WaitGroup                       // goroutines of subscribers

	mu     sync.Mutex // protects what follows
	table  *eventTable
	of     map[*peer]*subscriber
	n      int // of these, with a filter
	closed bool
}

func newEventSource(s *intake, notify func(context.Context, *Notification)) *eventSource {
	limits := s.limits
	return &eventSource{limits: limits, log: s.log, intake: s, notify: notify, table: newEventTable(limits), of: make(map[*peer]*subscriber)}
}

// publish stores a value and has subscribers told.
func (src *eventSource) publish(name eventName, value json.RawMessage) error {
	src.mu.Lock()
	defer src.mu.Unlock()
	before := src.table.change
	changed, err := src.table.set(name, value)
	if err != nil {
		src.log.count("event_refused")
		return err
	}
	if !changed {
		return nil
	}
	for _, s := range src.of {
		switch _, ok := s.codes[name.code]; {
		case ok:
			s.startLocked()
		case s.told == before: // it was told all there was, and is not behind for what is not its own
			s.told = src.table.change
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
	if src.judge != nil && !src.judge.hears(p.cert, "notify") {
		m.Discard()
		src.log.count("notify_dropped")
		return
	}
	taken := src.intake.expect()
	if taken && src.enqueue(p, &eventAsk{kind: askNotify, in: m}) {
		return
	}
	if taken {
		src.intake.heard(1)
	}
	m.Discard()
	src.log.count("notify_dropped")
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
	for _, ask := range s.asks {
		if ask.kind == askNotify {
			src.log.count("notify_dropped")
			src.intake.heard(1)
		}
	}
	s.gone, s.asks = true, nil
	s.end()
	delete(src.of, p)
}

// close waits for what runs for subscribers, whose connections have ended, at most so
// long: a handler of notifications that does not look at its context has been told of.
func (src *eventSource) close(most time.Duration) {
	src.mu.Lock()
	src.closed = true
	src.mu.Unlock()
	ended := make(chan struct{})
	go func() { src.work.Wait(); close(ended) }() // ends with the last handler
	within(most, ended)
}

// done answers a subscribe. Whatever the reason, a refusal is counted here.
func (src *eventSource) done(p *peer, id packet.RequestID, accepted bool) {
	if !accepted {
		src.log.count("subscribe_refused")
	}
	p.answer(&packet.Header{Type: packet.TypeSubscribeDone, ID: id}, fmt.Append(nil, accepted))
}
