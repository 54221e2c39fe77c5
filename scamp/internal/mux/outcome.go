package mux

// Broken is why the message ended before its end: TXERR, the connection, an ignored
// window, or Fail. It is nil while octets may come and after EOF.
func (m *Inbound) Broken() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ended {
		return nil
	}
	return m.err
}
