package scamp

// tables counts what calls and requests have in the tables of a bus and of its services, by
// what it is, for tests: it is empty when nothing is under way. Connections that rest, and
// what is remembered of instances, are not in it.
func (b *Bus) tables() map[string]int {
	n := make(map[string]int)
	count := func(p *peer, side string) {
		open, _ := p.conn.Ends()
		n[side+" messages open"] += open
		n[side+" octets unread"] += int(p.conn.Unread())
		n[side+" octets unacknowledged"] += int(p.conn.Unacknowledged())
		p.mu.Lock()
		defer p.mu.Unlock()
		n[side+" calls pending"] += len(p.pending)
		n[side+" calls open"] += int(p.load.Load())
		for s := p.calls; s != nil; s = s.next {
			n[side+" calls linked"]++
		}
		for r := p.requests; r != nil; r = r.next {
			n[side+" requests linked"]++
		}
		n[side+" requests active"] += p.active
		n[side+" requests queued"] += len(p.queue)
		n[side+" octets of headers"] += int(p.headers.Load())
	}
	b.pool.mu.Lock()
	for p := range b.pool.peers {
		count(p, "caller:")
	}
	for key, e := range b.pool.entries {
		if key.alone > 0 {
			n["connections of one call"]++
		}
		if _, runs := b.pool.peers[e.peer]; e.peer != nil && !runs {
			n["entries of connections that have ended"]++
		}
	}
	for _, q := range b.pool.queues {
		n["calls that wait for a dial"] += int(q.waiting.Load())
	}
	n["dials under way"] = len(b.pool.gates)
	b.pool.mu.Unlock()
	n["octets held"] = int(b.hold.all.Load() - b.hold.windows.Load())
	b.locals.each(func(side *inboundSide) {
		for _, p := range side.peers() {
			count(p, "service:")
		}
		d := side.s.intake
		n["direct calls"] += int(d.directs.Load())
		d.mu.Lock()
		for r := d.inside; r != nil; r = r.next {
			n["direct calls linked"]++
		}
		n["requests in hand"] += d.inHand
		n["requests running"] += d.running
		n["requests waiting"] += d.waiting
		n["connections with a queue"] += len(d.peers)
		d.mu.Unlock()
	})
	for name, count := range n {
		if count == 0 {
			delete(n, name)
		}
	}
	return n
}
