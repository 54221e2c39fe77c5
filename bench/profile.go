package bench

import (
	"os"
	"runtime"
	"runtime/pprof"
)

// allocEvery is how many octets of allocation make one sample of an allocation
// profile: dense enough for half a second of small calls, and sampling costs under 1 % of them.
const allocEvery = 32768

// startProfile begins a CPU and an allocation profile of this process. The function
// it returns writes them to prefix.cpu and prefix.allocs, for go tool pprof. An empty
// prefix profiles nothing.
func startProfile(prefix string) (stop func() error, err error) {
	if prefix == "" {
		return func() error { return nil }, nil
	}
	runtime.MemProfileRate = allocEvery
	cpu, err := os.Create(prefix + ".cpu")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		cpu.Close()
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		if err := cpu.Close(); err != nil {
			return err
		}
		allocs, err := os.Create(prefix + ".allocs")
		if err != nil {
			return err
		}
		defer allocs.Close()
		return pprof.Lookup("allocs").WriteTo(allocs, 0)
	}, nil
}
