package scamp

import (
	"net/netip"
	"sync"
)

// A hold counts the octets of bodies that are collected whole, over all connections of
// a bus (PROTOCOL 4.5 rule 4): so many in all, a quarter of them for one peer address.
// A body at rest in the chunks it arrived in is bounded by its window and not counted.
type hold struct {
	most int

	mu  sync.Mutex // protects what follows
	all int
	of  map[netip.Addr]int
}

func newHold(limits *Limits) *hold { return &hold{most: limits.MaxHeld, of: make(map[netip.Addr]int)} }

func (h *hold) take(from netip.Addr, n int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all+n > h.most || h.of[from]+n > h.most/4 {
		return false
	}
	h.all += n
	h.of[from] += n
	return true
}

func (h *hold) give(from netip.Addr, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all -= n
	if h.of[from] -= n; h.of[from] == 0 {
		delete(h.of, from)
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
	if !c.p.hold.take(c.p.from, n) {
		return false
	}
	c.n += n
	return true
}

// release is called when the body is no longer the bus's.
func (c *collector) release() {
	if c.n > 0 {
		c.p.hold.give(c.p.from, c.n)
		c.n = 0
	}
}
