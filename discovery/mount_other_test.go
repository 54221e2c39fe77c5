//go:build !linux

package discovery_test

import "errors"

func mountSmall(string) error { return errors.New("a small disk is made on Linux only") }

func unmount(string) {}
