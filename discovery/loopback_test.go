package discovery_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
)

// TestLoopback: everybody hears everybody, the sender included, on the interface
// it was sent on; whoever left hears nothing.
func TestLoopback(t *testing.T) {
	a := discovery.NewLoopback()
	b, c := a.Join(), a.Join()
	eth := discovery.Iface{Name: "eth0", Index: 2, Addr: netip.MustParseAddr("192.0.2.1")}
	data := []byte("one")
	if err := a.Send(t.Context(), eth, data); err != nil {
		t.Fatal(err)
	}
	data[0] = 'X' // the sender may do what it likes with it
	for _, m := range []*discovery.Loopback{a, b, c} {
		dg, err := m.Receive(t.Context())
		if err != nil || string(dg.Data) != "one" || dg.Iface != eth || !dg.From.IsValid() {
			t.Errorf("Receive: %+v, %v: want what was sent", dg, err)
		}
	}
	for range 2 {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := c.Send(t.Context(), discovery.Iface{}, []byte("two")); err != nil {
		t.Error(err)
	}
	if dg, err := a.Receive(t.Context()); err != nil || dg.Iface != a.Iface() {
		t.Errorf("Receive: %+v, %v: want the interface of the segment", dg, err)
	}
	if _, err := b.Receive(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Receive after Close: %v: want net.ErrClosed", err)
	}
	if err := b.Send(t.Context(), discovery.Iface{}, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send after Close: %v: want net.ErrClosed", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Receive(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Receive with an ended context: %v: want context.Canceled", err)
	}
}

// TestLoopbackDisturbed: what a test needs of a bad network.
func TestLoopbackDisturbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := discovery.NewLoopback()
		b := a.Join()
		a.Disturb(func(_, _ discovery.Iface, data []byte) discovery.Fault {
			return discovery.Fault{Drop: data[0] == 'd', Delay: map[byte]time.Duration{'s': time.Second}[data[0]]}
		})
		start := time.Now()
		for _, text := range []string{"dropped", "slow", "fast"} {
			a.Send(t.Context(), discovery.Iface{}, []byte(text))
		}
		for _, want := range []struct {
			text  string
			after time.Duration
		}{{"fast", 0}, {"slow", time.Second}} {
			dg, err := b.Receive(t.Context())
			if err != nil || string(dg.Data) != want.text || time.Since(start) != want.after {
				t.Errorf("Receive: %q, %v after %v: want %q after %v", dg.Data, err, time.Since(start), want.text, want.after)
			}
		}
	})
}

// TestLoopbackIsBounded: a member that does not listen loses datagrams, as a
// socket does.
func TestLoopbackIsBounded(t *testing.T) {
	a := discovery.NewLoopback()
	for range 3000 {
		a.Send(t.Context(), discovery.Iface{}, []byte("x"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n := 0
	for {
		if _, err := a.Receive(ctx); err != nil {
			break
		}
		n++
	}
	if n != 1024 {
		t.Errorf("%d of 3000 datagrams waited: want 1024", n)
	}
}
