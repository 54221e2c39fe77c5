package scamptest

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/scampbus/scamp-go/scamp/internal/pipe"
)

// Dial connects to a listener of the network, as its buses do. A test that breaks or
// counts connections gives a bus a Dial of its own that calls this one.
func (n *Network) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[addr]
	n.dialed++
	from := fmt.Sprintf("127.0.0.1:%d", 50000+n.dialed%10000)
	n.mu.Unlock()
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: address(addr), Err: fmt.Errorf("connection refused")}
	}
	here, there := pipe.New()
	mine := &conn{End: here, n: n, local: from, remote: addr, to: addr}
	theirs := &conn{End: there, n: n, local: addr, remote: from, to: addr}
	n.mu.Lock()
	n.conns[mine], n.conns[theirs] = struct{}{}, struct{}{}
	n.mu.Unlock()
	select {
	case l.incoming <- theirs:
		return mine, nil
	case <-l.closed:
	case <-ctx.Done():
	}
	mine.Close()
	theirs.Close()
	return nil, &net.OpError{Op: "dial", Net: network, Addr: address(addr), Err: fmt.Errorf("connection refused")}
}

// Listen makes a listener on the network, as its services do; port 0 is any that is
// free.
func (n *Network) Listen(network, addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if port == "0" {
		n.ports++
		addr = net.JoinHostPort(host, fmt.Sprint(30100+n.ports))
	}
	if n.listeners[addr] != nil {
		return nil, fmt.Errorf("scamptest: listen on %s: address already in use", addr)
	}
	l := &listener{n: n, addr: addr, incoming: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[addr] = l
	return l, nil
}

type listener struct {
	n        *Network
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

// A conn is one end of a pipe with addresses.
type conn struct {
	*pipe.End
	n             *Network
	local, remote string
	to            string // the listener's address
}

func (c *conn) LocalAddr() net.Addr  { return address(c.local) }
func (c *conn) RemoteAddr() net.Addr { return address(c.remote) }

func (c *conn) Close() error {
	c.n.mu.Lock()
	delete(c.n.conns, c)
	c.n.mu.Unlock()
	return c.End.Close()
}

type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }
