//go:build !linux

package scamp

import "time"

// tuneTCP needs Linux; elsewhere keep-alive and the write stall must do.
func tuneTCP(int, time.Duration) {}
