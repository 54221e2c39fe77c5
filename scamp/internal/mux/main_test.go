package mux_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An end is a Conn that runs, and what it made of its life.
type end struct {
	*mux.Conn
	stats *mux.Counters
	ran   chan struct{} // closed when Run has returned
	err   error         // what it returned

	handlers sync.WaitGroup
}

// run starts Run on a Conn over conn, and ends it with the test.
func run(t testing.TB, rw io.ReadWriter, link *mux.Link, opts mux.Options) *end {
	t.Helper()
	e := &end{stats: new(mux.Counters), ran: make(chan struct{})}
	opts.Counters = e.stats
	e.Conn = mux.New(rw, link, opts)
	go func() { // ends when the connection does
		e.err = e.Run()
		close(e.ran)
	}()
	t.Cleanup(func() {
		e.Close()
		<-e.ran
		e.handlers.Wait()
	})
	return e
}

// over returns why the connection ended; it waits for that.
func (e *end) over(t testing.TB) error {
	t.Helper()
	select {
	case <-e.ran:
		return e.err
	case <-time.After(20 * time.Second):
		t.Fatal("the connection lives on, want it ended")
		return nil
	}
}

// A network makes the two sides of a connection.
type network struct {
	name string
	make func(t testing.TB) (a, b side)
}

// A side is what a Conn is made of.
type side struct {
	rw   io.ReadWriter
	link *mux.Link
}

var networks = []network{
	{"pipe", pipe},
	{"tcp", func(t testing.TB) (side, side) {
		a, b := tcp(t)
		return bare(a), bare(b)
	}},
	{"tls", func(t testing.TB) (side, side) {
		a, b := tcp(t)
		return secure(t, a, b)
	}},
}

func bare(c net.Conn) side {
	l := mux.NewLink(c)
	return side{l, l}
}

func pipe(testing.TB) (side, side) {
	a, b := net.Pipe()
	return bare(a), bare(b)
}

// tcp returns both ends of a loopback connection.
func tcp(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

var certificate = sync.OnceValue(func() tls.Certificate {
	c, err := tls.X509KeyPair(fixtures.Bytes("keys/sample.crt.pem"), fixtures.Bytes("keys/sample.key.pem"))
	if err != nil {
		panic(err)
	}
	return c
})

// secure returns TLS over a and b, the handshake done.
func secure(t testing.TB, a, b net.Conn) (client, server side) {
	t.Helper()
	la, lb := mux.NewLink(a), mux.NewLink(b)
	ca := tls.Client(la, &tls.Config{InsecureSkipVerify: true, DynamicRecordSizingDisabled: true})
	cb := tls.Server(lb, &tls.Config{Certificates: []tls.Certificate{certificate()}, DynamicRecordSizingDisabled: true})
	done := make(chan error, 1)
	go func() { done <- cb.Handshake() }() // ends with the handshake
	if err := errors.Join(ca.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return side{ca, la}, side{cb, lb}
}

// A caller sends requests on an end and gets the replies. It is what package scamp
// is, in a few lines.
type caller struct {
	*end
	mu      sync.Mutex
	last    uint64
	pending map[uint64]chan *mux.Inbound
}

// connect returns a caller whose requests handle answers on the other side.
func connect(t testing.TB, n network, opts mux.Options, handle func(*mux.Inbound)) (*caller, *end) {
	t.Helper()
	a, b := n.make(t)
	server := new(end)
	serverOpts := opts
	serverOpts.Accept = func(m *mux.Inbound) {
		server.handlers.Go(func() { handle(m) }) // ends when handle has returned
	}
	running := run(t, b.rw, b.link, serverOpts)
	c := &caller{pending: make(map[uint64]chan *mux.Inbound)}
	opts.Accept = c.accept
	c.end = run(t, a.rw, a.link, opts)
	t.Cleanup(func() {
		c.Close()
		running.Close()
		<-running.ran
		server.handlers.Wait()
	})
	return c, running
}

func (c *caller) accept(m *mux.Inbound) {
	id, _ := m.Header.ID.Number()
	c.mu.Lock()
	ch := c.pending[id]
	delete(c.pending, id)
	c.mu.Unlock()
	if ch == nil {
		m.Discard()
		return
	}
	ch <- m
}

// A call is one request and the place of its reply.
type call struct {
	c     *caller
	id    uint64
	out   mux.Outbound
	reply chan *mux.Inbound // capacity 1: its one reply
}

// Prepare numbers the request and registers it.
func (k *call) Prepare(h *packet.Header) bool {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	k.c.last++
	k.id = k.c.last
	k.c.pending[k.id] = k.reply
	h.ID = packet.NumberID(k.id)
	return true
}

func (c *caller) open(body mux.Body) (*call, error) {
	k := &call{c: c, reply: make(chan *mux.Inbound, 1)}
	k.out.Init(c.Conn, body, k)
	return k, c.SendOutbound(&k.out, &packet.Header{Type: packet.TypeRequest, Action: "Lab.echo", Sector: "main"})
}

// wait returns the reply.
func (k *call) wait() (*mux.Inbound, error) {
	select {
	case m := <-k.reply:
		return m, nil
	case <-k.c.Done():
		return nil, k.c.Err()
	case <-time.After(20 * time.Second):
		return nil, errors.New("no reply in 20 s")
	}
}

// echo sends data and returns the reply's body.
func (c *caller) echo(data []byte) ([]byte, error) {
	k, err := c.open(mux.Body{Data: data})
	if err != nil {
		return nil, err
	}
	m, err := k.wait()
	if err != nil {
		return nil, err
	}
	return m.Bytes(len(data) + 1)
}

// replyTo is the header of the reply to m.
func replyTo(m *mux.Inbound) *packet.Header {
	return &packet.Header{Type: packet.TypeReply, ID: m.Header.ID}
}

// echo answers with the body of the request, piece by piece unless all is there.
func echo(m *mux.Inbound) {
	defer m.Discard()
	ctx := context.Background()
	if m.Complete() && m.Unread() < 32<<10 {
		body, err := m.Bytes(32 << 10)
		if err != nil {
			return
		}
		if o, err := m.Conn().Send(replyTo(m), mux.Body{Data: body}, nil); err == nil {
			o.Wait(ctx, "gone")
		}
		return
	}
	o, err := m.Conn().Send(replyTo(m), mux.Body{More: true}, nil)
	if err != nil {
		return
	}
	if _, err := m.WriteTo(writerTo(ctx, o)); err != nil {
		o.Abort(err.Error())
		return
	}
	o.CloseSend()
	o.Wait(ctx, "gone")
}

// writerTo makes an io.Writer of an Outbound.
func writerTo(ctx context.Context, o *mux.Outbound) io.Writer {
	return writerFunc(func(p []byte) (int, error) { return o.Write(ctx, p) })
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// octets returns n octets that differ from place to place.
func octets(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>13 + i>>6 + i)
	}
	return b
}

func diff(got, want []byte) error {
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%d octets, want %d the same as sent", len(got), len(want))
	}
	return nil
}
