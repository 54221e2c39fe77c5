//go:build !failpoint

package mux

// failpoint marks a place at which tests let the process or the connection die (THREATS
// 3.1), if packets, what is being sent, begin a message; nil says that they do.
func (c *Conn) failpoint(string, []byte) {}
