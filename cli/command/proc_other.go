//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package command

import "os/exec"

// ownGroup cannot be had here: a command is killed without what it started.
func ownGroup(*exec.Cmd) {}

// brokenPipe cannot tell, so that a command that does not read its input fails.
func brokenPipe(err error) bool { return closedPipe(err) }
