//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package command

// terminal cannot be asked here, so output is that of a pipe.
func terminal(int) bool { return false }
