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
	Packet string // the packet, as its first line shows it
	What   string
}

func (e *ProtocolError) Error() string { return fmt.Sprintf("mux: packet %s: %s", e.Packet, e.What) }

// A reader takes packets apart. All of it belongs to Run's goroutine, except stamp.
type reader struct {
	c      *Conn
	pr     *packet.Reader
	hr     *packet.HeaderReader
	header packet.Header
	next   uint64              // number the peer's next HEADER must carry (invariant 1)
	open   map[uint64]*Inbound // messages whose end has not come
	fresh  []*Inbound          // not yet given to Accept
	lazy   []*Inbound          // acknowledged when the reader would wait
	maxIn  int
	ext    bool // the peer has sent ext

	stamp atomic.Int64 // when octets last arrived

	pings     int // in the second that began at pingStart
	pingStart time.Duration
	pingOver  int // seconds in a row with too many

	tiny tinyMeter
}

// source notes when octets arrive.
type source struct {
	r io.Reader
	c *Conn
}

func (s source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if n > 0 {
		now := int64(time.Since(s.c.start))
		s.c.in.stamp.Store(now)
		s.c.lastIO.Store(now)
	}
	return n, err
}

func (r *reader) init(c *Conn, src io.Reader, limits packet.Limits) {
	r.c = c
	r.pr = packet.NewReader(source{src, c}, limits)
	r.hr = packet.NewHeaderReader(limits)
	r.open = make(map[uint64]*Inbound)
	r.maxIn = c.limits.MaxOpenMessages
}

// run reads until the connection ends and says why.
func (r *reader) run() error {
	for {
		if !r.pr.Ready() {
			r.settle()
		}
		p, err := r.pr.Next()
		if err != nil {
			var bad *packet.Error
			if errors.As(err, &bad) {
				r.c.count.addNamed(bad.Counter)
			}
			return err
		}
		if !r.c.firstLine.Load() {
			r.c.firstLine.Store(true)
		}
		if err := r.packet(p); err != nil {
			return err
		}
	}
}

// settle does what was put off while packets were at hand: messages that are not
// complete go to Accept, and what was taken or thrown away is acknowledged.
func (r *reader) settle() {
	for _, m := range r.fresh {
		if !m.offered {
			r.offer(m)
		}
	}
	clear(r.fresh)
	r.fresh = r.fresh[:0]
	due := false
	for _, m := range r.lazy {
		if m.lazy {
			m.lazy = false
			due = m.ackDue(1) || due
		}
	}
	clear(r.lazy)
	r.lazy = r.lazy[:0]
	if due || r.c.pongDue() {
		r.c.pump(readerRounds)
	}
}

// offer hands a message up, once.
func (r *reader) offer(m *Inbound) {
	m.offered = true
	if r.c.opts.Accept == nil {
		m.Discard()
		return
	}
	r.c.opts.Accept(m)
}

// lose ends every message that is still open: the connection is gone.
func (r *reader) lose() {
	err := fmt.Errorf("%w: %w", ErrLost, r.c.Err())
	for no, m := range r.open {
		delete(r.open, no)
		r.c.openIn.Add(-1)
		m.end(err)
	}
}

func (r *reader) packet(p packet.Packet) error {
	switch p.Kind {
	case packet.KindHeader:
		return r.opened(p)
	case packet.KindData:
		return r.data(p)
	case packet.KindEOF:
		if len(p.Body) > 0 {
			return r.broken(p, "an EOF has no body")
		}
		return r.ended(p, nil)
	case packet.KindTXERR:
		return r.ended(p, &TXERR{Text: txerrText(p.Body)})
	case packet.KindACK:
		return r.c.acknowledged(p)
	case packet.KindPING:
		return r.ping(p)
	}
	return nil // PONG: nothing of ours waits for one
}

func (r *reader) broken(p packet.Packet, what string) error {
	return &ProtocolError{fmt.Sprintf("%s %d %d", p.Kind, p.MsgNo, len(p.Body)), what}
}

// opened handles HEADER.
func (r *reader) opened(p packet.Packet) error {
	if p.MsgNo != r.next {
		r.c.count.Add(SequenceBroken)
		return r.broken(p, fmt.Sprintf("want message number %d", r.next))
	}
	if len(r.open) >= r.maxIn {
		r.c.count.Add(OpenMessagesExceeded)
		return r.broken(p, fmt.Sprintf("%d messages are open, no more are taken", len(r.open)))
	}
	m := &Inbound{c: r.c, no: p.MsgNo}
	m.cond.L = &m.mu
	if err := r.hr.Parse(p.Body, &m.Header); err != nil {
		r.c.count.Add(HeaderMalformed)
		return fmt.Errorf("mux: packet HEADER %d: %w", p.MsgNo, err)
	}
	r.next++
	m.HeaderSize = len(p.Body)
	m.moved = r.stamp.Load()
	m.dumb = ignoresWindow(&m.Header)
	if m.Header.Ext.V > 0 {
		r.ext = true
		r.c.heardExt(m.Header.Ext)
	}
	r.open[p.MsgNo] = m
	r.c.openIn.Add(1)
	r.fresh = append(r.fresh, m)
	return nil
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
	m := r.open[p.MsgNo]
	if m == nil {
		r.c.count.Add(SequenceBroken)
		return r.broken(p, "the message is not open")
	}
	if len(p.Body) == 0 {
		if m.empties++; m.empties > r.c.limits.MaxEmptyData {
			r.c.count.Add(EmptyData)
			return r.broken(p, "too many empty DATA packets in one message")
		}
		return nil
	}
	if r.tiny.flood(len(p.Body), r.c) {
		r.c.count.Add(TinyData)
		return r.broken(p, "a flood of tiny DATA packets")
	}
	if m.add(p.Body, r.stamp.Load()) && !m.lazy {
		m.lazy = true
		r.lazy = append(r.lazy, m)
	}
	return nil
}

// ended handles EOF and TXERR.
func (r *reader) ended(p packet.Packet, err error) error {
	m := r.open[p.MsgNo]
	if m == nil {
		r.c.count.Add(SequenceBroken)
		return r.broken(p, "the message is not open")
	}
	delete(r.open, p.MsgNo)
	r.c.openIn.Add(-1)
	m.end(err)
	if !m.offered {
		r.offer(m)
	}
	return nil
}

// ping has every PING answered, one PONG for all that wait (PROTOCOL 4.7).
func (r *reader) ping(p packet.Packet) error {
	now := time.Duration(r.stamp.Load())
	if now-r.pingStart >= time.Second {
		if r.pings <= r.c.limits.MaxPings {
			r.pingOver = 0
		} else {
			r.pingOver++
		}
		if now-r.pingStart >= 2*time.Second {
			r.pingOver = 0
		}
		r.pings, r.pingStart = 0, now
	}
	r.pings++
	if r.pingOver >= 10 {
		r.c.count.Add(PingFlood)
		return r.broken(p, "a flood of PINGs")
	}
	r.c.mu.Lock()
	r.c.pongs, r.c.pongNo = 1, p.MsgNo
	r.c.mu.Unlock()
	return nil
}

func (c *Conn) pongDue() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pongs > 0
}

// heardExt takes what a peer that knows extensions allows (PROTOCOL 3.7).
func (c *Conn) heardExt(e packet.Ext) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peerExt = true
	c.cancel = c.cancel || e.Cancel
	if e.Win < MinWindow {
		return
	}
	win := int(min(e.Win, int64(c.limits.MaxWindow)))
	if win <= c.peerWin {
		return // what was granted is not taken back
	}
	c.peerWin = win
	for _, o := range c.out {
		c.scheduleLocked(o)
	}
}

// acknowledged handles ACK: the table of PROTOCOL 4.4.
func (c *Conn) acknowledged(p packet.Packet) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.out[p.MsgNo]
	if o == nil {
		return nil // ended, or never begun: ignored, whatever the body
	}
	n, err := packet.ParseAck(p.Body)
	if err != nil {
		c.count.Add(AckRefused)
		return fmt.Errorf("mux: packet ACK %d: %w", p.MsgNo, err)
	}
	broken := func(what string) error {
		return &ProtocolError{fmt.Sprintf("ACK %d %d", p.MsgNo, len(p.Body)), what}
	}
	switch count := int64(n); {
	case count < o.acked || count > o.sent:
		c.count.Add(AckRefused)
		return broken(fmt.Sprintf("count %d, want %d to %d", count, o.acked, o.sent))
	case count == o.acked:
		o.ackCount++
		c.count.Add(AckRepeated)
	default:
		o.ackCount++
		o.moved.Store(c.in.stamp.Load())
		c.moveLocked(o, o.sent, count)
		c.resumeLocked(o)
	}
	if o.ackCount > c.limits.MaxExtraAcks+4*o.packets {
		c.count.Add(AckFlood)
		return broken("a flood of ACKs")
	}
	return nil
}

// resumeLocked lets o go on, and those that waited for the credit it gave back.
func (c *Conn) resumeLocked(o *Outbound) {
	waiting := c.ready.n
	c.scheduleLocked(o)
	if c.starved {
		c.starved = false
		for _, p := range c.out {
			c.scheduleLocked(p)
		}
	}
	if c.ready.n > waiting {
		c.link.signal() // the writer goroutine encrypts, the reader goes on reading
	}
}

// txerrText is the text of a TXERR: an empty one and "0" say nothing.
func txerrText(body []byte) string {
	if len(body) == 0 || string(body) == "0" {
		return "unspecified transmission error"
	}
	return string(body)
}

// A tinyMeter sees a lasting flood of tiny DATA packets: many a second and hardly
// an octet in each.
type tinyMeter struct {
	packets, octets int
	since           time.Duration
}

const tinyWindow = 10000 // packets

func (t *tinyMeter) flood(n int, c *Conn) bool {
	t.packets++
	t.octets += n
	if t.packets < tinyWindow {
		return false
	}
	now := time.Duration(c.in.stamp.Load())
	took := now - t.since
	mean := t.octets / t.packets
	t.packets, t.octets, t.since = 0, 0, now
	return mean < 16 && took < tinyWindow*time.Second/time.Duration(c.limits.MaxTinyData)
}
