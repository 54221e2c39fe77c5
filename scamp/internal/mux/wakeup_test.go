package mux_test

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// A gated is what a Conn writes to, where a test can make it stand.
type gated struct {
	*mux.Link
	gate chan struct{} // a Write waits for it; nil if it need not
}

func (g *gated) Write(p []byte) (int, error) {
	if g.gate != nil {
		<-g.gate
	}
	return g.Link.Write(p)
}

// TestWorkThatComesDuringTheLastRound: whoever finds another goroutine writing
// leaves its work to it, also if that one was about to stop. A wake-up lost here
// would be a hang.
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
			bubble(t, func(t *testing.T) {
				near, far := net.Pipe()
				t.Cleanup(func() { far.Close() })
				rw := &gated{Link: mux.NewLink(near)}
				var s shelf
				e := run(t, rw, rw.Link, mux.Options{Accept: s.accept})
				w := &wire{t: t, conn: far}
				w.listen()
				o := send(t, e, reply(), mux.Body{More: true})
				w.send(header(0, jsRequest) + data(0, "abc"))
				m := s.message(t)
				w.take()
				rw.gate = make(chan struct{})
				w.send(ping(0)) // the reader stands at the gate, in the one round it has
				synctest.Wait()
				go tt.work(e, m, o) // ends with the message
				synctest.Wait()
				close(rw.gate)
				w.wants("queued while another was writing", "PONG 0", tt.want)
			})
		})
	}
}
