package discovery

import (
	"container/heap"
	"sync"
	"time"
)

// A clock is the time by which announcements expire. It stands still while we
// were unable to hear (PROTOCOL 7.8), and no wall clock moves it.
type clock struct {
	start  time.Time // with its monotonic reading
	frozen time.Duration
}

func (c *clock) now() time.Duration { return time.Since(c.start) - c.frozen }

// A queue holds the instances to look at, the next one first, and one timer for
// all of them. An instance whose expiry moves on is found too early, looked at,
// and put back: a refresh never touches the queue.
type queue struct {
	run   func() // looks at what is due; set by NewDirectory
	list  []*instance
	timer *time.Timer
	armed time.Duration // for when, by the clock; 0 when it is not
	hold  time.Duration // nothing ends before, by the clock
}

func (q *queue) Len() int           { return len(q.list) }
func (q *queue) Less(i, j int) bool { return q.list[i].due < q.list[j].due }
func (q *queue) Swap(i, j int) {
	q.list[i], q.list[j] = q.list[j], q.list[i]
	q.list[i].place, q.list[j].place = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	in := x.(*instance)
	in.place = len(q.list)
	q.list = append(q.list, in)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(q.list) - 1
	in := q.list[last]
	q.list[last] = nil
	q.list = q.list[:last]
	in.place = -1
	return in
}

func (q *queue) remove(in *instance) {
	if in.place >= 0 {
		heap.Remove(q, in.place)
	}
}

// arm sets the timer for the first in the queue.
func (q *queue) arm(now time.Duration) {
	if len(q.list) == 0 {
		return
	}
	due := max(q.list[0].due, q.hold, 1)
	if q.armed != 0 && q.armed <= due {
		return // it will fire early enough
	}
	q.armed = due
	wait := max(due-now, 0)
	if q.timer == nil {
		q.timer = time.AfterFunc(wait, q.run)
	} else {
		q.timer.Reset(wait)
	}
}

func (q *queue) stop() {
	if q.timer != nil {
		q.timer.Stop()
	}
}

// queueLocked makes sure that in is looked at in time.
func (d *Directory) queueLocked(in *instance) {
	due := d.dueLocked(in)
	switch {
	case due < 0:
		d.queue.remove(in)
	case in.place < 0:
		in.due = due
		heap.Push(&d.queue, in)
	case due < in.due:
		in.due = due
		heap.Fix(&d.queue, in.place)
	}
}

// dueLocked returns when something happens to in by itself, negative for never.
func (d *Directory) dueLocked(in *instance) time.Duration {
	switch {
	case in.heard && in.view != nil:
		removed, forgotten := d.limits.Expiry(in.view.ann.Interval)
		switch {
		case in.view.state == Suspect:
			return d.silentLocked(in) + forgotten
		case in.yields:
			return in.early + removed
		}
		return d.silentLocked(in) + removed
	case d.inFileLocked(in):
		return -1
	}
	return in.seen + d.limits.ReplayMemory
}

// silentLocked returns since when in is silent. If datagrams were dropped after
// its last one, its own may have been among them: we were unable to hear, which
// extends its life by MaxFreeze at most (PROTOCOL 7.8).
func (d *Directory) silentLocked(in *instance) time.Duration {
	return max(in.receipt, min(d.health.lost, in.receipt+d.limits.MaxFreeze))
}

// expire looks at all instances that are due. It is run by the timer.
func (d *Directory) expire() {
	d.mu.Lock()
	defer d.unlock()
	if d.done {
		return
	}
	d.queue.armed, d.queue.hold = 0, 0
	d.stalledLocked(time.Now())
	voices := sync.OnceValue(d.voicesLocked)                 // looks at everybody: only when somebody seems to end
	for n := 0; len(d.queue.list) > 0 && n < partSize; n++ { // more of them after others had the lock
		in, now := d.queue.list[0], d.clock.now()
		due := d.dueLocked(in)
		switch {
		case in.due > now:
			return
		case due > now: // it was heard since
			in.due = due
			heap.Fix(&d.queue, in.place)
			continue
		}
		if in.heard && in.view.state != Suspect {
			if wait := d.unableLocked(voices().without(in)); wait > 0 {
				d.queue.hold = d.clock.now() + wait
				return
			}
		}
		d.queue.remove(in)
		d.endLocked(in)
	}
}

// succeededLocked tells whether in, which has expired, lives on and says something else
// that has to wait for the end of what is held: the clock of one of us jumped, so that its
// new announcement is from the future (PROTOCOL 7.9). It is not removed for that.
func (d *Directory) succeededLocked(in *instance) bool {
	removed, _ := d.limits.Expiry(in.view.ann.Interval)
	return !in.yields && in.early > 0 && d.clock.now()-in.early < removed
}

// endLocked does what is due for in.
func (d *Directory) endLocked(in *instance) {
	switch {
	case in.heard && d.inFileLocked(in):
		in.heard = false // the file goes on to hold it
		d.dropSumsLocked(in)
		d.moveLocked(in, &d.pools.file)
		d.chargeLocked(in, false)
	case in.heard && in.view.state == Live && d.succeededLocked(in):
		in.yields = true
	case in.heard && in.view.state == Live:
		d.showLocked(in, in.view.as(Suspect), Expired)
	case in.heard:
		d.dropLocked(in, Expired)
	default:
		d.forgetLocked(in)
		return
	}
	d.queueLocked(in)
}
