package discovery_test

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime returns the processor time of this thread, which unlike the time of
// day does not depend on what else the machine does.
func cpuTime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		panic(err)
	}
	return time.Duration(now.Nano())
}
