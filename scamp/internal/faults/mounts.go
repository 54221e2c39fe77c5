//go:build linux

package main

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// ownMountsKey is set in the environment of a program that has a mount namespace of its own.
const ownMountsKey = "SCAMP_FAULTS_OWN_MOUNTS"

func haveOwnMounts() bool { return os.Getenv(ownMountsKey) != "" }

// ownMounts starts the program again, as the same process, where its mounts are seen by
// nobody but its children and end with them. Whoever is not root goes on as he is. It is
// for main, before any other goroutine.
func ownMounts() error {
	if haveOwnMounts() || os.Geteuid() != 0 {
		return nil
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("faults: %w", err)
	}
	runtime.LockOSThread() // a namespace is the thread's; what it executes has no other
	defer runtime.UnlockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("faults: a mount namespace of its own: %w", err)
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("faults: make mounts private: %w", err)
	}
	return fmt.Errorf("faults: start again: %w", unix.Exec(program, os.Args, append(os.Environ(), ownMountsKey+"=1")))
}
