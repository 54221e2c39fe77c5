package scamp

// HeldBy and HeldByBus are what counts in flow.max_held, octets.
func HeldBy(c *Client) int64 { return c.pool.hold.all.Load() }

func HeldByBus(b *Bus) int64 { return b.hold.all.Load() }
