//go:build resource

package scamp_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// TestResourceIdleConnection: what a connection that was used once holds, stacks
// included, is no more than twice what TLS alone does (DESIGN 7, idle connection). Both
// ends are in this process, and both are measured in the same way.
func TestResourceIdleConnection(t *testing.T) {
	const connections = 300
	pair := samplePair(t)
	bare := held(t, connections, tlsPairs(t, pair))

	bus, err := scamp.Open(nil, &scamp.Options{Carriers: []discovery.Carrier{discovery.NewLoopback()}})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	svc, err := bus.NewService("echo", &scamp.ServiceOptions{Listen: []string{"127.0.0.1:0"}, KeyPair: pair, Grace: -1, Drain: -1})
	if err != nil {
		t.Fatal(err)
	}
	svc.Handle("Echo.echo", echo, nil)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- svc.Serve(ctx) }() // ends with the test
	defer func() { cancel(); <-served }()
	<-svc.Ready()
	ours := held(t, connections, func() io.Closer {
		c, err := scamp.Dial(t.Context(), svc.Addr(), scamp.Identity{Certificate: pair.Certificate}, nil)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := c.Call(t.Context(), &scamp.Request{Action: "Echo.echo", Data: []byte("small")})
		if err == nil {
			_, err = reply.Bytes(0)
		}
		if err != nil {
			t.Fatal(err)
		}
		return c
	})
	t.Logf("an idle connection holds %d octets at both ends, TLS alone %d", ours, bare)
	if ours > 2*bare {
		t.Errorf("an idle connection holds %d octets at both ends, want at most twice the %d of TLS alone", ours, bare)
	}
}

// tlsPairs returns what makes a TLS connection, both ends of which were used once and
// have a goroutine that reads.
func tlsPairs(t *testing.T, pair *scamp.KeyPair) func() io.Closer {
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair.TLS()}, SessionTicketsDisabled: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	copyAll := func(to io.Writer, c net.Conn) { // with as little as may be
		defer c.Close()
		b := make([]byte, 512)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			to.Write(b[:n])
		}
	}
	go func() { // ends with l
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go copyAll(c, c) // ends with the other end
		}
	}()
	return func() io.Closer {
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 5)
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
		go copyAll(io.Discard, c) // ends with c
		return c
	}
}

// held returns how many octets each of n connections holds at rest.
func held(t *testing.T, n int, open func() io.Closer) int {
	t.Helper()
	open().Close() // what is made once
	before := inUse()
	all := make([]io.Closer, n)
	for i := range all {
		all[i] = open()
	}
	after := inUse()
	for _, c := range all {
		c.Close()
	}
	return (after - before) / n
}

// inUse is what this process holds when nothing is under way.
func inUse() int {
	least := 0
	for range 5 {
		time.Sleep(100 * time.Millisecond) // what is not over yet, and finalizers
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if n := int(m.HeapAlloc + m.StackInuse); least == 0 || n < least {
			least = n
		}
	}
	return least
}
