package scamp

import "time"

// A backoff says how long to leave alone what has failed: twice as long after each failure
// in a row, and by chance up to a quarter longer, so that those who saw it fail at one time
// do not all come back at one time.
type backoff struct {
	first, most time.Duration   // pauses without the jitter
	rand        func(n int) int // 0 to n-1; nil for no jitter
}

// pause is how long to wait after a failure before which there were so many in a row.
func (b *backoff) pause(failures int) time.Duration {
	pause := min(b.first<<min(failures, 16), b.most)
	if b.rand == nil {
		return pause
	}
	return pause + time.Duration(b.rand(int(pause/4/time.Millisecond)+1))*time.Millisecond
}
