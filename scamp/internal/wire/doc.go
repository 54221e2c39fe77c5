// Package wire joins hosts by a network that loses, delays, repeats and spoils packets
// as a seed says (THREATS 3.1). It is for tests, and needs Linux and root.
//
//	host 1 ─ TUN ─┐                    ┌─ TUN ─ host 2
//	              ├─ Wire: Faults, cut ┤
//	host 3 ─ TUN ─┘                    └─ TUN ─ host 4
//
// A host is a network namespace with a loopback and one interface. Its sockets are
// opened, and its processes started, by a process that stays where it is. The wire takes
// each IPv4 packet that a host sends, and brings it to the host that has the address, or
// to all others when it is multicast.
//
// What always holds:
//
//  1. What happens to the nth packet from one host to another depends on the seed, the
//     two hosts, n and the Faults then, and on nothing else.
//  2. Nothing of a wire outlives its process, however that ends: neither a namespace nor
//     an interface has a name outside it.
//  3. A packet that meets no fault is brought in the order it was sent.
package wire
