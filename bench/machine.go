package bench

import (
	"os"
	"strconv"
	"strings"
	"time"
)

const tick = time.Second / 100 // USER_HZ, the unit of /proc/stat

// machineBusy is the CPU time that all processes have used so far, on all cores; zero
// where /proc does not say.
func machineBusy() time.Duration {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	var busy time.Duration
	for i, s := range strings.Fields(line) {
		if i == 0 || i == 4 || i == 5 || i > 8 { // "cpu", idle, iowait, guests
			continue
		}
		n, _ := strconv.ParseInt(s, 10, 64)
		busy += time.Duration(n) * tick
	}
	return busy
}

func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	f := strings.Fields(string(b))
	if len(f) < 3 {
		return "?"
	}
	return strings.Join(f[:3], " ")
}

func cpuModel() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for l := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return "?"
}
