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

// errAgain is why an attempt to read brought nothing: there is nothing yet.
const errAgain = syscall.EAGAIN

// attemptRead reads what the network has, without waiting. No octet and no error is the
// end.
func attemptRead(fd uintptr, b []byte) (n int, err error) {
	for {
		n, err = syscall.Read(int(fd), b)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}
