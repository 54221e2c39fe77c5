// Package natspeer measures NATS micro services: an embedded nats-server with TLS in
// the server process, the micro service connected to it over TLS, and the client
// connected to it over TLS: two hops each way, as NATS users have them.
package natspeer

import (
	"context"
	"errors"
	"io"
	"time"

	natsd "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/scampbus/scamp-go/bench"
)

const (
	piece  = 256 << 10 // bulk piece: the default max_payload is 1 MiB
	window = 4         // pieces in flight
)

// Adapter is nats-micro.
type Adapter struct{}

// Name implements bench.Adapter.
func (Adapter) Name() string { return "nats-micro" }

// Notes implements bench.Adapter.
func (Adapter) Notes() string {
	return "broker between client and service (2 hops each way); broker runs in the server process; no streaming: bulk as 256 KiB requests, 4 in flight; the handler starts a goroutine for slow requests only"
}

type server struct {
	s    *natsd.Server
	nc   *nats.Conn
	addr string
}

func (s *server) Addr() string { return s.addr }
func (s *server) Close() error { s.nc.Close(); s.s.Shutdown(); return nil }

// Serve implements bench.Adapter.
func (Adapter) Serve(env *bench.Env) (bench.Server, error) {
	ns, err := natsd.NewServer(&natsd.Options{Host: "127.0.0.1", Port: natsd.RANDOM_PORT, NoLog: true, NoSigs: true, TLS: true, TLSConfig: env.ServerTLS(), TLSTimeout: 10})
	if err != nil {
		return nil, err
	}
	go ns.Start()
	if !ns.ReadyForConnections(5 * time.Second) {
		return nil, errors.New("nats-server not ready")
	}
	addr := ns.Addr().String()
	nc, err := nats.Connect("tls://"+addr, nats.Secure(env.ClientTLS()))
	if err != nil {
		return nil, err
	}
	svc, err := micro.AddService(nc, micro.Config{Name: "bench", Version: "1.0.0"})
	if err != nil {
		return nil, err
	}
	add := func(name string, h func(micro.Request)) error {
		return svc.AddEndpoint(name, micro.HandlerFunc(h))
	}
	err = errors.Join(
		add("echo", func(r micro.Request) {
			if bench.IsSlow(r.Data()) {
				go func() { r.Respond(bench.Handle(r.Data())) }()
				return
			}
			r.Respond(bench.Handle(r.Data()))
		}),
		add("up", func(r micro.Request) { r.Respond(bench.I64(int64(len(r.Data())))) }),
		add("down", func(r micro.Request) {
			b := make([]byte, 0, piece)
			bench.Chunks(bench.GetI64(r.Data()), func(p []byte) error { b = append(b, p...); return nil })
			r.Respond(b)
		}),
		nc.Flush(),
	)
	return &server{ns, nc, addr}, err
}

type client struct{ nc *nats.Conn }

// Connect implements bench.Adapter.
func (Adapter) Connect(_ context.Context, addr string, env *bench.Env) (bench.Client, error) {
	nc, err := nats.Connect("tls://"+addr, nats.Secure(env.ClientTLS()), nats.Timeout(10*time.Second))
	if err != nil {
		return nil, err
	}
	return &client{nc}, nil
}

func (c *client) Unary(ctx context.Context, req, _ []byte) ([]byte, error) {
	m, err := c.nc.RequestWithContext(ctx, "echo", req)
	if err != nil {
		return nil, err
	}
	return m.Data, nil
}

// windowed runs do for n bytes in pieces, window at a time; results are used in order.
func windowed(n int64, start func(int64) func() (int64, error)) (int64, error) {
	var q []func() (int64, error)
	var got int64
	for n > 0 || len(q) > 0 {
		for n > 0 && len(q) < window {
			k := min(n, piece)
			q = append(q, start(k))
			n -= k
		}
		g, err := q[0]()
		q = q[1:]
		if err != nil {
			return got, err
		}
		got += g
	}
	return got, nil
}

type result struct {
	m   *nats.Msg
	err error
}

func (c *client) async(ctx context.Context, subj string, b []byte) chan result {
	ch := make(chan result, 1)
	go func() {
		m, err := c.nc.RequestWithContext(ctx, subj, b)
		ch <- result{m, err}
	}()
	return ch
}

func (c *client) BulkUp(ctx context.Context, r io.Reader, n int64) (int64, error) {
	return windowed(n, func(k int64) func() (int64, error) {
		b := make([]byte, k)
		_, rerr := io.ReadFull(r, b)
		ch := c.async(ctx, "up", b)
		return func() (int64, error) {
			x := <-ch
			if err := errors.Join(rerr, x.err); err != nil {
				return 0, err
			}
			return bench.GetI64(x.m.Data), nil
		}
	})
}

func (c *client) BulkDown(ctx context.Context, n int64, w io.Writer) (int64, error) {
	return windowed(n, func(k int64) func() (int64, error) {
		ch := c.async(ctx, "down", bench.I64(k))
		return func() (int64, error) {
			x := <-ch
			if x.err != nil {
				return 0, x.err
			}
			g, err := w.Write(x.m.Data)
			return int64(g), err
		}
	})
}

func (c *client) Close() error { c.nc.Close(); return nil }
