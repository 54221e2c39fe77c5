package discovery

import "time"

const (
	// stallTime is how late an observer's sign of life must be before we believe
	// that the whole process stood still.
	stallTime = 3 * time.Second
	// drainTime is how long nothing expires after that, at most, while the
	// observer reads what waited in its socket.
	drainTime = 5 * time.Second
	drainLook = 100 * time.Millisecond
)

// health is what we know about our own ability to hear. It matters only while
// an Observer runs: without one, whoever calls Add knows what he does.
type health struct {
	observers int
	beat      time.Time // last sign of life of an observer
	heard     time.Time // last valid announcement by datagram
	large     time.Time // last one of another host that came in fragments
	small     time.Time // last one of another host that did not

	draining time.Time // we stood still, and until then nothing expires
	drained  time.Time // unless all that waited was read, which nobody can know before
	deaf     time.Time // since when nobody is heard, when that is why nothing expires
	spent    bool      // it was MaxFreeze ago: the rule holds again

	lost time.Duration // by the clock: when a datagram was dropped that may have been of anybody
}

// observe tells the directory that an observer runs (1) or ends (-1).
func (d *Directory) observe(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if d.health.observers == 0 {
		d.health = health{beat: now, heard: now}
	}
	d.health.observers += n
}

// beat is a sign of life of an observer. Drained means that its socket is empty.
func (d *Directory) beat(drained bool) {
	d.mu.Lock()
	defer d.unlock()
	now := time.Now()
	d.stalledLocked(now)
	d.health.beat = now
	if drained && now.After(d.health.drained) {
		d.health.draining = time.Time{}
	}
}

// drainingNow tells whether expiry waits for a beat that says drained.
func (d *Directory) drainingNow() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.health.draining.IsZero()
}

// stalledLocked notices that the process stood still, and takes that time out of
// the clock, before anything is heard or expires.
func (d *Directory) stalledLocked(now time.Time) {
	h := &d.health
	stall := now.Sub(h.beat)
	if h.observers == 0 || stall <= stallTime {
		return
	}
	h.beat, h.heard, h.deaf, h.spent = now, now, time.Time{}, false
	h.draining, h.drained = now.Add(drainTime), now.Add(drainLook)
	d.freezeLocked(stall)
	d.warnLocked(countBlind, "stood still: nothing expires for that time", "for", stall)
}

// freezeLocked takes t out of the clock, so that everything ends so much later.
func (d *Directory) freezeLocked(t time.Duration) {
	d.clock.frozen += min(t, d.limits.MaxFreeze)
	d.queue.hold = 0 // it was a time by the clock
}

// soundLocked notes that a valid announcement was heard.
func (d *Directory) soundLocked() {
	now := time.Now()
	d.stalledLocked(now)
	if h := &d.health; !h.deaf.IsZero() {
		d.freezeLocked(now.Sub(h.deaf))
		h.deaf = time.Time{}
	}
	d.health.heard, d.health.spent = now, false
}

// unableLocked says how long the end of an instance has to wait because we may
// not have been able to hear it. The interval is the shortest of all others that
// are heard, 0 when there is none.
//
// When somebody else should have been heard meanwhile and nobody was, it is our
// fault: the link is down, or we left the group. When only one instance was ever
// heard there is nobody to compare with, and its silence counts.
func (d *Directory) unableLocked(interval time.Duration) time.Duration {
	h, now := &d.health, time.Now()
	if h.observers == 0 {
		return 0
	}
	if now.Before(h.draining) {
		return drainLook
	}
	if !h.deaf.IsZero() {
		if left := d.limits.MaxFreeze - now.Sub(h.deaf); left > 0 {
			return left
		}
		d.freezeLocked(d.limits.MaxFreeze)
		h.deaf, h.spent = time.Time{}, true
		return drainLook // the clock went back: look again at what is due
	}
	silence := now.Sub(h.heard)
	if interval == 0 || h.spent || silence <= interval+interval/20 {
		return 0
	}
	if wait := interval + interval/5 - silence; wait > 0 {
		return wait // the next one may only be a little late
	}
	h.deaf = h.heard
	d.warnLocked(countBlind, "nobody is heard any more: is the network down? nothing expires for a while", "for", silence)
	return max(d.limits.MaxFreeze-silence, drainLook)
}

// voices are the two shortest intervals of instances that are heard.
type voices struct {
	shortest, next time.Duration // 0 when there is none
	in             *instance     // whose the shortest is
}

// without returns the shortest interval of all instances but one.
func (v voices) without(in *instance) time.Duration {
	if v.in == in {
		return v.next
	}
	return v.shortest
}

func (d *Directory) voicesLocked() (v voices) {
	if d.health.observers == 0 {
		return v
	}
	for _, in := range d.instances {
		if !in.heard || in.view == nil || in.view.state != Live {
			continue
		}
		switch i := d.limits.EffectiveInterval(in.view.ann.Interval); {
		case v.in == nil || i < v.shortest:
			v.next, v.shortest, v.in = v.shortest, i, in
		case v.next == 0 || i < v.next:
			v.next = i
		}
	}
	return v
}
