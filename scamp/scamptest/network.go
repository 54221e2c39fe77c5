package scamptest

import (
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"weak"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/internal/ticketscan"
	"github.com/scampbus/scamp-go/scamp"
)

// A Network is one segment that buses and services share. Safe for concurrent use.
type Network struct {
	// Limits are those of buses that are made from now on without options of their
	// own, also the buses of services. Set it before they are made.
	Limits scamp.Limits

	// Seed begins the numbers of chance of every bus, and the idents of services. Two
	// networks with the same seed, on which the same is done in the same order, are
	// alike in all that is left to chance; zero is a seed like any other. Set it first.
	Seed uint64

	t       testing.TB
	segment *discovery.Loopback
	log     *slog.Logger // of buses without one

	authorizing sync.Mutex // held while buses get rules, so that the newest are the last

	mu        sync.Mutex // protects what follows
	listeners map[string]*listener
	serving   ports        // of listeners
	callers   ports        // of connections
	calling   map[int]bool // those of callers that a connection has
	keys      int
	buses     uint64 // so many, ever
	idents    uint64
	rules     []string
	hosts     []*host                              // of buses that are open, in the order they were made
	gone      map[weak.Pointer[scamp.Bus]]struct{} // of those that are closed
	senders   map[netip.AddrPort]*host
	links     []*link // in the order they were made
	lines     map[string]Line
	late      []late
	changed   chan struct{} // closed, and made anew, when a fault begins or ends
}

// New returns an empty network that ends with the test.
func New(t testing.TB) *Network {
	n := &Network{
		t: t, log: errorLog(t), keys: 1, segment: discovery.NewLoopback(), listeners: make(map[string]*listener),
		serving: ports{first: firstServing, last: lastServing}, callers: ports{first: firstCalling, last: lastCalling}, calling: make(map[int]bool),
		gone: make(map[weak.Pointer[scamp.Bus]]struct{}), senders: make(map[netip.AddrPort]*host), lines: make(map[string]Line), changed: make(chan struct{}),
	}
	t.Cleanup(func() {
		n.segment.Close()
		n.wait()
	})
	return n
}

// Segment is where announcements travel. Its Disturb drops and delays them:
//
//	net.Segment().Disturb(func(from, to discovery.Iface, data []byte) discovery.Fault {
//		return discovery.Fault{Drop: lossy.Load(), Delay: 20 * time.Millisecond}
//	})
func (n *Network) Segment() *discovery.Loopback { return n.segment }

// Bus returns a bus on the network, closed when the test ends. Fields of opts that
// are set win over those of the network; nil sets none. The network's Limits are for
// nil alone: who has options takes them along with Limits: net.Limits. A bus that is
// closed before is forgotten then, unless it has Carriers of its own.
func (n *Network) Bus(opts *scamp.Options) *scamp.Bus {
	n.t.Helper()
	h := &host{n: n, opts: opts, apart: make(map[*host]int)}
	o := scamp.Options{Limits: n.Limits}
	if opts != nil {
		o = *opts
	}
	n.mu.Lock()
	number := n.buses
	n.buses++
	n.hosts = append(n.hosts, h)
	n.mu.Unlock()
	if o.Dial == nil {
		o.Dial = h.dial
	}
	if o.Listen == nil {
		o.Listen = h.listen
	}
	if o.TicketKeys == nil {
		o.TicketKeys = scamp.NewTicketKeys(&n.ticketSigner().PublicKey)
	}
	if o.Rand == nil {
		o.Rand = numbers(n.Seed, number)
	}
	if o.Ident == nil {
		o.Ident = n.ident
	}
	if o.Carriers == nil {
		o.Carriers = []discovery.Carrier{h.join()}
	}
	if o.Log == nil {
		o.Log = n.log
	}
	o.Log = ticketscan.Log(n.t, o.Log) // in our own tests
	b, err := scamp.Open(&scamp.Config{BusAddress: []string{"127.0.0.1"}}, &o)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(h.close)
	n.mu.Lock()
	others := n.busesLocked()
	h.bus = b
	n.mu.Unlock()
	n.authorize()
	// What others have heard already the new bus need not wait an interval for.
	for _, o := range others {
		for _, e := range o.Directory().All() {
			if e.State == discovery.Live {
				b.Directory().Add(e.Announcement) // an older one than is held is refused
			}
		}
	}
	return b
}

// busesLocked returns every bus that is not closed, in the order they were made.
func (n *Network) busesLocked() (buses []*scamp.Bus) {
	for _, h := range n.hosts {
		if h.bus != nil { // else it is being made
			buses = append(buses, h.bus)
		}
	}
	return buses
}
