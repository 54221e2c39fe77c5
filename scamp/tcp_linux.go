package scamp

import (
	"time"

	"golang.org/x/sys/unix"
)

// setUserTimeout ends a TCP connection whose peer acknowledges nothing for so long.
// Failing is harmless: keep-alive and the write stall are left.
func setUserTimeout(fd int, milliseconds time.Duration) {
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(milliseconds))
}
