package discovery

import (
	"context"
	"net/netip"
)

// An Iface is one discovery interface: a network interface and the address of
// ours on it that datagrams are sent from (PROTOCOL 7.11). It is a plain value
// and comparable.
type Iface struct {
	Name  string     // for example "eth0"; for people
	Index int        // number of the interface; zero means: the one that has Addr
	Addr  netip.Addr // our IPv4 address on it
}

// String returns the name and the address, for people.
func (i Iface) String() string {
	if i.Name == "" {
		return i.Addr.String()
	}
	return i.Name + " (" + i.Addr.String() + ")"
}

// loopback tells whether what is heard on i cannot have come from another host.
// The zero Iface stands for a call inside this process.
func (i Iface) loopback() bool { return !i.Addr.IsValid() || i.Addr.IsLoopback() }

// A Datagram is one announcement as a carrier delivered it. Nothing in it has
// been checked.
type Datagram struct {
	Data  []byte         // valid until the next Receive of the same carrier
	Iface Iface          // interface it arrived on
	From  netip.AddrPort // claimed sender; anybody can forge it, so it is for logs only
}

// A Carrier takes announcements to everybody on some network and brings theirs.
// What a carrier delivers is not trusted: the signed octets speak for themselves,
// so that a new way of delivery needs no new security.
//
// Send may be called by several goroutines at once. Receive is for one goroutine
// at a time. Close frees a waiting Receive, which then returns an error that
// wraps net.ErrClosed; whoever made the carrier closes it.
type Carrier interface {
	// Send sends one datagram out of one interface. It does not keep data.
	Send(ctx context.Context, iface Iface, data []byte) error
	// Receive waits for the next datagram, or until ctx ends.
	Receive(ctx context.Context) (Datagram, error)
	Close() error
}
