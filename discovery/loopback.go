package discovery

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// maxLoopbackQueue is how many datagrams wait for one member before more are
// lost, as they are in the receive buffer of a socket.
const maxLoopbackQueue = 1024

// A Loopback is one member of a network segment in memory: what any member
// sends reaches all of them, the sender included, in the order it was sent. It
// serves tests and buses that live in one process. It needs no network, starts
// no goroutine, and works in synthetic time. Safe for concurrent use, except
// that one goroutine at a time may Receive.
type Loopback struct {
	segment *segment
	iface   Iface
	from    netip.AddrPort
	wake    chan struct{} // one token: the queue may hold something
	closed  chan struct{}

	mu    sync.Mutex // protects all below
	queue []Datagram
	lost  uint64 // datagrams that found no room
	down  bool   // closed is closed
}

// segment is what the members of one network have in common.
type segment struct {
	mu      sync.Mutex // protects all below
	members []*Loopback
	joined  uint16 // number of the last member
	disturb func(from, to Iface, data []byte) Fault
}

// A Fault is what happens to one datagram on its way to one member. The zero
// Fault delivers it at once.
type Fault struct {
	Drop  bool          // it is lost
	Delay time.Duration // it arrives so much later
}

var _ Carrier = (*Loopback)(nil)

// NewLoopback makes a segment and returns its first member.
func NewLoopback() *Loopback { return new(segment).join() }

// Join returns another member of the same segment. It hears what is sent from
// now on.
func (l *Loopback) Join() *Loopback { return l.segment.join() }

// numberLocked finds the number of one more member: the next that none has. Numbers come
// again behind 65,535.
func (s *segment) numberLocked() {
	for range 1 << 16 {
		s.joined++
		if s.joined != 0 && !slices.ContainsFunc(s.members, func(m *Loopback) bool { return m.from.Port() == s.joined }) {
			return
		}
	}
}

func (s *segment) join() *Loopback {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.numberLocked()
	m := &Loopback{
		segment: s,
		iface:   Iface{Name: "loopback", Addr: netip.AddrFrom4([4]byte{127, 0, 0, 1})},
		from:    netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), s.joined),
		wake:    make(chan struct{}, 1),
		closed:  make(chan struct{}),
	}
	s.members = append(s.members, m)
	return m
}

// Iface returns the interface that members send on when they name none.
func (l *Loopback) Iface() Iface { return l.iface }

// From is where the datagrams of this member come from; each one has another.
func (l *Loopback) From() netip.AddrPort { return l.from }

// Disturb makes fault decide what happens to each datagram on its way to each
// member of the segment; nil makes the segment perfect again. From and to are
// the interfaces of sender and receiver, data must not be kept or changed. It is
// called by senders, several at once, and must not use the segment.
func (l *Loopback) Disturb(fault func(from, to Iface, data []byte) Fault) {
	l.segment.mu.Lock()
	defer l.segment.mu.Unlock()
	l.segment.disturb = fault
}

// Send delivers data to every member of the segment. Members hear it on the
// interface named here; a zero iface means Iface.
func (l *Loopback) Send(ctx context.Context, iface Iface, data []byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("discovery: send on loopback: %w", err)
	}
	select {
	case <-l.closed:
		return fmt.Errorf("discovery: send on loopback: %w", net.ErrClosed)
	default:
	}
	if iface == (Iface{}) {
		iface = l.iface
	}
	l.segment.mu.Lock()
	members, disturb := slices.Clone(l.segment.members), l.segment.disturb
	l.segment.mu.Unlock()

	for _, m := range members {
		var f Fault
		if disturb != nil {
			f = disturb(iface, m.iface, data)
		}
		dg := Datagram{Data: bytes.Clone(data), Iface: iface, From: l.from}
		switch {
		case f.Drop:
		case f.Delay > 0:
			time.AfterFunc(f.Delay, func() { m.deliver(dg) })
		default:
			m.deliver(dg)
		}
	}
	return nil
}

func (l *Loopback) deliver(dg Datagram) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.down:
		return
	case len(l.queue) >= maxLoopbackQueue:
		l.lost++
		return
	}
	l.queue = append(l.queue, dg)
	select {
	case l.wake <- struct{}{}:
	default: // a token is there already
	}
}

// Receive returns the next datagram.
func (l *Loopback) Receive(ctx context.Context) (Datagram, error) {
	for {
		if dg, ok := l.next(); ok {
			return dg, nil
		}
		select {
		case <-l.wake:
		case <-l.closed:
			return Datagram{}, fmt.Errorf("discovery: receive on loopback: %w", net.ErrClosed)
		case <-ctx.Done():
			return Datagram{}, fmt.Errorf("discovery: receive on loopback: %w", ctx.Err())
		}
	}
}

func (l *Loopback) next() (Datagram, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return Datagram{}, false
	}
	dg := l.queue[0]
	l.queue[0] = Datagram{}
	l.queue = l.queue[1:]
	return dg, true
}

// Lost returns how many datagrams were lost because nobody took those before.
func (l *Loopback) Lost() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// Close leaves the segment. The others go on. Closing twice is harmless.
func (l *Loopback) Close() error {
	l.segment.mu.Lock()
	l.segment.members = slices.DeleteFunc(l.segment.members, func(m *Loopback) bool { return m == l })
	l.segment.mu.Unlock()

	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.down {
		l.down, l.queue = true, nil
		close(l.closed)
	}
	return nil
}
