package scamptest

// Kill ends the service as a crash would, as far as others can tell: its connections
// break, its listener is gone, and it does not say goodbye.
func (n *Network) Kill(s *Service) {
	addr := s.Addr()
	n.mu.Lock()
	if l := n.listeners[addr]; l != nil {
		delete(n.listeners, addr)
		l.shut()
	}
	var cut []*conn
	for c := range n.conns {
		if c.to == addr {
			cut = append(cut, c)
		}
	}
	n.mu.Unlock()
	for _, c := range cut {
		c.Close()
	}
	s.Bus.Close()
}

// Cut breaks every connection to a service; the service lives on.
func (n *Network) Cut(s *Service) {
	addr := s.Addr()
	n.mu.Lock()
	var cut []*conn
	for c := range n.conns {
		if c.to == addr {
			cut = append(cut, c)
		}
	}
	n.mu.Unlock()
	for _, c := range cut {
		c.Close()
	}
}
