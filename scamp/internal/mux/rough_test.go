package mux_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// A roughPipe is a connection in memory that does what networks do: it hands out
// octets in pieces of all sizes, late, takes no more than it has room for, and may
// be cut in the middle of anything. What it does depends on its seed alone.
type roughPipe struct {
	mu   sync.Mutex
	cond sync.Cond // something has changed
	ways [2]roughWay
	dead bool // cut, or both ends closed
}

// A roughWay is one direction.
type roughWay struct {
	rnd    *rand.Rand
	buf    []byte
	room   int
	piece  int           // octets of one read, at most
	delay  time.Duration // of one read, at most
	left   int           // octets until it is cut; negative means never
	closed bool          // its writer has closed
}

// A roughEnd is one of its ends: it reads from one way and writes to the other.
type roughEnd struct {
	p        *roughPipe
	in, out  int
	deadline time.Time // of writes; protected by p.mu
}

var errCut = errors.New("connection reset by peer")

// rough returns both ends of a roughPipe, audited.
func rough(t testing.TB, seed uint64) (a, b side) {
	p := new(roughPipe)
	p.cond.L = &p.mu
	rnd := rand.New(rand.NewPCG(seed, 7))
	for i := range p.ways {
		p.ways[i] = roughWay{
			rnd:   rand.New(rand.NewPCG(seed, uint64(i))),
			room:  []int{100, 4 << 10, 64 << 10}[rnd.IntN(3)],
			piece: []int{300, 1460, 16 << 10, 64 << 10}[rnd.IntN(4)],
			delay: []time.Duration{0, 0, time.Microsecond, time.Millisecond, 20 * time.Millisecond}[rnd.IntN(5)],
			left:  -1,
		}
		if rnd.IntN(3) == 0 {
			p.ways[i].left = 1 << rnd.IntN(20)
			p.ways[i].left += rnd.IntN(p.ways[i].left)
		}
	}
	return audit(t, "client", &roughEnd{p: p, in: 0, out: 1}), audit(t, "server", &roughEnd{p: p, in: 1, out: 0})
}

func (e *roughEnd) Read(p []byte) (int, error) {
	w := &e.p.ways[e.in]
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	for len(w.buf) == 0 && !w.closed && !e.p.dead {
		e.p.cond.Wait()
	}
	switch {
	case e.p.dead:
		return 0, errCut
	case len(w.buf) == 0:
		return 0, io.EOF
	}
	most := 1 + w.rnd.IntN(w.piece)
	if w.rnd.IntN(3) == 0 {
		most = 1 + w.rnd.IntN(3)
	}
	n := copy(p, w.buf[:min(len(w.buf), most)])
	if w.left >= 0 && n >= w.left {
		n, e.p.dead = w.left, true
	}
	w.left -= n
	w.buf = w.buf[n:]
	e.p.cond.Broadcast()
	if w.delay > 0 {
		late := time.Duration(w.rnd.Int64N(int64(w.delay)))
		e.p.mu.Unlock()
		time.Sleep(late)
		e.p.mu.Lock()
	}
	return n, nil
}

func (e *roughEnd) Write(p []byte) (total int, err error) {
	w := &e.p.ways[e.out]
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	for len(p) > 0 {
		switch {
		case e.p.dead || w.closed || e.p.ways[e.in].closed:
			return total, errCut
		case len(w.buf) < w.room:
			n := min(len(p), w.room-len(w.buf))
			w.buf = append(w.buf, p[:n]...)
			p = p[n:]
			total += n
			e.p.cond.Broadcast()
		case !e.deadline.IsZero() && !time.Now().Before(e.deadline):
			return total, os.ErrDeadlineExceeded
		default:
			e.p.cond.Wait()
		}
	}
	return total, nil
}

// Close lets the other end read what was written.
func (e *roughEnd) Close() error {
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	e.p.ways[e.out].closed = true
	e.p.dead = e.p.dead || e.p.ways[e.in].closed
	e.p.ways[e.in].buf, e.p.ways[e.in].closed = nil, true
	e.p.cond.Broadcast()
	return nil
}

func (e *roughEnd) SetWriteDeadline(t time.Time) error {
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	e.deadline = t
	if !t.IsZero() {
		time.AfterFunc(time.Until(t), e.p.cond.Broadcast)
	}
	return nil
}

func (e *roughEnd) SetReadDeadline(time.Time) error { return nil }
func (e *roughEnd) SetDeadline(t time.Time) error   { return e.SetWriteDeadline(t) }
func (e *roughEnd) LocalAddr() net.Addr             { return &net.TCPAddr{} }
func (e *roughEnd) RemoteAddr() net.Addr            { return &net.TCPAddr{} }
