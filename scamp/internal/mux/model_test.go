package mux_test

import (
	"flag"
	"fmt"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
	"pgregory.net/rapid"
)

// modelChecks has rapid try so many sequences, or as many as SCAMP_MODEL_CHECKS says:
// 100,000 of them are for a night.
func modelChecks(t *testing.T, n int) {
	t.Helper()
	text := os.Getenv("SCAMP_MODEL_CHECKS")
	if text == "" {
		text = fmt.Sprint(n)
	}
	f := flag.Lookup("rapid.checks")
	before := f.Value.String()
	if err := f.Value.Set(text); err != nil {
		t.Fatalf("SCAMP_MODEL_CHECKS: %v", err)
	}
	t.Cleanup(func() { f.Value.Set(before) })
}

// TestModel runs random commands, ours and the peer's, on a Conn and on a model of
// it, and compares them after each (THREATS 4.2): 1,000 sequences of up to 200, fewer
// under the race detector, more by SCAMP_MODEL_CHECKS. What commands do to requests
// and replies the model of package scamp knows.
func TestModel(t *testing.T) {
	n := 1000
	if race {
		n = 100
	}
	modelChecks(t, n)
	rapid.Check(t, func(r *rapid.T) {
		ext := rapid.Bool().Draw(r, "ext")
		n := rapid.SampledFrom([]int{1, 4, 16, 64, 200, 200, 200, 200}).Draw(r, "n")
		commands := rapid.SliceOfN(rapid.Custom(drawCommand), n, n).Draw(r, "commands")
		var err error
		bubble(t, func(t *testing.T) { err = runModel(t, ext, commands) })
		if err != nil {
			r.Fatal(err)
		}
	})
}

// A command is one step of a sequence. What no and n mean depends on op.
type command struct {
	op    string
	no, n int
	rare  string // what is done if op is rare
}

func drawCommand(t *rapid.T) command {
	return command{
		op:   rapid.SampledFrom(modelOps).Draw(t, "op"),
		no:   rapid.IntRange(0, 5).Draw(t, "no"),
		n:    rapid.SampledFrom([]int{1, 2, 100, 16384, 32767, 32768, 32769, 40_000, 65_536, 100_000, 250_000}).Draw(t, "n"),
		rare: rapid.SampledFrom(rareOps).Draw(t, "rare"),
	}
}

var modelOps = []string{
	// of the peer, several times what goes on for long
	"HEADER", "HEADER", "HEADER", "DATA", "DATA", "DATA", "DATA", "DATA", "EOF", "TXERR", "ACK", "ACK", "ACK", "ACK all",
	"ACK again", "PING", "PONG", "empty DATA", "ext", "cancel", "whole", "stop reading", "go on reading", "go on reading", "rare",
	// of ours
	"open", "open", "send", "write", "write", "write", "close", "abort", "read", "read", "read", "read all", "discard", "wait",
}

// rareOps end the connection, or nearly.
var rareOps = []string{
	"packet after the end", "HEADER gap", "HEADER array", "DATA of nothing", "EOF of nothing", "EOF with a body", "ACK of nothing",
	"ACK back", "ACK beyond", "ACK malformed", "garbage", "close connection", "peer gone", "drain", "drain while stopped",
}

// modelWindow is announced by the Conn, and the most it uses of the peer's.
const modelWindow = 200_000

// A model says what a Conn must have done.
type model struct {
	t       *testing.T
	e       *end
	w       *wire
	gate    *gate
	ext     bool // the Conn sends ext
	in      []*modelIn
	out     []*modelOut
	dead    bool // the connection must have ended
	stopped bool // the peer reads nothing
	behind  bool // it has read nothing for a while since the last comparison
	heard   bool // the peer has sent ext, and knows our window

	announced bool // the peer has announced its window
	win       int  // the window in force toward the peer
	pings     int
	pong      int // PONGs that must come, or fewer if the peer was behind
	pongs     int // PONGs that have come
}

func runModel(t *testing.T, ext bool, commands []command) error {
	near, far := net.Pipe()
	t.Cleanup(func() { far.Close() })
	m := &model{t: t, ext: ext, win: mux.MinWindow, gate: &gate{Conn: far}}
	m.w = &wire{t: t, conn: m.gate}
	side := audit(t, "model", near)
	m.e = run(t, side.rw, side.link, mux.Options{NoExt: !ext, Accept: func(in *mux.Inbound) { go m.handle(in) },
		// How long a peer may read nothing is tested elsewhere.
		Limits: mux.Limits{MaxWindow: modelWindow, WriteStall: 1000 * time.Hour}})
	m.w.listen()
	err := m.run(commands)
	m.e.Close()
	m.gate.open()
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

// handle reads a message as far as it is told to.
func (m *model) handle(in *mux.Inbound) {
	x := m.in[in.No()]
	x.m = in
	buf := make([]byte, 20_000)
	for n := range x.grants {
		for n > 0 && x.err == nil {
			var k int
			k, x.err = in.Read(buf[:min(n, len(buf))])
			x.follow(buf[:k])
			n -= k
		}
	}
	for x.err == nil {
		var k int
		k, x.err = in.Read(buf)
		x.follow(buf[:k])
	}
	x.done = true
}

func (m *model) do(c command) {
	op := c.op
	if op == "rare" {
		if c.no == 0 || c.no == 5 {
			m.doRare(c.rare, c)
		}
		return
	}
	var in *modelIn
	var no uint64
	if len(m.in) > 0 {
		no = uint64(c.no % len(m.in))
		in = m.in[no]
	}
	live := in != nil && in.end == ""
	switch op {
	case "HEADER":
		m.header(jsRequest)
	case "ext":
		m.header(extHeader(c.n))
		m.hear(c.n)
	case "cancel":
		x := m.header(`{"request_id":1,"type":"cancel"}`)
		m.end(x, uint64(len(m.in)-1), "EOF", "")
	case "whole": // a message that arrives at once
		n := min(c.n, 16384)
		m.in = append(m.in, &modelIn{grants: make(chan int, grants), received: n, end: "EOF", quiet: true})
		no := uint64(len(m.in) - 1)
		m.w.send(header(no, jsRequest) + data(no, string(octets(n))) + eof(no))
	case "DATA":
		if live {
			m.data(in, no, c.n)
		}
	case "empty DATA":
		if live && in.empty < 100 {
			in.empty++
			m.w.send(data(no, ""))
		}
	case "EOF":
		if live {
			m.end(in, no, op, "")
		}
	case "TXERR":
		if live {
			m.end(in, no, op, "no")
		}
	case "PING":
		if m.pings++; m.pings < 100 { // more at once are a flood
			m.pong++
			m.w.send(ping(no))
		}
	case "PONG":
		m.w.send(pack(packet.KindPONG, no, ""))
	case "stop reading":
		m.stopped, m.behind = true, true
		m.gate.close()
	case "go on reading":
		m.stopped = false
		m.gate.open()
	case "read", "read all":
		if in != nil {
			n := c.n
			if op == "read all" {
				n = max(in.received-in.granted, 0)
			}
			in.granted += n
			in.grants <- n
		}
	case "discard":
		if in != nil && in.m != nil {
			in.thrown = true
			in.m.Discard()
		}
	case "wait":
		time.Sleep(time.Duration(c.n) * time.Millisecond)
	default:
		m.doOut(op, c)
	}
}

// doOut does what concerns a message of ours.
func (m *model) doOut(op string, c command) {
	switch op {
	case "open", "send":
		if len(m.out) < 12 {
			m.open(c.n, op == "open")
		}
	}
	if len(m.out) == 0 {
		return
	}
	no := uint64(c.no % len(m.out))
	x := m.out[no]
	switch op {
	case "ACK", "ACK all":
		if x.sent > x.acked {
			count := x.sent
			if op == "ACK" {
				count = x.acked + 1 + (c.n-1)%(x.sent-x.acked)
			}
			x.acked = count
			m.w.send(ack(no, count))
		}
	case "ACK again":
		if x.acked > 0 {
			m.w.send(ack(no, x.acked))
		}
	case "write":
		if !x.closed {
			x.queued = append(x.queued, octets(c.n)...)
			x.writes <- c.n
		}
	case "close":
		if !x.closed {
			x.closed = true
			x.writes <- 0
		}
	case "abort":
		if ended, _ := x.o.Ended(); !ended {
			x.closed, x.aborted, x.cut = true, true, x.sent
			if m.stopped {
				x.cut = len(x.queued) // it does not know yet where
			}
			x.o.Abort("changed my mind")
		}
	}
}

// doRare does what most often ends the connection.
func (m *model) doRare(op string, c command) {
	switch op {
	case "packet after the end":
		for no, x := range m.in {
			if x.end != "" {
				m.dead = true
				m.w.send(pack(packet.Kind(int(packet.KindData)+c.n%3), uint64(no), ""))
				return
			}
		}
	case "ACK back", "ACK beyond", "ACK malformed":
		for no, x := range m.out {
			if ended, _ := x.o.Ended(); ended || m.stopped {
				continue // an ACK of what has ended is ignored; what was sent the peer knows when it reads
			}
			body := map[string]string{"ACK back": fmt.Sprint(x.acked - 1), "ACK beyond": fmt.Sprint(x.sent + 1), "ACK malformed": "007"}[op]
			m.dead = true
			m.w.send(ack(uint64(no), body))
			return
		}
	case "ACK of nothing":
		m.w.send(ack(1000, c.n))
	case "drain":
		m.drain()
	case "drain while stopped":
		m.stopped, m.behind = true, true
		m.gate.close()
		for range 3 { // the first may find a read under way that takes it
			m.open(65_536, false)
		}
		m.drain()
	case "close connection":
		m.dead = true
		m.e.Close()
	case "peer gone":
		m.dead = true
		m.w.conn.Close()
	default:
		m.dead = true
		m.w.send(map[string]string{
			"HEADER gap":      header(uint64(len(m.in)+1), jsRequest),
			"HEADER array":    header(uint64(len(m.in)), "[]"),
			"DATA of nothing": data(1000, "x"),
			"EOF of nothing":  eof(1000),
			"EOF with a body": pack(packet.KindEOF, 0, "x"),
			"garbage":         "GET / HTTP/1.1\r\n",
		}[op])
	}
}

// drain has the Conn say goodbye: no message begins any more, what can be sent is, and
// then it ends.
func (m *model) drain() {
	go m.e.Shutdown(1000 * time.Hour) // ends with the connection
	synctest.Wait()
	if _, err := m.e.Send(reply(), mux.Body{}, nil); err == nil {
		m.t.Error("Send to a connection that is shut down: no error")
	}
	m.stopped = false
	m.gate.open()
	synctest.Wait()
	err := m.written()
	if err == nil {
		err = m.checkOut()
	}
	if err != nil {
		m.t.Errorf("when drained: %v", err)
	}
	m.dead = true
}
