// Package scamppeer measures this project through its public API: nothing here is
// out of reach of a user.
package scamppeer

import (
	"context"
	"io"
	"sync"

	"github.com/scampbus/scamp-go/bench"
	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// Adapter is scamp, or scamp-old when Old is set. All clients share what the first
// learns of the server's certificate, as they do on a bus, where it is in the
// directory.
type Adapter struct {
	Old bool // no window larger than old implementations use

	once sync.Once
	peer scamp.Identity
	err  error
}

const oldWindow = 65536 // octets of a message that old peers let be unacknowledged

// Name implements bench.Adapter.
func (a *Adapter) Name() string {
	if a.Old {
		return "scamp-old"
	}
	return "scamp"
}

// Notes implements bench.Adapter.
func (a *Adapter) Notes() string {
	if a.Old {
		return "scamp with the window of old peers, 65536 octets; bodies streamed"
	}
	return "this project through its public API, default limits; bodies streamed"
}

// options are the defaults but for how many connections one address may open: the
// idle scenario opens more of them than a service should take from one peer.
func (a *Adapter) options() *scamp.Options {
	o := new(scamp.Options)
	o.Limits.MaxConnsPerAddr = 8192
	if a.Old {
		o.Limits.Mux.MaxWindow = oldWindow
	}
	return o
}

type server struct {
	bus  *scamp.Bus
	svc  *scamp.Service
	stop context.CancelFunc
	done chan error // what Serve returned
}

func (s *server) Addr() string { return s.svc.Addr() }

func (s *server) Close() error {
	s.stop()
	err := <-s.done
	s.bus.Close()
	return err
}

// Serve implements bench.Adapter. Announcements go nowhere: both ends are dialed by
// address, as those of every other system here.
func (a *Adapter) Serve(env *bench.Env) (bench.Server, error) {
	pair, err := scamp.LoadKeyPair(env.CertFile, env.KeyFile)
	if err != nil {
		return nil, err
	}
	opts := a.options()
	opts.Carriers = []discovery.Carrier{discovery.NewLoopback()}
	bus, err := scamp.Open(nil, opts)
	if err != nil {
		return nil, err
	}
	svc, err := bus.NewService("bench", &scamp.ServiceOptions{
		Listen: []string{"127.0.0.1:0"}, KeyPair: pair, Grace: -1, Drain: -1,
	})
	if err != nil {
		bus.Close()
		return nil, err
	}
	svc.Handle("Bench.echo", echo, nil)
	svc.Handle("Bench.up", up, nil)
	svc.Handle("Bench.down", down, nil)
	ctx, stop := context.WithCancel(context.Background())
	s := &server{bus: bus, svc: svc, stop: stop, done: make(chan error, 1)}
	go func() { s.done <- svc.Serve(ctx) }() // ends with Close, or when it cannot start
	select {
	case <-svc.Ready():
		return s, nil
	case err := <-s.done:
		stop()
		bus.Close()
		return nil, err
	}
}

func echo(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
	b, err := req.Bytes()
	if err != nil {
		return err
	}
	return rep.SetBytes(bench.Handle(b))
}

func up(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
	n, err := io.Copy(new(bench.CountWriter), req.Body)
	if err != nil {
		return err
	}
	return rep.SetBytes(bench.I64(n))
}

func down(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
	b, err := req.Bytes()
	if err != nil {
		return err
	}
	return bench.Chunks(bench.GetI64(b), func(b []byte) error {
		_, err := rep.Write(b)
		return err
	})
}

type client struct{ c *scamp.Client }

// Connect implements bench.Adapter.
func (a *Adapter) Connect(ctx context.Context, addr string, env *bench.Env) (bench.Client, error) {
	a.once.Do(func() { a.peer.Certificate, a.err = discovery.ParseCertificatePEM(env.CertPEM()) })
	if a.err != nil {
		return nil, a.err
	}
	c, err := scamp.Dial(ctx, addr, a.peer, a.options())
	if err != nil {
		return nil, err
	}
	return client{c}, nil
}

func (c client) Unary(ctx context.Context, req, _ []byte) ([]byte, error) {
	rep, err := c.c.Call(ctx, &scamp.Request{Action: "Bench.echo", Data: req})
	if err != nil {
		return nil, err
	}
	return rep.Bytes(0)
}

func (c client) BulkUp(ctx context.Context, r io.Reader, n int64) (int64, error) {
	rep, err := c.c.Call(ctx, &scamp.Request{Action: "Bench.up", Body: io.LimitReader(r, n)})
	if err != nil {
		return 0, err
	}
	b, err := rep.Bytes(0)
	return bench.GetI64(b), err
}

func (c client) BulkDown(ctx context.Context, n int64, w io.Writer) (int64, error) {
	rep, err := c.c.Call(ctx, &scamp.Request{Action: "Bench.down", Data: bench.I64(n)})
	if err != nil {
		return 0, err
	}
	defer rep.Body.Close()
	return io.Copy(w, rep.Body)
}

func (c client) Close() error { return c.c.Close() }
