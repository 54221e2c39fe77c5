package scamptest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/pipe"
)

// Dial connects to a listener of the network, as its buses do. A test that breaks or
// counts connections gives a bus a Dial of its own that calls this one: such a bus is
// then on no side of a Partition.
func (n *Network) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return n.connect(ctx, nil, network, addr)
}

// Listen makes a listener on the network, as its services do; port 0 is any that is
// free.
func (n *Network) Listen(network, addr string) (net.Listener, error) {
	return n.open(nil, network, addr)
}

// A link is one connection.
type link struct {
	client, server *host // nil for who is no bus
	address        string
	port           int       // of the client
	here, there    *pipe.End // of client and server
	open           int       // ends that nobody has closed
	stall, held    bool
}

// connect connects from a host, nil for who is none.
func (n *Network) connect(ctx context.Context, from *host, network, addr string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: address(addr), Err: err}
	}
	l, err := n.reach(ctx, from, addr)
	if err != nil {
		return fail(err)
	}
	n.mu.Lock()
	port, ok := n.callers.next(func(port int) bool { return n.calling[port] })
	if !ok {
		n.mu.Unlock()
		return fail(syscall.EADDRNOTAVAIL)
	}
	mine, theirs := n.linkLocked(from, l, port)
	n.mu.Unlock()
	select {
	case l.incoming <- theirs:
		return mine, nil
	case <-l.closed:
		err = syscall.ECONNREFUSED
	case <-ctx.Done():
		err = ctx.Err()
	}
	mine.Close()
	theirs.Close()
	return fail(err)
}

// reach waits until packets have gone to the listener of addr and back.
func (n *Network) reach(ctx context.Context, from *host, addr string) (*listener, error) {
	for came := false; ; {
		n.mu.Lock()
		l, line, changed := n.listeners[addr], n.lines[addr], n.changed
		apart := l != nil && from != nil && from.apart[l.host] > 0
		n.mu.Unlock()
		var arrived <-chan time.Time
		switch {
		case apart:
			came = false
		case came || line.Delay == 0:
			if l == nil {
				return nil, syscall.ECONNREFUSED
			}
			return l, nil
		default:
			arrived, changed = time.After(2*line.Delay), nil
		}
		select {
		case <-arrived:
			came = true
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// linkLocked makes a connection and returns its ends.
func (n *Network) linkLocked(from *host, l *listener, port int) (mine, theirs *conn) {
	k := &link{client: from, server: l.host, address: l.addr, port: port, open: 2}
	k.here, k.there = pipe.New()
	n.links = append(n.links, k)
	n.calling[port] = true
	local := fmt.Sprintf("127.0.0.1:%d", port)
	if line, ok := n.lines[l.addr]; ok {
		k.setLocked(line)
	}
	k.holdLocked()
	return &conn{End: k.here, n: n, k: k, local: local, remote: l.addr}, &conn{End: k.there, n: n, k: k, local: l.addr, remote: local}
}

// dropLocked forgets the connections of which gone is true.
func (n *Network) dropLocked(gone func(*link) bool) {
	n.links = slices.DeleteFunc(n.links, func(k *link) bool {
		if gone(k) {
			delete(n.calling, k.port)
			return true
		}
		return false
	})
}

// linksLocked returns the connections of which want is true.
func (n *Network) linksLocked(want func(*link) bool) []*link {
	return slices.DeleteFunc(slices.Clone(n.links), func(k *link) bool { return !want(k) })
}

func (k *link) setLocked(l Line) {
	k.stall = l.Stall
	k.here.SetLine(pipe.Line{Delay: l.Delay, Rate: l.Rate, Cut: l.CutTo})
	k.there.SetLine(pipe.Line{Delay: l.Delay, Rate: l.Rate, Cut: l.CutFrom})
	k.holdLocked()
}

// holdLocked has the connection move or not, as its faults say.
func (k *link) holdLocked() {
	held := k.stall
	for _, h := range []*host{k.client, k.server} {
		held = held || h != nil && h.paused > 0
	}
	if k.client != nil && k.server != nil {
		held = held || k.client.apart[k.server] > 0
	}
	if held != k.held {
		k.held = held
		k.here.Hold(held)
		k.there.Hold(held)
	}
}

// A conn is one end of a link.
type conn struct {
	*pipe.End
	n             *Network
	k             *link
	local, remote string
	once          sync.Once
}

func (c *conn) Close() error {
	err := c.End.Close()
	c.once.Do(func() {
		c.n.mu.Lock()
		defer c.n.mu.Unlock()
		c.k.open--
		if c.k.open == 0 && !c.k.held { // else what is written has yet to arrive
			c.n.dropLocked(func(k *link) bool { return k == c.k })
		}
	})
	return err
}

func (c *conn) LocalAddr() net.Addr  { return address(c.local) }
func (c *conn) RemoteAddr() net.Addr { return address(c.remote) }

// open makes a listener of a host, nil for who is none.
func (n *Network) open(h *host, network, addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if port == "0" {
		at := func(port int) string { return net.JoinHostPort(host, fmt.Sprint(port)) }
		free, ok := n.serving.next(func(port int) bool { return n.listeners[at(port)] != nil })
		if !ok {
			return nil, &net.OpError{Op: "listen", Net: network, Addr: address(addr), Err: syscall.EADDRNOTAVAIL}
		}
		addr = at(free)
		delete(n.lines, addr) // of a service that was there before
	}
	if n.listeners[addr] != nil {
		return nil, fmt.Errorf("scamptest: listen on %s: address already in use", addr)
	}
	l := &listener{n: n, host: h, addr: addr, incoming: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[addr] = l
	return l, nil
}

type listener struct {
	n        *Network
	host     *host
	addr     string
	incoming chan net.Conn
	once     sync.Once
	closed   chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.incoming:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.n.mu.Lock()
	if l.n.listeners[l.addr] == l {
		delete(l.n.listeners, l.addr)
	}
	l.n.mu.Unlock()
	l.shut()
	return nil
}

func (l *listener) shut() { l.once.Do(func() { close(l.closed) }) }

func (l *listener) Addr() net.Addr { return address(l.addr) }

type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }
