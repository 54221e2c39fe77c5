package scamp_test

import (
	"context"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// TestTCPOptions reads back what PROTOCOL 4.7 and 6.1 ask of a TCP connection, at both
// ends.
func TestTCPOptions(t *testing.T) {
	n := scamptest.New(t)
	var accepted, dialed net.Conn
	bus := n.Bus(&scamp.Options{Listen: func(network, addr string) (net.Listener, error) {
		l, err := net.Listen(network, addr)
		return &noting{Listener: l, got: &accepted}, err
	}})
	pair := n.KeyPair()
	svc, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	svc.Handle("Sample.echo", echo, nil)
	serve(t, svc)
	c, err := scamp.Dial(t.Context(), svc.Addr(), scamp.Identity{Certificate: pair.Certificate}, &scamp.Options{
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			dialed = c
			return c, err
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if o := <-inBackground(t.Context(), c, echoReq("x")); o.err != nil {
		t.Fatal(o.err)
	}
	for side, conn := range map[string]net.Conn{"service": accepted, "requester": dialed} {
		raw, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			for _, o := range []struct {
				name        string
				level, what int
				want        int
			}{
				{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
				{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
				{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15},
				{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
				{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
				{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 30000},
				{"TCP_NOTSENT_LOWAT", unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 64 << 10},
			} {
				if got, err := unix.GetsockoptInt(int(fd), o.level, o.what); err != nil || got != o.want {
					t.Errorf("%s: %s is %d, %v, want %d", side, o.name, got, err, o.want)
				}
			}
		})
	}
}

// A noting listener remembers the connection it accepted.
type noting struct {
	net.Listener
	got *net.Conn
}

func (l *noting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		*l.got = c
	}
	return c, err
}
