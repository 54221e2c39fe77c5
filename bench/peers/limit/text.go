package limit

import (
	"context"
	"crypto/tls"
	"io"
	"net"

	"github.com/scampbus/scamp-go/bench"
)

// Text is a bare prototype of a text-framed multiplexer of the SCAMP shape: TYPE
// msgno len CRLF body END CRLF packets, JSON headers, DATA chunks, EOF, and an ACK of
// the bytes received, over the same engine as limit-tls-go. It has no API, timeouts
// or error handling worth the name: it bounds what the wire format itself costs.
// limit-text holds a finished small message's ACK back until something else is sent
// (or 2 ms); limit-text-ack flushes ACKs as soon as the input is drained.
type Text struct{ Immediate bool }

const (
	textChunk  = 32 << 10
	textWindow = window
)

// Name implements bench.Adapter.
func (a Text) Name() string {
	if a.Immediate {
		return "limit-text-ack"
	}
	return "limit-text"
}

// Notes implements bench.Adapter.
func (a Text) Notes() string {
	return "bare text-framed prototype (HEADER json, DATA 32 KiB, EOF, ACK), goroutine per request, 256 KiB ACK window"
}

type textServer struct{ l net.Listener }

func (s *textServer) Addr() string { return s.l.Addr().String() }

func (s *textServer) Close() error { return s.l.Close() }

// Serve implements bench.Adapter.
func (a Text) Serve(env *bench.Env) (bench.Server, error) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", env.ServerTLS())
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				t := newTextConn(a, c)
				t.onHeader = func(m *inMsg) error {
					if m.h.Action == "bench.up" {
						m.w = io.Discard
					}
					return nil
				}
				t.onEOF = func(m *inMsg) error {
					go func() {
						h := header{RequestID: m.h.RequestID, Type: "reply"}
						switch m.h.Action {
						case "bench.echo":
							t.sendSmall(&h, bench.Handle(m.body), true)
						case "bench.up":
							t.sendSmall(&h, bench.I64(m.got), false)
						case "bench.down":
							t.sendStream(&h, new(bench.Pattern), bench.GetI64(m.body))
						}
					}()
					return nil
				}
				t.read()
			}()
		}
	}()
	return &textServer{l}, nil
}

type textClient struct {
	t  *textConn
	cl client // slot bookkeeping only
}

// Connect implements bench.Adapter.
func (a Text) Connect(ctx context.Context, addr string, env *bench.Env) (bench.Client, error) {
	d := tls.Dialer{Config: env.ClientTLS()}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	x := &textClient{t: newTextConn(a, c)}
	x.t.onHeader = func(m *inMsg) error {
		x.cl.mu.Lock()
		defer x.cl.mu.Unlock()
		if m.h.RequestID < 0 || int(m.h.RequestID) >= len(x.cl.slots) {
			return errWire
		}
		m.slot = x.cl.slots[m.h.RequestID]
		m.w = m.slot.w
		m.body = m.slot.dst[:0]
		return nil
	}
	x.t.onEOF = func(m *inMsg) error {
		m.slot.dst, m.slot.n = m.body, m.got
		m.slot.done <- struct{}{}
		return nil
	}
	go func() {
		err := x.t.read()
		x.cl.mu.Lock()
		x.cl.err.Store(&err)
		for _, s := range x.cl.slots {
			select {
			case s.done <- struct{}{}:
			default:
			}
		}
		x.cl.mu.Unlock()
	}()
	return x, nil
}

func (c *textClient) wait(id uint32, s *slot) ([]byte, int64, error) {
	<-s.done
	if e := c.cl.err.Load(); e != nil {
		return nil, 0, *e
	}
	out, n := s.dst, s.n
	c.cl.put(id)
	return out, n, nil
}

func (c *textClient) call(action string, req, dst []byte, w io.Writer) ([]byte, int64, error) {
	id, s, err := c.cl.get(dst, w)
	if err != nil {
		return nil, 0, err
	}
	yield := c.t.w.inFlight.Add(1) > 1
	h := header{Action: action, RequestID: int64(id), Type: "request"}
	if err := c.t.sendSmall(&h, req, yield); err != nil {
		return nil, 0, err
	}
	out, n, err := c.wait(id, s)
	c.t.w.inFlight.Add(-1)
	return out, n, err
}

// Unary implements bench.Client.
func (c *textClient) Unary(_ context.Context, req, dst []byte) ([]byte, error) {
	out, _, err := c.call("bench.echo", req, dst, nil)
	return out, err
}

// BulkUp implements bench.Client.
func (c *textClient) BulkUp(_ context.Context, r io.Reader, n int64) (int64, error) {
	id, s, err := c.cl.get(nil, nil)
	if err != nil {
		return 0, err
	}
	if err := c.t.sendStream(&header{Action: "bench.up", RequestID: int64(id), Type: "request"}, r, n); err != nil {
		return 0, err
	}
	out, _, err := c.wait(id, s)
	return bench.GetI64(out), err
}

// BulkDown implements bench.Client.
func (c *textClient) BulkDown(_ context.Context, n int64, w io.Writer) (int64, error) {
	_, got, err := c.call("bench.down", bench.I64(n), nil, w)
	return got, err
}

func (c *textClient) Close() error { return c.t.c.Close() }
