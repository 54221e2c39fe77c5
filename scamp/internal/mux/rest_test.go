package mux_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// TestSmallMessagesNeedNoWriter: a connection that never had to wait for the network has
// one goroutine, but for the odd one where two had something to write at once.
func TestSmallMessagesNeedNoWriter(t *testing.T) {
	for _, n := range networks[1:] { // a pipe takes nothing unless somebody reads
		t.Run(n.name, func(t *testing.T) {
			const connections = 20
			writers := 0
			for range connections {
				c, s := connect(t, n, mux.Options{}, echo)
				for range 5 {
					if _, err := c.echo([]byte("small")); err != nil {
						t.Fatal(err)
					}
				}
				for _, e := range []*end{c.end, s} {
					if mux.Writes(e.Conn) {
						writers++
					}
				}
			}
			if writers > connections {
				t.Errorf("%d writer goroutines for %d connections after 5 small messages each, want next to none", writers, 2*connections)
			}
		})
	}
}

// TestWriterLeavesAtRest: a writer goroutine that was needed leaves when the connection
// is found idle, does not make it look busy, and another comes when it is needed.
func TestWriterLeavesAtRest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const idle = 100 * time.Second
		e, w := talk(t, mux.Options{Idle: idle, Heartbeat: 15 * time.Second})
		for range 3 {
			if _, err := e.Send(reply(), mux.Body{}, nil); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if !mux.Writes(e.Conn) {
				t.Fatal("no writer goroutine although the pipe takes nothing at once")
			}
			if got := w.take(); len(got) != 2 {
				t.Fatalf("sent %q, want a HEADER and an EOF", got)
			}
			time.Sleep(31 * time.Second)
			synctest.Wait()
			if mux.Writes(e.Conn) {
				t.Fatal("the writer goroutine stays although nothing has happened for two heartbeats")
			}
		}
		endsAfter(t, e, time.Now().Add(-31*time.Second), idle, mux.ErrIdle)
	})
}

// TestDismissedWriterLosesNothing sends while the writer goroutine is told to leave
// again and again (invariant 10).
func TestDismissedWriterLosesNothing(t *testing.T) {
	c, s := connect(t, networks[0], mux.Options{}, echo)
	body := octets(3000)
	stop, gone := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop
		defer close(gone)
		for {
			select {
			case <-stop:
				return
			default:
				mux.Dismiss(c.end.Conn)
				mux.Dismiss(s.Conn)
			}
		}
	}()
	for range 300 {
		got, err := c.echo(body)
		if err == nil {
			err = diff(got, body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	<-gone
}
