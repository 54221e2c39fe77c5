package scamp

import (
	"time"

	"golang.org/x/sys/unix"
)

// maxUnsent is how many octets the kernel takes that it cannot send yet.
const maxUnsent = 64 << 10

// tuneTCP sets what package net cannot. Each may fail without harm: keep-alive and the
// write stall are left, and calls wait longer behind bulk on a slow link.
//
// The kernel would take megabytes that a slow link needs seconds for, and whatever is
// written later, the smallest reply, waits behind them: what is not sent yet is better
// kept where it can be overtaken. What is sent and not acknowledged has no bound here, so
// that a long way costs no throughput.
func tuneTCP(fd int, userTimeout time.Duration) {
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout/time.Millisecond))
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent)
}
