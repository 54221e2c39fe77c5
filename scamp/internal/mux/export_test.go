package mux

import "fmt"

// Pending says what is still open or unread on c, empty if nothing. Tests compare
// it with nothing at their end: the tables are not to be seen from outside.
func Pending(c *Conn) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.heads.n+c.ready.n+c.wide.n+len(c.out)+len(c.tails)+c.credit == 0 &&
		c.openIn.Load()+c.unread.Load()+c.excess.Load() == 0 {
		return ""
	}
	return fmt.Sprintf("%d heads, %d ready, %d wide, %d out, %d tails, credit %d, %d open in, %d unread, %d excess",
		c.heads.n, c.ready.n, c.wide.n, len(c.out), len(c.tails), c.credit, c.openIn.Load(), c.unread.Load(), c.excess.Load())
}

// Queued is how many octets wait below TLS.
func Queued(c *Conn) int { return c.link.queued() }

// Due says whether something is queued that could be sent.
func Due(c *Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.workLocked(true)
}

// Writes says whether c has a writer goroutine.
func Writes(c *Conn) bool { return c.link.writer.present.Load() }

// Dismiss tells the writer goroutine of c to leave when it finds nothing to do.
func Dismiss(c *Conn) { c.link.writer.dismiss() }

// HeaderKept says whether o still has the header it was sent with.
func HeaderKept(o *Outbound) bool {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	return o.header != nil
}
