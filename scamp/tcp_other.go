//go:build !linux

package scamp

import "time"

// setUserTimeout needs Linux; elsewhere keep-alive and the write stall must do.
func setUserTimeout(int, time.Duration) {}
