// Package connectpeer measures connectrpc.com/connect (Connect protocol, protobuf
// bytes messages) over net/http HTTP/2 with TLS.
package connectpeer

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/scampbus/scamp-go/bench"
)

type msg = wrapperspb.BytesValue

// Adapter is connect.
type Adapter struct{}

// Name implements bench.Adapter.
func (Adapter) Name() string { return "connect" }

// Notes implements bench.Adapter.
func (Adapter) Notes() string {
	return "Connect protocol, protobuf bytes, net/http HTTP/2; bulk as a stream of 64 KiB messages; no compression"
}

type server struct {
	l net.Listener
	s *http.Server
}

func (s *server) Addr() string { return s.l.Addr().String() }
func (s *server) Close() error { return s.s.Close() }

// Serve implements bench.Adapter.
func (Adapter) Serve(env *bench.Env) (bench.Server, error) {
	mux := http.NewServeMux()
	mux.Handle("/perf.Bench/Echo", connect.NewUnaryHandler("/perf.Bench/Echo", func(_ context.Context, r *connect.Request[msg]) (*connect.Response[msg], error) {
		return connect.NewResponse(&msg{Value: bench.Handle(r.Msg.Value)}), nil
	}))
	mux.Handle("/perf.Bench/Up", connect.NewClientStreamHandler("/perf.Bench/Up", func(_ context.Context, st *connect.ClientStream[msg]) (*connect.Response[msg], error) {
		var n int64
		for st.Receive() {
			n += int64(len(st.Msg().Value))
		}
		return connect.NewResponse(&msg{Value: bench.I64(n)}), st.Err()
	}))
	mux.Handle("/perf.Bench/Down", connect.NewServerStreamHandler("/perf.Bench/Down", func(_ context.Context, r *connect.Request[msg], st *connect.ServerStream[msg]) error {
		return bench.Chunks(bench.GetI64(r.Msg.Value), func(b []byte) error { return st.Send(&msg{Value: b}) })
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &http.Server{Handler: mux, TLSConfig: env.ServerTLS("h2")}
	go s.ServeTLS(l, "", "")
	return &server{l, s}, nil
}

type client struct {
	tr       *http.Transport
	echo     *connect.Client[msg, msg]
	up, down *connect.Client[msg, msg]
}

// Connect implements bench.Adapter.
func (Adapter) Connect(_ context.Context, addr string, env *bench.Env) (bench.Client, error) {
	tr := &http.Transport{TLSClientConfig: env.ClientTLS("h2"), ForceAttemptHTTP2: true}
	hc := &http.Client{Transport: tr}
	mk := func(m string) *connect.Client[msg, msg] {
		return connect.NewClient[msg, msg](hc, "https://"+addr+"/perf.Bench/"+m, connect.WithAcceptCompression("gzip", nil, nil))
	}
	return &client{tr, mk("Echo"), mk("Up"), mk("Down")}, nil
}

func (c *client) Unary(ctx context.Context, req, _ []byte) ([]byte, error) {
	r, err := c.echo.CallUnary(ctx, connect.NewRequest(&msg{Value: req}))
	if err != nil {
		return nil, err
	}
	return r.Msg.Value, nil
}

func (c *client) BulkUp(ctx context.Context, r io.Reader, n int64) (int64, error) {
	st := c.up.CallClientStream(ctx)
	if err := bench.ReadChunks(r, n, func(b []byte) error { return st.Send(&msg{Value: b}) }); err != nil {
		_, rerr := st.CloseAndReceive()
		return 0, errors.Join(err, rerr)
	}
	rep, err := st.CloseAndReceive()
	if err != nil {
		return 0, err
	}
	return bench.GetI64(rep.Msg.Value), nil
}

func (c *client) BulkDown(ctx context.Context, n int64, w io.Writer) (int64, error) {
	st, err := c.down.CallServerStream(ctx, connect.NewRequest(&msg{Value: bench.I64(n)}))
	if err != nil {
		return 0, err
	}
	defer st.Close()
	var got int64
	for st.Receive() {
		k, err := w.Write(st.Msg().Value)
		got += int64(k)
		if err != nil {
			return got, err
		}
	}
	return got, st.Err()
}

func (c *client) Close() error { c.tr.CloseIdleConnections(); return nil }
