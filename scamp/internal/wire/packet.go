package wire

import (
	"encoding/binary"
	"net/netip"
)

// A Packet is one IPv4 packet on the wire. It is valid until the function that was given
// it returns.
type Packet []byte

const (
	minPacket     = 20 // octets of an IPv4 header without options
	moreFragments = 0x2000
	fragmentPlace = 0x1fff
)

// valid says whether p begins with an IPv4 header.
func (p Packet) valid() bool { return len(p) >= minPacket && p[0]>>4 == 4 }

// From is the sender's address, as the packet says.
func (p Packet) From() netip.Addr { return netip.AddrFrom4([4]byte(p[12:16])) }

// To is the address that the packet is for: of a host, or of a group.
func (p Packet) To() netip.Addr { return netip.AddrFrom4([4]byte(p[16:20])) }

// Multicast says whether the packet is for a group.
func (p Packet) Multicast() bool { return p[16]>>4 == 0xe }

// Fragment says whether the packet is a part of a longer datagram.
func (p Packet) Fragment() bool {
	return binary.BigEndian.Uint16(p[6:])&(moreFragments|fragmentPlace) != 0
}

// OrphanFragment returns the first fragment, with an id, of a datagram of UDP whose other
// fragments nobody sends (THREATS E5). The sender may be anybody.
func OrphanFragment(from, to netip.Addr, id uint16) Packet {
	p := make(Packet, 1500)
	p[0], p[8], p[9] = 0x45, 1, 17 // version and length of the header; hops; UDP
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	binary.BigEndian.PutUint16(p[4:], id)
	binary.BigEndian.PutUint16(p[6:], moreFragments)
	source, destination := from.As4(), to.As4()
	copy(p[12:], source[:])
	copy(p[16:], destination[:])
	binary.BigEndian.PutUint16(p[10:], checksum(p[:minPacket]))
	return p
}

// checksum is that of an IPv4 header whose own checksum is zero.
func checksum(header []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(header); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(header[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
