//go:build !linux

package wire

import (
	"errors"
	"os/exec"
)

// A space is a network namespace, which only Linux has.
type space struct{}

func (h *Host) open() error { return errors.ErrUnsupported }

func (h *Host) close() error { return nil }

// Do runs f on the host.
func (h *Host) Do(func() error) error { return errors.ErrUnsupported }

// Start starts a command on the host.
func (h *Host) Start(*exec.Cmd) error { return errors.ErrUnsupported }
