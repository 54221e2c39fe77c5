package wire

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
)

// MTU is how many octets a packet may have.
const MTU = 1500

// Network is that of all hosts of a wire: host 1 has the address 1 in it.
var Network = netip.MustParsePrefix("10.123.48.0/24")

// maxHosts is how many hosts a wire may have.
const maxHosts = 16

// A Wire joins hosts. Safe for concurrent use; Close it when done.
type Wire struct {
	seed  uint64
	hosts []*Host

	faults atomic.Pointer[Faults]
	cut    atomic.Pointer[func(from, to *Host, p Packet) bool]
	stats  counts

	relays sync.WaitGroup
	once   sync.Once
}

// A Host is one end of a wire. Safe for concurrent use.
type Host struct {
	Name string     // for people
	Addr netip.Addr // on the wire

	space  space              // where its sockets and processes are
	device io.ReadWriteCloser // a packet at a time
	port   port
}

// String returns the name and the address.
func (h *Host) String() string { return h.Name + " (" + h.Addr.String() + ")" }

// New lays a wire without faults between hosts of these names. All chance comes from the
// seed. An error that wraps errors.ErrUnsupported or os.ErrPermission says what this
// machine lacks.
func New(seed uint64, names ...string) (*Wire, error) {
	if len(names) < 2 || len(names) > maxHosts {
		return nil, fmt.Errorf("wire: %d hosts: want 2 to %d", len(names), maxHosts)
	}
	w := &Wire{seed: seed}
	w.Disturb(Faults{})
	addr := Network.Addr()
	for _, name := range names {
		addr = addr.Next()
		h := &Host{Name: name, Addr: addr}
		if err := h.open(); err != nil {
			w.Close()
			return nil, fmt.Errorf("wire: host %s: %w", name, err)
		}
		h.port.write = func(p []byte) {
			if _, err := h.device.Write(p); err != nil { // it is down, or what was spoilt is no packet any more
				w.stats.refused.Add(1)
			}
		}
		w.hosts = append(w.hosts, h)
	}
	for _, h := range w.hosts {
		w.relays.Go(func() { w.relay(h) }) // ends with Close
	}
	return w, nil
}

// Hosts returns the hosts in the order of their names in New.
func (w *Wire) Hosts() []*Host { return w.hosts }

// Disturb makes these the faults from now on. What is on its way stays so.
func (w *Wire) Disturb(f Faults) { w.faults.Store(&f) }

// Cut loses every packet on its way to a host for which cut says so, beside all faults;
// nil makes the wire whole again. It is called by several goroutines at once and must not
// wait.
func (w *Wire) Cut(cut func(from, to *Host, p Packet) bool) {
	if cut == nil {
		w.cut.Store(nil)
		return
	}
	w.cut.Store(&cut)
}

// Inject brings a packet to a host as if somebody on the wire had sent it. It meets no
// fault.
func (w *Wire) Inject(to *Host, p Packet) { to.port.add(p, 0, 0) }

// Close ends the wire and its hosts: what their processes send is lost. Closing twice is
// harmless.
func (w *Wire) Close() error {
	var errs []error
	w.once.Do(func() {
		for _, h := range w.hosts {
			h.port.close()
			errs = append(errs, h.close())
		}
		w.relays.Wait()
	})
	return errors.Join(errs...)
}

// relay brings what a host sends to the others, until the wire is closed.
func (w *Wire) relay(from *Host) {
	random := make([]*rand.Rand, len(w.hosts))
	for i, to := range w.hosts {
		random[i] = rand.New(rand.NewPCG(w.seed, lane(from, to)))
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := from.device.Read(buf)
		if err != nil {
			return
		}
		p := Packet(buf[:n])
		if !p.valid() {
			continue // IPv6, which nobody here uses
		}
		for i, to := range w.hosts {
			if to != from && (p.Multicast() || p.To() == to.Addr) {
				w.carry(from, to, p, random[i])
			}
		}
	}
}

// lane names one direction between two hosts, for the chance on it.
func lane(from, to *Host) uint64 {
	h := fnv.New64a()
	io.WriteString(h, from.Name+"\x00"+to.Name)
	return h.Sum64()
}

// carry brings one packet to one host, unless it is lost. The packet is the same after it.
func (w *Wire) carry(from, to *Host, p Packet, random *rand.Rand) {
	faults := w.faults.Load()
	f := faults.draw(random, len(p), p.Fragment())
	w.stats.sent.Add(1)
	if cut := w.cut.Load(); cut != nil && (*cut)(from, to, p) {
		w.stats.cut.Add(1)
		return
	}
	if f.lost {
		w.stats.lost.Add(1)
		return
	}
	if f.flip >= 0 {
		w.stats.corrupted.Add(1)
		p[f.flip/8] ^= 1 << (f.flip % 8)
		defer func() { p[f.flip/8] ^= 1 << (f.flip % 8) }() // it may go to others, too
	}
	if f.late {
		w.stats.reordered.Add(1)
	}
	times := 1
	if f.twice {
		w.stats.duplicated.Add(1)
		times = 2
	}
	for range times {
		if !to.port.add(p, f.detour, faults.Rate) {
			w.stats.full.Add(1)
		}
	}
}

// Stats counts packets, once for each host they were for.
type Stats struct {
	Sent                                   uint64 // all below are among these
	Cut, Lost                              uint64
	Reordered, Duplicated, Corrupted, Full uint64 // Full: lost for want of room, or of rate
	Refused                                uint64 // by the host, as no packet
}

type counts struct {
	sent, cut, lost, reordered, duplicated, corrupted, full, refused atomic.Uint64
}

// Stats returns the counts at this moment.
func (w *Wire) Stats() Stats {
	c := &w.stats
	return Stats{
		Sent: c.sent.Load(), Cut: c.cut.Load(), Lost: c.lost.Load(), Reordered: c.reordered.Load(),
		Duplicated: c.duplicated.Load(), Corrupted: c.corrupted.Load(), Full: c.full.Load(), Refused: c.refused.Load(),
	}
}
