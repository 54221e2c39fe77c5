// Package drpcpeer measures storj.io/drpc over TLS through its connection pool: a
// drpc connection carries one RPC at a time, so concurrency opens connections.
package drpcpeer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"

	"storj.io/drpc"
	"storj.io/drpc/drpcconn"
	"storj.io/drpc/drpcpool"
	"storj.io/drpc/drpcserver"

	"github.com/scampbus/scamp-go/bench"
)

type enc struct{}

func (enc) Marshal(m drpc.Message) ([]byte, error) { return *m.(*[]byte), nil }
func (enc) Unmarshal(b []byte, m drpc.Message) error {
	p := m.(*[]byte)
	*p = append((*p)[:0], b...)
	return nil
}

// Adapter is drpc.
type Adapter struct{}

// Name implements bench.Adapter.
func (Adapter) Name() string { return "drpc" }

// Notes implements bench.Adapter.
func (Adapter) Notes() string {
	return "pool: one RPC at a time per connection, so conc N opens up to N connections; HOL runs on a second connection; bulk in 64 KiB messages"
}

type handler struct{}

func (handler) HandleRPC(st drpc.Stream, rpc string) error {
	var in []byte
	switch rpc {
	case "echo":
		if err := st.MsgRecv(&in, enc{}); err != nil {
			return err
		}
		out := bench.Handle(in)
		return st.MsgSend(&out, enc{})
	case "up":
		var n int64
		for {
			if err := st.MsgRecv(&in, enc{}); errors.Is(err, io.EOF) {
				out := bench.I64(n)
				return st.MsgSend(&out, enc{})
			} else if err != nil {
				return err
			}
			n += int64(len(in))
		}
	case "down":
		if err := st.MsgRecv(&in, enc{}); err != nil {
			return err
		}
		return bench.Chunks(bench.GetI64(in), func(b []byte) error { return st.MsgSend(&b, enc{}) })
	}
	return errors.New("no such rpc")
}

type server struct {
	l      net.Listener
	cancel context.CancelFunc
}

func (s *server) Addr() string { return s.l.Addr().String() }
func (s *server) Close() error { s.cancel(); return s.l.Close() }

// Serve implements bench.Adapter.
func (Adapter) Serve(env *bench.Env) (bench.Server, error) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", env.ServerTLS())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go drpcserver.New(handler{}).Serve(ctx, l)
	return &server{l, cancel}, nil
}

type client struct {
	pool *drpcpool.Pool[string, drpcpool.Conn]
	conn drpcpool.Conn
}

// Connect implements bench.Adapter.
func (Adapter) Connect(ctx context.Context, addr string, env *bench.Env) (bench.Client, error) {
	p := drpcpool.New[string, drpcpool.Conn](drpcpool.Options{})
	cfg := env.ClientTLS()
	conn := p.Get(ctx, addr, func(ctx context.Context, a string) (drpcpool.Conn, error) {
		d := tls.Dialer{Config: cfg}
		c, err := d.DialContext(ctx, "tcp", a)
		if err != nil {
			return nil, err
		}
		return drpcconn.New(c), nil
	})
	return &client{p, conn}, nil
}

func (c *client) Unary(ctx context.Context, req, dst []byte) ([]byte, error) {
	out := dst[:0]
	err := c.conn.Invoke(ctx, "echo", enc{}, &req, &out)
	return out, err
}

func (c *client) BulkUp(ctx context.Context, r io.Reader, n int64) (int64, error) {
	st, err := c.conn.NewStream(ctx, "up", enc{})
	if err != nil {
		return 0, err
	}
	defer st.Close()
	if err := bench.ReadChunks(r, n, func(b []byte) error { return st.MsgSend(&b, enc{}) }); err != nil {
		return 0, err
	}
	if err := st.CloseSend(); err != nil {
		return 0, err
	}
	var out []byte
	if err := st.MsgRecv(&out, enc{}); err != nil {
		return 0, err
	}
	return bench.GetI64(out), nil
}

func (c *client) BulkDown(ctx context.Context, n int64, w io.Writer) (int64, error) {
	st, err := c.conn.NewStream(ctx, "down", enc{})
	if err != nil {
		return 0, err
	}
	defer st.Close()
	req := bench.I64(n)
	if err := st.MsgSend(&req, enc{}); err != nil {
		return 0, err
	}
	var got int64
	var in []byte
	for {
		if err := st.MsgRecv(&in, enc{}); errors.Is(err, io.EOF) {
			return got, nil
		} else if err != nil {
			return got, err
		}
		k, err := w.Write(in)
		got += int64(k)
		if err != nil {
			return got, err
		}
	}
}

func (c *client) Close() error { c.conn.Close(); return c.pool.Close() }
