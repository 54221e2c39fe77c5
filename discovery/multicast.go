package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/ipv4"
)

// Where announcements go unless configuration says otherwise (PROTOCOL 7.11).
const (
	DefaultGroup = "239.63.248.106" // key discovery.multicast_address
	DefaultPort  = 5555             // key discovery.port
)

// receiveBuffer is what we ask the kernel to hold for us: a thousand
// announcements of 4 KB, so that a pause of ours loses none.
const receiveBuffer = 4 << 20

// MulticastOptions say where a Multicast sends and listens.
type MulticastOptions struct {
	Group  netip.Addr // IPv4 multicast group; zero means DefaultGroup
	Port   int        // UDP port; zero means DefaultPort
	Ifaces []Iface    // interfaces to use; at least one
}

// A Multicast carries announcements in UDP datagrams to a multicast group. It
// owns one socket to receive, bound to the group and joined on every interface,
// and one socket per interface to send. Send may be called by several goroutines
// at once, Receive by one.
type Multicast struct {
	group    netip.AddrPort
	conn     net.PacketConn   // receives
	receiver *ipv4.PacketConn // conn, with the interface of each datagram
	byIndex  map[int]Iface    // interfaces joined
	senders  map[Iface]*net.UDPConn
	ifaces   []Iface // in the order asked for
	problems []error
	buf      []byte // of Receive
}

var _ Carrier = (*Multicast)(nil)

// NewMulticast opens the sockets. An interface that cannot be used is left out
// and named in Problems; NewMulticast fails only when none can be used. Interfaces
// are not judged by their MULTICAST flag, which lo lacks though it works.
func NewMulticast(opts MulticastOptions) (*Multicast, error) {
	if !opts.Group.IsValid() {
		opts.Group = netip.MustParseAddr(DefaultGroup)
	}
	if opts.Port == 0 {
		opts.Port = DefaultPort
	}
	if !opts.Group.Is4() || !opts.Group.IsMulticast() || opts.Port < 1 || opts.Port > 65535 {
		return nil, fmt.Errorf("discovery: multicast to %v port %d: want an IPv4 multicast group and a port from 1 to 65535", opts.Group, opts.Port)
	}
	if len(opts.Ifaces) == 0 {
		return nil, errors.New("discovery: multicast without an interface: want at least one address in discovery.address or bus.address")
	}
	m := &Multicast{
		group:   netip.AddrPortFrom(opts.Group, uint16(opts.Port)),
		byIndex: make(map[int]Iface),
		senders: make(map[Iface]*net.UDPConn),
		buf:     make([]byte, 65_536), // more than any datagram holds
	}
	conn, err := listenGroup(m.group)
	if err != nil {
		return nil, fmt.Errorf("discovery: listen for multicast to %v: %w", m.group, err)
	}
	m.conn, m.receiver = conn, ipv4.NewPacketConn(conn)
	if err := m.receiver.SetControlMessage(ipv4.FlagInterface, true); err != nil {
		conn.Close()
		return nil, fmt.Errorf("discovery: listen for multicast to %v: %w", m.group, err)
	}
	for _, iface := range opts.Ifaces {
		if err := m.use(iface); err != nil {
			m.problems = append(m.problems, fmt.Errorf("discovery: interface %v is left out: %w", iface, err))
		}
	}
	if len(m.ifaces) == 0 {
		m.Close()
		return nil, fmt.Errorf("discovery: multicast to %v: no interface works: %w", m.group, errors.Join(m.problems...))
	}
	return m, nil
}

// use joins the group on an interface and opens the socket that sends there.
func (m *Multicast) use(iface Iface) error {
	if _, ok := m.senders[iface]; ok {
		return nil
	}
	ifi, err := findInterface(iface)
	if err != nil {
		return err
	}
	sender, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(iface.Addr, 0)))
	if err != nil {
		return err
	}
	p := ipv4.NewPacketConn(sender)
	err = errors.Join(p.SetMulticastInterface(ifi), p.SetMulticastTTL(1), p.SetMulticastLoopback(true))
	if _, joined := m.byIndex[ifi.Index]; err == nil && !joined {
		err = m.receiver.JoinGroup(ifi, net.UDPAddrFromAddrPort(m.group))
	}
	if err != nil {
		sender.Close()
		return err
	}
	m.senders[iface] = sender
	m.ifaces = append(m.ifaces, iface)
	if _, joined := m.byIndex[ifi.Index]; !joined {
		m.byIndex[ifi.Index] = Iface{Name: ifi.Name, Index: ifi.Index, Addr: iface.Addr}
	}
	return nil
}

// findInterface returns the network interface that an Iface means.
func findInterface(iface Iface) (*net.Interface, error) {
	if !iface.Addr.Is4() {
		return nil, fmt.Errorf("address %v: want an IPv4 address of this host", iface.Addr)
	}
	if iface.Index != 0 {
		return net.InterfaceByIndex(iface.Index)
	}
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, ifi := range all {
		addrs, err := ifi.Addrs()
		if err != nil || iface.Name != "" && iface.Name != ifi.Name {
			continue
		}
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if ok && n.IP.Equal(iface.Addr.AsSlice()) {
				return &ifi, nil
			}
		}
	}
	return nil, fmt.Errorf("address %v: want an IPv4 address of this host", iface.Addr)
}

// Ifaces returns the interfaces in use, in the order they were asked for.
func (m *Multicast) Ifaces() []Iface { return append([]Iface(nil), m.ifaces...) }

// Problems returns one error for each interface that was left out.
func (m *Multicast) Problems() []error { return append([]error(nil), m.problems...) }

// Group returns the group and port in use.
func (m *Multicast) Group() netip.AddrPort { return m.group }

// Send sends data to the group out of iface, which must be one of Ifaces.
func (m *Multicast) Send(ctx context.Context, iface Iface, data []byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("discovery: send on %v: %w", iface, err)
	}
	sender, ok := m.senders[iface]
	if !ok {
		return fmt.Errorf("discovery: send on %v: want one of %v", iface, m.ifaces)
	}
	if _, err := sender.WriteToUDPAddrPort(data, m.group); err != nil {
		return fmt.Errorf("discovery: send on %v: %w", iface, err)
	}
	return nil
}

// Receive returns the next datagram that arrived on one of Ifaces.
func (m *Multicast) Receive(ctx context.Context) (Datagram, error) {
	expired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		m.conn.SetReadDeadline(time.Unix(1, 0)) // frees the read below
		close(expired)
	})
	defer func() {
		if !stop() {
			<-expired // or it would spoil the next Receive
			m.conn.SetReadDeadline(time.Time{})
		}
	}()
	for {
		n, cm, from, err := m.receiver.ReadFrom(m.buf)
		if err != nil {
			if ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
				err = ctx.Err()
			}
			return Datagram{}, fmt.Errorf("discovery: receive from %v: %w", m.group, err)
		}
		dg := Datagram{Data: m.buf[:n], Iface: Iface{Name: "unknown", Addr: netip.IPv4Unspecified()}} // no loopback
		if cm != nil {
			iface, ok := m.byIndex[cm.IfIndex]
			if !ok {
				continue // somebody else's membership: not an interface of ours
			}
			dg.Iface = iface
		}
		if u, ok := from.(*net.UDPAddr); ok {
			dg.From = u.AddrPort()
		}
		return dg, nil
	}
}

// Close closes all sockets.
func (m *Multicast) Close() error {
	err := m.conn.Close()
	for _, s := range m.senders {
		err = errors.Join(err, s.Close())
	}
	return err
}
