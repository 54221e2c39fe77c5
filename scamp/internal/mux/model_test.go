package mux_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
	"pgregory.net/rapid"
)

// TestModel runs random commands, ours and the peer's, on a Conn and on a model of
// it, and compares them after each (THREATS 4.2).
func TestModel(t *testing.T) {
	command := rapid.Custom(func(t *rapid.T) command {
		return command{
			op: rapid.SampledFrom(modelOps).Draw(t, "op"),
			no: rapid.IntRange(0, 5).Draw(t, "no"),
			n:  rapid.SampledFrom([]int{1, 2, 100, 16384, 32767, 32768, 32769, 40_000, 65_536, 100_000}).Draw(t, "n"),
		}
	})
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.SampledFrom([]int{1, 2, 4, 8, 16, 32, 64, 100, 100, 100, 100}).Draw(r, "n")
		commands := rapid.SliceOfN(command, n, n).Draw(r, "commands")
		var err error
		bubble(t, func(t *testing.T) { err = runModel(t, commands) })
		if err != nil {
			r.Fatal(err)
		}
	})
}

// A command is one step of a sequence. What no and n mean depends on op.
type command struct {
	op    string
	no, n int
}

var modelOps = []string{
	// of the peer, several times what goes on for long
	"HEADER", "HEADER", "DATA", "DATA", "DATA", "DATA", "EOF", "TXERR", "ACK", "ACK", "ACK",
	"ACK again", "PING", "PONG", "empty DATA", "rare",
	// of ours
	"open", "open", "write", "write", "write", "close", "abort", "read", "read", "read", "discard", "wait",
}

// rareOps end the connection, or nearly.
var rareOps = []string{
	"packet after the end", "HEADER gap", "HEADER array", "DATA of nothing", "EOF of nothing", "EOF with a body", "ACK of nothing",
	"ACK back", "ACK beyond", "ACK malformed", "garbage", "close connection", "peer gone",
}

// A model says what a Conn must have done.
type model struct {
	t    *testing.T
	e    *end
	w    *wire
	in   []*modelIn
	out  []*modelOut
	dead bool // the connection must have ended
	pong int  // PONGs that must come
}

// modelIn is a message of the peer.
type modelIn struct {
	m        *mux.Inbound
	received int
	granted  int // octets its reader may take
	acked    int
	thrown   bool   // discarded, or its window was ignored
	end      string // EOF or TXERR; empty while open
	grants   chan int
	body     bytes.Buffer
	err      error
	done     bool
}

// modelOut is a message of ours.
type modelOut struct {
	o            *mux.Outbound
	queued       int // octets given to Write
	sent, acked  int
	closed, over bool // CloseSend or Abort was called; EOF or TXERR has come
	aborted      bool
	writes       chan int
}

func runModel(t *testing.T, commands []command) error {
	near, far := net.Pipe()
	t.Cleanup(func() { far.Close() })
	m := &model{t: t, w: &wire{t: t, conn: far}}
	side := audit(t, "model", near)
	m.e = run(t, side.rw, side.link, mux.Options{NoExt: true, Accept: func(in *mux.Inbound) { go m.handle(in) }})
	m.w.listen()
	err := m.run(commands)
	m.e.Close()
	<-m.e.ran
	for _, x := range m.in {
		close(x.grants)
	}
	for _, x := range m.out {
		close(x.writes)
	}
	synctest.Wait()
	if err != nil {
		return err
	}
	return m.checkEnds()
}

func (m *model) run(commands []command) error {
	for i, c := range commands {
		m.do(c)
		synctest.Wait()
		if err := m.check(); err != nil {
			return fmt.Errorf("command %d, %v: %w", i, c, err)
		}
		if m.dead {
			break
		}
	}
	return nil
}

// checkEnds looks at the messages when the connection is over.
func (m *model) checkEnds() error {
	for i, x := range m.in {
		if x.m != nil && !x.done {
			return fmt.Errorf("message %d of the peer has no end although the connection is over", i)
		}
	}
	for i, x := range m.out {
		if ended, err := x.o.Ended(); !ended || x.over == (err != nil && !x.aborted) {
			return fmt.Errorf("message %d of ours: ended %v with %v, on the wire %v", i, ended, err, x.over)
		}
	}
	return nil
}

// handle reads a message as far as it is told to.
func (m *model) handle(in *mux.Inbound) {
	x := m.in[in.No()]
	x.m = in
	buf := make([]byte, 20_000)
	for n := range x.grants {
		for n > 0 && x.err == nil {
			var k int
			k, x.err = in.Read(buf[:min(n, len(buf))])
			x.body.Write(buf[:k])
			n -= k
		}
	}
	for x.err == nil {
		var k int
		k, x.err = in.Read(buf)
		x.body.Write(buf[:k])
	}
	x.done = true
}

func (m *model) do(c command) {
	var in *modelIn
	var out *modelOut
	if len(m.in) > 0 {
		in = m.in[c.no%len(m.in)]
	}
	if len(m.out) > 0 {
		out = m.out[c.no%len(m.out)]
	}
	op := c.op
	if op == "rare" {
		if op = rareOps[c.n%len(rareOps)]; c.no > 0 {
			return // one in six
		}
	}
	no := uint64(c.no)
	switch op {
	case "HEADER":
		m.in = append(m.in, &modelIn{grants: make(chan int, 1000)}) // more than there are commands
		m.w.send(header(uint64(len(m.in)-1), jsRequest))
	case "DATA":
		if in != nil && in.end == "" {
			m.data(in, uint64(c.no%len(m.in)), c.n)
		}
	case "empty DATA":
		if in != nil && in.end == "" {
			m.w.send(data(uint64(c.no%len(m.in)), ""))
		}
	case "EOF":
		if in != nil && in.end == "" {
			in.end = op
			m.w.send(eof(uint64(c.no % len(m.in))))
		}
	case "TXERR":
		if in != nil && in.end == "" {
			in.end = op
			m.w.send(txerr(uint64(c.no%len(m.in)), "no"))
		}
	case "packet after the end":
		if in != nil && in.end != "" {
			m.dead = true
			m.w.send(pack(packet.Kind(int(packet.KindData)+c.n%3), uint64(c.no%len(m.in)), ""))
		}
	case "ACK":
		if out != nil && out.sent > out.acked {
			count := out.acked + 1 + (c.n-1)%(out.sent-out.acked)
			if !out.over {
				out.acked = count
			}
			m.w.send(ack(uint64(c.no%len(m.out)), count))
		}
	case "ACK again":
		if out != nil && out.acked > 0 {
			m.w.send(ack(uint64(c.no%len(m.out)), out.acked))
		}
	case "ACK back", "ACK beyond", "ACK malformed":
		if out == nil {
			return
		}
		body := map[string]string{"ACK back": fmt.Sprint(out.acked - 1), "ACK beyond": fmt.Sprint(out.sent + 1), "ACK malformed": "007"}[op]
		m.dead = !out.over
		m.w.send(ack(uint64(c.no%len(m.out)), body))
	case "ACK of nothing":
		m.w.send(ack(1000, c.n))
	case "PING":
		m.pong++
		m.w.send(ping(no))
	case "PONG":
		m.w.send(pack(packet.KindPONG, no, ""))
	case "HEADER gap":
		m.dead = true
		m.w.send(header(uint64(len(m.in)+1), jsRequest))
	case "HEADER array":
		m.dead = true
		m.w.send(header(uint64(len(m.in)), "[]"))
	case "DATA of nothing":
		m.dead = true
		m.w.send(data(1000, "x"))
	case "EOF of nothing":
		m.dead = true
		m.w.send(eof(1000))
	case "EOF with a body":
		m.dead = true
		m.w.send(pack(packet.KindEOF, no, "x"))
	case "garbage":
		m.dead = true
		m.w.send("GET / HTTP/1.1\r\n")
	case "close connection":
		m.dead = true
		m.e.Close()
	case "peer gone":
		m.dead = true
		m.w.conn.Close()
	case "open":
		m.open(c.n)
	case "write":
		if out != nil && !out.closed {
			out.queued += c.n
			out.writes <- c.n
		}
	case "close":
		if out != nil && !out.closed {
			out.closed = true
			out.writes <- 0
		}
	case "abort":
		if out != nil && !out.over {
			out.closed, out.aborted = true, true
			out.o.Abort("changed my mind")
		}
	case "read":
		if in != nil {
			in.granted += c.n
			in.grants <- c.n
		}
	case "discard":
		if in != nil && in.m != nil {
			in.thrown = true
			in.m.Discard()
		}
	case "wait":
		time.Sleep(time.Duration(c.n) * time.Millisecond)
	}
}

// data has the peer send n octets, in packets it may send.
func (m *model) data(x *modelIn, no uint64, n int) {
	for ; n > 0; n -= 16384 {
		k := min(n, 16384)
		if !x.thrown && x.received+k-min(x.granted, x.received) > 65536+131072 {
			x.thrown = true // its window was ignored
		}
		m.w.send(data(no, string(octets(x.received + k)[x.received:])))
		x.received += k
		synctest.Wait()
	}
}

// open begins a message of ours whose octets come from a goroutine of its own.
func (m *model) open(n int) {
	if len(m.out) > 8 {
		return
	}
	o, err := m.e.Send(reply(), mux.Body{Data: octets(n)[:min(n, 16384)], More: true}, nil)
	if err != nil {
		m.t.Errorf("Send: %v", err)
		return
	}
	x := &modelOut{o: o, queued: min(n, 16384), writes: make(chan int, 1000)} // more than there are commands
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

// check compares the Conn with the model when nothing moves any more.
func (m *model) check() error {
	if ended := m.e.Err() != nil; ended != m.dead {
		return fmt.Errorf("connection ended: %v (%v), want %v", ended, m.e.Err(), m.dead)
	}
	if m.dead {
		return nil
	}
	if err := m.written(); err != nil {
		return err
	}
	unread := 0
	for i, x := range m.in {
		if err := x.check(); err != nil {
			return fmt.Errorf("message %d of the peer: %w", i, err)
		}
		if !x.thrown {
			unread += x.received - min(x.granted, x.received)
		}
	}
	if got := m.e.Unread(); got != int64(unread) {
		return fmt.Errorf("%d octets unread, want %d", got, unread)
	}
	for i, x := range m.out {
		want := min(x.queued, x.acked+65536)
		if x.aborted && x.over {
			want = x.sent // it was cut where it stood
		}
		if over := x.closed && x.sent == x.queued || x.aborted; x.sent != want || x.over != over {
			return fmt.Errorf("message %d of ours: %d octets sent, ended %v; want %d, %v of %+v", i, x.sent, x.over, want, over, x)
		}
	}
	return nil
}

// written follows the packets of the Conn.
func (m *model) written() error {
	pongs := 0
	for _, p := range m.w.packets() {
		switch p.Kind {
		case packet.KindData:
			m.out[p.MsgNo].sent += len(p.Body)
		case packet.KindEOF, packet.KindTXERR:
			if x := m.out[p.MsgNo]; x.over || x.aborted != (p.Kind == packet.KindTXERR) {
				return fmt.Errorf("%s %d makes no sense", p.Kind, p.MsgNo)
			}
			m.out[p.MsgNo].over = true
		case packet.KindACK:
			fmt.Sscan(string(p.Body), &m.in[p.MsgNo].acked) // that it rises is the auditor's
		case packet.KindPONG:
			pongs++
		}
	}
	if pongs != m.pong {
		return fmt.Errorf("%d PONGs, want %d", pongs, m.pong)
	}
	m.pong = 0
	return nil
}

// check compares a message of the peer with what was made of it.
func (x *modelIn) check() error {
	if x.m == nil {
		return errors.New("was not offered")
	}
	taken := min(x.granted, x.received)
	if !x.thrown && x.body.Len() != taken {
		return fmt.Errorf("%d octets read, want %d of %d", x.body.Len(), taken, x.received)
	}
	if got := x.body.Bytes(); !bytes.Equal(got, octets(len(got))) {
		return errors.New("octets read are not those sent")
	}
	if x.thrown {
		taken = x.received
	}
	waits := x.end == "" && x.granted > x.received && x.received > 0
	switch {
	case x.acked > taken:
		return fmt.Errorf("ACK of %d octets, %d were taken", x.acked, taken)
	case x.end == "" && (x.thrown || waits) && x.acked != taken:
		return fmt.Errorf("ACK of %d octets, want all %d: its sender may be waiting", x.acked, taken)
	case x.end == "" && taken-x.acked >= 40_000:
		return fmt.Errorf("ACK of %d octets, %d were taken", x.acked, taken)
	}
	if x.thrown || x.granted <= x.received {
		return nil
	}
	// Its reader has come to the end, if there is one.
	var tx *mux.TXERR
	switch {
	case x.end == "" && x.err != nil,
		x.end == "EOF" && (x.err == nil || x.err.Error() != "EOF"),
		x.end == "TXERR" && !errors.As(x.err, &tx):
		return fmt.Errorf("reading ended with %v, want the end %q", x.err, x.end)
	}
	return nil
}
