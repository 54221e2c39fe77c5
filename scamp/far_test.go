package scamp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A far is a service made of wires: connections to it arrive on conns.
type far struct {
	t     testing.TB
	n     *scamptest.Network
	l     net.Listener
	pair  *scamp.KeyPair
	cfg   *tls.Config
	conns chan *wire // room for the connections of one test
	fail  chan error // handshakes that failed

	mu    sync.Mutex
	dials int
	down  bool
}

func newFar(t testing.TB) *far {
	f := &far{t: t, n: scamptest.New(t), pair: sample(t), conns: make(chan *wire, 100), fail: make(chan error, 100)}
	var err error
	if f.l, err = f.n.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.l.Close() })
	f.cfg = &tls.Config{Certificates: []tls.Certificate{f.pair.TLS()}, ClientAuth: tls.RequestClientCert}
	return f
}

// dial is Options.Dial for whoever is to reach it.
func (f *far) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	f.mu.Lock()
	f.dials++
	down, cfg := f.down, f.cfg
	f.mu.Unlock()
	if down {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("connection refused")}
	}
	go func() { // ends with the handshake, or the listener
		raw, err := f.l.Accept()
		if err != nil {
			return
		}
		c := tls.Server(raw, cfg)
		if err := c.Handshake(); err != nil {
			raw.Close()
			f.fail <- err
			return
		}
		f.conns <- newWire(f.t, c)
	}()
	return f.n.Dial(ctx, network, f.l.Addr().String())
}

// show makes the far service show another certificate from now on.
func (f *far) show(pair tls.Certificate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cfg = f.cfg.Clone()
	f.cfg.Certificates = []tls.Certificate{pair}
}

func (f *far) dialed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dials
}

func (f *far) setDown(down bool) {
	f.mu.Lock()
	f.down = down
	f.mu.Unlock()
}

// client is a Client of the far service, which has just connected.
func (f *far) client(opts *scamp.Options) (*scamp.Client, *wire) {
	f.t.Helper()
	var o scamp.Options
	if opts != nil {
		o = *opts
	}
	o.Dial = f.dial
	c, err := scamp.Dial(f.t.Context(), "127.0.0.1:30100", scamp.Identity{Certificate: f.pair.Certificate}, &o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	return c, f.next()
}

// next is the next connection to arrive.
func (f *far) next() *wire {
	f.t.Helper()
	select {
	case w := <-f.conns:
		return w
	case err := <-f.fail:
		f.t.Fatalf("a connection to the far service fails: %v", err)
	case <-time.After(20 * time.Second):
		f.t.Fatal("no connection to the far service")
	}
	return nil
}

// announce makes bus believe in an instance of the far service.
func (f *far) announce(bus *scamp.Bus, ident, addr string, actions ...discovery.Action) {
	f.t.Helper()
	if len(actions) == 0 {
		actions = []discovery.Action{{Class: "Sample", Name: "echo"}}
	}
	a := &discovery.Announcement{Ident: ident, Weight: 1, Address: "beepish+tls://" + addr, Envelopes: []string{"json"},
		Actions: actions, Timestamp: time.Now().UnixMicro(), Certificate: f.pair.Certificate}
	if _, err := a.Sign(f.pair.Key); err != nil {
		f.t.Fatal(err)
	}
	if err := bus.Directory().Add(a); err != nil {
		f.t.Fatal(err)
	}
}

// bus is a bus that reaches the far service whatever it dials, and allows it all.
func (f *far) bus(opts *scamp.Options) *scamp.Bus {
	f.t.Helper()
	var o scamp.Options
	if opts != nil {
		o = *opts
	}
	if o.Dial == nil {
		o.Dial = f.dial
	}
	n := scamptest.New(f.t)
	n.Allow(f.pair, "main:ALL")
	return n.Bus(&o)
}

// known is a caller of the far service, which has announced itself and not as one of the
// original Go implementation. Its first call makes the connection.
func (f *far) known(actions ...discovery.Action) *scamp.Bus {
	f.t.Helper()
	bus := f.bus(nil)
	f.announce(bus, "far:1", "127.0.0.1:30100", actions...)
	return bus
}

// outcome is what became of a call, asked for in the background.
type outcome struct {
	reply *scamp.Reply
	body  string
	err   error
}

// inBackground calls and reads the whole reply.
func inBackground(ctx context.Context, c scamp.Caller, req *scamp.Request) <-chan outcome {
	done := make(chan outcome, 1)
	go func() { // ends with the call
		var o outcome
		if o.reply, o.err = c.Call(ctx, req); o.err == nil {
			var b []byte
			b, o.err = o.reply.Bytes(0)
			o.body = string(b)
		}
		done <- o
	}()
	return done
}

// ranOf is Ran of a failed call; -1 if err is no CallError.
func ranOf(err error) scamp.Ran {
	var ce *scamp.CallError
	if !errors.As(err, &ce) {
		return -1
	}
	return ce.Ran
}
