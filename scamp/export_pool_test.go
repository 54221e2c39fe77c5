package scamp

import "context"

// Connections is how many connections of c run, those included that serve one call.
func Connections(c *Client) int {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	return len(c.pool.peers)
}

// RememberEnded uses the connection of c as a call does for which it ends, and is
// forgotten, between its being found and its being remembered. It says whether it is
// remembered.
func RememberEnded(ctx context.Context, c *Client, end func()) (bool, error) {
	e, err := c.pool.get(ctx, c.peer.Address, nil, c.id, news{})
	if err != nil {
		return false, err
	}
	end()
	c.pool.remember(e)
	return c.pool.latest.Load() != nil, nil
}
