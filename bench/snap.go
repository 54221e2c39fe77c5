package bench

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
)

// Snap is one process's resource counters.
type Snap struct {
	PID        int
	CPUus      int64 // user+system CPU time of the process so far
	Mallocs    uint64
	AllocBytes uint64
	HeapInuse  uint64
	StackInuse uint64
	RSSKiB     int64
	HWMKiB     int64
	Goroutines int
	SysReads   int64 // read and write system calls, bytes written (all descriptors)
	SysWrites  int64
	WroteBytes int64
}

func snap() Snap {
	var ru syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	s := Snap{PID: os.Getpid(), Mallocs: ms.Mallocs, AllocBytes: ms.TotalAlloc, HeapInuse: ms.HeapInuse, StackInuse: ms.StackInuse, Goroutines: runtime.NumGoroutine()}
	s.CPUus = ru.Utime.Sec*1e6 + ru.Utime.Usec + ru.Stime.Sec*1e6 + ru.Stime.Usec
	s.RSSKiB, s.HWMKiB = procMem()
	b, _ := os.ReadFile("/proc/self/io")
	for _, l := range strings.Split(string(b), "\n") {
		k, v, _ := strings.Cut(l, ": ")
		n, _ := strconv.ParseInt(v, 10, 64)
		switch k {
		case "syscr":
			s.SysReads = n
		case "syscw":
			s.SysWrites = n
		case "wchar":
			s.WroteBytes = n
		}
	}
	return s
}

func procMem() (rss, hwm int64) {
	b, _ := os.ReadFile("/proc/self/status")
	for _, l := range strings.Split(string(b), "\n") {
		f := strings.Fields(l)
		if len(f) < 2 {
			continue
		}
		v, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "VmRSS:":
			rss = v
		case "VmHWM:":
			hwm = v
		}
	}
	return
}

// settle returns freed memory to the system and forgets the peak RSS so far.
func settle() {
	runtime.GC()
	runtime.GC()
	debug.FreeOSMemory()
	os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}
