//go:build unix

package mux

import "syscall"

// canAttempt says that a non-blocking write can be tried on a file descriptor.
const canAttempt = true

// attempt hands octets of b to the network, as many as it takes without waiting.
func attempt(fd uintptr, b []byte) (n int, err error) {
	for n < len(b) {
		k, err := syscall.Write(int(fd), b[n:])
		switch {
		case k > 0:
			n += k
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return n, nil
		default:
			return n, err
		}
	}
	return n, nil
}
