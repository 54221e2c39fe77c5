package conform_test

import (
	"time"
)

// touch notes that something came.
func (k *toyConn) touch() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.has("counts idle time from the start") {
		k.used = time.Now()
	}
}

// counts adds to the requests that have no answer yet.
func (k *toyConn) counts(n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.busy += n
	if !k.has("counts idle time from the start") {
		k.used = time.Now()
	}
}

// closeWhenIdle closes the connection when nothing came for a while and nothing is to
// be done.
func (k *toyConn) closeWhenIdle() {
	tick := time.NewTicker(k.toy.idle / 50)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-k.closed:
			return
		}
		k.mu.Lock()
		busy := k.busy > 0 && !k.has("closes busy connections as idle ones")
		idle := time.Since(k.used) >= k.toy.idle
		k.mu.Unlock()
		if idle && !busy && !k.has("never closes idle connections") {
			k.c.NetConn().Close()
			return
		}
	}
}

// answers says whether a request still wants its answer, and that this is it.
func (k *toyConn) answers(m *toyIn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if m.over {
		return false
	}
	m.over = true
	return true
}

// deadline answers a request with an error when its time is over.
func (k *toyConn) deadline(m *toyIn, after time.Duration) {
	k.replies.Go(func() { // ends with the time, or the connection
		t := time.NewTimer(after)
		defer t.Stop()
		select {
		case <-t.C:
		case <-k.closed:
			return
		}
		late := &toyIn{id: m.id, hasExt: m.hasExt, code: "transport"}
		if k.answers(m) {
			k.reply(late)
		}
	})
}

// sends notes the reply to a request, so that it can be cancelled.
func (k *toyConn) sends(m *toyIn, o *toyOut) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.byID[m.id] = o
}

// cancel cuts the reply to a request, or refuses one that waits.
func (k *toyConn) cancel(id string) error {
	if k.has("closes on cancel") {
		return errFatal
	}
	if k.has("ignores cancel") {
		return nil
	}
	for i, m := range k.queue {
		if m.id == id {
			k.queue = append(k.queue[:i:i], k.queue[i+1:]...)
			m.code, m.failed = "transport", true
			k.replies.Go(func() { k.reply(m) }) // ends with the reply or the connection
			return nil
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	o := k.byID[id]
	if o == nil || o.cut {
		if k.has("closes on a cancel of nothing") {
			return errFatal
		}
		return nil
	}
	o.cut = true
	k.cond.Broadcast()
	return nil
}

// roomLocked is how much of a message may be sent now.
func (k *toyConn) roomLocked(o *toyOut) int {
	room := k.window - (o.sent - o.acked)
	if k.window <= 65536 || k.has("grants the window to each message") {
		return room
	}
	left := k.window
	for _, other := range k.out {
		left -= max(0, other.sent-other.acked-65536)
	}
	if owed := o.sent - o.acked; owed < 65536 {
		left += 65536 - owed
	}
	return min(room, left)
}
