package conform

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/packet"
)

// A mailbox holds the packets that the other side sent until a case looks at them, so that
// reading never waits for a case (PROTOCOL 4.5).
type mailbox struct {
	mu      sync.Mutex // protects what follows
	packets []packet.Packet
	total   int   // octets of all packets that ever came, as memory counts them
	err     error // why no more will come

	wake chan struct{} // one place: something was added
}

// maxTotal bounds the octets that a connection brings, since cases keep what came. No
// case asks for as much.
const (
	maxTotal   = 64 << 20
	packetCost = 128 // octets that a packet without a body takes
)

var errTooMuch = errors.New("conform: more than 64 MiB came, which nobody asked for")

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

// fill reads packets until the stream ends.
func (m *mailbox) fill(r io.Reader) {
	packets := packet.NewReader(r, packet.Limits{})
	for {
		p, err := packets.Next()
		if err == nil {
			p.Body = append([]byte(nil), p.Body...)
		}
		if m.add(p, err) {
			return
		}
	}
}

// add adds a packet or the end, and tells whether that is all.
func (m *mailbox) add(p packet.Packet, err error) (over bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total += packetCost + len(p.Body)
	if err == nil && m.total > maxTotal {
		err = errTooMuch
	}
	if err != nil {
		m.err = err
	} else {
		m.packets = append(m.packets, p)
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
	return err != nil
}

// take returns the next packet. Without one it waits until deadline, or until done is
// closed, and returns errWaited, or returns why no more will come.
func (m *mailbox) take(deadline time.Time, done <-chan struct{}) (packet.Packet, error) {
	var expired <-chan time.Time
	for {
		p, ok, err := m.first()
		if ok || err != nil {
			return p, err
		}
		if expired == nil {
			t := time.NewTimer(time.Until(deadline))
			defer t.Stop()
			expired = t.C
		}
		select {
		case <-m.wake:
		case <-expired:
			return packet.Packet{}, errWaited
		case <-done:
			return packet.Packet{}, errWaited
		}
	}
}

var errWaited = errors.New("conform: nothing came in time")

func (m *mailbox) first() (p packet.Packet, ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.packets) == 0 {
		return p, false, m.err
	}
	p = m.packets[0]
	m.packets[0] = packet.Packet{} // gives its body back
	m.packets = m.packets[1:]
	return p, true, nil
}
