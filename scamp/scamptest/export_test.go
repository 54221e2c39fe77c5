package scamptest

// A Holding is how much the network remembers.
type Holding struct {
	Hosts       int // those that announcements come from too
	Gone        int // buses that are closed
	Connections int // and the ports of their callers
}

// Held is what the network remembers now.
func (n *Network) Held() Holding {
	n.mu.Lock()
	defer n.mu.Unlock()
	return Holding{max(len(n.hosts), len(n.senders)), len(n.gone), max(len(n.links), len(n.calling))}
}
