package scamp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/scampbus/scamp-go/discovery"
)

// Networks whose addresses are taken when none is configured, best first.
var privateNets = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("172.16.0.0/12"),
}

// HostIfaces returns the IPv4 addresses of all interfaces of this host that are up,
// in the order of the interfaces. Loopback is among them, whatever its flags: it
// lacks MULTICAST, yet multicast works on it (PROTOCOL 7.11).
func HostIfaces() ([]discovery.Iface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("scamp: interfaces of this host: %w", err)
	}
	var ifaces []discovery.Iface
	for _, ifi := range all {
		if ifi.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := ifi.Addrs() // none if it is gone since it was listed
		if err != nil {
			return nil, fmt.Errorf("scamp: addresses of interface %s: %w", ifi.Name, err)
		}
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is4() {
				ifaces = append(ifaces, discovery.Iface{Name: ifi.Name, Index: ifi.Index, Addr: prefix.Addr()})
			}
		}
	}
	return ifaces, nil
}

// SelectIfaces returns those of host that the items of an address key ask for, in
// the order of the items and each once: an IPv4 address of this host, or if:NAME for
// the first address of an interface. Without items it returns the first address in
// 10/8, else in 192.168/16, else in 172.16/12, else none. There is a problem for
// each item that selects nothing (PROTOCOL 7.11); key names the items in it.
func SelectIfaces(host []discovery.Iface, key string, items []string) (ifaces []discovery.Iface, problems []error) {
	if len(items) == 0 {
		return autodetect(host), nil
	}
	for _, item := range items {
		iface, err := findIface(host, item)
		switch {
		case err != nil:
			problems = append(problems, fmt.Errorf("scamp: %s: %w", key, err))
		case !slices.Contains(ifaces, iface):
			ifaces = append(ifaces, iface)
		}
	}
	return ifaces, problems
}

func autodetect(host []discovery.Iface) []discovery.Iface {
	for _, private := range privateNets {
		for _, iface := range host {
			if private.Contains(iface.Addr) {
				return []discovery.Iface{iface}
			}
		}
	}
	return nil
}

func findIface(host []discovery.Iface, item string) (discovery.Iface, error) {
	if name, byName := strings.CutPrefix(item, "if:"); byName {
		for _, iface := range host {
			if iface.Name == name {
				return iface, nil
			}
		}
		return discovery.Iface{}, fmt.Errorf("%s: want an interface of this host that is up and has an IPv4 address: %s", quoteText(item), describeIfaces(host))
	}
	addr, err := netip.ParseAddr(item)
	if err != nil || !addr.Is4() {
		return discovery.Iface{}, fmt.Errorf("%s: want an IPv4 address or if:NAME", quoteText(item))
	}
	for _, iface := range host {
		if iface.Addr == addr {
			return iface, nil
		}
	}
	return discovery.Iface{}, fmt.Errorf("%s: want an address of this host: %s", quoteText(item), describeIfaces(host))
}

// describeIfaces lists interfaces for somebody who has to choose one.
func describeIfaces(host []discovery.Iface) string {
	const most = 16
	var names []string
	for _, iface := range host[:min(len(host), most)] {
		names = append(names, iface.Addr.String()+" (if:"+iface.Name+")")
	}
	switch {
	case len(host) == 0:
		return "it has none"
	case len(host) > most:
		names = append(names, "...")
	}
	return strings.Join(names, ", ")
}

// DiscoveryIfaces returns the interfaces of this host to announce and listen on,
// which may be none, and what is wrong with the keys that select them, or ErrNoIface.
func (c *Config) DiscoveryIfaces() (ifaces []discovery.Iface, problems []error) {
	return c.FollowDiscovery()()
}

// FollowDiscovery returns a function that says at any time what DiscoveryIfaces would,
// for discovery.MulticastOptions. Where no address is configured, it stays with the
// interface that it chose for as long as that is there: a network that comes beside it,
// such as that of a VPN, moves nobody. It is for one goroutine at a time.
func (c *Config) FollowDiscovery() func() (ifaces []discovery.Iface, problems []error) {
	key, items := "discovery.address", c.DiscoveryAddress
	if len(items) == 0 {
		key, items = "bus.address", c.BusAddress
	}
	var before []discovery.Iface
	var wrong []error
	return func() ([]discovery.Iface, []error) {
		host, err := HostIfaces()
		switch {
		case err != nil && before == nil:
			return nil, []error{err}
		case err != nil:
			return before, wrong // we have too few descriptors, or the like: nothing is known
		case len(items) == 0 && len(before) == 1 && slices.Contains(host, before[0]):
			return before, nil
		}
		before, wrong = SelectIfaces(host, key, items)
		if len(items) == 0 && len(before) == 0 {
			wrong = []error{ErrNoIface}
		}
		return before, wrong
	}
}

// ErrNoIface is what DiscoveryIfaces says when no key selects an interface, and this host
// has none that is chosen by itself.
var ErrNoIface = errors.New("scamp: no address for discovery: this host has none in 10/8, 192.168/16 or 172.16/12")

// ServiceIfaces returns the interfaces of this host to serve on, as DiscoveryIfaces
// does.
func (c *Config) ServiceIfaces() (ifaces []discovery.Iface, problems []error) {
	key, items := "service.address", c.ServiceAddress
	if len(items) == 0 {
		key, items = "bus.address", c.BusAddress
	}
	host, err := HostIfaces()
	if err != nil {
		return nil, []error{err}
	}
	return SelectIfaces(host, key, items)
}
