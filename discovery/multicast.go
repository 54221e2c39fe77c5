package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
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
	Ifaces []Iface    // interfaces to use, for ever; at least one, unless there is Select
	// Select returns the interfaces to use now, and what is wrong with those that
	// cannot be used. NewMulticast asks it, and Follow goes on to: what it returns
	// may be empty for a while. Nil means Ifaces.
	Select   func() (ifaces []Iface, problems []error)
	Interval time.Duration // between announcements: who is silent for three is reported by Follow; zero means 5 s
	Log      *slog.Logger  // hears what Follow notices; nil means silence
}

// A Multicast carries announcements in UDP datagrams to a multicast group. It
// owns one socket to receive, bound to the group and joined on every interface,
// and one socket per interface to send. Send may be called by several goroutines
// at once, Receive and Follow by one each.
type Multicast struct {
	// Set by NewMulticast, never changed.
	group    netip.AddrPort
	conn     net.PacketConn   // receives
	receiver *ipv4.PacketConn // conn, with the interface of each datagram
	choose   func() ([]Iface, []error)
	report   *reporter
	counters counters
	silence  silence

	buf []byte // of Receive

	use atomic.Pointer[inUse] // replaced as a whole, under mu

	mu     sync.Mutex // held while interfaces are joined and left
	closed bool
}

var (
	_ Carrier = (*Multicast)(nil)
	_ roaming = (*Multicast)(nil)
)

// NewMulticast opens the sockets. An interface that cannot be used is left out
// and named in Problems; without Select, NewMulticast fails when none can be used.
// Interfaces are not judged by their MULTICAST flag, which lo lacks though it works.
func NewMulticast(opts MulticastOptions) (*Multicast, error) {
	if !opts.Group.IsValid() {
		opts.Group = netip.MustParseAddr(DefaultGroup)
	}
	opts.Port = cmp.Or(opts.Port, DefaultPort)
	if !opts.Group.Is4() || !opts.Group.IsMulticast() || opts.Port < 1 || opts.Port > 65535 {
		return nil, fmt.Errorf("discovery: multicast to %v port %d: want an IPv4 multicast group and a port from 1 to 65535", opts.Group, opts.Port)
	}
	ifaces, problems := opts.Ifaces, []error(nil)
	if opts.Select != nil {
		ifaces, problems = opts.Select()
	} else if len(ifaces) == 0 {
		return nil, errors.New("discovery: multicast without an interface: want at least one address in discovery.address or bus.address")
	}
	m := &Multicast{
		group:   netip.AddrPortFrom(opts.Group, uint16(opts.Port)),
		choose:  opts.Select,
		silence: newSilence(opts.Interval),
		buf:     make([]byte, 65_536), // more than any datagram holds
	}
	m.report = newReporter(opts.Log, Limits{}.WithDefaults(), &m.counters)
	m.use.Store(newInUse())
	conn, err := listenGroup(m.group)
	if err != nil {
		return nil, fmt.Errorf("discovery: listen for multicast to %v: %w", m.group, err)
	}
	m.conn, m.receiver = conn, ipv4.NewPacketConn(conn)
	if err := m.receiver.SetControlMessage(ipv4.FlagInterface, true); err != nil {
		conn.Close()
		return nil, fmt.Errorf("discovery: listen for multicast to %v: %w", m.group, err)
	}
	m.take(ifaces, problems)
	if now := m.use.Load(); len(now.ifaces) == 0 && opts.Select == nil {
		m.Close()
		return nil, fmt.Errorf("discovery: multicast to %v: no interface works: %w", m.group, errors.Join(now.problems...))
	}
	return m, nil
}

// Ifaces returns the interfaces in use, in the order they were asked for.
func (m *Multicast) Ifaces() []Iface { return slices.Clone(m.use.Load().ifaces) }

// Changed returns a channel that is closed when Ifaces is no longer what it is now.
func (m *Multicast) Changed() <-chan struct{} { return m.use.Load().superseded }

// Problems returns one error for each interface that is left out now.
func (m *Multicast) Problems() []error { return slices.Clone(m.use.Load().problems) }

// MulticastStats are counts of a Multicast.
type MulticastStats struct {
	Counters map[string]uint64 // what Follow noticed, by name
}

// Stats returns the counts at this moment.
func (m *Multicast) Stats() MulticastStats { return MulticastStats{m.counters.snapshot()} }

// Group returns the group and port in use.
func (m *Multicast) Group() netip.AddrPort { return m.group }

// Send sends data to the group out of iface, which must be one of Ifaces.
func (m *Multicast) Send(ctx context.Context, iface Iface, data []byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("discovery: send on %v: %w", iface, err)
	}
	now := m.use.Load()
	out, ok := now.outlets[iface]
	if !ok {
		return fmt.Errorf("discovery: send on %v: want one of %v", iface, now.ifaces)
	}
	if _, err := out.conn.WriteToUDPAddrPort(data, m.group); err != nil {
		return fmt.Errorf("discovery: send on %v: %w%s", iface, err, sendHint(err))
	}
	m.silence.sent(iface)
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
	m.silence.listen()
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
			iface, ok := m.use.Load().byIndex[cm.IfIndex]
			if !ok {
				continue // somebody else's membership: not an interface of ours
			}
			dg.Iface = iface
		}
		if u, ok := from.(*net.UDPAddr); ok {
			dg.From = u.AddrPort()
		}
		m.silence.heard(dg.Iface)
		return dg, nil
	}
}

// Lost returns how many datagrams the kernel dropped because Receive did not take
// those before in time. Only Linux tells; elsewhere it is 0.
func (m *Multicast) Lost() uint64 { return drops(m.conn) }

// Close closes all sockets. Closing twice is harmless.
func (m *Multicast) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	err := m.conn.Close()
	for _, out := range m.use.Load().outlets {
		err = errors.Join(err, out.conn.Close())
	}
	return err
}
