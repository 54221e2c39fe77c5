package scamptest

import (
	"slices"
	"sync"
	"testing"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// A Network is one segment that buses and services share. Safe for concurrent use.
type Network struct {
	// Limits are those of buses that are made from now on without options of their
	// own, also the buses of services. Set it before they are made.
	Limits scamp.Limits

	t       testing.TB
	segment *discovery.Loopback

	authorizing sync.Mutex // held while buses get rules, so that the newest are the last

	mu        sync.Mutex // protects what follows
	listeners map[string]*listener
	ports     int
	keys      int
	rules     []string
	buses     []*scamp.Bus
	dialed    int
	conns     map[*conn]struct{}
}

// New returns an empty network that ends with the test.
func New(t testing.TB) *Network {
	n := &Network{t: t, keys: 1, segment: discovery.NewLoopback(), listeners: make(map[string]*listener), conns: make(map[*conn]struct{})}
	t.Cleanup(func() { n.segment.Close() })
	return n
}

// Segment is where announcements travel. Its Disturb drops and delays them.
func (n *Network) Segment() *discovery.Loopback { return n.segment }

// Bus returns a bus on the network, closed when the test ends. Fields of opts that
// are set win over those of the network.
func (n *Network) Bus(opts *scamp.Options) *scamp.Bus {
	n.t.Helper()
	o := scamp.Options{Limits: n.Limits}
	if opts != nil {
		o = *opts
	}
	if o.Dial == nil {
		o.Dial = n.Dial
	}
	if o.Listen == nil {
		o.Listen = n.Listen
	}
	if o.TicketKeys == nil {
		o.TicketKeys = scamp.NewTicketKeys(&n.ticketSigner().PublicKey)
	}
	if o.Carriers == nil {
		o.Carriers = []discovery.Carrier{n.segment.Join()}
	}
	b, err := scamp.Open(&scamp.Config{BusAddress: []string{"127.0.0.1"}}, &o)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { b.Close() })
	n.mu.Lock()
	others := slices.Clone(n.buses)
	n.buses = append(n.buses, b)
	n.mu.Unlock()
	n.authorize()
	// What others have heard already the new bus need not wait an interval for.
	for _, o := range others {
		for _, e := range o.Directory().All() {
			b.Directory().Add(e.Announcement) // an older one than is held is refused
		}
	}
	return b
}
