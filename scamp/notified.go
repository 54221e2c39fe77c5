package scamp

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// listeners are those whose notifications wait for a place among the handlers, first come
// first served. A place that is free goes in turn to one of them and to a request.
//
// All of it is protected by dispatcher.mu.
type listeners struct {
	line   []chan struct{} // one for each, closed when it has its place
	served bool            // the last place went to a notification
}

// expect takes a notification in hand, for which the service waits as for a request, unless
// it takes nothing any more.
func (s *intake) expect() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != "" {
		return false
	}
	s.inHand++
	s.notices++
	return true
}

// heard notes that so many notifications are out of hand.
func (s *intake) heard(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notices -= n
	s.doneLocked(n)
}

// place waits for a place for the handler of a notification, at most until gone is closed.
func (d *dispatcher) place(gone <-chan struct{}) bool {
	d.mu.Lock()
	if d.running < d.limits.MaxConcurrency {
		d.running++
		d.mu.Unlock()
		return true
	}
	turn := make(chan struct{})
	d.line = append(d.line, turn)
	d.mu.Unlock()
	select {
	case <-turn:
		return true
	case <-gone:
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.Index(d.line, turn)
	if i < 0 {
		return true // it came all the same
	}
	d.line = slices.Delete(d.line, i, i+1)
	return false
}

// listenLocked gives a place that is free to a notification, if one waits.
func (d *dispatcher) listenLocked() bool {
	d.served = len(d.line) > 0
	if d.served {
		close(d.line[0])
		d.line = slices.Delete(d.line, 0, 1)
	}
	return d.served
}

// leave gives the place of a notification to whoever waits.
func (d *dispatcher) leave() {
	d.mu.Lock()
	d.passLocked()
	help := d.helpLocked()
	d.mu.Unlock()
	help.wake()
}

// hear hands a notification to its handler when that has a place.
func (s *subscriber) hear(in *mux.Inbound) {
	intake, log := s.src.intake, s.src.log
	defer intake.heard(1)
	held := collector{p: s.p}
	defer held.release()
	late := time.AfterFunc(s.src.limits.WorkerTimeout, func() { in.Fail(errServiceTime) }) // as of a request: Serve waits for it
	body, err := in.Collect(s.src.limits.MaxBody, held.take)
	late.Stop()
	if err != nil {
		if errors.Is(err, mux.ErrTooBig) {
			log.count("body_too_big")
		}
		log.count("notify_dropped")
		return
	}
	if !intake.place(s.ctx.Done()) {
		log.count("notify_dropped")
		return
	}
	defer intake.leave()
	ctx, cancel := context.WithTimeoutCause(s.ctx, s.src.limits.WorkerTimeout, errServiceTime)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		if ctx.Err() == context.DeadlineExceeded {
			log.count("worker_timeout")
		}
	})()
	returned := false
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil {
			log.panicked(eventHandler, v)
			return
		}
		log.fault("handler_panicked", "handler ended its goroutine", "action", eventHandler)
		s.src.work.Go(s.run) // in place of this goroutine (runtime.Goexit); ends as that would
	}()
	s.src.notify(ctx, &Notification{Data: body, Caller: s.p.cert, Remote: s.p.addr})
	returned = true
}
