package scamp

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// A subscriber is one connection that has sent a subscribe or notify. What it sends is
// looked at, and what it is told is sent, by one goroutine that runs while there is
// something to do: so all of it happens in order, and one event is on its way at a time.
type subscriber struct {
	src *eventSource
	p   *peer
	ctx context.Context // of its notifications; ends with the connection
	end context.CancelFunc

	open bool // the filter has nothing that is not for everybody; owned by run

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

// What is small enough to need no setting: each bounds a moment of one connection, and a
// peer that keeps to the protocol meets none of them. Whoever exceeds one is answered false
// and counted (subscribe_refused), or dropped and counted (notify_dropped).
const (
	maxAsks      = 16       // that wait on one connection
	maxCodes     = 10       // of a subscribe: PROTOCOL 14 knows no other number
	maxFilter    = 16 << 10 // octets of its body: ten codes of maxEventName, with room for escapes
	eventAtOnce  = 64 << 10 // octets of changes that go in one event, and one record more
	eventHandler = "events" // names the handler of notifications in the log
)

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
		case body != nil && !s.still():
			s.src.mu.Lock()
			s.filterLocked(nil)
			s.src.mu.Unlock()
			s.p.endServed() // it hears why when it subscribes again; what it has in hand finishes (THREATS S7)
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
	if ask.kind == askSubscribe {
		s.open = openToAll(ask.codes)
		if !s.open && src.judge != nil && !src.judge.hears(s.p.cert, "subscribe") {
			ask.kind = askInvalid
		}
	}
	src.mu.Lock()
	if ask.kind == askSubscribe && s.codes == nil && src.n >= src.limits.MaxSubscribers {
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

// still says whether who was let in may hear more: rules change.
func (s *subscriber) still() bool {
	j := s.src.judge
	return s.open || j == nil || j.mode != CallersEnforce || j.hears(s.p.cert, "event")
}

// openToAll says whether codes are of what everybody may hear: announcements are sent to
// everybody anyway.
func openToAll(codes map[string]struct{}) bool {
	for code := range codes {
		if code != announceCode {
			return false
		}
	}
	return true
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
