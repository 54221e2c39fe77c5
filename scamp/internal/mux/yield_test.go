package mux_test

import (
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// compute keeps all processors busy until the test ends.
func compute(t *testing.T) {
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() { // ends with the test
			for x := 0; ; {
				select {
				case <-stop:
					return
				default:
					for i := range 1000000 {
						x += i
					}
				}
			}
		})
	}
	t.Cleanup(func() {
		close(stop)
		all.Wait()
	})
}

// Those who send let others run, so that they write together; where others compute, each
// of them has its ten milliseconds first. That must not happen again and again.
func TestSendDoesNotWaitForThoseWhoCompute(t *testing.T) {
	near, far := tcp(t)
	go io.Copy(io.Discard, far) // ends with the connection
	side := bare(near)
	e := run(t, side.rw, side.link, mux.Options{})
	for range 2 { // others are likely to send: calls are under way
		send(t, e, request(), mux.Body{})
	}
	compute(t)
	began := time.Now()
	const n = 300
	for range n {
		send(t, e, request(), mux.Body{})
	}
	if took := time.Since(began); took > n*50*time.Millisecond {
		t.Errorf("%d messages took %v while others compute, want at most 50 ms each", n, took)
	}
}

// The reader never lets others run: it goes on with what is at hand, also when it
// answers of itself (PROTOCOL 4.5).
func TestReaderAnswersWithoutWaiting(t *testing.T) {
	near, far := tcp(t)
	go io.Copy(io.Discard, far) // ends with the connection
	side := bare(near)
	var n atomic.Int32
	run(t, side.rw, side.link, mux.Options{Accept: func(m *mux.Inbound) {
		m.Discard()
		if n.Add(1) > 3 { // three stay with handlers
			m.Conn().Send(replyTo(m), mux.Body{Soon: true}, nil)
		}
	}})
	compute(t)
	var b strings.Builder
	const requests = 1000
	for i := range uint64(requests) {
		b.WriteString(header(i, jsRequest) + eof(i))
	}
	began := time.Now()
	io.WriteString(far, b.String())
	waitFor(t, "all requests", func() bool { return n.Load() == requests })
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("%d requests were read and refused in %v while others compute", requests, took)
	}
}
