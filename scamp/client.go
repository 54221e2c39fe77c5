package scamp

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/scampbus/scamp-go/discovery"
)

// A Client calls one instance, without discovery and without rules: whoever dials
// says whom to trust. Safe for concurrent use; Close must be called.
type Client struct {
	peer   *discovery.Peer // only its address is known
	id     Identity
	pool   *pool
	sector string                      // of requests that name none
	latest atomic.Pointer[clientOffer] // many requests in a row are for one action
}

// A clientOffer is what a request with these names asks for.
type clientOffer struct {
	action, sector string // as the request has them
	version        int
	offer          discovery.Offer
}

// Dial connects straight to addr, "host:port", which must show the certificate that
// peer names; if it does not, the error is ErrPin and nothing was sent. The connection
// is made anew when a call finds it gone. After a dial that failed, calls fail with its
// error for a second, then for 2, 4 s and so on up to Limits.MaxBackoff, with jitter,
// until one succeeds. ctx bounds this first connection only. Of opts, Dial, Rand, Log,
// Limits and KeyPair count; nil means defaults.
func Dial(ctx context.Context, addr string, peer Identity, opts *Options) (*Client, error) {
	if opts == nil {
		opts = new(Options)
	}
	return dialClient(ctx, defaultConfig(), addr, peer, opts)
}

// defaultConfig is one for all clients that have no bus: nobody changes it.
var defaultConfig = sync.OnceValue(func() *Config { return new(Config).WithDefaults() })

// Dial connects straight to addr with the bus's configuration; see the function Dial.
// The client lives until its own Close.
func (b *Bus) Dial(ctx context.Context, addr string, peer Identity) (*Client, error) {
	return dialClient(ctx, b.cfg, addr, peer, &b.opts)
}

func dialClient(ctx context.Context, cfg *Config, addr string, peer Identity, opts *Options) (*Client, error) {
	limits := opts.limits(cfg)
	c := &Client{peer: &discovery.Peer{Address: addr}, id: peer, sector: cfg.DefaultSector}
	c.pool = newPool(cfg, &limits, newLogger(opts.Log, &limits), newHold(&limits), opts, opts.KeyPair)
	if _, err := c.pool.get(ctx, addr, nil, peer, news{}); err != nil {
		c.Close()
		return nil, fmt.Errorf("scamp: dial %s: %w", clean(addr), err)
	}
	return c, nil
}

// Call sends one request to the instance. Sector, version and envelope default to the
// configured sector, 1 and json. A request is not sent again, and its Route,
// Idempotent and Retry mean nothing: there is no other instance.
func (c *Client) Call(ctx context.Context, req *Request) (*Reply, error) {
	req = req.ticketed(ctx)
	what, err := c.attempt(req)
	if err != nil {
		req.closeBody()
		return nil, err
	}
	_, reply, err := c.pool.exchange(ctx, req, &what, c.id, false)
	return reply, err
}

// Stream opens a call whose request body the caller writes piece by piece; see
// Bus.Stream.
func (c *Client) Stream(ctx context.Context, req *Request) (*Stream, error) {
	if req.Data != nil || req.Body != nil || req.GetBody != nil {
		req.closeBody()
		return nil, errStreamBody
	}
	req = req.ticketed(ctx)
	what, err := c.attempt(req)
	if err != nil {
		return nil, err
	}
	s, _, err := c.pool.exchange(ctx, req, &what, c.id, true)
	return s, err
}

// attempt makes a route of what the caller says.
func (c *Client) attempt(req *Request) (attempt, error) {
	if err := req.check(); err != nil {
		return attempt{}, err
	}
	o := c.latest.Load()
	if o == nil || o.action != req.Action || o.sector != req.Sector || o.version != req.Version {
		q, err := req.query()
		if err != nil {
			return attempt{}, err
		}
		def(&q.Sector, c.sector)
		def(&q.Version, 1)
		// Rule: whoever dials has decided whom to give a ticket to.
		o = &clientOffer{req.Action, req.Sector, req.Version, discovery.Offer{Sector: q.Sector, Action: q.Action, Version: q.Version, Rule: true}}
		c.latest.Store(o)
	}
	return attempt{route: discovery.Route{Peer: c.peer, Offer: &o.offer}, number: 1}, nil
}

// Stats returns the counters of the client's connection, with the names and in the form of
// Bus.Stats. The map is the caller's.
func (c *Client) Stats() map[string]uint64 {
	all := zeroCounters()
	c.pool.log.each(func(name string, n uint64) { all[name] += n })
	return all
}

// Close ends the connection and waits for what runs on it. Calls that wait fail.
func (c *Client) Close() error {
	c.pool.close()
	c.pool.log.wait()
	return nil
}
