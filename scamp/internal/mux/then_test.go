package mux_test

import (
	"bytes"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// told counts how often it is told that a message has ended.
type told struct{ times atomic.Int32 }

func (n *told) Ended() { n.times.Add(1) }

func TestThenIsToldOnce(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(c *mux.Conn, o *mux.Outbound)
	}{
		{"EOF", func(_ *mux.Conn, o *mux.Outbound) { o.CloseSend() }},
		{"TXERR", func(_ *mux.Conn, o *mux.Outbound) { o.Abort("enough") }},
		{"connection lost", func(c *mux.Conn, _ *mux.Outbound) { c.Close() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pipe(t)
				e := run(t, a.rw, a.link, mux.Options{})
				run(t, b.rw, b.link, mux.Options{Accept: func(m *mux.Inbound) { m.Discard() }})
				o, err := e.Send(&packet.Header{Type: packet.TypeRequest}, mux.Body{More: true}, nil)
				if err != nil {
					t.Fatal(err)
				}
				var n told
				if !o.Then(&n) {
					t.Fatal("Then of an open message: false, want true")
				}
				synctest.Wait()
				if got := n.times.Load(); got != 0 {
					t.Errorf("told %d times while the message is open, want 0", got)
				}
				tt.end(e.Conn, o)
				synctest.Wait()
				e.Close()
				synctest.Wait()
				if got := n.times.Load(); got != 1 {
					t.Errorf("told %d times, want once", got)
				}
				if o.Then(&n) {
					t.Error("Then of a message that has ended: true, want false")
				}
			})
		})
	}
}

// What Hold returns stays what it was until Release, whatever arrives meanwhile.
func TestHoldKeepsTheBody(t *testing.T) { synctest.Test(t, testHold) }

func testHold(t *testing.T) {
	a, b := pipe(t)
	e := run(t, a.rw, a.link, mux.Options{})
	in := make(chan *mux.Inbound, 1)
	run(t, b.rw, b.link, mux.Options{Accept: func(m *mux.Inbound) { in <- m }})
	send := func(body []byte) *mux.Inbound {
		if _, err := e.Send(&packet.Header{Type: packet.TypeRequest}, mux.Body{Data: body}, nil); err != nil {
			t.Fatal(err)
		}
		m := <-in
		synctest.Wait() // until all of it is there
		return m
	}
	for _, size := range []int{0, 1, 512, 513, 16384} {
		want := octets(size)
		m := send(want)
		got, held, ok := m.Hold(16384)
		if !ok || !bytes.Equal(got, want) {
			t.Fatalf("Hold of %d octets: %d octets, %v, want all of them", size, len(got), ok)
		}
		if n := m.Unread(); n != 0 {
			t.Errorf("Hold of %d octets: %d are unread after it, want 0", size, n)
		}
		for range 20 {
			send(bytes.Repeat([]byte{'y'}, max(size, 1))).Discard()
		}
		if !bytes.Equal(got, want) {
			t.Errorf("Hold of %d octets: other octets after more messages, before Release", size)
		}
		held.Release()
	}
	m := send(octets(1000))
	if _, _, ok := m.Hold(999); ok {
		t.Error("Hold of 1000 octets with a limit of 999: true, want false")
	}
	if got, err := m.Bytes(1000); err != nil || len(got) != 1000 {
		t.Errorf("Bytes after a Hold that refused: %d octets, %v, want 1000", len(got), err)
	}
}
