package mux

import (
	"sync"
	"sync/atomic"

	"github.com/scampbus/scamp-go/packet"
)

// A flow is what the connection must know of an inbound message until its end has
// come, also when nobody wants its octets any more. It is small, and does not keep
// alive the header and the body of a message that was thrown away.
type flow struct {
	no       uint64
	m        atomic.Pointer[Inbound] // takes the octets; nil when they are thrown away
	consumed atomic.Int64            // octets taken or thrown away: what may be acknowledged
	acked    atomic.Int64            // octets acknowledged; written by fillLocked only
	quiet    atomic.Bool             // complete and so short that it gets no ACK

	// Owned by the reader's goroutine.
	received int64 // octets that have arrived
	empties  int32 // empty DATA packets
	tiny     tinyMeter
	lazy     bool // in reader.lazy

	queued bool // under ackList.mu
}

// appendAck appends the ACK that is due, if one is. The caller holds Conn.mu, so
// that the counts rise on the wire (invariant 4).
func (f *flow) appendAck(b []byte) []byte {
	if f.quiet.Load() {
		return b
	}
	n := f.consumed.Load()
	if n <= f.acked.Load() {
		return b
	}
	f.acked.Store(n)
	return packet.AppendAck(b, f.no, uint64(n))
}

// ackList holds the flows whose counts are to be sent. Counts are cumulative, so a
// flow stands here once and the latest count wins. It has a lock of its own:
// readers of bodies must not wait for those who write.
type ackList struct {
	mu   sync.Mutex
	due  []*flow
	work []*flow // the other half, owned by whoever pumps
}

func (a *ackList) add(f *flow) {
	a.mu.Lock()
	if !f.queued {
		f.queued = true
		a.due = append(a.due, f)
	}
	a.mu.Unlock()
}

func (a *ackList) empty() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.due) == 0
}

// appendTo appends the ACKs that are due, and forgets them.
func (a *ackList) appendTo(b []byte) []byte {
	a.mu.Lock()
	a.due, a.work = a.work[:0], a.due
	for _, f := range a.work {
		f.queued = false
	}
	a.mu.Unlock()
	for i, f := range a.work {
		b = f.appendAck(b)
		a.work[i] = nil
	}
	return b
}
