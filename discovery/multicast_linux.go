package discovery

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// drops returns how many datagrams the kernel dropped for want of room in the
// receive buffer of c. SO_MEMINFO answers with nine words of 32 bits, the last of
// which it is. Package unix has no type for them; of those it has, TCPInfo is long
// enough, and Lost is its word in that place.
func drops(c net.PacketConn) (n uint64) {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.SOL_SOCKET, unix.SO_MEMINFO); err == nil {
			n = uint64(info.Lost)
		}
	})
	return n
}

// tuneGroupSocket asks for a large receive buffer and for the datagrams of our
// own memberships only: by default Linux delivers what any process joined, on
// any interface. Both are wishes; without them the socket still works, because
// Receive looks at the interface of each datagram.
func tuneGroupSocket(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0)
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil { // needs a privilege
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
}
