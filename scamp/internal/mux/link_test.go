package mux_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// These are the properties that DESIGN 3.5 asks of writing.

// deaf returns an end whose peer reads nothing, its socket buffers small.
func deaf(t *testing.T, opts mux.Options) (*end, net.Conn) {
	t.Helper()
	near, far := tcp(t)
	near.(*net.TCPConn).SetWriteBuffer(4 << 10)
	far.(*net.TCPConn).SetReadBuffer(4 << 10)
	t.Cleanup(func() { far.Close() })
	link := mux.NewLink(near)
	return run(t, link, link, opts), far
}

// TestStuckWriterLeavesAtItsDeadline: a caller whose octets are stuck leaves when
// its context ends, and its octets are its own again.
func TestStuckWriterLeavesAtItsDeadline(t *testing.T) {
	e, _ := deaf(t, mux.Options{})
	body := octets(1 << 20)
	var group sync.WaitGroup
	for range 100 {
		group.Go(func() {
			p := bytes.Clone(body)
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			defer cancel()
			o, err := e.Send(reply(), mux.Body{More: true}, nil)
			if err != nil {
				t.Error(err)
				return
			}
			began := time.Now()
			n, err := o.Write(ctx, p)
			clear(p) // the race detector sees who still reads it
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("Write returned after %v, want about 200ms", took)
			}
			if !errors.Is(err, context.DeadlineExceeded) || n > 65536 {
				t.Errorf("Write: %d octets, %v; want at most 65536 and the context's error", n, err)
			}
			if err := o.Wait(ctx, "too late"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Wait: %v, want the context's error", err)
			}
		})
	}
	group.Wait()
}

// TestReaderGoesOnWhenThePeerStopsReading: nothing that has to be written keeps
// the reader from its work: not bodies, not PONGs, not ACKs (invariant 2).
func TestReaderGoesOnWhenThePeerStopsReading(t *testing.T) {
	var arrived atomic.Int64
	e, far := deaf(t, mux.Options{Accept: func(m *mux.Inbound) { arrived.Add(1); m.Discard() }})
	body := octets(1 << 20)
	for range 64 { // fill everything there is to fill
		if _, err := e.Send(reply(), mux.Body{Data: body}, nil); err != nil {
			t.Fatal(err)
		}
	}
	const messages = 2000
	for no := range uint64(messages) {
		if _, err := io.WriteString(far, header(no, jsRequest)+data(no, "x")+ping(no)+eof(no)); err != nil {
			t.Fatalf("after %d messages: %v", no, err)
		}
	}
	waitFor(t, "all messages", func() bool { return arrived.Load() == messages })
	if err := e.Err(); err != nil {
		t.Error(err)
	}
}

// waitFor waits until ok says so.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("waited 20 s for %s", what)
		}
	}
}

// TestLinkWriteNeverBlocks: a TLS key update is answered inside Read with a Write
// of a few octets, under the lock that every other TLS write needs. crypto/tls lets
// nobody ask for one, so this writes beneath it, as TLS would, while the network
// takes nothing.
func TestLinkWriteNeverBlocks(t *testing.T) {
	near, far := tcp(t)
	defer far.Close()
	near.(*net.TCPConn).SetWriteBuffer(4 << 10)
	link := mux.NewLink(near)
	e := run(t, link, link, mux.Options{})
	body := octets(1 << 20)
	for range 64 {
		if _, err := e.Send(reply(), mux.Body{Data: body}, nil); err != nil {
			t.Fatal(err)
		}
	}
	update := make([]byte, 27)
	began := time.Now()
	for range 1000 {
		if n, err := link.Write(update); n != len(update) || err != nil {
			t.Fatalf("Write: %d, %v", n, err)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("1,000 writes took %v while the network takes nothing", took)
	}
}

// TestTLSWritesOfItselfAreBounded: a peer that makes TLS write and reads nothing
// ends the connection before it fills our memory.
func TestTLSWritesOfItselfAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		link := mux.NewLink(near)
		e := run(t, link, link, mux.Options{})
		var err error
		n := 0
		for ; err == nil && n < 16<<20; n += 1 << 10 {
			_, err = link.Write(make([]byte, 1<<10))
		}
		if !errors.Is(err, mux.ErrWriteStalled) || n > 4<<20 {
			t.Fatalf("%d octets of its own, then %v; want ErrWriteStalled before 4 MiB", n, err)
		}
		<-e.ran
		if !errors.Is(e.err, mux.ErrWriteStalled) {
			t.Errorf("Run: %v, want ErrWriteStalled", e.err)
		}
		if n := e.stats.Count(mux.WriteStalled); n != 1 {
			t.Errorf("write_stalled %d, want 1", n)
		}
	})
}

// A meteredConn sees how it is written to.
type meteredConn struct {
	net.Conn
	mu     sync.Mutex
	writes [][]byte
	gate   chan struct{} // a write waits for it; nil if it need not
}

func (c *meteredConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.writes = append(c.writes, bytes.Clone(p))
	gate := c.gate
	c.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return c.Conn.Write(p)
}

// TestManyPacketsLeaveInOneWrite: what is queued while a write is under way leaves
// together in the next, and what is queued when nothing is leaves at once.
func TestManyPacketsLeaveInOneWrite(t *testing.T) {
	bubble(t, func(t *testing.T) {
		near, far := net.Pipe()
		w := &wire{t: t, conn: far}
		defer far.Close()
		w.listen()
		conn := &meteredConn{Conn: near}
		link := mux.NewLink(conn)
		e := run(t, link, link, mux.Options{NoExt: true})

		send := func() {
			if _, err := e.Send(reply(), mux.Body{Data: []byte("x")}, nil); err != nil {
				t.Fatal(err)
			}
		}
		send()
		synctest.Wait()
		if len(conn.writes) != 1 || len(w.take()) != 3 {
			t.Fatalf("one message at rest: %d writes, want 1 with HEADER, DATA and EOF", len(conn.writes))
		}
		conn.mu.Lock()
		conn.gate = make(chan struct{})
		conn.mu.Unlock()
		send() // stands at the gate
		synctest.Wait()
		for range 100 {
			send()
		}
		synctest.Wait()
		close(conn.gate)
		if got := len(w.take()); got != 101*3 {
			t.Errorf("%d packets, want %d", got, 101*3)
		}
		if got := len(conn.writes) - 2; got != 1 {
			t.Errorf("100 messages queued during a write left in %d writes, want 1", got)
		}
	})
}

// TestNoDeadlineIsSetOnTLS: the deadline of a write below TLS is gone when the write
// is over, so that a quiet time after it harms nothing; one set from above is not
// passed on.
func TestNoDeadlineIsSetOnTLS(t *testing.T) {
	for _, n := range networks {
		t.Run(n.name, func(t *testing.T) {
			stall := 100 * time.Millisecond
			if race {
				stall = 400 * time.Millisecond
			}
			c, _ := connect(t, n, mux.Options{Limits: mux.Limits{WriteStall: stall}}, echo)
			// More than fits the socket: the writer goroutine has to wait for room.
			if err := c.echoStream(1, 2<<20); err != nil {
				t.Fatal(err)
			}
			time.Sleep(stall + stall/2) // real time has to pass, and nothing happens in it
			if _, err := c.echo([]byte("still here")); err != nil {
				t.Error(err)
			}
		})
	}
	a, b := tcp(t)
	defer a.Close()
	defer b.Close()
	link := mux.NewLink(a)
	e := run(t, link, link, mux.Options{})
	link.SetWriteDeadline(time.Now().Add(-time.Hour))
	link.SetDeadline(time.Time{})
	if _, err := e.Send(reply(), mux.Body{Data: octets(1000)}, nil); err != nil {
		t.Fatal(err)
	}
	if p, err := packet.NewReader(b, packet.Limits{}).Next(); err != nil || p.Kind != packet.KindHeader {
		t.Errorf("peer read %v, %v; want a HEADER", p, err)
	}
}

// TestStalledWriteClosesTheConnection: a peer that takes no octet for WriteStall is
// gone, and one that takes few is not.
func TestStalledWriteClosesTheConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, _ := mute(t, mux.Options{})
		began := time.Now()
		if _, err := e.Send(reply(), mux.Body{Data: octets(1000)}, nil); err != nil {
			t.Fatal(err)
		}
		<-e.ran
		if took := time.Since(began); took != 10*time.Second || !errors.Is(e.err, mux.ErrWriteStalled) {
			t.Errorf("ended after %v with %v, want ErrWriteStalled after 10s", took, e.err)
		}
		if n := e.stats.Count(mux.WriteStalled); n != 1 {
			t.Errorf("write_stalled %d, want 1", n)
		}
	})
	bubble(t, func(t *testing.T) {
		e, w := mute(t, mux.Options{})
		o, err := e.Send(reply(), mux.Body{Data: octets(10)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		one := make([]byte, 1)
		read := 0
		for ; read < 50; read++ { // one octet each nine seconds
			time.Sleep(9 * time.Second)
			if _, err := w.conn.Read(one); err != nil {
				break
			}
		}
		if e.Err() != nil || read != 50 {
			t.Errorf("after %d octets, one each 9s: %v; want the connection alive", read, e.Err())
		}
		if ended, err := o.Ended(); !ended || err != nil {
			t.Errorf("message: ended %v, %v", ended, err)
		}
	})
	// The same over TCP, where the socket tells of progress.
	e, far := deaf(t, mux.Options{Limits: mux.Limits{WriteStall: 300 * time.Millisecond}})
	for range 64 {
		e.Send(reply(), mux.Body{Data: octets(1 << 20)}, nil) // the last may find it ended
	}
	if err := e.over(t); !errors.Is(err, mux.ErrWriteStalled) {
		t.Errorf("over TCP: %v, want ErrWriteStalled", err)
	}
	far.Close()
}

// TestSynctestDoesNotFreeze: time goes on in a bubble although both ends are full
// and everybody waits.
func TestSynctestDoesNotFreeze(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, _ := mute(t, mux.Options{})
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				o, err := e.Send(reply(), mux.Body{More: true}, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := o.Write(ctx, octets(1<<20)); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Write: %v, want the context's error", err)
				}
			})
		}
		began := time.Now()
		group.Wait()
		if took := time.Since(began); took != time.Second {
			t.Errorf("the writers left after %v of synthetic time, want 1s", took)
		}
	})
}

// TestWriteQueueIsBounded: however much is sent to a peer that reads nothing, about
// MaxWriteQueue octets wait and the rest stays with its senders (THREATS P12).
func TestWriteQueueIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, _ := mute(t, mux.Options{Limits: mux.Limits{MaxWriteQueue: 100 << 10}})
		for range 1000 {
			if _, err := e.Send(reply(), mux.Body{Data: octets(1000)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := mux.Queued(e.Conn); n < 100<<10 || n > 100<<10+128<<10 {
			t.Errorf("%d octets wait to be written, want about 102400", n)
		}
		if e.stats.Count(mux.WriteBlocked) == 0 {
			t.Error("write_blocked did not move")
		}
	})
}

// TestLostConnectionIsNotTheEndOfABody: io.EOF of the connection must not be taken
// for io.EOF of a message.
func TestLostConnectionIsNotTheEndOfABody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var s shelf
		e, w := talk(t, mux.Options{Accept: s.accept})
		o, err := e.Send(request(), mux.Body{More: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		w.send(header(0, jsReply) + data(0, "half"))
		m := s.message(t)
		w.conn.Close()
		<-e.ran
		if e.err != io.EOF {
			t.Errorf("Run: %v, want io.EOF", e.err)
		}
		body, err := io.ReadAll(inboundReader{m})
		if string(body) != "half" || !errors.Is(err, mux.ErrLost) || errors.Is(err, io.EOF) {
			t.Errorf("reading: %q, %v; want what came, then ErrLost and no io.EOF", body, err)
		}
		if n, err := o.Write(context.Background(), []byte("more")); n != 0 || !errors.Is(err, mux.ErrLost) || errors.Is(err, io.EOF) {
			t.Errorf("Write: %d, %v; want ErrLost and no io.EOF", n, err)
		}
	})
}

// TestWriteOfALostConnectionReportsWhatWasTaken: octets nobody took are not sent.
func TestWriteOfALostConnectionReportsWhatWasTaken(t *testing.T) {
	for _, end := range []struct {
		name string
		do   func(*end, *mux.Outbound)
		want error
	}{
		{"lost", func(e *end, _ *mux.Outbound) { e.Close() }, mux.ErrLost},
		{"aborted", func(_ *end, o *mux.Outbound) { o.Abort("enough") }, mux.ErrAborted},
	} {
		t.Run(end.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				e, _ := talk(t, mux.Options{NoExt: true})
				o, err := e.Send(reply(), mux.Body{More: true}, nil)
				if err != nil {
					t.Fatal(err)
				}
				go func() { // ends at once
					synctest.Wait()
					end.do(e, o)
				}()
				n, err := o.Write(context.Background(), octets(100_000))
				if n != 65536 || !errors.Is(err, end.want) {
					t.Errorf("Write: %d, %v; want the 65536 octets of a window and %v", n, err, end.want)
				}
			})
		})
	}
}
