package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
)

// followTime is how often Follow looks at the interfaces of the host. The kernel
// would tell of changes, each system in its own way; a look costs a tenth of a
// millisecond.
const followTime = 2 * time.Second

// A roaming carrier uses interfaces that come and go.
type roaming interface {
	Ifaces() []Iface          // to send on now
	Changed() <-chan struct{} // closed when Ifaces changes
}

// An inUse is what a Multicast uses at one moment. It never changes.
type inUse struct {
	ifaces     []Iface // in the order asked for
	outlets    map[Iface]outlet
	byIndex    map[int]Iface // where the group is joined
	problems   []error       // why others are left out
	superseded chan struct{} // closed when other interfaces are used
}

// An outlet sends on one interface.
type outlet struct {
	conn  *net.UDPConn
	name  string // of the interface
	index int
}

func newInUse() *inUse {
	return &inUse{outlets: make(map[Iface]outlet), byIndex: make(map[int]Iface), superseded: make(chan struct{})}
}

// Follow keeps m in step with what Select returns until ctx ends, and returns why
// ctx ended. An interface that appears, comes up again or gets another address is
// joined, one that is gone is left. Follow also reports, once, when nothing is heard
// although something should be, and when that is over (PROTOCOL 7.11).
func (m *Multicast) Follow(ctx context.Context) error {
	look := time.NewTicker(followTime)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
		if m.choose != nil {
			m.step()
		}
		m.listenUp()
	}
}

// step looks at the interfaces once and tells what changed.
func (m *Multicast) step() {
	before := m.use.Load()
	ifaces, problems := m.choose()
	m.take(ifaces, problems)
	now := m.use.Load()
	joined, left := without(now.ifaces, before.ifaces), without(before.ifaces, now.ifaces)
	if len(joined)+len(left) > 0 {
		m.counters.add(countIfaces, 1)
		level, text := slog.LevelInfo, "interfaces changed"
		if len(left) > 0 {
			level = slog.LevelWarn
		}
		if len(now.ifaces) == 0 {
			text = "no interface is left: nothing is announced or heard until one comes back"
		}
		m.report.say(level, countIfaces, text, "joined", ifaceList(joined), "left", ifaceList(left), "now", ifaceList(now.ifaces))
	}
	for _, p := range now.problems {
		var f *joinError
		if errors.As(p, &f) && !slices.ContainsFunc(before.problems, func(old error) bool { return old.Error() == p.Error() }) {
			m.report.say(slog.LevelWarn, countIfaceFailed, "interface cannot be used: tried again every few seconds", "interface", f.iface.String(), "error", p)
		}
	}
}

// A joinError says why an interface that is there cannot be used.
type joinError struct {
	iface Iface
	err   error
}

// Error implements error.
func (e *joinError) Error() string {
	return fmt.Sprintf("discovery: interface %v is left out: %v", e.iface, e.err)
}

// Unwrap returns the cause.
func (e *joinError) Unwrap() error { return e.err }

// take makes want what is used.
func (m *Multicast) take(want []Iface, problems []error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	old, now := m.use.Load(), newInUse()
	now.problems = slices.Clone(problems)
	for _, iface := range want {
		if _, twice := now.outlets[iface]; twice {
			continue
		}
		out, used := old.outlets[iface]
		if !used {
			var err error
			if out, err = m.open(iface, old, now); err != nil {
				now.problems = append(now.problems, &joinError{iface, err})
				continue
			}
		}
		now.add(iface, out)
		m.silence.use(iface) // before anything can be sent there
	}
	for index := range old.byIndex {
		if _, used := now.byIndex[index]; !used {
			_ = m.receiver.LeaveGroup(&net.Interface{Index: index}, net.UDPAddrFromAddrPort(m.group)) // it may be gone
		}
	}
	if slices.Equal(now.ifaces, old.ifaces) {
		now.superseded = old.superseded // only the problems are others
		m.use.Store(now)
		return
	}
	m.use.Store(now)
	close(old.superseded)
	for iface, out := range old.outlets {
		if _, used := now.outlets[iface]; !used {
			out.conn.Close()
			m.silence.forget(iface)
		}
	}
}

func (u *inUse) add(iface Iface, out outlet) {
	u.outlets[iface] = out
	u.ifaces = append(u.ifaces, iface)
	if _, joined := u.byIndex[out.index]; !joined {
		u.byIndex[out.index] = Iface{Name: out.name, Index: out.index, Addr: iface.Addr}
	}
}

// open opens the socket that sends on an interface, and joins the group there
// unless that was done for another address of it.
func (m *Multicast) open(iface Iface, old, now *inUse) (outlet, error) {
	ifi, err := findInterface(iface)
	if err != nil {
		return outlet{}, err
	}
	sender, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(iface.Addr, 0)))
	if err != nil {
		return outlet{}, err
	}
	p := ipv4.NewPacketConn(sender)
	err = errors.Join(p.SetMulticastInterface(ifi), p.SetMulticastTTL(1), p.SetMulticastLoopback(true))
	_, before := old.byIndex[ifi.Index]
	_, joined := now.byIndex[ifi.Index]
	if err == nil && !before && !joined {
		err = m.receiver.JoinGroup(ifi, net.UDPAddrFromAddrPort(m.group))
	}
	if err != nil {
		sender.Close()
		return outlet{}, err
	}
	return outlet{sender, ifi.Name, ifi.Index}, nil
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

// without returns those of list that are not in others.
func without(list, others []Iface) (rest []Iface) {
	for _, iface := range list {
		if !slices.Contains(others, iface) {
			rest = append(rest, iface)
		}
	}
	return rest
}

// ifaceList returns the interfaces, for people.
func ifaceList(list []Iface) string {
	names := make([]string, len(list))
	for i, iface := range list {
		names[i] = iface.String()
	}
	return strings.Join(names, ", ")
}

// sendHint says what else to know of an error of sending, after a colon.
func sendHint(err error) string {
	switch {
	case errors.Is(err, syscall.EPERM):
		return ": a firewall of this host forbids it"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return ": the interface is down, or no route leads there (ip route add 224.0.0.0/4 dev INTERFACE)"
	}
	return ""
}
