// Package limit is the practical physical limit: crypto/tls, length-prefixed binary
// frames multiplexed on one connection, batched writes, handlers run inline
// (limit-tls) or one goroutine per request (limit-tls-go), and io.Copy for bulk.
package limit

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/scampbus/scamp-go/bench"
)

// Writer batches frames from many goroutines into few Write calls. An uncontended
// sender writes by itself; when more frames have piled up behind its write, it
// hands them to a background goroutine.
type Writer struct {
	mu         sync.Mutex
	room       sync.Cond
	work       sync.Cond
	c          net.Conn
	buf, spare []byte
	busy       bool
	handed     bool
	bg         bool
	err        error
	inFlight   atomic.Int32
}

// MaxQueued is how many unsent bytes make a sender wait.
const MaxQueued = 256 << 10

// NewWriter returns a Writer on c.
func NewWriter(c net.Conn) *Writer {
	w := &Writer{c: c}
	w.room.L, w.work.L = &w.mu, &w.mu
	return w
}

// Lock waits for room and locks the queue; append to Queue(), then call Flush.
func (w *Writer) Lock() {
	w.mu.Lock()
	for len(w.buf) > MaxQueued && w.err == nil {
		w.room.Wait()
	}
}

// LockBulk is Lock for body chunks: it waits until little is queued, so that small
// frames never stand behind more than two chunks in this process.
func (w *Writer) LockBulk() {
	w.mu.Lock()
	for len(w.buf) > chunk && w.err == nil {
		w.room.Wait()
	}
}

// LockNoWait is Lock without the wait (for control frames such as ACKs).
func (w *Writer) LockNoWait() { w.mu.Lock() }

// Queue is the unsent data; only between Lock and Flush or Unlock.
func (w *Writer) Queue() *[]byte { return &w.buf }

// Flush sends what is queued and unlocks.
func (w *Writer) Flush(mayYield bool) error {
	if w.busy || w.err != nil {
		err := w.err
		w.mu.Unlock()
		return err
	}
	w.busy = true
	if mayYield {
		w.mu.Unlock()
		runtime.Gosched() // let runnable senders join this batch
		w.mu.Lock()
	}
	w.writeOne()
	if len(w.buf) > 0 && w.err == nil {
		w.handed = true
		if !w.bg {
			w.bg = true
			go w.loop()
		} else {
			w.work.Signal()
		}
	} else {
		w.busy = false
	}
	err := w.err
	w.mu.Unlock()
	return err
}

func (w *Writer) writeOne() {
	b := w.buf
	w.buf = w.spare[:0]
	w.mu.Unlock()
	_, err := w.c.Write(b)
	w.mu.Lock()
	if cap(b) <= 4*MaxQueued {
		w.spare = b
	} else {
		w.spare = nil
	}
	if err != nil {
		w.err = err
	}
	w.room.Broadcast()
}

func (w *Writer) loop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for !w.handed && w.err == nil {
			w.work.Wait()
		}
		if w.err != nil {
			return
		}
		for len(w.buf) > 0 && w.err == nil {
			w.mu.Unlock()
			runtime.Gosched()
			w.mu.Lock()
			w.writeOne()
		}
		w.handed = false
		w.busy = false
	}
}

// Fail makes the writer and its background goroutine stop.
func (w *Writer) Fail(err error) {
	w.mu.Lock()
	if w.err == nil {
		w.err = err
	}
	w.room.Broadcast()
	w.work.Broadcast()
	w.mu.Unlock()
}

const (
	fReq = iota
	fRep
	fUp      // chunk of an uploaded body
	fUpEnd   // end of body; the server answers with fRep (8-byte count)
	fDown    // ask for a body (8-byte count)
	fDownDat // chunk of it
	fDownEnd
	fRawUp   // the connection turns into a raw body upload
	fRawDown // ... or download
	fAck     // 8-byte count of body bytes received so far
	hdrLen   = 9
	chunk    = 32 << 10
	window   = 256 << 10 // unacknowledged body bytes
)

// flow is the sending side of one body's ACK window.
type flow struct {
	mu    sync.Mutex
	cond  sync.Cond
	acked int64
	dead  bool
}

func newFlow() *flow { f := &flow{}; f.cond.L = &f.mu; return f }

func (f *flow) wait(sent, window int64) bool {
	f.mu.Lock()
	for sent-f.acked >= window && !f.dead {
		f.cond.Wait()
	}
	ok := !f.dead
	f.mu.Unlock()
	return ok
}

func (f *flow) ack(n int64) {
	f.mu.Lock()
	f.acked = n
	f.cond.Signal()
	f.mu.Unlock()
}

func (f *flow) kill() {
	f.mu.Lock()
	f.dead = true
	f.cond.Broadcast()
	f.mu.Unlock()
}

// recvd is the receiving side.
type recvd struct{ got, ack int64 }

func (r *recvd) add(w *Writer, id uint32, n int64) {
	if r.got += n; r.got-r.ack >= window/4 {
		r.ack = r.got
		w.LockNoWait()
		q := w.Queue()
		*q = append(appendHdr(*q, 8, fAck, id), bench.I64(r.got)...)
		w.Flush(false)
	}
}

func appendHdr(b []byte, n int, typ byte, id uint32) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	b = append(b, typ)
	return binary.BigEndian.AppendUint32(b, id)
}

// Adapter is limit-tls, or limit-tls-go when PerRequest is set.
type Adapter struct{ PerRequest bool }

// Name implements bench.Adapter.
func (a Adapter) Name() string {
	if a.PerRequest {
		return "limit-tls-go"
	}
	return "limit-tls"
}

// Notes implements bench.Adapter.
func (a Adapter) Notes() string {
	if a.PerRequest {
		return "binary frames, one goroutine per request; bulk multiplexed in 32 KiB frames under a 256 KiB ACK window"
	}
	return "binary frames, handlers inline in the reader; bulk by io.Copy on its own raw connection (HOL: 32 KiB frames on the shared one)"
}

type server struct {
	l net.Listener
	a Adapter
}

func (s *server) Addr() string { return s.l.Addr().String() }
func (s *server) Close() error { return s.l.Close() }

// Serve implements bench.Adapter.
func (a Adapter) Serve(env *bench.Env) (bench.Server, error) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", env.ServerTLS())
	if err != nil {
		return nil, err
	}
	s := &server{l: l, a: a}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.conn(c)
		}
	}()
	return s, nil
}

func (s *server) conn(c net.Conn) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 16<<10)
	w := NewWriter(c)
	defer w.Fail(net.ErrClosed)
	var body []byte
	ups := map[uint32]*recvd{}
	var downMu sync.Mutex
	downs := map[uint32]*flow{}
	defer func() {
		downMu.Lock()
		for _, f := range downs {
			f.kill()
		}
		downMu.Unlock()
	}()
	dirty := false // inline replies queued but not flushed
	for {
		if dirty && r.Buffered() < hdrLen {
			w.mu.Lock()
			if w.Flush(false) != nil {
				return
			}
			dirty = false
		}
		h, err := r.Peek(hdrLen)
		if err != nil {
			return
		}
		n, typ, id := int(binary.BigEndian.Uint32(h)), h[4], binary.BigEndian.Uint32(h[5:])
		r.Discard(hdrLen)
		if n > 16<<20 {
			return
		}
		if dirty && r.Buffered() < n {
			w.mu.Lock()
			if w.Flush(false) != nil {
				return
			}
			dirty = false
		}
		if typ == fReq && s.a.PerRequest {
			b := make([]byte, n)
			if _, err := io.ReadFull(r, b); err != nil {
				return
			}
			go func() {
				rep := bench.Handle(b)
				w.Lock()
				q := w.Queue()
				*q = append(appendHdr(*q, len(rep), fRep, id), rep...)
				w.Flush(true)
			}()
			continue
		}
		if cap(body) < n {
			body = make([]byte, n)
		}
		body = body[:n]
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		switch typ {
		case fReq:
			if bench.IsSlow(body) {
				b := append([]byte(nil), body...)
				go func() {
					rep := bench.Handle(b)
					w.Lock()
					q := w.Queue()
					*q = append(appendHdr(*q, len(rep), fRep, id), rep...)
					w.Flush(true)
				}()
				continue
			}
			rep := bench.Handle(body)
			w.Lock()
			q := w.Queue()
			*q = append(appendHdr(*q, len(rep), fRep, id), rep...)
			if len(*q) >= 64<<10 {
				if w.Flush(false) != nil {
					return
				}
				dirty = false
			} else {
				w.mu.Unlock()
				dirty = true
			}
		case fUp:
			u := ups[id]
			if u == nil {
				u = &recvd{}
				ups[id] = u
			}
			u.add(w, id, int64(n))
		case fAck:
			downMu.Lock()
			f := downs[id]
			downMu.Unlock()
			if f != nil {
				f.ack(bench.GetI64(body))
			}
		case fUpEnd:
			var got int64
			if u := ups[id]; u != nil {
				got = u.got
			}
			delete(ups, id)
			w.LockNoWait()
			q := w.Queue()
			*q = append(appendHdr(*q, 8, fRep, id), bench.I64(got)...)
			w.Flush(false)
		case fDown:
			total := bench.GetI64(body)
			f := newFlow()
			downMu.Lock()
			downs[id] = f
			downMu.Unlock()
			go func() {
				sendBody(w, f, id, fDownDat, fDownEnd, &patternSrc{}, total)
				downMu.Lock()
				if downs[id] == f {
					delete(downs, id)
				}
				downMu.Unlock()
			}()
		case fRawUp:
			total := bench.GetI64(body)
			got, _ := io.Copy(io.Discard, io.LimitReader(r, total))
			c.Write(bench.I64(got))
			return
		case fRawDown:
			io.CopyBuffer(onlyWriter{c}, io.LimitReader(&patternSrc{}, bench.GetI64(body)), make([]byte, 64<<10))
			return
		default:
			return
		}
	}
}

type onlyWriter struct{ io.Writer }

type patternSrc struct{ off int }

func (p *patternSrc) Read(b []byte) (int, error) {
	n := copy(b, bench.Pattern[p.off:])
	p.off = (p.off + n) % len(bench.Pattern)
	return n, nil
}

func sendBody(w *Writer, f *flow, id uint32, dat, end byte, r io.Reader, n int64) error {
	buf := make([]byte, chunk)
	var sent int64
	for n > 0 {
		if !f.wait(sent, window) {
			return net.ErrClosed
		}
		c := int64(chunk)
		if c > n {
			c = n
		}
		if _, err := io.ReadFull(r, buf[:c]); err != nil {
			return err
		}
		w.LockBulk()
		q := w.Queue()
		*q = append(appendHdr(*q, int(c), dat, id), buf[:c]...)
		if err := w.Flush(false); err != nil {
			return err
		}
		n -= c
		sent += c
	}
	w.Lock()
	q := w.Queue()
	*q = appendHdr(*q, 0, end, id)
	return w.Flush(false)
}

// copyN hands n buffered bytes to w without a copy of its own.
func copyN(w io.Writer, r *bufio.Reader, n int) (int64, error) {
	var done int64
	for n > 0 {
		if r.Buffered() == 0 {
			if _, err := r.Peek(1); err != nil {
				return done, err
			}
		}
		b, _ := r.Peek(min(n, r.Buffered()))
		k, err := w.Write(b)
		r.Discard(k)
		done += int64(k)
		n -= k
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

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
