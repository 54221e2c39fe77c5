//go:build !linux

package discovery_test

import "time"

var testStart = time.Now()

// cpuTime returns the time that has passed, for want of the processor time of a thread.
func cpuTime() time.Duration { return time.Since(testStart) }
