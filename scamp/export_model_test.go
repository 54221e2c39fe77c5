package scamp

// What the models of callers and services compare themselves with: the tables are not
// to be seen from outside.

// WaitingCalls is how many calls of c wait for the header of their reply, and how many
// have not ended, as its connections know them.
func WaitingCalls(c *Client) (waiting, open int) {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	for p := range c.pool.peers {
		p.mu.Lock()
		waiting += len(p.pending)
		p.mu.Unlock()
		open += int(p.load.Load())
	}
	return waiting, open
}

// WorkOf is how many requests run and wait in the bus of a service, and how many it has
// in hand.
func WorkOf(s *Service) (running, waiting, inHand int) {
	d := s.intake.dispatcher
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.running, d.waiting, s.intake.inHand
}

// HoldWorkers lets no worker begin with what arrives at s until release.
func HoldWorkers(s *Service) (release func()) {
	d := s.intake.dispatcher
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waking = true // nobody wakes another while one is on its way
	return func() {
		d.mu.Lock()
		d.waking = false
		help := d.helpLocked()
		d.mu.Unlock()
		help.wake()
	}
}
