package scamp

import (
	"context"
	"errors"
	"fmt"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// A Client calls one instance, without discovery and without rules: whoever dials
// says whom to trust. Safe for concurrent use; Close must be called.
type Client struct {
	addr   string
	id     Identity
	pool   *pool
	limits *Limits
}

// Dial connects straight to addr, "host:port", which must show the certificate that
// peer names. The connection is made anew when a call finds it gone.
func Dial(ctx context.Context, addr string, peer Identity, opts *Options) (*Client, error) {
	if opts == nil {
		opts = new(Options)
	}
	return dialClient(ctx, new(Config).WithDefaults(), addr, peer, opts)
}

// Dial connects straight to addr with the bus's configuration; see the function Dial.
func (b *Bus) Dial(ctx context.Context, addr string, peer Identity) (*Client, error) {
	return dialClient(ctx, b.cfg, addr, peer, &b.opts)
}

func dialClient(ctx context.Context, cfg *Config, addr string, peer Identity, opts *Options) (*Client, error) {
	limits := opts.limits(cfg)
	c := &Client{addr: addr, id: peer, limits: &limits}
	c.pool = newPool(cfg, &limits, newLogger(opts.Log, &limits), opts, opts.KeyPair)
	if _, _, err := c.pool.get(ctx, addr, peer); err != nil {
		c.pool.close()
		return nil, fmt.Errorf("scamp: dial %s: %w", clean(addr), err)
	}
	return c, nil
}

// Call sends one request to the instance. Sector, version and envelope default to
// main, 1 and json.
func (c *Client) Call(ctx context.Context, req *Request) (*Reply, error) {
	p, h, what, err := c.prepare(ctx, req)
	if err != nil {
		return nil, err
	}
	return p.call(ctx, req, h, what, callTimes{progress: c.limits.RPCTimeout})
}

// Stream opens a call whose request body the caller writes piece by piece.
func (c *Client) Stream(ctx context.Context, req *Request) (*Stream, error) {
	if req.Data != nil || req.Body != nil || req.GetBody != nil {
		return nil, errors.New("scamp: stream: the request has a body of its own; want it written to the stream")
	}
	p, h, what, err := c.prepare(ctx, req)
	if err != nil {
		return nil, err
	}
	return p.open(ctx, h, mux.Body{More: true}, what, callTimes{progress: c.limits.RPCTimeout})
}

func (c *Client) prepare(ctx context.Context, req *Request) (*peer, *packet.Header, attempt, error) {
	var what attempt
	if err := req.check(); err != nil {
		return nil, nil, what, err
	}
	q, err := discovery.ParseAction(req.Action)
	if err != nil {
		return nil, nil, what, fmt.Errorf("scamp: call: %w", err)
	}
	h := new(packet.Header)
	req.header(h)
	h.Action, h.Sector, h.Version = q.Action, q.Sector, q.Version
	def(&h.Sector, req.Sector)
	def(&h.Sector, "main")
	def(&h.Version, req.Version)
	def(&h.Version, 1)
	what = attempt{action: fmt.Sprintf("%s:%s~%d", h.Sector, h.Action, h.Version), instance: c.addr, ident: c.addr, number: 1}
	p, info, err := c.pool.get(ctx, c.addr, c.id)
	if err != nil {
		return nil, nil, what, &CallError{Action: what.action, Instance: what.instance, Attempts: 1, Ran: RanNo, Err: err, Advice: advice(err)}
	}
	if t := traceFrom(ctx); t.Connected != nil {
		t.Connected(info)
	}
	return p, h, what, nil
}

// Close ends the connection. Calls that wait fail.
func (c *Client) Close() error {
	c.pool.close()
	return nil
}
