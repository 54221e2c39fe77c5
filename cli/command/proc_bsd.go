//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package command

import (
	"errors"
	"os/exec"
	"syscall"
)

// ownGroup gives a command a process group of its own, so that a Ctrl-C meant for us
// does not reach it and that it can be killed with all it started.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// brokenPipe reports whether a write failed because nobody reads any more.
func brokenPipe(err error) bool {
	return errors.Is(err, syscall.EPIPE) || closedPipe(err)
}
