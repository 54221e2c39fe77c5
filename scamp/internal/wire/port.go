package wire

import (
	"bytes"
	"container/heap"
	"sync"
	"time"
)

const (
	maxWaiting = 8192                   // packets on their way to one host; more are lost, as in a router
	maxBacklog = 250 * time.Millisecond // by which a host's line may be behind its Rate; what comes then is lost
)

// A port brings packets to one host.
type port struct {
	write func([]byte) // to the host's interface; it does not wait

	mu      sync.Mutex // protects what follows; held while a packet is written, for the order
	waiting queue
	next    uint64      // number of the next packet that waits
	free    time.Time   // when the line, which has a rate, has brought what it has
	timer   *time.Timer // for what is due next; nil until something waits
	down    bool
}

// A queued packet waits for its time.
type queued struct {
	due    time.Time
	number uint64
	packet []byte
}

// add brings packet after a detour, at a rate in octets a second if that is not zero, and
// says whether there was room for it. It does not keep packet.
func (p *port) add(packet []byte, detour time.Duration, rate int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down || len(p.waiting) >= maxWaiting {
		return false
	}
	now := time.Now()
	due := now.Add(detour)
	if rate > 0 {
		if p.free.Before(now) {
			p.free = now
		}
		if p.free.Sub(now) > maxBacklog {
			return false
		}
		p.free = p.free.Add(time.Duration(len(packet)) * time.Second / time.Duration(rate))
		due = p.free.Add(detour)
	}
	if !due.After(now) && (len(p.waiting) == 0 || p.waiting[0].due.After(now)) {
		p.write(packet)
		return true
	}
	p.next++
	heap.Push(&p.waiting, queued{due, p.next, bytes.Clone(packet)})
	p.bringLocked()
	return true
}

// bring brings what is due.
func (p *port) bring() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bringLocked()
}

func (p *port) bringLocked() {
	now := time.Now()
	for len(p.waiting) > 0 && !p.waiting[0].due.After(now) {
		p.write(heap.Pop(&p.waiting).(queued).packet)
	}
	switch {
	case len(p.waiting) == 0:
	case p.timer == nil:
		p.timer = time.AfterFunc(p.waiting[0].due.Sub(now), p.bring) // close stops it
	default:
		p.timer.Reset(p.waiting[0].due.Sub(now))
	}
}

// close loses what waits. Nothing is written any more once it has returned.
func (p *port) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down, p.waiting = true, nil
	if p.timer != nil {
		p.timer.Stop()
	}
}

// A queue is a heap of packets, the next one first.
type queue []queued

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if !q[i].due.Equal(q[j].due) {
		return q[i].due.Before(q[j].due)
	}
	return q[i].number < q[j].number
}

func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

func (q *queue) Push(x any) { *q = append(*q, x.(queued)) }

func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = queued{}
	*q = old[:len(old)-1]
	return last
}
