package scamptest_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// portOf is the port of an address, which is one.
func portOf(t *testing.T, a net.Addr) int {
	t.Helper()
	_, port, err := net.SplitHostPort(a.String())
	n, nerr := strconv.ParseUint(port, 10, 16)
	if err != nil || nerr != nil {
		t.Fatalf("address %s: %v, %v: want a port of at most 65535", a, err, nerr)
	}
	return int(n)
}

// TestPortsComeAgain: a test may open as many listeners and connections as it likes, one
// after the other. One that is open keeps its address for itself.
func TestPortsComeAgain(t *testing.T) {
	const many = 50_000
	n := scamptest.New(t)
	listen := func() net.Listener {
		l, err := n.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	first := listen()
	for i := range many {
		l := listen()
		if portOf(t, l.Addr()) == portOf(t, first.Addr()) {
			t.Fatalf("listener %d is at %s, where another one is", i, l.Addr())
		}
		l.Close()
	}
	done := make(chan struct{})
	go func() { // ends with the listener
		defer close(done)
		for {
			c, err := first.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection
				c.Read(make([]byte, 1))
				c.Close()
			}()
		}
	}()
	dial := func() net.Conn {
		c, err := n.Dial(t.Context(), "tcp", first.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	lasting := dial()
	for i := range many {
		c := dial()
		if portOf(t, c.LocalAddr()) == portOf(t, lasting.LocalAddr()) {
			t.Fatalf("connection %d comes from %s, where another one does", i, c.LocalAddr())
		}
		c.Close()
	}
	lasting.Close()
	first.Close()
	<-done
}

// TestPortsRunOut: more listeners at once than there are ports is an error that says so.
func TestPortsRunOut(t *testing.T) {
	n := scamptest.New(t)
	for i := range 1 << 16 {
		if _, err := n.Listen("tcp", "127.0.0.1:0"); err != nil {
			if !errors.Is(err, syscall.EADDRNOTAVAIL) || i < 10_000 {
				t.Errorf("listener %d: %v, want the ports to run out, and not so soon", i, err)
			}
			return
		}
	}
	t.Error("65536 listeners at once, want an error")
}

// TestRestartsAreForgotten: what was restarted leaves nothing behind but what its buses
// have told others, so that a test may restart a service all day.
func TestRestartsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		s := n.Serve("phoenix", func(s *scamp.Service) {
			scamp.HandleJSON(s, "Phoenix.ashes", func(context.Context, int) (int, error) { return 1, nil }, nil)
		})
		caller := n.Bus(nil)
		var old []weak.Pointer[scamp.Bus]
		for range 20 {
			old = append(old, weak.Make(s.Bus))
			s = n.Restart(s)
			if _, err := scamp.Call[int](t.Context(), caller, "Phoenix.ashes", 1); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(time.Hour) // whatever waits for something is over
		left := 0
		for range 5 {
			runtime.GC()
			synctest.Wait()
			left = 0
			for _, p := range old {
				if p.Value() != nil {
					left++
				}
			}
		}
		if left > 1 { // the last one may still stand on a stack
			t.Errorf("%d of %d buses that were closed are held", left, len(old))
		}
		if held := n.Held(); held.Hosts != 2 {
			t.Errorf("%+v is held for two buses", held)
		}
		n.Kill(s)
		<-time.After(time.Hour)
		if held := n.Held(); held.Hosts != 1 || held.Gone > left+1 || held.Connections != 0 {
			t.Errorf("%+v is held for one bus that calls nobody, of %d that are closed", held, len(old)+1)
		}
	})
}

// TestPartedAreForgotten: who is closed behind a partition is forgotten when that ends.
func TestPartedAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		a, b := n.Bus(nil), n.Bus(nil)
		heal := n.Partition(a, b)
		b.Close()
		heal()
		if held := n.Held(); held.Hosts != 1 {
			t.Errorf("%+v is held for one bus", held)
		}
	})
}

// TestStalledAreForgotten: a connection that was closed while nothing moved is forgotten,
// and its port free, when all moves again.
func TestStalledAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPing(t)
		c, err := p.Dial(t.Context(), "tcp", p.s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		p.Disturb(p.s, scamptest.Line{Stall: true})
		c.Close()
		<-time.After(time.Minute) // the service gives the handshake up
		if held := p.Held(); held.Connections != 1 {
			t.Errorf("%+v is held while one connection stalls", held)
		}
		p.Disturb(p.s, scamptest.Line{})
		<-time.After(time.Minute)
		if held := p.Held(); held.Connections != 0 {
			t.Errorf("%+v is held though no connection is open", held)
		}
	})
}
