package mux

import (
	"sync"
	"sync/atomic"
)

// A rouser starts the writer goroutine when there is something for it to do. Most
// connections never need one: what is small is written at once by whoever sends it.
// One that has nothing to do any more is dismissed when the connection is found idle,
// so that a connection at rest holds one goroutine.
//
//	    Run            signal            close
//	shut ----> absent --------> present -------> shut
//	              ^               |
//	              +---------------+ dismissed, nothing to do
type rouser struct {
	wake    chan struct{} // capacity 1: there is something to do
	write   func()        // the writer goroutine; returns when done, or when leave says so
	present atomic.Bool   // changes under mu, but for leave
	rest    atomic.Bool   // it may leave

	mu   sync.Mutex // protects what follows
	open bool       // a goroutine may be started
	all  sync.WaitGroup
}

// signal wakes the writer goroutine; one waiting signal is as good as many.
func (r *rouser) signal() {
	r.again()
	if !r.present.Load() {
		r.rouse()
	}
}

// again leaves a signal, unless one waits already.
func (r *rouser) again() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *rouser) rouse() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open && !r.present.Load() && len(r.wake) > 0 {
		r.present.Store(true)
		r.all.Go(r.write) // ends when the connection has ended, or when it is dismissed
	}
}

// start lets the writer goroutine be started; signals that came before count.
func (r *rouser) start(write func()) {
	r.mu.Lock()
	r.write, r.open = write, true
	r.mu.Unlock()
	r.rouse()
}

// dismiss lets the writer goroutine leave when it finds nothing to do.
func (r *rouser) dismiss() {
	if r.present.Load() {
		r.rest.Store(true)
		r.signal()
	}
}

// leave says whether the writer goroutine, which calls it, must return: it was
// dismissed and there is nothing to do, or somebody has started another one.
func (r *rouser) leave() bool {
	if !r.rest.Swap(false) {
		return false
	}
	r.present.Store(false)
	// Whoever signalled before saw us present, so that one is ours. It is looked for by a
	// receive: the length of a channel may be read before the store above is seen.
	select {
	case <-r.wake:
		r.again()
	default:
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.present.CompareAndSwap(false, true)
}

// close waits until the writer goroutine has ended, after what ends it has happened.
// None is started any more.
func (r *rouser) close() {
	r.mu.Lock()
	r.open = false
	r.mu.Unlock()
	r.all.Wait()
}
