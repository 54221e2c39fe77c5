package mux_test

import (
	"context"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// A gated is what a Conn writes to, where a test can make it stand.
type gated struct {
	*mux.Link
	armed  atomic.Bool   // the next Write stands
	stands chan struct{} // closed when it does
	gate   chan struct{} // it waits for this
}

func (g *gated) Write(p []byte) (int, error) {
	if g.armed.CompareAndSwap(true, false) {
		close(g.stands)
		<-g.gate
	}
	return g.Link.Write(p)
}

// TestWorkThatComesDuringTheLastRound: whoever finds another goroutine writing
// leaves its work to it, also if that one was about to stop. A wake-up lost here
// would be a hang. Over TCP, because there no octet is left for the writer goroutine
// that would wake it by chance.
func TestWorkThatComesDuringTheLastRound(t *testing.T) {
	for _, tt := range []struct {
		name string
		work func(e *end, m *mux.Inbound, o *mux.Outbound)
		want string
	}{
		{"ACK of a reader", func(_ *end, m *mux.Inbound, _ *mux.Outbound) { io.Copy(io.Discard, inboundReader{m}) }, "ACK 0 3"},
		{"ACK of what is discarded", func(_ *end, m *mux.Inbound, _ *mux.Outbound) { m.Discard() }, "ACK 0 3"},
		{"HEADER", func(e *end, _ *mux.Inbound, _ *mux.Outbound) { e.Send(reply(), mux.Body{More: true}, nil) }, "HEADER 1"},
		{"DATA", func(_ *end, _ *mux.Inbound, o *mux.Outbound) { o.Write(context.Background(), []byte("abc")) }, "DATA 0 3"},
		{"EOF", func(_ *end, _ *mux.Inbound, o *mux.Outbound) { o.CloseSend() }, "EOF 0"},
		{"TXERR", func(_ *end, _ *mux.Inbound, o *mux.Outbound) { o.Abort("no") }, "TXERR 0 no"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			near, far := tcp(t)
			defer far.Close()
			far.SetDeadline(time.Now().Add(20 * time.Second))
			rw := &gated{Link: mux.NewLink(near), stands: make(chan struct{}), gate: make(chan struct{})}
			accepted := make(chan *mux.Inbound, 1) // the one message there is
			e := run(t, rw, rw.Link, mux.Options{Accept: func(m *mux.Inbound) { accepted <- m }})
			in := packet.NewReader(far, packet.Limits{})
			next := func() string {
				p, err := in.Next()
				if err != nil {
					t.Fatalf("the next packet: %v", err)
				}
				return describe([]packet.Packet{p})[0]
			}
			o := send(t, e, reply(), mux.Body{More: true})
			io.WriteString(far, header(0, jsRequest)+data(0, "abc"))
			m := <-accepted
			next() // HEADER 0
			rw.armed.Store(true)
			io.WriteString(far, ping(0))
			<-rw.stands         // the reader, in the one round it has
			go tt.work(e, m, o) // ends with the message
			waitFor(t, "the work to be queued", func() bool { return mux.Due(e.Conn) })
			close(rw.gate)
			if got, want := []string{next(), next()}, []string{"PONG 0", tt.want}; !slices.Equal(got, want) {
				t.Errorf("sent %q, want %q", got, want)
			}
		})
	}
}

// A countedWriter counts the writes of batches.
type countedWriter struct {
	*mux.Link
	writes atomic.Int64
}

func (c *countedWriter) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Link.Write(p)
}

// TestAnswersLeaveTogether: the replies to requests that came together leave in few
// writes, though each has a goroutine of its own, and one by itself leaves at once.
func TestAnswersLeaveTogether(t *testing.T) {
	near, far := tcp(t)
	defer far.Close()
	far.SetDeadline(time.Now().Add(20 * time.Second))
	rw := &countedWriter{Link: mux.NewLink(near)}
	run(t, rw, rw.Link, mux.Options{Accept: func(m *mux.Inbound) { go echo(m) }}) // ends with the message
	in := packet.NewReader(far, packet.Limits{})
	no := uint64(0)
	burst := func(n int) {
		var wire string
		for range n {
			wire += header(no, jsRequest) + data(no, "hello") + eof(no)
			no++
		}
		io.WriteString(far, wire)
		for range 3 * n {
			if _, err := in.Next(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 20 {
		burst(1)
	}
	if n := rw.writes.Swap(0); n != 20 {
		t.Errorf("20 replies one after the other left in %d writes, want 20", n)
	}
	for range 20 {
		burst(64)
	}
	if n := rw.writes.Load(); n > 20*64/2 {
		t.Errorf("20 times 64 replies at once left in %d writes, want less than one for two", n)
	}
}
