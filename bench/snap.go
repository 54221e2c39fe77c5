package bench

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Snap is one process's counters at one moment.
type Snap struct {
	CPUus      int64 // user and system CPU time of the process so far
	Mallocs    uint64
	AllocBytes uint64
	HeapInuse  uint64
	StackInuse uint64
	RSSKiB     int64
	PeakKiB    int64 // largest RSSKiB since settle
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
	status, io := procNumbers("/proc/self/status"), procNumbers("/proc/self/io")
	return Snap{
		CPUus:   (ru.Utime.Nano() + ru.Stime.Nano()) / 1000,
		Mallocs: ms.Mallocs, AllocBytes: ms.TotalAlloc, HeapInuse: ms.HeapInuse, StackInuse: ms.StackInuse,
		RSSKiB: status["VmRSS"], PeakKiB: status["VmHWM"], Goroutines: runtime.NumGoroutine(),
		SysReads: io["syscr"], SysWrites: io["syscw"], WroteBytes: io["wchar"],
	}
}

// procNumbers reads the lines "name: number ..." of a file of /proc.
func procNumbers(file string) map[string]int64 {
	b, _ := os.ReadFile(file) // what is missing counts as 0
	all := make(map[string]int64)
	for l := range strings.Lines(string(b)) {
		name, rest, _ := strings.Cut(l, ":")
		if f := strings.Fields(rest); len(f) > 0 {
			if n, err := strconv.ParseInt(f[0], 10, 64); err == nil {
				all[name] = n
			}
		}
	}
	return all
}

// settle returns freed memory to the system and forgets the peak so far.
func settle() {
	runtime.GC()
	runtime.GC()
	debug.FreeOSMemory()
	os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}

// A moment is the counters of both processes and of the machine.
type moment struct {
	client, server Snap
	busy           time.Duration // CPU time of all processes of the machine
	at             time.Time
}

func (r *runner) now() (moment, error) {
	m := moment{at: time.Now(), busy: machineBusy()}
	var err error
	m.server, err = r.probe.snap()
	m.client = snap()
	return m, err
}

// settled is now, after both processes have given back the memory they do not use.
func (r *runner) settled() (moment, error) {
	settle()
	if err := r.probe.settle(); err != nil {
		return moment{}, err
	}
	return r.now()
}

// cost adds what n operations between a and b cost both processes.
func (f Figures) cost(a, b moment, n float64) {
	delta := func(field func(Snap) float64) float64 {
		return field(b.client) - field(a.client) + field(b.server) - field(a.server)
	}
	cpu := delta(func(s Snap) float64 { return float64(s.CPUus) })
	if n > 0 {
		f["cpu_us_op"] = cpu / n
		f["cpu_us_op_client"] = float64(b.client.CPUus-a.client.CPUus) / n
		f["cpu_us_op_server"] = float64(b.server.CPUus-a.server.CPUus) / n
		f["allocs_op"] = delta(func(s Snap) float64 { return float64(s.Mallocs) }) / n
		f["alloc_bytes_op"] = delta(func(s Snap) float64 { return float64(s.AllocBytes) }) / n
		f["sys_writes_op"] = delta(func(s Snap) float64 { return float64(s.SysWrites) }) / n
		f["sys_reads_op"] = delta(func(s Snap) float64 { return float64(s.SysReads) }) / n
		f["wire_bytes_op"] = delta(func(s Snap) float64 { return float64(s.WroteBytes) }) / n
	}
	wall := float64(b.at.Sub(a.at).Microseconds()) * float64(runtime.NumCPU())
	f["foreign_cpu"] = max(0, (float64((b.busy-a.busy).Microseconds())-cpu)/wall)
}
