package discovery

import "golang.org/x/sys/unix"

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
