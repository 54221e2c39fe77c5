package bench

import (
	"fmt"
	"sort"
	"sync"
)

var (
	regMu    sync.Mutex
	registry = map[string]Adapter{}
	order    []string
)

// Register adds an adapter; call it from main before Main.
func Register(as ...Adapter) {
	regMu.Lock()
	defer regMu.Unlock()
	for _, a := range as {
		if _, dup := registry[a.Name()]; dup {
			panic("bench: adapter registered twice: " + a.Name())
		}
		registry[a.Name()] = a
		order = append(order, a.Name())
	}
}

func lookup(name string) (Adapter, error) {
	regMu.Lock()
	defer regMu.Unlock()
	a := registry[name]
	if a == nil {
		known := append([]string(nil), order...)
		sort.Strings(known)
		return nil, fmt.Errorf("no adapter %q (have %v)", name, known)
	}
	return a, nil
}
