package mux

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/scampbus/scamp-go/packet"
)

// A ProtocolError says what the peer did that ends the connection (PROTOCOL 2.4,
// 4.4). It is fatal for the connection and harmless for all others.
type ProtocolError struct {
	Packet string // the packet: its kind, number and length
	What   string
}

func (e *ProtocolError) Error() string { return "mux: packet " + e.Packet + ": " + e.What }

func broken(p packet.Packet, what string) error {
	return &ProtocolError{fmt.Sprintf("%s %d %d", p.Kind, p.MsgNo, len(p.Body)), what}
}

// A reader takes packets apart. All of it belongs to Run's goroutine, except stamp and
// rests.
type reader struct {
	c     *Conn
	pr    *packet.Reader
	hr    *packet.HeaderReader
	next  uint64           // number the peer's next HEADER must carry (invariant 1)
	last  *flow            // of the last HEADER, until its end has come: most need no other place
	open  map[uint64]*flow // the other messages whose end has not come
	first *Inbound         // the message of last, not yet given to Accept; nil if it was
	fresh []*Inbound       // others that were not
	lazy  []*flow          // acknowledged when the reader would wait
	flows []flow           // made together, not yet used
	more  int              // so many are made next
	ext   bool             // the peer has sent ext
	owes  bool             // a PONG
	told  bool             // the link tells before it waits
	since int              // octets read since settle

	rests atomic.Bool  // nothing is at hand, as far as is known: who has ACKs to send writes them
	stamp atomic.Int64 // when octets last arrived, on the clock of Conn.Now

	pings pingMeter
}

// source notes when octets arrive.
type source struct {
	r io.Reader
	c *Conn
}

func (s source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if n > 0 {
		s.c.in.rests.Store(!s.c.in.told)
		s.c.in.since += n
		now := int64(s.c.Now())
		s.c.in.stamp.Store(now)
		s.c.lastIO.Store(now)
	}
	return n, err
}

func (r *reader) init(c *Conn, src io.Reader, limits packet.Limits) {
	r.c = c
	r.pr = packet.NewReader(source{src, c}, limits)
	r.hr = packet.NewHeaderReader(limits)
}

// settleEvery is how many octets are read at most before what was put off is done,
// although more are at hand.
const settleEvery = 64 << 10

// run reads until the connection ends and says why.
func (r *reader) run() error {
	heard := false
	for {
		if !r.pr.Ready() && (!r.told || r.since >= settleEvery) {
			r.settle()
		}
		p, err := r.pr.Next()
		if err != nil {
			return r.counted(err)
		}
		if !heard {
			heard = true
			r.c.heard.Store(true)
		}
		if err := r.packet(p); err != nil {
			return err
		}
	}
}

// counted counts what the peer did, if that is why the stream ends.
func (r *reader) counted(err error) error {
	var bad *packet.Error
	if errors.As(err, &bad) {
		r.c.count.addNamed(bad.Counter)
	}
	return err
}

// settle does what was put off while packets were at hand: messages that are not
// complete go to Accept, and what was thrown away is acknowledged.
func (r *reader) settle() {
	for i, m := range r.fresh {
		r.fresh[i] = nil
		r.offerOnce(m)
	}
	r.fresh = r.fresh[:0]
	if r.first != nil {
		r.offerOnce(r.first)
		r.first = nil
	}
	for i, f := range r.lazy {
		r.lazy[i] = nil
		f.lazy = false
		r.c.acks.add(f)
	}
	r.lazy = r.lazy[:0]
	r.since = 0
	if r.c.owed.Swap(false) || r.owes || !r.c.acks.empty() {
		r.owes = false
		r.c.pump(readerRounds)
	}
}

// due says whether settle has anything to do. The reader is about to wait.
func (r *reader) due() bool {
	r.rests.Store(true)
	return r.first != nil || len(r.fresh) > 0 || len(r.lazy) > 0 || r.owes || r.c.owed.Load() || !r.c.acks.empty()
}

// offerOnce hands a message up unless that was done.
func (r *reader) offerOnce(m *Inbound) {
	if m.offered {
		return
	}
	m.offered = true
	if r.c.opts.Accept == nil {
		m.Discard()
		return
	}
	r.c.opts.Accept(m)
}

// lose ends every message that is still open: the connection is gone.
func (r *reader) lose(err error) {
	r.keepLast()
	for no, f := range r.open {
		delete(r.open, no)
		if m := f.m.Load(); m != nil {
			m.end(err, r.stamp.Load())
		}
	}
	for _, m := range r.fresh {
		if m != nil && !m.offered {
			m.Discard() // nobody else will
		}
	}
	r.c.openIn.Store(0)
}

func (r *reader) packet(p packet.Packet) error {
	switch p.Kind {
	case packet.KindHeader:
		return r.opened(p)
	case packet.KindData:
		return r.data(p)
	case packet.KindEOF:
		if len(p.Body) > 0 {
			r.c.count.Add(PacketMalformed)
			return broken(p, "want an EOF without a body")
		}
		return r.ended(p, nil)
	case packet.KindTXERR:
		return r.ended(p, &TXERR{Text: txerrText(p.Body)})
	case packet.KindACK:
		return r.c.acknowledged(p)
	case packet.KindPING:
		return r.ping(p)
	}
	return nil // PONG: whatever arrives answers a PING of ours
}

// opened handles HEADER.
func (r *reader) opened(p packet.Packet) error {
	if p.MsgNo != r.next {
		r.c.count.Add(SequenceBroken)
		return broken(p, fmt.Sprintf("want message number %d", r.next))
	}
	r.keepLast()
	if most := r.c.limits.MaxOpenMessages; len(r.open) >= most {
		r.c.count.Add(OpenMessagesExceeded)
		return broken(p, fmt.Sprintf("want at most %d messages open at once", most))
	}
	m := newInbound(r.c)
	if err := r.hr.Parse(p.Body, &m.Header); err != nil {
		r.c.count.Add(HeaderMalformed)
		return fmt.Errorf("mux: packet HEADER %d: %w", p.MsgNo, err)
	}
	r.next++
	m.flow = r.flow()
	m.flow.no = p.MsgNo
	m.HeaderSize = len(p.Body)
	m.moved = r.stamp.Load()
	m.dumb = ignoresWindow(&m.Header)
	m.flow.m.Store(m)
	if m.Header.Ext.V > 0 {
		r.ext = true
		r.c.heardExt(m.Header.Ext)
	}
	if isCall(m.Header.Type) {
		r.c.arrived.Add(1)
	}
	r.last, r.first = m.flow, m
	r.countOpen()
	return nil
}

// keepLast makes room for another message: the last one has not ended.
func (r *reader) keepLast() {
	if r.last == nil {
		return
	}
	if r.open == nil {
		r.open = make(map[uint64]*flow)
	}
	r.open[r.last.no] = r.last
	if r.first != nil {
		r.first.listed = true
		r.fresh = append(r.fresh, r.first)
	}
	r.last, r.first = nil, nil
}

// find returns the open message with a number, nil if there is none.
func (r *reader) find(no uint64) *flow {
	if r.last != nil && r.last.no == no {
		return r.last
	}
	return r.open[no]
}

// close takes an open message out of the tables.
func (r *reader) close(f *flow) {
	if r.last == f {
		r.last, r.first = nil, nil
	} else {
		delete(r.open, f.no)
	}
	r.countOpen()
}

func (r *reader) countOpen() {
	n := len(r.open)
	if r.last != nil {
		n++
	}
	r.c.openIn.Store(int64(n))
}

// mostFlows are made together: more would let one message that stays open hold too much.
const mostFlows = 8

// flow returns a new flow. They are made some at a time, which costs less, but the first
// by itself: many connections see one message and then rest.
func (r *reader) flow() *flow {
	if len(r.flows) == 0 {
		r.more = min(max(2*r.more, 1), mostFlows)
		r.flows = make([]flow, r.more)
	}
	f := &r.flows[0]
	r.flows = r.flows[1:]
	return f
}

// ignoresWindow says whether the sender of a header is one of those known to send
// without waiting for ACKs (PROTOCOL 4.5).
func ignoresWindow(h *packet.Header) bool {
	switch h.Type {
	case packet.TypeRequest:
		return !h.HasSector
	case packet.TypeReply:
		return h.HasClientID
	}
	return h.Type == packet.TypeNone
}

// data handles DATA.
func (r *reader) data(p packet.Packet) error {
	f := r.find(p.MsgNo)
	if f == nil {
		r.c.count.Add(SequenceBroken)
		return broken(p, "want it for a message that is open")
	}
	if len(p.Body) == 0 {
		if f.empties++; int(f.empties) > r.c.limits.MaxEmptyData {
			r.c.count.Add(EmptyData)
			return broken(p, fmt.Sprintf("want at most %d empty ones in a message", r.c.limits.MaxEmptyData))
		}
		return nil
	}
	if f.tiny.flood(len(p.Body), time.Duration(r.stamp.Load()), r.c.limits.MaxTinyData) {
		r.c.count.Add(TinyData)
		return broken(p, "want no flood of tiny ones")
	}
	f.received += int64(len(p.Body))
	m := f.m.Load()
	if m != nil && m.add(p.Body, r.stamp.Load()) {
		if r.c.opts.Full != nil && r.c.Unread() > int64(r.c.limits.MaxBuffered) {
			r.c.opts.Full()
		}
		return nil
	}
	f.consumed.Add(int64(len(p.Body)))
	if !f.lazy {
		f.lazy = true
		r.lazy = append(r.lazy, f)
	}
	if m != nil && m.offered && m.Broken() == ErrWindow {
		r.broke(m)
	}
	return nil
}

// broke tells of a message that was handed up and has ended before its end.
func (r *reader) broke(m *Inbound) {
	if r.c.opts.Broken != nil {
		r.c.opts.Broken(m)
	}
}

// ended handles EOF and TXERR.
func (r *reader) ended(p packet.Packet, err error) error {
	f := r.find(p.MsgNo)
	if f == nil {
		r.c.count.Add(SequenceBroken)
		return broken(p, "want it for a message that is open")
	}
	m := f.m.Load()
	if m == nil && f == r.last {
		m = r.first // it was thrown away before it was handed up
	}
	r.close(f)
	f.m.Store(nil) // f may stay for as long as those it was made with
	f.quiet.Store(f.received <= MinWindow/2)
	if m == nil {
		return nil
	}
	m.end(err, r.stamp.Load())
	if m.offered && err != nil {
		r.broke(m)
	}
	r.offerOnce(m)
	return nil
}

// ping has every PING answered, one PONG for all that wait (PROTOCOL 4.7).
func (r *reader) ping(p packet.Packet) error {
	if r.pings.flood(time.Duration(r.stamp.Load()), r.c.limits.MaxPings) {
		r.c.count.Add(PingFlood)
		return broken(p, "want no flood of PINGs")
	}
	r.c.pinged(p.MsgNo)
	r.owes = true
	return nil
}

// txerrText is the text of a TXERR: an empty one and "0" say nothing.
func txerrText(body []byte) string {
	if len(body) == 0 || string(body) == "0" {
		return "unspecified transmission error"
	}
	return string(body)
}
