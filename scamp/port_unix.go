//go:build unix

package scamp

import (
	"errors"
	"syscall"
)

// portInUse says whether another port may do.
func portInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
