//go:build unix && !linux

package discovery

import (
	"net"

	"golang.org/x/sys/unix"
)

// drops would tell what the kernel dropped; these systems do not say.
func drops(net.PacketConn) uint64 { return 0 }

// tuneGroupSocket asks for a large receive buffer, and to share the port with
// other listeners of this host, for which these systems want a second option.
func tuneGroupSocket(fd int) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
}
