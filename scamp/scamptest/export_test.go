package scamptest

// Held is how many hosts the network remembers, those that announcements come from too.
func (n *Network) Held() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return max(len(n.hosts), len(n.senders))
}
