package scamp_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"sync"
	"testing"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A tapped connection keeps what passes.
type tapped struct {
	net.Conn
	mu        sync.Mutex
	sent, got []byte
}

func (c *tapped) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.sent = append(c.sent, p...) // before it can be answered
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *tapped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, p[:n]...)
	return n, err
}

// longest is the length of the longest TLS record of application data.
func longest(octets []byte) (most int) {
	for len(octets) >= 5 {
		n := int(binary.BigEndian.Uint16(octets[3:5]))
		if octets[0] == 23 {
			most = max(most, n)
		}
		octets = octets[min(5+n, len(octets)):]
	}
	return most
}

// TestRecordsAreLargeFromTheFirst: crypto/tls cuts what is written on a new connection
// into records of one TCP segment each unless it is told not to. Neither end of ours
// does (DESIGN 3.5): the first body that is longer fills a record.
func TestRecordsAreLargeFromTheFirst(t *testing.T) {
	n := scamptest.New(t)
	n.Serve("lab", lab)
	var mu sync.Mutex
	var taps []*tapped
	bus := n.Bus(&scamp.Options{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := n.Dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		tap := &tapped{Conn: c}
		mu.Lock()
		defer mu.Unlock()
		taps = append(taps, tap)
		return tap, nil
	}})
	body := bytes.Repeat([]byte("x"), 40_000)
	reply, err := bus.Call(t.Context(), &scamp.Request{Action: "Lab.echo", Data: body})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := reply.Bytes(0); err != nil || !bytes.Equal(got, body) {
		t.Fatalf("echo: %d octets, %v", len(got), err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(taps) != 1 {
		t.Fatalf("%d connections, want 1", len(taps))
	}
	tap := taps[0]
	tap.mu.Lock()
	defer tap.mu.Unlock()
	if sent, got := longest(tap.sent), longest(tap.got); sent < 16000 || got < 16000 {
		t.Errorf("longest records of a body of 40,000 octets: %d sent, %d received; want 16 KiB", sent, got)
	}
}
