package mux_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// endsAfter waits for the end of the connection and compares when it came.
func endsAfter(t *testing.T, e *end, began time.Time, want time.Duration, why error) {
	t.Helper()
	<-e.ran
	if took := time.Since(began); took != want || !errors.Is(e.err, why) {
		t.Errorf("ended after %v with %v, want %v with %v", took, e.err, want, why)
	}
}

// TestIdle: a connection closes when nothing was open and no octet moved for the
// idle time (PROTOCOL 4.6).
func TestIdle(t *testing.T) {
	const idle = 120 * time.Second
	t.Run("nothing at all", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			began := time.Now()
			e, _ := talk(t, mux.Options{Idle: idle})
			endsAfter(t, e, began, idle, mux.ErrIdle)
			if n := e.stats.Count(mux.IdleClosed); n != 1 {
				t.Errorf("idle_closed %d, want 1", n)
			}
		})
	})
	t.Run("an octet read restarts it", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			e, w := talk(t, mux.Options{Idle: idle})
			time.Sleep(100 * time.Second)
			w.send(ping(0))
			endsAfter(t, e, time.Now(), idle, mux.ErrIdle)
		})
	})
	t.Run("half a packet restarts it too", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			e, w := talk(t, mux.Options{Idle: idle})
			time.Sleep(100 * time.Second)
			w.send("HEAD")
			endsAfter(t, e, time.Now(), idle, mux.ErrIdle)
		})
	})
	t.Run("an octet written restarts it", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			e, _ := talk(t, mux.Options{Idle: idle})
			time.Sleep(100 * time.Second)
			if _, err := e.Send(reply(), mux.Body{}, nil); err != nil {
				t.Fatal(err)
			}
			endsAfter(t, e, time.Now(), idle, mux.ErrIdle)
		})
	})
	t.Run("an open message from the peer", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			e, w := talk(t, mux.Options{Idle: idle})
			w.send(header(0, jsRequest))
			time.Sleep(1000 * time.Second)
			w.send(eof(0))
			endsAfter(t, e, time.Now(), idle, mux.ErrIdle)
		})
	})
	t.Run("an open message of ours", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			e, _ := talk(t, mux.Options{Idle: idle})
			o, err := e.Send(reply(), mux.Body{More: true}, nil)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(1000 * time.Second)
			o.CloseSend()
			endsAfter(t, e, time.Now(), idle, mux.ErrIdle)
		})
	})
	t.Run("work elsewhere", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			began := time.Now()
			e, _ := talk(t, mux.Options{Idle: idle, Busy: func() bool { return time.Since(began) < 1000*time.Second }})
			<-e.ran
			// Busy is asked once in an idle time.
			if took := time.Since(began); took < 1000*time.Second+idle || took > 1000*time.Second+2*idle {
				t.Errorf("ended after %v, want it after 1000s and one idle time, at most two", took)
			}
		})
	})
	t.Run("never", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			e, _ := talk(t, mux.Options{})
			time.Sleep(24 * time.Hour)
			if err := e.Err(); err != nil {
				t.Error(err)
			}
		})
	})
}

// TestHeartbeat: while something is open, a silent peer that knows PING is asked,
// and the connection ends when it stays silent (PROTOCOL 4.7).
func TestHeartbeat(t *testing.T) {
	const beat = 15 * time.Second
	t.Run("not answered", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			began := time.Now()
			e, w := talk(t, mux.Options{Heartbeat: beat})
			w.send(header(0, oursRequest))
			time.Sleep(beat + time.Second)
			w.wants("silence of an interval", "PING 0")
			endsAfter(t, e, began, 2*beat, mux.ErrSilent)
			if n := e.stats.Count(mux.PeerSilent); n != 1 {
				t.Errorf("peer_silent %d, want 1", n)
			}
		})
	})
	t.Run("answered", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			e, w := talk(t, mux.Options{Heartbeat: beat})
			w.send(header(0, oursRequest))
			for range 20 {
				time.Sleep(beat + time.Second)
				w.wants("silence of an interval", "PING 0")
				w.send(pack(packet.KindPONG, 0, ""))
			}
			// And not while there is talk.
			for range 20 {
				time.Sleep(10 * time.Second)
				w.send(data(0, "x"))
			}
			if got := describe(kindsOnly(w.packets(), packet.KindPING)); len(got) > 0 || e.Err() != nil {
				t.Errorf("while the peer talks: %q, %v; want no PING", got, e.Err())
			}
			w.send(eof(0))
			time.Sleep(10 * beat)
			if got := describe(kindsOnly(w.packets(), packet.KindPING)); len(got) > 0 || e.Err() != nil {
				t.Errorf("while nothing is open: %q, %v; want no PING", got, e.Err())
			}
		})
	})
	t.Run("only peers that know it", func(t *testing.T) {
		for _, tt := range []struct {
			name, wire string
			any        bool
			want       int
		}{
			{"no ext", header(0, jsRequest), false, 0},
			{"ext", header(0, oursRequest), false, 1},
			{"has sent PING itself", header(0, jsRequest) + ping(0), false, 1},
			{"any", header(0, jsRequest), true, 1},
		} {
			bubble(t, func(t *testing.T) {
				_, w := talk(t, mux.Options{Heartbeat: beat, PingAny: tt.any})
				w.send(tt.wire)
				time.Sleep(beat + time.Second)
				if got := kindsOnly(w.packets(), packet.KindPING); len(got) != tt.want {
					t.Errorf("%s: %d PINGs, want %d", tt.name, len(got), tt.want)
				}
			})
		}
	})
	t.Run("idle shorter than the interval", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			began := time.Now()
			e, w := talk(t, mux.Options{Heartbeat: beat, Idle: 4 * time.Second})
			w.send(header(0, oursRequest))
			endsAfter(t, e, began, 2*beat, mux.ErrSilent)
		})
	})
}

func kindsOnly(all []packet.Packet, k packet.Kind) (some []packet.Packet) {
	for _, p := range all {
		if p.Kind == k {
			some = append(some, p)
		}
	}
	return some
}

// TestShutdown: what is queued is written, the peer is told, what it still says is
// read, and the connection ends when it closes too or after the wait.
func TestShutdown(t *testing.T) {
	onAll(t, func(t *testing.T, n network) {
		var s shelf
		a, b := n.make(t)
		closing := run(t, a.rw, a.link, mux.Options{})
		other := run(t, b.rw, b.link, mux.Options{Accept: s.accept})
		if n.name == "tls" || n.name == "tcp" {
			// These can tell the end of one direction; the other end closes on it.
			for range 100 {
				if _, err := closing.Send(reply(), mux.Body{Data: octets(10_000)}, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		began := time.Now()
		closing.Shutdown(20 * time.Second)
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("Shutdown took %v, want it over when the peer has closed", took)
		}
		if err := closing.over(t); !errors.Is(err, io.EOF) && !errors.Is(err, mux.ErrClosed) {
			t.Errorf("Run: %v, want io.EOF or ErrClosed", err)
		}
		if err := other.over(t); err != io.EOF {
			t.Errorf("the other Run: %v, want io.EOF", err)
		}
		if n.name == "tls" || n.name == "tcp" {
			s.mu.Lock()
			defer s.mu.Unlock()
			for i, m := range s.all {
				if body, err := m.Bytes(1 << 20); err != nil || len(body) != 10_000 {
					t.Fatalf("message %d: %d octets, %v", i, len(body), err)
				}
			}
			if len(s.all) != 100 {
				t.Errorf("%d messages arrived, want all 100: stopping loses nothing", len(s.all))
			}
		}
		if _, err := closing.Send(reply(), mux.Body{}, nil); err == nil {
			t.Error("Send after Shutdown: no error")
		}
	})
}

// TestShutdownWaits: not longer than it may, for a peer that reads nothing or does
// not close; what is begun meanwhile is refused.
func TestShutdownWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, _ := mute(t, mux.Options{})
		if _, err := e.Send(reply(), mux.Body{Data: octets(1000)}, nil); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		go func() { // ends at once
			synctest.Wait()
			if _, err := e.Send(reply(), mux.Body{}, nil); !errors.Is(err, mux.ErrClosed) {
				t.Errorf("Send during Shutdown: %v, want ErrClosed", err)
			}
		}()
		e.Shutdown(time.Second)
		endsAfter(t, e, began, time.Second, mux.ErrClosed)
	})
	// Half closed, but the peer goes on.
	near, far := tcp(t)
	defer far.Close()
	link := mux.NewLink(near)
	e := run(t, link, link, mux.Options{})
	if _, err := e.Send(reply(), mux.Body{Data: octets(1 << 16)}, nil); err != nil {
		t.Fatal(err)
	}
	go e.Shutdown(100 * time.Millisecond) // ends after that
	got, err := io.ReadAll(far)
	if err != nil || len(got) < 1<<16 {
		t.Errorf("peer read %d octets, %v; want all of them and the end", len(got), err)
	}
	if err := e.over(t); !errors.Is(err, mux.ErrClosed) {
		t.Errorf("Run: %v, want ErrClosed", err)
	}
}

// TestCloseBeforeRun: a Conn that was closed first runs to its end at once.
func TestCloseBeforeRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		link := mux.NewLink(near)
		c := mux.New(link, link, mux.Options{Idle: time.Hour})
		o, err := c.Send(request(), mux.Body{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if err := c.Run(); !errors.Is(err, mux.ErrClosed) {
			t.Errorf("Run: %v, want ErrClosed", err)
		}
		if err := o.Wait(t.Context(), "gone"); err != nil && !errors.Is(err, mux.ErrLost) {
			t.Errorf("Wait: %v", err)
		}
		if _, err := c.Send(request(), mux.Body{}, nil); !errors.Is(err, mux.ErrClosed) {
			t.Errorf("Send: %v, want ErrClosed", err)
		}
	})
}
