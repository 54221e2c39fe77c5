//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package scamp

import (
	"io/fs"
	"os"
)

const noWait = 0

// holdFile does nothing where the system has no flock, so that no file is ever an orphan.
func holdFile(*os.File) error { return nil }

func orphaned(*os.File, fs.FileInfo) bool { return false }
