package scamp

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// A hold counts what peers make a bus hold, over all its connections (PROTOCOL 4.5 rule
// 4): bodies that are collected whole, until their handlers have returned, octets that
// have arrived and nobody has taken, and windows that were announced, for they may be
// used. So much may be held in all, a quarter of it for one peer address.
type hold struct {
	most    int64
	all     atomic.Int64
	windows atomic.Int64 // of these

	mu   sync.Mutex // protects what follows
	of   map[netip.Addr]*share
	late []*share // without connections, but with octets when the last one ended
}

// A share is what is held for one peer address.
type share struct {
	from    netip.Addr
	held    atomic.Int64
	windows atomic.Int64 // of these

	peers int // connections; protected by hold.mu
}

func newHold(limits *Limits) *hold {
	return &hold{most: int64(limits.MaxHeld), of: make(map[netip.Addr]*share)}
}

// join is for a new connection, which ends with leave.
func (h *hold) join(from netip.Addr) *share {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.of[from]
	if s == nil {
		s = &share{from: from}
		h.of[from] = s
	}
	s.peers++
	return s
}

// leave forgets an address that has no connections and for which nothing is held.
func (h *hold) leave(s *share) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.peers--; s.peers == 0 {
		h.late = append(h.late, s)
	}
	h.late = slices.DeleteFunc(h.late, func(s *share) bool {
		if s.peers > 0 {
			return true // it is in use again
		}
		gone := s.held.Load() == 0
		if gone {
			delete(h.of, s.from)
		}
		return gone
	})
}

// take holds n octets more if they may be. Two that come at once to the last octets may
// both be refused.
func (h *hold) take(s *share, n int) bool {
	h.all.Add(int64(n))
	s.held.Add(int64(n))
	if h.full(s) {
		h.give(s, n)
		return false
	}
	return true
}

func (h *hold) give(s *share, n int) {
	h.all.Add(-int64(n))
	s.held.Add(-int64(n))
}

// full says whether more is held than may be, so that nothing new is to be begun.
func (h *hold) full(s *share) bool { return h.all.Load() > h.most || s.held.Load() > h.most/4 }

// window sets aside the window to announce to a peer and says how large it is. When
// windows would take more than half of what may be held it is the least there is, for
// which nothing is set aside (PROTOCOL 3.7).
func (h *hold) window(s *share, want int) int {
	h.windows.Add(int64(want))
	s.windows.Add(int64(want))
	if want > mux.MinWindow && h.windows.Load() <= h.most/2 && s.windows.Load() <= h.most/8 && h.take(s, want) {
		return want
	}
	h.windows.Add(-int64(want))
	s.windows.Add(-int64(want))
	return mux.MinWindow
}

// closeWindow gives back what window has set aside.
func (h *hold) closeWindow(s *share, window int) {
	if window > mux.MinWindow {
		h.windows.Add(-int64(window))
		s.windows.Add(-int64(window))
		h.give(s, window)
	}
}

// A collector counts what one body holds. It is used by one goroutine at a time.
type collector struct {
	p *peer
	n int
}

// take is asked before n more octets are collected.
func (c *collector) take(n int) bool {
	if !c.try(n) {
		c.p.log.count("held_refused")
		return false
	}
	return true
}

// try is take for who can do without.
func (c *collector) try(n int) bool {
	// They are held already, as octets that nobody has taken.
	if c.p.hold.full(c.p.share) {
		return false
	}
	c.keep(n)
	return true
}

// keep counts n octets that are there in any case.
func (c *collector) keep(n int) {
	c.p.hold.give(c.p.share, -n)
	c.n += n
}

// release is called when the body is no longer the bus's.
func (c *collector) release() {
	if c.n > 0 {
		c.p.hold.give(c.p.share, c.n)
		c.n = 0
	}
}
