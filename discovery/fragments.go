package discovery

import (
	"log/slog"
	"time"
)

// Announcements over one datagram travel in fragments of IP, and anybody on the
// network can keep the kernel from putting fragments together (THREATS D21). That
// cannot be stopped, only seen: by the kernel's own count of failures, and by the
// silence of those who need fragments while others are heard.

const (
	fragmentWindow    = 10 * time.Second // in which failures of the kernel are counted
	fragmentFailures  = 50               // so many are an alarm; 1 % loss among a hundred large services makes ten
	fragmentOpen      = 500              // so many datagrams that wait for the rest are an alarm; that loss makes forty
	fragmentIntervals = 3                // without one announcement in fragments are an alarm
	fragmentVoices    = 2                // that fell silent together; one may just have stopped
)

// parts says in how many packets of IP a datagram came, as far as that can be known.
type parts uint8

const (
	partsUnknown parts = iota // it did not leave its host
	whole
	fragmented
)

// partsOf judges a datagram by its length and its way. What this host sent comes back
// before it is cut.
func partsOf(dg Datagram, l Limits) parts {
	switch {
	case dg.Iface.loopback() || !dg.From.IsValid() || dg.From.Addr().Unmap() == dg.Iface.Addr:
		return partsUnknown
	case len(dg.Data) > l.WarnDatagram:
		return fragmented
	}
	return whole
}

// noteLocked remembers that an announcement of in was heard in so many parts.
func (h *health) noteLocked(in *instance, p parts) {
	if p == partsUnknown {
		return
	}
	in.parts = p
	if now := time.Now(); p == fragmented {
		h.large = now
	} else {
		h.small = now
	}
}

// unheardLocked returns how many instances are silent that were heard in fragments, when
// none of those was heard for three intervals and others were heard a moment ago.
func (d *Directory) unheardLocked() int {
	h, now := &d.health, time.Now()
	if h.large.IsZero() || now.Sub(h.large) < fragmentIntervals*d.limits.MinInterval || now.Sub(h.small) > d.limits.MinInterval {
		return 0
	}
	n := 0
	for _, in := range d.instances {
		if in.parts != fragmented || !in.heard || in.view == nil || in.view.state == Withdrawn {
			continue
		}
		if d.clock.now()-in.receipt < fragmentIntervals*d.limits.EffectiveInterval(in.view.ann.Interval) {
			return 0 // it has a longer interval than others
		}
		n++
	}
	return n
}

// A fragmentWatch notices that fragments are lost. It belongs to one goroutine.
type fragmentWatch struct {
	at       []time.Time // of the counts in the window, oldest first
	counts   []uint64    // of failures
	failing  bool        // the kernel fails, and that was told
	silenced bool        // those who need fragments are silent, and that was told
	since    time.Time   // of either
}

// fails takes the kernel's count and returns how many came within the window.
func (w *fragmentWatch) fails(n uint64) uint64 {
	now := time.Now()
	for len(w.at) > 0 && now.Sub(w.at[0]) > fragmentWindow {
		w.at, w.counts = w.at[1:], w.counts[1:]
	}
	if len(w.counts) > 0 && n < w.counts[len(w.counts)-1] {
		w.at, w.counts = nil, nil // it began anew
	}
	w.at, w.counts = append(w.at, now), append(w.counts, n)
	return n - w.counts[0]
}

// look tells of lost fragments when that begins and when it is over.
func (w *fragmentWatch) look(d *Directory, report *reporter) {
	kernel := reassembly()
	failures := w.fails(kernel.failures)
	d.mu.Lock()
	silent, heard := d.unheardLocked(), d.health.large
	d.mu.Unlock()
	w.judge(failures, kernel.open, silent, heard, d, report)
}

// A reassembled says how the kernel fares with fragments.
type reassembled struct {
	failures uint64 // datagrams that never became whole, since it started
	open     uint64 // that wait for the rest now; it drops more when they fill its memory
}

// judge says what changed; heard is when an announcement in fragments was heard last.
func (w *fragmentWatch) judge(failures, open uint64, silent int, heard time.Time, d *Directory, report *reporter) {
	failing := failures >= fragmentFailures || open >= fragmentOpen
	silenced := silent >= fragmentVoices || silent > 0 && failures > 0
	if w.silenced {
		silenced = !heard.After(w.since) // also when all of them are forgotten
	}
	was := w.failing || w.silenced
	switch {
	case failing && !w.failing:
		d.counters.add(countFragmentsLost, 1)
		report.say(slog.LevelWarn, countFragmentsLost, "fragments of IP cannot be put together: announcements over one datagram may not come through; is the network attacked?",
			"failures", failures, "within", fragmentWindow, "incomplete", open)
	case silenced && !w.silenced && !failing:
		d.counters.add(countFragmentsLost, 1)
		report.say(slog.LevelWarn, countFragmentsLost, "no announcement over one datagram is heard any more, others are: are fragments of IP dropped?",
			"services", silent, "for", time.Since(heard).Round(100*time.Millisecond), "failures", failures)
	}
	w.failing, w.silenced = failing, silenced
	switch now := failing || silenced; {
	case now && !was:
		w.since = time.Now()
	case was && !now:
		report.say(slog.LevelInfo, countFragmentsLost+" over", "fragments come through again", "after", time.Since(w.since).Round(time.Second))
	}
}
