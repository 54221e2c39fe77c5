package scamp

// Workers are goroutines that run handlers, for requests that have their place. A worker
// takes one request after the other, so a burst of short ones needs few of them and is
// answered together; but before it runs a handler, which may take any time, it wakes
// another worker if requests are left. So as long as one waits, one worker is on its way.
//
// All of it is protected by dispatcher.mu.
type workers struct {
	first, last *serving // those that no worker has taken, linked by after
	waking      bool     // a worker was woken and has not looked for a request yet
	resting     []*worker
	stopped     bool // no worker rests any more
}

// A worker that has nothing to do waits for more: a new goroutine would have to grow its
// stack again.
type worker struct {
	woken chan struct{} // capacity 1: whoever took it from those that rest never waits; closed by stop
}

func (w *worker) wake() {
	if w != nil {
		w.woken <- struct{}{}
	}
}

// runLocked has a request run. It returns a worker to wake when the lock is open, nil if
// one is on its way.
func (d *dispatcher) runLocked(r *serving) *worker {
	d.lineLocked(r)
	return d.helpLocked()
}

// lineLocked lets a request that has its place wait for a worker.
func (d *dispatcher) lineLocked(r *serving) {
	if d.last == nil {
		d.first = r
	} else {
		d.last.after = r
	}
	d.last = r
}

// helpLocked returns a worker to wake if requests are left and nobody is on his way.
func (d *dispatcher) helpLocked() *worker {
	if d.waking || d.first == nil {
		return nil
	}
	d.waking = true
	if n := len(d.resting); n > 0 {
		w := d.resting[n-1]
		d.resting[n-1] = nil
		d.resting = d.resting[:n-1]
		return w
	}
	w := &worker{woken: make(chan struct{}, 1)}
	go d.work(w) // ends when enough rest, or with the bus
	return w
}

// work serves requests, one after the other.
func (d *dispatcher) work(w *worker) {
	var r *serving
	defer func() {
		if r != nil && r.abandoned() { // the handler has ended its goroutine (runtime.Goexit)
			d.goOn(r)
		}
	}()
	for range w.woken {
		var done *serving
		for woken := true; ; woken = false {
			var rests bool
			r, rests = d.take(w, woken, done)
			if done != nil {
				done.drop()
			}
			if r == nil && !rests {
				return
			}
			if r == nil {
				break
			}
			done = r
			if !r.serve() {
				done = nil // Ended goes on with it
			}
			r = nil
		}
	}
}

// take gives the place of done, if that is not nil, to a request that waits, and returns
// the next one for w, which was woken for it or is done with another, to run. If there is
// none w rests, unless it is to end.
func (d *dispatcher) take(w *worker, woken bool, done *serving) (r *serving, rests bool) {
	var help *worker
	d.mu.Lock()
	if woken {
		d.waking = false
	}
	if done != nil {
		d.nextLocked(done)
	}
	if r = d.first; r != nil {
		if d.first, r.after = r.after, nil; d.first == nil {
			d.last = nil
		}
		help = d.helpLocked()
	} else if rests = !d.stopped && len(d.resting) < d.limits.Mux.MaxHandlers; rests {
		d.resting = append(d.resting, w)
	}
	d.mu.Unlock()
	help.wake()
	return r, rests
}

// goOn gives the place of a request whose worker has left it to one that waits.
func (d *dispatcher) goOn(done *serving) {
	d.mu.Lock()
	d.nextLocked(done)
	help := d.helpLocked()
	d.mu.Unlock()
	help.wake()
	done.drop()
}

// stop lets the workers end: those that rest now, the others when their handlers have
// returned.
func (d *dispatcher) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	for _, w := range d.resting {
		close(w.woken)
	}
	d.resting = nil
}
