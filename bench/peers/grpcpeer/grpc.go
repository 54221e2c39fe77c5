// Package grpcpeer measures grpc-go over TLS with a raw bytes codec (grpc-raw) and
// with protobuf messages holding bytes (grpc-pb). Settings are grpc-go's defaults.
package grpcpeer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/scampbus/scamp-go/bench"
)

type rawMsg struct{ b []byte }

type rawCodec struct{}

func (rawCodec) Name() string { return "rawbytes" }
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*rawMsg)
	if !ok {
		return nil, fmt.Errorf("rawCodec: %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(m.b)}, nil
}
func (rawCodec) Unmarshal(d mem.BufferSlice, v any) error {
	m, ok := v.(*rawMsg)
	if !ok {
		return fmt.Errorf("rawCodec: %T", v)
	}
	if n := d.Len(); cap(m.b) >= n {
		m.b = m.b[:n]
		d.CopyTo(m.b)
	} else {
		m.b = d.Materialize()
	}
	return nil
}

// Adapter is grpc-raw, or grpc-pb when PB is set.
type Adapter struct{ PB bool }

// Name implements bench.Adapter.
func (a Adapter) Name() string {
	if a.PB {
		return "grpc-pb"
	}
	return "grpc-raw"
}

// Notes implements bench.Adapter.
func (a Adapter) Notes() string { return "one HTTP/2 connection; bulk as a stream of 64 KiB messages" }

// message abstracts over the two codecs.
func (a Adapter) newMsg(b []byte) any {
	if a.PB {
		return &wrapperspb.BytesValue{Value: b}
	}
	return &rawMsg{b}
}
func bytesOf(m any) []byte {
	if p, ok := m.(*wrapperspb.BytesValue); ok {
		return p.Value
	}
	return m.(*rawMsg).b
}

type svc interface{}

type server struct {
	l net.Listener
	s *grpc.Server
}

func (s *server) Addr() string { return s.l.Addr().String() }
func (s *server) Close() error { s.s.Stop(); return nil }

// Serve implements bench.Adapter.
func (a Adapter) Serve(env *bench.Env) (bench.Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	opts := []grpc.ServerOption{grpc.Creds(credentials.NewTLS(env.ServerTLS()))}
	if !a.PB {
		opts = append(opts, grpc.ForceServerCodecV2(rawCodec{}))
	}
	s := grpc.NewServer(opts...)
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "perf.Bench", HandlerType: (*svc)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Echo", Handler: func(_ any, _ context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := a.newMsg(nil)
			if err := dec(in); err != nil {
				return nil, err
			}
			return a.newMsg(bench.Handle(bytesOf(in))), nil
		}}},
		Streams: []grpc.StreamDesc{
			{StreamName: "Up", ClientStreams: true, Handler: func(_ any, st grpc.ServerStream) error {
				var n int64
				in := a.newMsg(nil)
				for {
					if err := st.RecvMsg(in); err == io.EOF {
						return st.SendMsg(a.newMsg(bench.I64(n)))
					} else if err != nil {
						return err
					}
					n += int64(len(bytesOf(in)))
				}
			}},
			{StreamName: "Down", ServerStreams: true, Handler: func(_ any, st grpc.ServerStream) error {
				in := a.newMsg(nil)
				if err := st.RecvMsg(in); err != nil {
					return err
				}
				return bench.Chunks(bench.GetI64(bytesOf(in)), func(b []byte) error { return st.SendMsg(a.newMsg(b)) })
			}},
		},
	}, struct{}{})
	go s.Serve(l)
	return &server{l, s}, nil
}

type client struct {
	a  Adapter
	cc *grpc.ClientConn
}

// Connect implements bench.Adapter.
func (a Adapter) Connect(_ context.Context, addr string, env *bench.Env) (bench.Client, error) {
	opts := []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(env.ClientTLS()))}
	if !a.PB {
		opts = append(opts, grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{})))
	}
	cc, err := grpc.NewClient("passthrough:///"+addr, opts...)
	if err != nil {
		return nil, err
	}
	return &client{a, cc}, nil
}

func (c *client) Unary(ctx context.Context, req, dst []byte) ([]byte, error) {
	out := c.a.newMsg(dst)
	if err := c.cc.Invoke(ctx, "/perf.Bench/Echo", c.a.newMsg(req), out); err != nil {
		return nil, err
	}
	return bytesOf(out), nil
}

func (c *client) BulkUp(ctx context.Context, r io.Reader, n int64) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	st, err := c.cc.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, "/perf.Bench/Up")
	if err != nil {
		return 0, err
	}
	// A sent message may be referenced until it is written: no buffer reuse.
	for n > 0 {
		b := make([]byte, min(n, bench.BulkChunk))
		if _, err := io.ReadFull(r, b); err != nil {
			return 0, err
		}
		if err := st.SendMsg(c.a.newMsg(b)); err != nil {
			return 0, err
		}
		n -= int64(len(b))
	}
	if err := st.CloseSend(); err != nil {
		return 0, err
	}
	out := c.a.newMsg(nil)
	if err := st.RecvMsg(out); err != nil {
		return 0, err
	}
	return bench.GetI64(bytesOf(out)), nil
}

func (c *client) BulkDown(ctx context.Context, n int64, w io.Writer) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	st, err := c.cc.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/perf.Bench/Down")
	if err != nil {
		return 0, err
	}
	if err := st.SendMsg(c.a.newMsg(bench.I64(n))); err != nil {
		return 0, err
	}
	if err := st.CloseSend(); err != nil {
		return 0, err
	}
	var got int64
	in := c.a.newMsg(nil)
	for {
		if err := st.RecvMsg(in); errors.Is(err, io.EOF) {
			return got, nil
		} else if err != nil {
			return got, err
		}
		k, err := w.Write(bytesOf(in))
		got += int64(k)
		if err != nil {
			return got, err
		}
	}
}

func (c *client) Close() error { return c.cc.Close() }
