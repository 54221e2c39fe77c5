//go:build !failpoint

package mux

// failpoint marks a place at which tests let the process or the connection die (THREATS
// 3.1), if packets, what is being sent, begin a message.
func (c *Conn) failpoint(string, []byte) {}

// failpointLocked is failpoint where a message was made, and nobody else can send it yet.
func (c *Conn) failpointLocked(string) {}
