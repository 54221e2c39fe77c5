package scamp_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"pgregory.net/rapid"
)

// TestModelOfCalls has random calls, made, written, cancelled and timed out, and a peer
// that answers them, other ones, and none: 200 sequences of up to 200 steps, more by
// SCAMP_MODEL_CHECKS. After each step every call has ended that
// must have, as it must have, and those that wait are those in the tables of the
// connection (THREATS 4.2; what a connection does to its messages the model of package
// mux knows).
func TestModelOfCalls(t *testing.T) {
	modelChecks(t, 200)
	rapid.Check(t, func(r *rapid.T) {
		steps := drawSteps(r, callerSteps)
		var err error
		synctest.Test(t, func(t *testing.T) { err = runCalls(t, steps) })
		if err != nil {
			r.Fatal(err)
		}
	})
}

var callerSteps = []string{
	// of the caller
	"call", "call", "call", "call", "stream", "stream", "write", "write", "close", "cancel", "cancel", "wait",
	// of the peer
	"reply", "reply", "reply header", "reply header", "reply header", "reply data", "reply data", "reply EOF", "reply EOF", "reply TXERR", "reply error",
	"reply unknown", "reply again", "announce", "request", "PING", "rare",
}

// A callModel says what became of calls.
type callModel struct {
	t     *testing.T
	c     *scamp.Client
	w     *wire
	calls []*modelCall
	next  int  // number of the peer's next message
	ext   bool // the peer has said that it takes cancel messages
	say   bool // it does in its next header
	dead  bool

	abandoned, late, odd int            // replies nobody waits for, as the connection counts them
	cancels              map[string]int // cancel messages, by id
}

// A modelCall is one call, at both ends.
type modelCall struct {
	id, no   int // of the request
	cancel   context.CancelFunc
	deadline time.Time
	writes   chan int // octets to write, 0 closes; nil if all of the body is at hand
	closed   bool     // nothing of the request follows
	done     <-chan outcome
	reply    int    // number of the reply's message, -1 before
	body     string // of the reply so far
	want     string // how it ended; empty while it goes on
	got      string
	end      string // EOF or TXERR of the request, as it came
}

func runCalls(t *testing.T, steps []step) error {
	c, w := newFar(t).client(&scamp.Options{Limits: scamp.Limits{ClientIdle: 1000 * time.Hour}})
	w.acks.Store(true)
	m := &callModel{t: t, c: c, w: w, cancels: map[string]int{}}
	// Before the first reply it is not known what the peer is, and streams go elsewhere.
	m.call(step{op: "call"})
	synctest.Wait()
	m.doCall(step{op: "reply"}, m.calls[0])
	synctest.Wait()
	err := m.check()
	if err != nil {
		return err
	}
	for i, s := range steps {
		m.do(s)
		synctest.Wait()
		if err = m.check(); err != nil {
			err = fmt.Errorf("step %d, %v: %w", i, s, err)
			break
		}
		if m.dead {
			break
		}
	}
	for _, x := range m.calls {
		if x.writes != nil {
			close(x.writes)
		}
		x.cancel()
	}
	synctest.Wait()
	for i, x := range m.calls {
		if err == nil && x.got == "" && len(x.done) == 0 {
			err = fmt.Errorf("call %d does not end", i)
		}
	}
	if waiting, open := scamp.WaitingCalls(c); err == nil && waiting+open > 0 {
		err = fmt.Errorf("at the end %d calls wait and %d are open", waiting, open)
	}
	return err
}

func (m *callModel) do(s step) {
	switch s.op {
	case "call", "stream":
		m.call(s)
		return
	case "wait":
		time.Sleep(time.Duration(min(s.n, 100)) * time.Second)
		for _, x := range m.calls {
			if x.want == "" && !time.Now().Before(x.deadline) {
				m.gaveUp(x, "timeout")
			}
		}
		return
	case "announce":
		m.say = true
		return
	case "PING":
		m.w.send(pk("PING", 7, ""))
		return
	case "request":
		if m.odd < 90 { // more at once end the connection
			m.odd++
			m.send(ask("Lab.echo", 1), "x", "EOF")
		}
		return
	case "reply unknown":
		if m.odd < 90 {
			m.nobodys(1000 + s.k)
		}
		return
	case "rare":
		m.rare(s)
		return
	}
	if x := m.pick(s); x != nil {
		m.doCall(s, x)
	}
}

// pick chooses a call for which a step means something, now and then any.
func (m *callModel) pick(s step) *modelCall {
	var some []*modelCall
	for _, x := range m.calls {
		again := s.op == "reply again" && (x.reply >= 0 || x.want != "")
		if s.k == 20 || again || s.op != "reply again" && x.want == "" && (x.reply >= 0 || !goesOn(s.op)) {
			some = append(some, x)
		}
	}
	if len(some) == 0 {
		return nil
	}
	return some[s.k%len(some)]
}

// goesOn says whether a step goes on with a reply that has begun.
func goesOn(op string) bool { return op == "reply data" || op == "reply EOF" || op == "reply TXERR" }

// doCall is a step that concerns a call.
func (m *callModel) doCall(s step, x *modelCall) {
	begun, over := x.reply >= 0, x.want != ""
	text := strings.Repeat("y", s.n)
	switch s.op {
	case "write":
		if x.writes != nil && !x.closed {
			x.writes <- s.n
		}
	case "close":
		if x.writes != nil && !x.closed {
			x.closed = true
			x.writes <- 0
		}
	case "cancel":
		x.cancel()
		if !over {
			m.gaveUp(x, "cancelled")
		}
	case "reply":
		if !begun && !over {
			x.reply, x.body = m.next, text
			m.send(m.header(x.id), text, "EOF")
			m.ended(x, "reply "+x.body)
		}
	case "reply header":
		if !begun && !over {
			x.reply = m.next
			m.send(m.header(x.id), "", "")
		}
	case "reply error":
		if !begun && !over {
			x.reply = m.next
			m.send(fmt.Sprintf(`{"error":"not today","error_code":"lab","request_id":%d,"type":"reply"}`, x.id), "", "EOF")
			m.ended(x, "error lab: not today")
		}
	case "reply data":
		if begun && !over {
			x.body += text
			m.w.send(pk("DATA", x.reply, text))
		}
	case "reply EOF":
		if begun && !over {
			m.w.send(pk("EOF", x.reply, ""))
			m.ended(x, "reply "+x.body)
		}
	case "reply TXERR":
		if begun && !over {
			m.w.send(pk("TXERR", x.reply, "no"))
			m.ended(x, "broke off")
		}
	case "reply again":
		if (begun || over) && m.odd < 90 {
			m.nobodys(x.id)
		}
	}
}

// rare does what ends the connection, one time in ten.
func (m *callModel) rare(s step) {
	if s.k > 5 {
		return
	}
	switch s.k {
	case 0, 1:
		m.w.c.NetConn().Close()
	case 2, 3:
		go m.c.Close() // ends when the connection has
	default:
		m.w.send("garbage\r\n")
	}
	m.dead = true
	for _, x := range m.calls {
		if x.want == "" {
			x.want = "lost"
		}
	}
}

// call begins a call, with a body at hand or a stream of it.
func (m *callModel) call(s step) {
	if len(m.calls) > 40 {
		return
	}
	x := &modelCall{id: len(m.calls) + 1, reply: -1, closed: s.op == "call", deadline: time.Now().Add(time.Duration(s.k)*10*time.Second + time.Millisecond)}
	var ctx context.Context
	ctx, x.cancel = context.WithDeadline(m.t.Context(), x.deadline)
	if x.closed {
		x.done = inBackground(ctx, m.c, echoReq(strings.Repeat("x", s.n)))
	} else {
		x.writes = make(chan int, 1000) // more than there are steps
		x.done = streamInBackground(ctx, m.c, x.writes)
	}
	m.calls = append(m.calls, x)
}

// streamInBackground makes a call whose body is written as writes says.
func streamInBackground(ctx context.Context, c *scamp.Client, writes <-chan int) <-chan outcome {
	done := make(chan outcome, 1)
	go func() { // ends with the call
		var o outcome
		s, err := c.Stream(ctx, &scamp.Request{Action: "Sample.echo"})
		if err != nil {
			done <- outcome{err: err}
			return
		}
		go func() { // ends when writes is closed
			for n := range writes {
				if n == 0 {
					s.CloseSend()
				} else {
					s.Write([]byte(strings.Repeat("x", n)))
				}
			}
		}()
		if o.reply, o.err = s.Reply(); o.err == nil {
			var b []byte
			b, o.err = o.reply.Bytes(0)
			o.body = string(b)
		}
		done <- o
	}()
	return done
}

// send has the peer send a message, or the beginning of one.
func (m *callModel) send(header, body, end string) {
	octets := pk("HEADER", m.next, header)
	if body != "" {
		octets += pk("DATA", m.next, body)
	}
	if end != "" {
		octets += pk(end, m.next, "")
	}
	m.next++
	m.w.send(octets)
}

// header is that of a reply.
func (m *callModel) header(id int) string {
	if !m.say {
		return fmt.Sprintf(plainReply, id)
	}
	m.say, m.ext = false, true
	return fmt.Sprintf(`{"ext":{"v":1,"win":70000,"cancel":1},"request_id":%d,"type":"reply"}`, id)
}

// nobodys is a reply that nobody waits for: late if some were given up, odd else.
func (m *callModel) nobodys(id int) {
	if id <= len(m.calls) && m.abandoned > 0 {
		m.abandoned--
		m.late++
	} else {
		m.odd++
	}
	m.send(fmt.Sprintf(plainReply, id), "x", "EOF")
}

// ended notes that a call has its reply.
func (m *callModel) ended(x *modelCall, how string) {
	synctest.Wait()
	x.want = how
	if x.end == "" && !x.closed {
		x.closed = true // what was not sent of the request is cut
	}
}

// gaveUp notes that the caller of x did.
func (m *callModel) gaveUp(x *modelCall, how string) {
	x.want = how
	if x.reply < 0 {
		m.abandoned++
	}
	if m.ext && x.closed {
		m.cancels[fmt.Sprint(x.id)]-- // one must come
	}
	x.closed = true
}
