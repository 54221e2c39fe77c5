package mux_test

import (
	"context"
	"net"
	"sync"
	"testing/synctest"

	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// grants is more than there are commands.
const grants = 1000

// header has the peer begin a message.
func (m *model) header(text string) *modelIn {
	x := &modelIn{grants: make(chan int, grants), last: -1}
	m.in = append(m.in, x)
	m.w.send(header(uint64(len(m.in)-1), text))
	return x
}

// hear notes what the peer announced. The first window it announces holds.
func (m *model) hear(win int) {
	if win >= mux.MinWindow && !m.announced {
		m.announced = true
		m.win = min(win, modelWindow)
	}
	m.heard = m.heard || m.ext
}

// end has the peer end a message.
func (m *model) end(x *modelIn, no uint64, how, text string) {
	x.end = how
	if how == "TXERR" {
		m.w.send(txerr(no, text))
	} else {
		m.w.send(eof(no))
	}
	synctest.Wait()
	if x.received <= mux.MinWindow/2 && !m.behind {
		x.quiet = true // its ACKs are over; the last one may be on its way now
	}
}

// data has the peer send n octets, in packets it may send.
func (m *model) data(x *modelIn, no uint64, n int) {
	for ; n > 0; n -= 16384 {
		k := min(n, 16384)
		if !x.thrown && m.violates(x, k) {
			x.thrown = true
		}
		m.w.send(data(no, string(octetsFrom(x.received, k))))
		x.received += k
		synctest.Wait()
	}
}

// violates says whether k octets more are more than the peer may send (PROTOCOL 3.7,
// 4.5).
func (m *model) violates(x *modelIn, k int) bool {
	limit := mux.MinWindow + 131072
	if !m.heard {
		return x.unread()+k > limit
	}
	all := 0
	for _, y := range m.in {
		all += y.excess(0)
	}
	more := x.excess(k) - x.excess(0)
	return x.unread()+k > modelWindow+131072 || more > 0 && all+more > modelWindow
}

// open begins a message of ours. If it goes on, its octets come from a goroutine of
// its own.
func (m *model) open(n int, goesOn bool) {
	n = min(n, 100_000)
	o, err := m.e.Send(reply(), mux.Body{Data: octets(n), More: goesOn}, nil)
	if err != nil {
		m.t.Errorf("Send: %v", err)
		return
	}
	x := &modelOut{o: o, queued: octets(n), closed: !goesOn, writes: make(chan int, grants)}
	m.out = append(m.out, x)
	go func() { // ends when writes is closed
		for n := range x.writes {
			if n == 0 {
				o.CloseSend()
			} else {
				o.Write(context.Background(), octets(n))
			}
		}
	}()
}

// A gate is a connection that can be read only while it is open.
type gate struct {
	net.Conn
	mu   sync.Mutex
	shut chan struct{} // closed when the gate opens; nil while it is open
}

func (g *gate) Read(p []byte) (int, error) {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut != nil {
		<-shut
	}
	return g.Conn.Read(p)
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.shut = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}
