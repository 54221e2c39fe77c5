// Package netrpcpeer measures net/rpc (gob) over TLS.
package netrpcpeer

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/rpc"

	"github.com/scampbus/scamp-go/bench"
)

// Adapter is netrpc.
type Adapter struct{}

// Name implements bench.Adapter.
func (Adapter) Name() string { return "netrpc" }

// Notes implements bench.Adapter.
func (Adapter) Notes() string { return "gob; no streaming: bulk is one []byte in one call (buffered)" }

// Bench is the RPC receiver.
type Bench struct{}

// Echo is the unary method.
func (*Bench) Echo(in *[]byte, out *[]byte) error { *out = bench.Handle(*in); return nil }

// Up counts a body.
func (*Bench) Up(in *[]byte, out *int64) error { *out = int64(len(*in)); return nil }

// Down makes a body.
func (*Bench) Down(n *int64, out *[]byte) error {
	b := make([]byte, 0, *n)
	bench.Chunks(*n, func(p []byte) error { b = append(b, p...); return nil })
	*out = b
	return nil
}

type server struct{ l net.Listener }

func (s *server) Addr() string { return s.l.Addr().String() }
func (s *server) Close() error { return s.l.Close() }

// Serve implements bench.Adapter.
func (Adapter) Serve(env *bench.Env) (bench.Server, error) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", env.ServerTLS())
	if err != nil {
		return nil, err
	}
	s := rpc.NewServer()
	if err := s.Register(&Bench{}); err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.ServeConn(c)
		}
	}()
	return &server{l}, nil
}

type client struct{ c *rpc.Client }

// Connect implements bench.Adapter.
func (Adapter) Connect(ctx context.Context, addr string, env *bench.Env) (bench.Client, error) {
	d := tls.Dialer{Config: env.ClientTLS()}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &client{rpc.NewClient(c)}, nil
}

func (c *client) Unary(_ context.Context, req, dst []byte) ([]byte, error) {
	out := dst[:0]
	err := c.c.Call("Bench.Echo", &req, &out)
	return out, err
}

func (c *client) BulkUp(_ context.Context, r io.Reader, n int64) (int64, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return 0, err
	}
	var got int64
	err := c.c.Call("Bench.Up", &b, &got)
	return got, err
}

func (c *client) BulkDown(_ context.Context, n int64, w io.Writer) (int64, error) {
	var b []byte
	if err := c.c.Call("Bench.Down", &n, &b); err != nil {
		return 0, err
	}
	k, err := w.Write(b)
	return int64(k), err
}

func (c *client) Close() error { return c.c.Close() }
