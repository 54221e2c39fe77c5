//go:build failpoint && unix

package discovery

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
)

const failpoints = true

// failpointHits counts how often the place named by SCAMP_FAILPOINT was reached. It is
// a variable of the package because the place may be anywhere; only builds for tests
// have it.
var failpointHits atomic.Int64

// failpoint lets the process die, as kill -9 does, at the place and the time that
// SCAMP_FAILPOINT names: "beforeRename 3" is the third time at that place.
func failpoint(name string) {
	var place string
	var hit int64
	if n, _ := fmt.Sscan(os.Getenv("SCAMP_FAILPOINT"), &place, &hit); n != 2 || place != name {
		return
	}
	if failpointHits.Add(1) == hit {
		fmt.Fprintln(os.Stderr, "dies at", name)
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it arrives
	}
}
