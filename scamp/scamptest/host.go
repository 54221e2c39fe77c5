package scamptest

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"weak"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// A host is one bus as the network sees it.
type host struct {
	n *Network

	// Protected by the lock of the network.
	opts   *scamp.Options // that Bus was given; nil when it is closed
	bus    *scamp.Bus     // nil while it is being made, and when it is closed
	left   bool
	paused int           // how many Pauses hold it
	apart  map[*host]int // how many Partitions keep it from another
}

// host returns the one of a bus. A bus from elsewhere ends the test; one that is closed has
// a host that is nowhere.
func (n *Network) host(b *scamp.Bus) *host {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range n.hosts {
		if h.bus == b {
			return h
		}
	}
	if _, ok := n.gone[weak.Make(b)]; ok {
		return &host{n: n, apart: make(map[*host]int)}
	}
	n.t.Fatal("scamptest: a bus of another network: want one that Bus or Serve has made")
	return nil
}

// close closes the bus, if nobody has.
func (h *host) close() {
	h.n.mu.Lock()
	b := h.bus
	h.n.mu.Unlock()
	if b != nil {
		b.Close()
	}
}

// leave forgets a host whose bus is closed, or about to be: it learns nothing more, and a
// test may make any number of them. What stays is next to nothing: how its test ends it.
func (h *host) leave() {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	maps.DeleteFunc(h.n.gone, func(b weak.Pointer[scamp.Bus], _ struct{}) bool { return b.Value() == nil })
	if h.bus != nil {
		h.n.gone[weak.Make(h.bus)] = struct{}{}
	}
	h.bus, h.opts, h.left = nil, nil, true
	h.n.hosts = slices.DeleteFunc(h.n.hosts, func(o *host) bool { return o == h })
	h.silentLocked()
}

// silentLocked forgets where a host that has left spoke from, unless it is behind a
// partition: what it has said last must not pass that.
func (h *host) silentLocked() {
	if h.left && len(h.apart) == 0 {
		maps.DeleteFunc(h.n.senders, func(_ netip.AddrPort, o *host) bool { return o == h })
	}
}

// options are those that its bus was given.
func (h *host) options() *scamp.Options {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	return h.opts
}

// part has one more or one less Partition keep two hosts apart.
func (h *host) part(from *host, by int) {
	if h.apart[from] += by; h.apart[from] == 0 {
		delete(h.apart, from)
	}
	h.silentLocked()
}

func (h *host) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return h.n.connect(ctx, h, network, addr)
}

func (h *host) listen(network, addr string) (net.Listener, error) {
	return h.n.open(h, network, addr)
}

// join returns the host's place on the segment.
func (h *host) join() *radio {
	r := &radio{h.n.segment.Join(), h}
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	h.n.senders[r.From()] = h
	return r
}

// A radio is where a host sends and hears announcements.
type radio struct {
	*discovery.Loopback
	h *host
}

// Close leaves the segment. A bus does so when it is closed.
func (r *radio) Close() error {
	r.h.leave()
	return r.Loopback.Close()
}

// Send drops what a host says that is paused.
func (r *radio) Send(ctx context.Context, iface discovery.Iface, data []byte) error {
	r.h.n.mu.Lock()
	paused := r.h.paused > 0
	r.h.n.mu.Unlock()
	if paused {
		return ctx.Err()
	}
	return r.Loopback.Send(ctx, iface, data)
}

// Receive passes over what comes from the other side of a partition.
func (r *radio) Receive(ctx context.Context) (discovery.Datagram, error) {
	for {
		dg, err := r.Loopback.Receive(ctx)
		if err != nil {
			return dg, err
		}
		r.h.n.mu.Lock()
		apart := r.h.apart[r.h.n.senders[dg.From]] > 0
		r.h.n.mu.Unlock()
		if !apart {
			return dg, nil
		}
	}
}

// numbers are those of one bus. Its goroutines share them.
func numbers(seed, bus uint64) func(n int) int {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, bus))
	return func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return r.IntN(n)
	}
}

// ident is a new one in the form of discovery.NewIdent, the same for the same seed.
func (n *Network) ident(name string) string {
	n.mu.Lock()
	n.idents++
	r := rand.NewPCG(n.Seed, n.idents<<32) // not the numbers of a bus
	n.mu.Unlock()
	var octets [24]byte
	for i := 0; i < len(octets); i += 8 {
		binary.BigEndian.PutUint64(octets[i:], r.Uint64())
	}
	return name + ":" + base64.StdEncoding.EncodeToString(octets[:18])
}
