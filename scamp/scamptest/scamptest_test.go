package scamptest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// ends returns both ends of a connection on a network.
func ends(t *testing.T) (a, b net.Conn) {
	t.Helper()
	n := scamptest.New(t)
	l, err := n.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	accepted := make(chan net.Conn, 1)
	go func() { // ends when a connection comes, or l is closed
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
	}()
	a, err = n.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b = <-accepted
	if a.RemoteAddr().String() != l.Addr().String() || b.RemoteAddr().String() != a.LocalAddr().String() {
		t.Errorf("addresses %v to %v and %v to %v, want them to match", a.LocalAddr(), a.RemoteAddr(), b.LocalAddr(), b.RemoteAddr())
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// TestPipeIsLikeTCP checks what code above it may expect of a connection.
func TestPipeIsLikeTCP(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, a, b net.Conn)
	}{
		{"writes do not wait for reads", func(t *testing.T, a, b net.Conn) {
			for _, c := range []net.Conn{a, b} {
				if n, err := c.Write(make([]byte, 64<<10)); n != 64<<10 || err != nil {
					t.Errorf("Write of a whole buffer: %d, %v", n, err)
				}
			}
		}},
		{"a full buffer waits for a reader", func(t *testing.T, a, b net.Conn) {
			body := bytes.Repeat([]byte("x"), 1<<20)
			done := make(chan error, 1)
			go func() { _, err := a.Write(body); done <- err }() // ends when all is read
			got := make([]byte, len(body))
			if _, err := io.ReadFull(b, got); err != nil || !bytes.Equal(got, body) {
				t.Errorf("1 MiB: %v, or other octets", err)
			}
			if err := <-done; err != nil {
				t.Errorf("Write: %v", err)
			}
		}},
		{"what was written before Close can be read", func(t *testing.T, a, b net.Conn) {
			a.Write([]byte("last words"))
			a.Close()
			if got, err := io.ReadAll(b); string(got) != "last words" || err != nil {
				t.Errorf("after Close: %q, %v", got, err)
			}
			if _, err := b.Write([]byte("x")); err == nil {
				t.Error("Write to an end that is closed: no error")
			}
			if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Read after Close: %v, want net.ErrClosed", err)
			}
		}},
		{"one direction can end", func(t *testing.T, a, b net.Conn) {
			a.(interface{ CloseWrite() error }).CloseWrite()
			if _, err := b.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("Read after CloseWrite: %v, want EOF", err)
			}
			b.Write([]byte("x"))
			if n, err := a.Read(make([]byte, 2)); n != 1 || err != nil {
				t.Errorf("the other direction: %d, %v, want it open", n, err)
			}
			if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Write after CloseWrite: %v, want net.ErrClosed", err)
			}
		}},
		{"deadlines end waits", func(t *testing.T, a, b net.Conn) {
			began := time.Now()
			a.SetDeadline(began.Add(3 * time.Second))
			if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 3*time.Second {
				t.Errorf("Read with a deadline: %v after %v", err, time.Since(began))
			}
			if n, err := a.Write(make([]byte, 1<<20)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Write past a deadline: %d, %v", n, err)
			}
			a.SetDeadline(time.Time{})
			a.SetWriteDeadline(time.Now().Add(time.Second))
			if n, err := a.Write(make([]byte, 1<<20)); n != 64<<10 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Write with a deadline: %d, %v, want a buffer full", n, err)
			}
			b.Write([]byte("x"))
			if n, err := a.Read(make([]byte, 1)); n != 1 || err != nil {
				t.Errorf("Read after the deadline was taken away: %d, %v", n, err)
			}
			b.SetReadDeadline(time.Now().Add(-time.Second))
			if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Read with a deadline that has passed: %v", err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := ends(t)
				tt.run(t, a, b)
			})
		})
	}
}

func pong(context.Context, *scamp.Request, *scamp.ReplyWriter) error { return nil }

// TestFaults checks what a network can do to a service.
func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		s := n.Serve("ping", func(s *scamp.Service) { s.Handle("Ping.pong", pong, nil) })
		bus := n.Bus(nil)
		call := func() error {
			_, err := bus.Call(t.Context(), &scamp.Request{Action: "Ping.pong"})
			return err
		}
		if err := call(); err != nil {
			t.Fatal(err)
		}
		n.Cut(s)
		synctest.Wait()
		if err := call(); err != nil {
			t.Errorf("after Cut: %v, want a new connection", err)
		}
		n.Kill(s)
		synctest.Wait()
		if err := call(); !errors.Is(err, scamp.ErrNoDial) {
			t.Errorf("after Kill: %v, want ErrNoDial: it said no goodbye", err)
		}
		stranger := n.KeyPair()
		n.ServeWith("ping", &scamp.ServiceOptions{KeyPair: stranger}, func(s *scamp.Service) { s.Handle("Other.pong", pong, nil) })
		_, err := bus.Call(t.Context(), &scamp.Request{Action: "Other.pong"})
		if !errors.Is(err, scamp.ErrDenied) {
			t.Errorf("service without a rule: %v, want ErrDenied", err)
		}
		n.Allow(stranger, "main:Other")
		if _, err := bus.Call(t.Context(), &scamp.Request{Action: "Other.pong"}); err != nil {
			t.Errorf("after Allow: %v", err)
		}
		late := n.Bus(nil) // knows what the others have heard
		if _, err := late.Call(t.Context(), &scamp.Request{Action: "Other.pong"}); err != nil {
			t.Errorf("bus made later: %v", err)
		}
	})
}

func TestListen(t *testing.T) {
	n := scamptest.New(t)
	l, err := n.Listen("tcp", "127.0.0.1:30100")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Listen("tcp", "127.0.0.1:30100"); err == nil {
		t.Error("Listen on an address in use: no error")
	}
	l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v, want net.ErrClosed", err)
	}
	if _, err := n.Dial(t.Context(), "tcp", "127.0.0.1:30100"); err == nil {
		t.Error("Dial to a listener that is closed: no error")
	}
	if _, err := n.Listen("tcp", "nonsense"); err == nil {
		t.Error("Listen on nonsense: no error")
	}
}
