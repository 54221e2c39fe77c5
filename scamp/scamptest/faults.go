package scamptest

import (
	"slices"
	"sync"
	"time"

	"github.com/scampbus/scamp-go/scamp"
)

// Kill ends the service as a crash would, as far as others can tell: its connections
// end, its listeners are gone, and it does not say goodbye. Its bus is closed.
func (n *Network) Kill(s *Service) {
	h := s.host
	n.mu.Lock()
	for _, addr := range s.addrs {
		if l := n.listeners[addr]; l != nil && l.host == h {
			delete(n.listeners, addr)
			l.shut()
		}
	}
	paused := h.paused > 0
	links := n.linksLocked(func(k *link) bool { return k.server == h || k.client == h })
	n.mu.Unlock()
	for _, k := range links {
		switch {
		case paused: // what it has written meanwhile nobody gets
			k.there.Break()
		case k.server == h:
			k.there.Close()
		default:
			k.here.Close()
		}
	}
	s.Bus.Close()
	h.leave() // which the carriers of its own that a bus may have do not
}

// Cut resets every connection to a service; the service lives on.
func (n *Network) Cut(s *Service) {
	n.mu.Lock()
	links := n.linksLocked(func(k *link) bool { return slices.Contains(s.addrs, k.address) })
	n.mu.Unlock()
	for _, k := range links {
		k.there.Break()
	}
}

// A Line is how connections to a service behave. Octets are those of TLS, its
// handshake included. The zero Line is a perfect one.
type Line struct {
	Delay time.Duration // every octet arrives so much later, in each direction; connecting takes two of it
	Rate  int           // octets per second in each direction; zero means no bound
	Stall bool          // nothing arrives, in either direction, until there is a Line without this

	// Each connection breaks as soon as so many octets have gone to the service, or come
	// from it, counted from its beginning, or from now on if it is open. The last of them
	// arrives. Zero means never.
	CutTo, CutFrom int
}

// Disturb makes l the line of all connections to the addresses of a service: those that
// are open, and those to come, also after a Restart.
func (n *Network) Disturb(s *Service, l Line) {
	n.mu.Lock()
	for _, addr := range s.addrs {
		n.lines[addr] = l
	}
	for _, k := range n.links {
		if slices.Contains(s.addrs, k.address) {
			k.setLocked(l)
		}
	}
	n.changedLocked()
}

// Pause stops a service as SIGSTOP would, as far as others can tell: it can be connected
// to, and then nothing moves, what was sent to it included, and it does not announce
// itself. That holds for all of its bus, its own calls too. What it does inside goes on
// unseen. Resume has everything arrive that waits; announcements of the time between are
// lost. A service that is paused twice needs both resumed.
func (n *Network) Pause(s *Service) (resume func()) {
	return n.during(func(by int) { s.host.paused += by })
}

// Partition takes the network between two buses away, for a service its Bus: what one
// sends the other does not get, open connections stop, and connecting takes as long as
// its caller waits. Others see both. Heal has everything arrive that waits, as TCP would;
// announcements of the time between are lost.
func (n *Network) Partition(a, b *scamp.Bus) (heal func()) {
	n.t.Helper()
	x, y := n.host(a), n.host(b)
	return n.during(func(by int) { x.part(y, by); y.part(x, by) })
}

// during has a fault begin, and returns what ends it, once.
func (n *Network) during(fault func(by int)) (end func()) {
	set := func(by int) {
		n.mu.Lock()
		fault(by)
		for _, k := range n.links {
			k.holdLocked()
		}
		n.changedLocked()
	}
	set(1)
	return sync.OnceFunc(func() { set(-1) })
}

// changedLocked wakes those who wait to connect, forgets the connections that were closed
// while they were held, and gives the lock back.
func (n *Network) changedLocked() {
	n.dropLocked(func(k *link) bool { return k.open == 0 && !k.held })
	close(n.changed)
	n.changed = make(chan struct{})
	n.mu.Unlock()
}
