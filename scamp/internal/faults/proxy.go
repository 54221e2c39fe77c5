//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A weather is what a proxy does to what passes. The zero weather does nothing.
type weather struct {
	latency, jitter time.Duration    // of each direction: latency plus or minus jitter
	rate            int              // octets a second toward the client, of each connection; zero means no bound
	slice           int              // segments of 1 to so many octets; zero means as they come
	hole            bool             // nothing passes, and nobody is told
	lives           [2]time.Duration // a connection is reset at a random age between these; zero means never
	flip            int64            // octets between two bits that are turned over, on average; zero means none
}

// A proxy stands below TLS between clients and one service: it passes octets on, and
// does to them what its weather says.
type proxy struct {
	seed     uint64
	name     string
	listener net.Listener
	work     sync.WaitGroup
	closed   chan struct{}
	accepted atomic.Int64
	passed   atomic.Int64 // octets
	segments atomic.Int64 // writes they took
	flipped  atomic.Int64 // bits

	mu      sync.Mutex // protects what follows
	target  string
	weather weather
	changed chan struct{} // closed when weather changes
	flips   *rand.Rand
	toFlip  int64 // octets to pass before the next bit
	conns   map[*relay]bool
	ended   bool
}

// newProxy returns a proxy on a port of loopback, with fair weather. Point says where
// to.
func newProxy(seed uint64, name string) (*proxy, error) {
	l, err := (&net.ListenConfig{Control: likeEthernet}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("faults: %w", err)
	}
	p := &proxy{
		seed: seed, name: name, listener: l, closed: make(chan struct{}), changed: make(chan struct{}),
		flips: stream(seed, name+"/flips"), conns: make(map[*relay]bool),
	}
	p.work.Go(p.accept) // ends with close
	return p, nil
}

// packetOctets is what a packet on Ethernet carries of a connection.
const packetOctets = 1460

// likeEthernet has connections made of packets as they are on a network: on loopback they
// have 64 KiB, and a small buffer would never take a whole one.
func likeEthernet(_, _ string, c syscall.RawConn) error {
	var set error
	err := c.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, packetOctets) })
	return errors.Join(err, set)
}

func (p *proxy) address() string { return p.listener.Addr().String() }

// point sets where connections from now on go.
func (p *proxy) point(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = address
}

// set changes the weather, also of the connections there are.
func (p *proxy) set(w weather) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.weather = w
	if w.flip > 0 && p.toFlip == 0 {
		p.toFlip = p.flips.Int64N(2*w.flip) + 1
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// now returns the weather, and a channel that is closed when it changes.
func (p *proxy) now() (weather, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.weather, p.changed
}

// resetAll resets every connection.
func (p *proxy) resetAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for r := range p.conns {
		r.end(true)
	}
}

// close ends the proxy and every connection, and waits for that. It may be called again.
func (p *proxy) close() {
	p.mu.Lock()
	if !p.ended {
		p.ended = true
		close(p.closed)
	}
	for r := range p.conns {
		r.end(false)
	}
	p.mu.Unlock()
	p.listener.Close()
	p.work.Wait()
}

func (p *proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		n := p.accepted.Add(1)
		p.work.Go(func() { p.relay(near.(*net.TCPConn), n) }) // ends with the connection
	}
}

// relay passes one connection on.
func (p *proxy) relay(near *net.TCPConn, number int64) {
	dice := stream(p.seed, fmt.Sprintf("%s/%d", p.name, number))
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	far, err := (&net.Dialer{Control: likeEthernet}).Dial("tcp", target)
	if err != nil {
		near.SetLinger(0)
		near.Close()
		return
	}
	if w, _ := p.now(); w.rate > 0 {
		for _, c := range []*net.TCPConn{near, far.(*net.TCPConn)} {
			c.SetReadBuffer(slowSocket)
			c.SetWriteBuffer(slowSocket)
		}
	}
	r := &relay{p: p, near: near, far: far.(*net.TCPConn), over: make(chan struct{})}
	p.mu.Lock()
	p.conns[r] = true
	if p.ended {
		r.end(false)
	}
	lives := p.weather.lives
	p.mu.Unlock()
	if lives[1] > 0 {
		age := lives[0] + time.Duration(dice.Int64N(int64(lives[1]-lives[0])+1))
		timer := time.AfterFunc(age, func() { r.end(true) })
		defer timer.Stop()
	}
	var both sync.WaitGroup
	up, down := rand.New(rand.NewPCG(dice.Uint64(), 1)), rand.New(rand.NewPCG(dice.Uint64(), 2))
	both.Go(func() { r.pass(r.near, r.far, false, up) }) // both end with the connection
	both.Go(func() { r.pass(r.far, r.near, true, down) })
	both.Wait()
	r.end(false)
	p.mu.Lock()
	delete(p.conns, r)
	p.mu.Unlock()
}

// A relay is one connection through a proxy.
type relay struct {
	p         *proxy
	near, far *net.TCPConn
	once      sync.Once
	over      chan struct{}
}

// end closes both sides, with resets if it is to hurt.
func (r *relay) end(reset bool) {
	r.once.Do(func() {
		if reset {
			r.near.SetLinger(0)
			r.far.SetLinger(0)
		}
		close(r.over)
		r.near.Close()
		r.far.Close()
	})
}

// A parcel is octets that are due at a time.
type parcel struct {
	octets []byte
	due    time.Time
}

const (
	parcelOctets = 16 << 10
	underway     = 1024                   // parcels of one direction: latency takes no throughput
	slowSocket   = 16 << 10               // buffer of a socket on a slow link: what waits there is not in our hands
	slowBuffer   = 100 * time.Millisecond // of octets that a slow link holds, as routers should
)

// pass carries one direction until either side closes. A direction that ends well ends
// alone, as with TCP.
func (r *relay) pass(from, to *net.TCPConn, down bool, dice *rand.Rand) {
	parcels := make(chan parcel, underway)
	var held atomic.Int64           // octets in parcels
	taken := make(chan struct{}, 1) // one token: held is less than it was
	var reading sync.WaitGroup
	reading.Go(func() { // ends when from does, or the relay
		defer close(parcels)
		var last time.Time
		for {
			for r.full(held.Load(), down) {
				select {
				case <-taken:
				case <-r.over:
					return
				}
			}
			buf := make([]byte, parcelOctets)
			n, err := from.Read(buf)
			if n > 0 {
				w, _ := r.p.now()
				r.p.harm(buf[:n])
				due := time.Now()
				if w.latency > 0 {
					due = due.Add(w.latency - w.jitter + time.Duration(dice.Int64N(int64(2*w.jitter)+1)))
				}
				if due.Before(last) {
					due = last // TCP keeps the order
				}
				last = due
				held.Add(int64(n))
				select {
				case parcels <- parcel{buf[:n], due}:
				case <-r.over:
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	free := time.Now() // when a slow link has carried what it was given
	for p := range parcels {
		if !r.wait(p.due) || !r.write(to, p.octets, down, dice, &free) {
			r.end(false)
			break
		}
		r.p.passed.Add(int64(len(p.octets)))
		held.Add(-int64(len(p.octets)))
		select {
		case taken <- struct{}{}:
		default:
		}
	}
	to.CloseWrite() // an error says that it is closed
	for range parcels {
	}
	reading.Wait()
}

// full says whether a slow link holds as much as it may.
func (r *relay) full(octets int64, down bool) bool {
	w, _ := r.p.now()
	return w.rate > 0 && down && octets > max(int64(w.rate)*int64(slowBuffer)/int64(time.Second), 1500)
}

// wait waits until a time, and while nothing passes. It is false if the relay ended.
func (r *relay) wait(due time.Time) bool {
	for {
		w, changed := r.p.now()
		wait := time.Until(due)
		switch {
		case w.hole:
			select {
			case <-changed:
				continue
			case <-r.over:
				return false
			}
		case wait <= 0:
			return true
		}
		select {
		case <-time.After(wait):
		case <-r.over:
			return false
		}
	}
}

// write writes octets as the weather has it.
func (r *relay) write(to *net.TCPConn, b []byte, down bool, dice *rand.Rand, free *time.Time) bool {
	w, _ := r.p.now()
	if now := time.Now(); free.Before(now.Add(-slowBuffer)) {
		*free = now // what it did not carry while it had nothing is lost, but not what a late timer took
	}
	for len(b) > 0 {
		n := len(b)
		if w.slice > 0 {
			n = min(n, 1+dice.IntN(w.slice))
		}
		if w.rate > 0 && down {
			n = min(n, max(w.rate/100, 1)) // in steps of 10 ms
		}
		if _, err := to.Write(b[:n]); err != nil { // Go sets TCP_NODELAY: each is a segment
			return false
		}
		r.p.segments.Add(1)
		b = b[n:]
		if w.rate > 0 && down {
			*free = free.Add(time.Duration(n) * time.Second / time.Duration(w.rate))
			if !r.wait(*free) {
				return false
			}
		}
	}
	return true
}

// harm turns bits over as the weather has it, one at a time.
func (p *proxy) harm(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.weather.flip == 0 {
		return
	}
	for at := int64(0); ; {
		if at+p.toFlip > int64(len(b)) {
			p.toFlip -= int64(len(b)) - at
			return
		}
		at += p.toFlip
		b[at-1] ^= 1 << p.flips.IntN(8)
		p.flipped.Add(1)
		p.toFlip = p.flips.Int64N(2*p.weather.flip) + 1
	}
}
