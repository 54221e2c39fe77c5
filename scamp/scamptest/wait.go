package scamptest

import (
	"time"
)

// Eventually waits until cond holds, at most ten seconds, and says whether it came to.
func Eventually(cond func() bool) bool {
	deadline := time.Now().Add(10 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			return false
		}
		<-time.After(time.Millisecond)
	}
	return true
}
