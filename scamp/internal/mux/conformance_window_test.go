package mux_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

func windowOfAPeerThatNeverAcks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, w := talk(t, mux.Options{})
		send(t, e, request(), mux.Body{Data: octets(1 << 20)})
		if got := inFlight(w.packets())[0]; got != 65536 {
			t.Errorf("%d octets sent, want 65536", got)
		}
		send(t, e, request(), mux.Body{Data: octets(40_000)})
		if all := w.packets(); inFlight(all)[1] != 40_000 || !slices.Contains(describe(all), "EOF 1") {
			t.Errorf("another message: %q, want all of it", describe(all))
		}
	})
}

func windowAnnounced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, w := talk(t, mux.Options{})
		w.send(header(0, extHeader(500_000)))
		synctest.Wait()
		send(t, e, request(), mux.Body{Data: octets(2 << 20)})
		send(t, e, request(), mux.Body{Data: octets(2 << 20)})
		flight := inFlight(w.packets())
		if over := flight[0] - 65536 + flight[1] - 65536; over != 500_000 || flight[0] > 500_000 || flight[1] > 500_000 {
			t.Errorf("%v in flight: want at most 500000 each, and 500000 beyond 65536 each together", flight)
		}
	})
}

func anAckMakesRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, w := talk(t, mux.Options{})
		send(t, e, request(), mux.Body{Data: octets(1 << 20)})
		w.take()
		last := 0
		for _, n := range []int{1, 100, 16384, 16385, 50_000, 65536} {
			last += n
			w.send(ack(0, last))
			if got := inFlight(w.packets())[0]; got != n {
				t.Errorf("after an ACK of %d octets more: %d sent, want as many", n, got)
			}
		}
	})
}

func acksWeSend(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var lib library
		_, w := talk(t, mux.Options{Accept: lib.accept})
		w.send(header(0, jsRequest))
		received, last := 0, 0
		for i := range 200 {
			size := i * 37 % 2000
			received += size
			w.send(data(0, string(octets(size))))
			for _, a := range w.take() {
				n := -1
				fmt.Sscanf(a, "ACK 0 %d", &n)
				if n <= last || n > received {
					t.Fatalf("sent %q after %d octets and count %d", a, received, last)
				}
				last = n
			}
		}
		if last != received {
			t.Errorf("last count %d, want %d", last, received)
		}
	})
}

func everythingReadIsAcknowledged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var s shelf
		_, w := talk(t, mux.Options{Accept: s.accept})
		w.send(header(0, jsRequest) + data(0, "abcdef"))
		m := s.message(t)
		w.wants("nothing was read")
		buf := make([]byte, 4)
		m.Read(buf)
		w.wants("more is at hand, and less than half a window was read")
		m.Read(buf)
		w.wants("nobody waits yet")
		go m.Read(buf) // ends with the connection
		w.wants("the handler waits for more", "ACK 0 6")
		w.send(stream(0, 32768, 16384))
		w.wants("one read, and the rest is there")
		for n := 4; n < 32768; n += 4 {
			m.Read(buf)
		}
		w.wants("half a window was read", "ACK 0 32774")
	})
}

func shortCompleteMessageGetsNoAck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var s shelf
		_, w := talk(t, mux.Options{Accept: s.accept})
		w.send(header(0, jsRequest) + stream(0, 32768, 16384) + eof(0) + header(1, jsRequest) + stream(1, 32769, 16384) + eof(1))
		for _, m := range s.messages() {
			if _, err := m.Bytes(1 << 20); err != nil {
				t.Fatal(err)
			}
		}
		w.wants("complete messages of half a window, and of one octet more", "ACK 1 32769")
	})
	bubble(t, func(t *testing.T) { // thrown away, and nobody there to take it
		_, w := talk(t, mux.Options{})
		w.send(header(0, jsRequest) + stream(0, 300, 100) + eof(0))
		w.wants("complete message, thrown away")
	})
}

func handlerThatDoesNotRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var s shelf
		_, w := talk(t, mux.Options{Accept: s.accept})
		w.send(header(0, jsRequest) + stream(0, 65536, 16384))
		w.wants("a handler that does not read")
		m := s.message(t)
		w.send(header(1, jsRequest) + stream(1, 65536, 16384))
		synctest.Wait()
		s.messages()[1].Discard()
		w.wants("another message, discarded", "ACK 1 65536")
		if _, err := io.ReadFull(inboundReader{m}, make([]byte, 65536)); err != nil {
			t.Fatal(err)
		}
		w.wants("the handler has read", "ACK 0 65536")
	})
}

func limitsOfUnreadOctets(t *testing.T) {
	for _, tt := range []struct {
		header string
		limit  int
	}{{jsRequest, 196608}, {oursRequest, 1<<20 + 131072}} {
		bubble(t, func(t *testing.T) {
			var s shelf
			e, w := talk(t, mux.Options{Accept: s.accept})
			w.send(header(0, tt.header) + stream(0, tt.limit, 16384) + header(1, jsRequest) + data(1, "x"))
			synctest.Wait()
			if n := e.stats.Count(mux.WindowViolated); n != 0 {
				t.Fatalf("%d octets unread: window_violated %d, want 0", tt.limit, n)
			}
			w.send(data(0, "x"))
			synctest.Wait()
			all := s.messages()
			if _, err := all[0].Read(make([]byte, 1)); !errors.Is(err, mux.ErrWindow) || all[1].Unread() != 1 || e.Err() != nil {
				t.Errorf("%d octets unread: %v; the other message has %d, the connection is %v", tt.limit+1, err, all[1].Unread(), e.Err())
			}
		})
	}
	bubble(t, func(t *testing.T) { // what scamp refuses new requests by
		e, w := talk(t, mux.Options{Accept: new(shelf).accept})
		for no := range uint64(100) {
			w.send(header(no, jsRequest) + stream(no, 65536, 65536))
		}
		synctest.Wait()
		if got := e.Unread(); got != 100*65536 {
			t.Errorf("Unread %d, want %d", got, 100*65536)
		}
	})
	// An honest peer with 300 requests at once has all of them served.
	c, server := connect(t, networks[2], mux.Options{}, echo)
	var group sync.WaitGroup
	for i := range 300 {
		group.Go(func() {
			want := octets(1000 * (i % 80))
			got, err := c.echo(want)
			if err == nil {
				err = diff(got, want)
			}
			if err != nil {
				t.Errorf("request %d: %v", i, err)
			}
		})
	}
	group.Wait()
	for _, e := range []*end{c.end, server} {
		if n := e.stats.Count(mux.WindowViolated); n != 0 {
			t.Errorf("window_violated %d, want 0", n)
		}
	}
}

func acksThatMakeNoSense(t *testing.T) {
	for _, tt := range []struct {
		acks  string
		fatal bool
	}{
		{ack(0, "x"), true}, {ack(0, "12abc"), true}, {ack(0, ""), true}, {ack(0, "0"), true},
		{ack(0, 10) + ack(0, 9), true}, {ack(0, 1001), true},
		{ack(0, 10) + ack(0, 10), false}, {ack(42, 10), false}, {ack(42, "x"), false},
	} {
		bubble(t, func(t *testing.T) {
			e, w := talk(t, mux.Options{})
			send(t, e, request(), mux.Body{Data: octets(1000), More: true})
			w.take()
			w.send(tt.acks)
			if got := fatal(e); got != tt.fatal {
				t.Errorf("%q: fatal %v (%v), want %v", tt.acks, got, e.Err(), tt.fatal)
			}
		})
	}
}
