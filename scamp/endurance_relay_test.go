package scamp_test

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// A cutter dials through relays below TLS, each of which passes a random number of
// octets, both directions together, and then cuts the connection: within a packet, a TLS
// record or the handshake, and with a reset as often as with an end.
type cutter struct {
	mean int // octets a connection passes

	cuts atomic.Int64
	work sync.WaitGroup

	mu sync.Mutex // protects r
	r  *rand.Rand
}

// newCutter returns a cutter that ends with the test, behind those who dial through it.
func newCutter(t testing.TB, seed uint64, mean int) *cutter {
	k := &cutter{mean: mean, r: rand.New(rand.NewPCG(seed, 2))}
	t.Cleanup(k.work.Wait)
	return k
}

// dial is Options.Dial.
func (k *cutter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	far, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	near, mine, err := tcpPair(ctx)
	if err != nil {
		far.Close()
		return nil, err
	}
	k.mu.Lock()
	left := 1 + k.r.IntN(2*k.mean)
	if k.r.IntN(50) == 0 {
		left = 1 + k.r.IntN(6000) // within the handshake or soon after it
	}
	c := &cutting{k: k, near: near, far: far.(*net.TCPConn), reset: k.r.IntN(2) == 0}
	k.mu.Unlock()
	c.left.Store(int64(left))
	k.work.Go(func() { c.pass(c.near, c.far) }) // both end when either side does, or at the cut
	k.work.Go(func() { c.pass(c.far, c.near) })
	return mine, nil
}

// tcpPair is both ends of a TCP connection on loopback.
func tcpPair(ctx context.Context) (a, b *net.TCPConn, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	dialed, err := new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	accepted, err := l.Accept()
	if err != nil {
		dialed.Close()
		return nil, nil, err
	}
	return accepted.(*net.TCPConn), dialed.(*net.TCPConn), nil
}

// A cutting is one relayed connection.
type cutting struct {
	k         *cutter
	near, far *net.TCPConn
	reset     bool
	left      atomic.Int64
	once      sync.Once
}

// pass relays one direction until the other side closes, or the octets are used up.
func (c *cutting) pass(from, to *net.TCPConn) {
	defer c.end()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		left := c.left.Add(-int64(n))
		if left <= 0 {
			to.Write(buf[:max(int64(n)+left, 0)])
			c.once.Do(func() {
				c.k.cuts.Add(1)
				if c.reset {
					c.near.SetLinger(0)
					c.far.SetLinger(0)
				}
				c.near.Close()
				c.far.Close()
			})
			return
		}
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

func (c *cutting) end() {
	c.once.Do(func() {
		c.near.Close()
		c.far.Close()
	})
}
