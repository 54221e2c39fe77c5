package limit

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/scampbus/scamp-go/bench"
)

type slot struct {
	done chan struct{}
	dst  []byte
	w    io.Writer
	n    int64
	in   recvd
	out  *flow
}

type client struct {
	a     Adapter
	addr  string
	env   *bench.Env
	c     net.Conn
	w     *Writer
	mu    sync.Mutex
	slots []*slot
	free  []uint32
	err   atomic.Pointer[error]
}

// Connect implements bench.Adapter.
func (a Adapter) Connect(ctx context.Context, addr string, env *bench.Env) (bench.Client, error) {
	d := tls.Dialer{Config: env.ClientTLS()}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	cl := &client{a: a, addr: addr, env: env, c: c, w: NewWriter(c)}
	go cl.read()
	return cl, nil
}

func (c *client) get(dst []byte, w io.Writer) (uint32, *slot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.err.Load(); e != nil {
		return 0, nil, *e
	}
	var id uint32
	if n := len(c.free); n > 0 {
		id = c.free[n-1]
		c.free = c.free[:n-1]
	} else {
		id = uint32(len(c.slots))
		c.slots = append(c.slots, &slot{done: make(chan struct{}, 1)})
	}
	s := c.slots[id]
	s.dst, s.w, s.n, s.in, s.out = dst, w, 0, recvd{}, nil
	return id, s, nil
}

func (c *client) put(id uint32) {
	c.mu.Lock()
	c.free = append(c.free, id)
	c.mu.Unlock()
}

func (c *client) read() {
	var err error
	r := bufio.NewReaderSize(c.c, 16<<10)
	for {
		var h []byte
		if h, err = r.Peek(hdrLen); err != nil {
			break
		}
		n, typ, id := int(binary.BigEndian.Uint32(h)), h[4], binary.BigEndian.Uint32(h[5:])
		r.Discard(hdrLen)
		c.mu.Lock()
		s := c.slots[id]
		c.mu.Unlock()
		if typ == fDownDat {
			var k int64
			k, err = copyN(s.w, r, n)
			s.n += k
			if err != nil {
				break
			}
			s.in.add(c.w, id, k)
			continue
		}
		if typ == fAck {
			var b [8]byte
			if _, err = io.ReadFull(r, b[:]); err != nil {
				break
			}
			if s.out != nil {
				s.out.ack(bench.GetI64(b[:]))
			}
			continue
		}
		if cap(s.dst) < n {
			s.dst = make([]byte, n)
		}
		s.dst = s.dst[:n]
		if _, err = io.ReadFull(r, s.dst); err != nil {
			break
		}
		s.done <- struct{}{}
	}
	c.mu.Lock()
	c.err.Store(&err)
	for _, s := range c.slots {
		select {
		case s.done <- struct{}{}:
		default:
		}
		if s.out != nil {
			s.out.kill()
		}
	}
	c.mu.Unlock()
	c.w.Fail(err)
}

func (c *client) call(typ byte, req, dst []byte) ([]byte, error) {
	id, s, err := c.get(dst, nil)
	if err != nil {
		return nil, err
	}
	yield := c.w.inFlight.Add(1) > 1
	c.w.Lock()
	q := c.w.Queue()
	*q = append(appendHdr(*q, len(req), typ, id), req...)
	if err := c.w.Flush(yield); err != nil {
		return nil, err
	}
	<-s.done
	c.w.inFlight.Add(-1)
	if e := c.err.Load(); e != nil {
		return nil, *e
	}
	out := s.dst
	c.put(id)
	return out, nil
}

// Unary implements bench.Client.
func (c *client) Unary(_ context.Context, req, dst []byte) ([]byte, error) {
	return c.call(fReq, req, dst)
}

// BulkUp implements bench.Client.
func (c *client) BulkUp(_ context.Context, r io.Reader, n int64) (int64, error) {
	id, s, err := c.get(nil, nil)
	if err != nil {
		return 0, err
	}
	f := newFlow()
	c.mu.Lock()
	s.out = f
	c.mu.Unlock()
	if err := sendBody(c.w, f, id, fUp, fUpEnd, r, n); err != nil {
		return 0, err
	}
	<-s.done
	if e := c.err.Load(); e != nil {
		return 0, *e
	}
	got := bench.GetI64(s.dst)
	c.put(id)
	return got, nil
}

// BulkDown implements bench.Client.
func (c *client) BulkDown(_ context.Context, n int64, w io.Writer) (int64, error) {
	id, s, err := c.get(nil, w)
	if err != nil {
		return 0, err
	}
	c.w.Lock()
	q := c.w.Queue()
	*q = append(appendHdr(*q, 8, fDown, id), bench.I64(n)...)
	if err := c.w.Flush(false); err != nil {
		return 0, err
	}
	<-s.done
	if e := c.err.Load(); e != nil {
		return 0, *e
	}
	got := s.n
	c.put(id)
	return got, nil
}

func (c *client) Close() error { return c.c.Close() }

// RawBulk implements bench.RawBulker: io.Copy on its own connection.
func (c *client) RawBulk() bool { return !c.a.PerRequest }

func (c *client) raw(typ byte, n int64) (net.Conn, error) {
	k, err := tls.Dial("tcp", c.addr, c.env.ClientTLS())
	if err != nil {
		return nil, err
	}
	_, err = k.Write(append(appendHdr(nil, 8, typ, 0), bench.I64(n)...))
	return k, err
}

// RawUp implements bench.RawBulker.
func (c *client) RawUp(r io.Reader, n int64) (int64, error) {
	k, err := c.raw(fRawUp, n)
	if err != nil {
		return 0, err
	}
	defer k.Close()
	if _, err := io.CopyBuffer(onlyWriter{k}, io.LimitReader(r, n), make([]byte, 64<<10)); err != nil {
		return 0, err
	}
	var b [8]byte
	if _, err := io.ReadFull(k, b[:]); err != nil {
		return 0, err
	}
	return bench.GetI64(b[:]), nil
}

// RawDown implements bench.RawBulker.
func (c *client) RawDown(n int64, w io.Writer) (int64, error) {
	k, err := c.raw(fRawDown, n)
	if err != nil {
		return 0, err
	}
	defer k.Close()
	got, err := io.CopyBuffer(onlyWriter{w}, k, make([]byte, 64<<10))
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return got, err
}
