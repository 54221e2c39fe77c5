package mux_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

var refuse = prepareFunc(func(*packet.Header) bool { return false })

type enderFunc func()

func (f enderFunc) Ended() { f() }

// What Prepare refuses leaves nothing that keeps a connection from being idle, and who
// asked is told that it has ended.
func TestRefusedMessageIsOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, _ := talk(t, mux.Options{Idle: 10 * time.Second})
		told := false
		var o mux.Outbound
		o.Init(e.Conn, mux.Body{}, refuse)
		o.Then(enderFunc(func() { told = true }))
		if err := e.SendOutbound(&o, request()); !errors.Is(err, mux.ErrClosed) || !told {
			t.Errorf("a message that Prepare refuses: %v, told %v; want ErrClosed and to be told", err, told)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if !errors.Is(e.Err(), mux.ErrIdle) {
			t.Errorf("a connection idle for longer than 10 s: %v, want ErrIdle", e.Err())
		}
	})
}

// A stuckTLS is a TLS whose writes wait, and then fail.
type stuckTLS struct {
	link *mux.Link
	open chan struct{}
	err  error
}

func (g *stuckTLS) Read(p []byte) (int, error) { return g.link.Read(p) }

func (g *stuckTLS) Write(p []byte) (int, error) {
	<-g.open
	if g.err != nil {
		return 0, g.err
	}
	return g.link.Write(p)
}

// A message that was never handed to TLS has not started, also when it was made.
func TestMadeIsNotStarted(t *testing.T) {
	for _, then := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			near, far := net.Pipe()
			defer far.Close()
			g := &stuckTLS{mux.NewLink(near), make(chan struct{}), errors.New("broken")}
			e := run(t, g, g.link, mux.Options{})
			go e.Send(request(), mux.Body{}, nil) // ends with the write it is in
			synctest.Wait()
			var o mux.Outbound
			o.Init(e.Conn, mux.Body{}, nil)
			if then {
				o.Then(enderFunc(func() {}))
			}
			if err := e.SendOutbound(&o, request()); err != nil {
				t.Fatal(err)
			}
			close(g.open)
			synctest.Wait()
			if o.Started() {
				t.Errorf("then %v: started, although the write before it failed", then)
			}
			e.Close()
			<-e.ran
			if o.Started() {
				t.Errorf("then %v: started when the connection had ended", then)
			}
		})
	}
}

// PONG overtakes the DATA of messages that were made while something was being written.
func TestPongOvertakesWhatWasMade(t *testing.T) {
	bubble(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		g := &stuckTLS{link: mux.NewLink(near), open: make(chan struct{})}
		e := run(t, g, g.link, mux.Options{})
		w := &wire{t: t, conn: far}
		w.listen()
		go e.Send(request(), mux.Body{}, nil) // ends with the write it is in
		synctest.Wait()
		for range 4 {
			send(t, e, request(), mux.Body{Data: octets(16000)})
		}
		w.send("PING 7 0\r\nEND\r\n")
		synctest.Wait()
		close(g.open)
		synctest.Wait()
		var kinds []string
		for _, p := range w.packets() {
			kinds = append(kinds, fmt.Sprint(p.Kind, " ", p.MsgNo))
		}
		if got := strings.Join(kinds, ", "); !strings.HasPrefix(got, "HEADER 0, EOF 0, PONG 7, HEADER 1, DATA 1") {
			t.Errorf("%s; want the PONG before all DATA", got)
		}
	})
}

// A message that was used up is not kept by one that stays open: what is known of them is
// made together.
func TestOpenMessagesKeepNoOthers(t *testing.T) {
	near, far := tcp(t)
	defer far.Close()
	side := bare(near)
	var n atomic.Int32
	e := run(t, side.rw, side.link, mux.Options{Accept: func(m *mux.Inbound) {
		if len(m.Header.Extra) == 0 || !m.Whole() {
			m.Discard()
		} else if _, err := m.Bytes(1000); err == nil {
			m.Recycle()
		}
		n.Add(1)
	}})
	const rounds, open = 100, 8 // one of so many stays open
	big := `,"x":"` + strings.Repeat("x", 60000) + `"`
	before := heap()
	var send strings.Builder
	for i := range rounds * open {
		extra := big
		if i%open == open-1 {
			extra = ""
		}
		send.WriteString(header(uint64(i), fmt.Sprintf(`{"type":"request","action":"a.b","request_id":%d,"sector":"main"%s}`, i+1, extra)))
		if i%open > 0 {
			send.WriteString(eof(uint64(i - 1))) // mixed with the one after it
		}
		io.WriteString(far, send.String())
		send.Reset()
	}
	waitFor(t, "all messages", func() bool { return n.Load() == rounds*open })
	waitFor(t, "the heap to be small", func() bool { return int64(heap())-int64(before) < 4<<20 })
	if e.Unread() != 0 {
		t.Errorf("%d octets unread, want 0", e.Unread())
	}
}

// A message that ends with its connection may be used again at that moment: nothing of it
// is in a queue any more.
func TestReuseWhenTheConnectionEnds(t *testing.T) {
	for range 50 {
		near, far := tcp(t)
		side := bare(near)
		e := run(t, side.rw, side.link, mux.Options{})
		var all [200]mux.Outbound
		for i := range all {
			all[i].Init(e.Conn, mux.Body{Data: octets(70000)}, nil)
			if err := e.SendOutbound(&all[i], request()); err != nil {
				t.Fatal(err)
			}
		}
		done := make(chan struct{})
		go func() { // ends when all have ended
			defer close(done)
			for i := range all {
				for ended := false; !ended; ended, _ = all[i].Ended() {
				}
				all[i].Init(nil, mux.Body{}, nil)
			}
		}()
		e.Close()
		<-done
		<-e.ran
		far.Close()
	}
}
