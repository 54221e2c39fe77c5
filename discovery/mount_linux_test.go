package discovery_test

import "golang.org/x/sys/unix"

// mountSmall puts an empty disk of 256 KiB at dir.
func mountSmall(dir string) error { return unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k") }

func unmount(dir string) { unix.Unmount(dir, 0) }
