package discovery

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
)

// Content is what a service says about itself. The Announcer keeps it: it must
// not be changed after it was given away.
type Content struct {
	Ident     string
	Sector    string   // of actions that name none; zero means main
	Weight    int      // zero means 1: to ask for no work there is Withdraw
	Envelopes []string // of actions that name none
	Actions   []Action
	// Addresses are the URIs of the listeners. A packet carries the one with the
	// address of its interface, else the first (PROTOCOL 12.1).
	Addresses []string
}

// ErrTooLarge is returned for content that no datagram can hold.
var ErrTooLarge = errors.New("discovery: announcement does not fit into a datagram")

// sign returns one packet for each interface, all with the same new timestamp.
// Where there is no interface yet, it signs one for whichever comes.
func (a *Announcer) sign(content *Content, withdraw bool) (packets, signed []packet, stamp int64, err error) {
	if len(content.Addresses) == 0 {
		return nil, nil, 0, errors.New("discovery: announce: no address: want the URI of at least one listener")
	}
	a.mu.Lock()
	stamp = max(a.stamp+1, a.opts.Now().UnixMilli())
	a.mu.Unlock()
	ifaces, _ := a.where()
	packets = make([]packet, 0, len(ifaces))
	for _, iface := range ifaces {
		p := packet{iface: iface, address: content.address(iface)}
		if i := slices.IndexFunc(packets, p.sameAddress); i >= 0 {
			p.data = packets[i].data
		} else if p.data, err = a.signOne(content, withdraw, p.address, stamp); err != nil {
			return nil, nil, 0, err
		}
		packets = append(packets, p)
	}
	if len(packets) > 0 {
		return packets, packets, stamp, nil
	}
	p := packet{address: content.Addresses[0]}
	p.data, err = a.signOne(content, withdraw, p.address, stamp)
	return packets, []packet{p}, stamp, err
}

func (p packet) sameAddress(q packet) bool { return p.address == q.address }

// address returns the URI to announce on an interface.
func (c *Content) address(iface Iface) string {
	for _, uri := range c.Addresses {
		at := Announcement{Address: uri}
		if p, err := netip.ParseAddrPort(at.HostPort()); err == nil && p.Addr() == iface.Addr {
			return uri
		}
	}
	return c.Addresses[0]
}

func (a *Announcer) signOne(content *Content, withdraw bool, address string, stamp int64) ([]byte, error) {
	announcement := Announcement{
		Ident:       content.Ident,
		Sector:      content.Sector,
		Weight:      cmp.Or(content.Weight, 1),
		Interval:    a.opts.Interval,
		Address:     address,
		Envelopes:   content.Envelopes,
		Actions:     content.Actions,
		Timestamp:   stamp * 1000,
		Certificate: a.opts.Certificate,
	}
	if withdraw {
		announcement.Weight, announcement.Actions = 0, nil
	}
	text, err := announcement.Sign(a.opts.Key)
	if err != nil {
		return nil, err
	}
	data := Compress(text)
	if len(text) > a.limits.MaxAnnounce || len(data) > a.limits.MaxDatagram {
		return nil, fmt.Errorf("%w: %d octets of text, %d compressed: want at most %d and %d: offer fewer actions, or make two services of it",
			ErrTooLarge, len(text), len(data), a.limits.MaxAnnounce, a.limits.MaxDatagram)
	}
	if len(data) > a.limits.WarnDatagram {
		a.counters.add(countFragmented, 1)
		a.report.say(slog.LevelWarn, countFragmented, "announcement is sent in fragments and lost when one of them is: want fewer actions, a 2048-bit key, or two services",
			"octets", len(data), "limit", a.limits.WarnDatagram)
	}
	return data, nil
}

// sameContent tells whether two contents are announced alike.
func sameContent(x, y *Content) bool {
	return x.Ident == y.Ident && x.Sector == y.Sector && x.Weight == y.Weight &&
		slices.Equal(x.Envelopes, y.Envelopes) && slices.Equal(x.Addresses, y.Addresses) &&
		slices.EqualFunc(x.Actions, y.Actions, func(a, b Action) bool {
			return a.Sector == b.Sector && a.Class == b.Class && a.Name == b.Name && a.Version == b.Version &&
				slices.Equal(a.Flags, b.Flags) && slices.Equal(a.Envelopes, b.Envelopes)
		})
}
