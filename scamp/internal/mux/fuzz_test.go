package mux_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// fuzzLimits are so small that fuzzing reaches all of them.
var fuzzLimits = mux.Limits{
	ChunkSize: 100, MaxInflight: 300, MaxWindow: 70_000, MaxUnreadMessage: 300_000, MaxBuffered: 400_000,
	MaxOpenMessages: 8, MaxWriteQueue: 2000, MaxPings: 2, MaxExtraAcks: 5, MaxEmptyData: 3,
}

// FuzzMux feeds octets to a Conn that sends as well. Whatever they are: nothing
// panics or hangs, what the Conn writes keeps its invariants, what is held stays
// within the limits, and every message that was offered ends.
func FuzzMux(f *testing.F) {
	var cases []struct{ Hex, File string }
	fixtures.JSON("framing/cases.json", &cases)
	for _, c := range cases {
		wire, err := hex.DecodeString(c.Hex)
		if err != nil {
			f.Fatal(err)
		}
		if c.File != "" {
			wire = fixtures.Bytes(c.File)
		}
		f.Add(wire, byte(0), uint16(1000))
	}
	for _, wire := range []string{
		example1 + example4 + example8, example2 + example5 + example6() + example7 + example9 + example10,
		header(0, oursRequest) + stream(0, 250_000, 100_000), header(0, goRequest) + stream(0, 400_000, 131_072),
		ack(0, 50) + ack(0, 100) + ack(0, 100) + ack(1, 1), strings.Repeat(header(0, jsRequest)+eof(0), 2),
		header(0, extHeader(70_000)) + ack(0, 300) + eof(0) + ping(3) + pack(packet.KindPONG, 0, ""),
	} {
		for how := range byte(8) {
			f.Add([]byte(wire), how, uint16(7+len(wire)/20))
		}
	}
	f.Fuzz(func(t *testing.T, wire []byte, how byte, piece uint16) {
		bubble(t, func(t *testing.T) { fuzzWire(t, wire, how, int(piece)+1) })
	})
}

// fuzzWire has the bits of how say what the Conn does: 1 handlers read, 2 they
// throw away, 4 it sends messages of its own, 8 it sends no ext.
func fuzzWire(t *testing.T, wire []byte, how byte, piece int) {
	near, far := net.Pipe()
	w := &wireEnd{Conn: far}
	w.listen()
	var offered, ended int
	var mu sync.Mutex
	side := audit(t, "fuzzed", near)
	e := run(t, side.rw, side.link, mux.Options{Limits: fuzzLimits, NoExt: how&8 != 0, Accept: func(m *mux.Inbound) {
		mu.Lock()
		offered++
		mu.Unlock()
		if how&2 != 0 {
			m.Discard()
		}
		go func() { // ends with the message
			if how&3 == 0 {
				<-m.Conn().Done()
			}
			m.WriteTo(io.Discard)
			mu.Lock()
			ended++
			mu.Unlock()
		}()
	}})
	if how&4 != 0 {
		for _, body := range []mux.Body{{Data: octets(64)}, {Data: octets(100_000)}, {Data: octets(500), More: true}} {
			if _, err := e.Send(request(), body, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	piece = max(piece, len(wire)/200)
	for len(wire) > 0 && e.Err() == nil {
		n := min(piece, len(wire))
		far.Write(wire[:n])
		wire = wire[n:]
		synctest.Wait()
		// The rule of PROTOCOL 4.5, with one packet on top.
		if most := int64(8 * (300_000 + 131_072)); e.Unread() > most {
			t.Fatalf("%d octets unread, want at most %d", e.Unread(), most)
		}
	}
	far.Close()
	<-e.ran
	synctest.Wait()
	if offered != ended {
		t.Errorf("%d messages offered, %d ended", offered, ended)
	}
}

// A wireEnd reads and forgets.
type wireEnd struct{ net.Conn }

func (w *wireEnd) listen() {
	go io.Copy(io.Discard, w.Conn) // ends with the connection
}

// FuzzEnds runs a program of sends, reads, aborts and cuts on two live ends. What
// is read is what was sent, in order, and what is complete is all of it.
func FuzzEnds(f *testing.F) {
	f.Add([]byte("\x00\x10\x20\x30\x40\x50"), byte(0))
	f.Add([]byte("\x01\x91\x22\x93\x41\xf2\x60\x71\x01\x91\x22\x93"), byte(3))
	f.Add(bytes.Repeat([]byte("\x00\x1f\x2f\x3f\x4f\x5f"), 10), byte(1))
	f.Fuzz(func(t *testing.T, program []byte, how byte) {
		bubble(t, func(t *testing.T) { fuzzEnds(t, program[:min(len(program), 300)], how) })
	})
}

// A transfer is one message of the program, at both of its ends.
type transfer struct {
	out    *mux.Outbound
	sent   []byte // handed to Write that returned without an error, and Data
	closed bool
	in     *mux.Inbound
	body   []byte
	err    error
	read   chan int      // octets to read; closed when the rest is wanted
	done   chan struct{} // closed when the reader has seen the end
}

func fuzzEnds(t *testing.T, program []byte, how byte) {
	a, b := auditedPipe.make(t)
	var mu sync.Mutex
	transfers := [2][]*transfer{} // by direction, in the order of their numbers
	opts := func(dir int, flag byte) mux.Options {
		return mux.Options{Limits: fuzzLimits, NoExt: how&flag != 0, Accept: func(m *mux.Inbound) {
			mu.Lock()
			x := transfers[dir][m.No()]
			x.in = m
			mu.Unlock()
			go x.readAll() // ends with the message
		}}
	}
	ends := [2]*end{run(t, a.rw, a.link, opts(1, 1)), run(t, b.rw, b.link, opts(0, 2))}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	var every []*transfer
	for i, op := range program {
		dir, arg := int(op>>3&1), int(op&7)
		mu.Lock()
		all := transfers[dir]
		mu.Unlock()
		var x *transfer
		if len(all) > 0 {
			x = all[(i*7+arg)%len(all)]
		}
		switch op >> 4 {
		case 0, 1, 2: // open
			x := &transfer{read: make(chan int), done: make(chan struct{})}
			every = append(every, x)
			x.sent = octets(arg * 400)
			x.closed = op>>4 == 2
			h := request()
			h.ID = packet.RequestID{}
			register := prepareFunc(func(*packet.Header) bool {
				mu.Lock()
				transfers[dir] = append(transfers[dir], x)
				mu.Unlock()
				return true
			})
			o, err := ends[dir].Send(h, mux.Body{Data: x.sent, More: !x.closed}, register)
			if err == nil {
				x.out = o
			}
		case 3, 4, 5, 6: // write; it may have to wait for ever
			if x == nil || x.out == nil {
				continue
			}
			short, stop := context.WithTimeout(ctx, time.Second)
			p := octets(arg*arg*300 + 1)
			n, _ := x.out.Write(short, p)
			x.sent = append(x.sent, p[:n]...)
			clear(p)
			stop()
		case 7:
			if x != nil && x.out != nil {
				x.out.CloseSend()
				x.closed = true
			}
		case 8:
			if x != nil && x.out != nil {
				x.out.Abort("program")
			}
		case 9, 10, 11:
			if x != nil {
				select {
				case x.read <- arg * 1000:
				case <-time.After(time.Second):
				}
			}
		case 12:
			mu.Lock()
			if x != nil && x.in != nil {
				x.in.Discard()
			}
			mu.Unlock()
		case 13:
			time.Sleep(time.Duration(arg) * time.Second / 2)
		case 14:
			if arg == 7 {
				ends[dir].Close()
			}
		}
		if t.Failed() {
			return
		}
	}
	for _, x := range every {
		close(x.read)
	}
	synctest.Wait()
	for _, x := range every {
		if x.out != nil {
			x.out.CloseSend()
		}
	}
	synctest.Wait()
	alive := ends[0].Err() == nil && ends[1].Err() == nil
	for i, x := range every {
		x.check(t, fmt.Sprintf("transfer %d of %x", i, program), alive)
	}
	if alive {
		nothingOpen(t, ends[0], ends[1])
	}
}

// readAll reads as much as it is told to, and at last everything.
func (x *transfer) readAll() {
	defer close(x.done)
	for n := range x.read {
		got := make([]byte, n)
		k, err := io.ReadFull(inboundReader{x.in}, got)
		x.body = append(x.body, got[:k]...)
		if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
			x.err = err
			for range x.read {
			}
			return
		}
	}
	rest, err := io.ReadAll(inboundReader{x.in})
	x.body = append(x.body, rest...)
	x.err = err
}

func (x *transfer) check(t *testing.T, what string, alive bool) {
	t.Helper()
	if x.in == nil {
		if alive && x.out != nil && x.out.Started() {
			t.Errorf("%s: started and never offered", what)
		}
		return
	}
	select {
	case <-x.done:
	default:
		if alive {
			t.Errorf("%s: its reader waits for an end", what)
		}
		return
	}
	ended, err := x.out.Ended()
	if !ended || len(x.body) > len(x.sent) && err == nil {
		t.Errorf("%s: ended %v, %v; %d octets read of %d", what, ended, err, len(x.body), len(x.sent))
	}
	if x.err == nil && (err != nil || len(x.body) != len(x.sent)) {
		t.Errorf("%s: read %d octets to their good end; sent %d with %v", what, len(x.body), len(x.sent), err)
	}
}

// FuzzAck sends ACKs for a message of which so many octets were sent. The outcome is
// that of the table of PROTOCOL 4.4.
func FuzzAck(f *testing.F) {
	var table struct {
		Cases []struct {
			Sent int
			Acks []string
		}
	}
	fixtures.JSON("ack.json", &table)
	for _, c := range table.Cases {
		f.Add(uint32(c.Sent), strings.Join(c.Acks, ","))
	}
	f.Add(uint32(65536), "1,65536,65536,65535")
	f.Add(uint32(10), "9223372036854775808")
	count := regexp.MustCompile(`^[1-9][0-9]*$`)
	f.Fuzz(func(t *testing.T, sent uint32, list string) {
		sent %= 65537
		acks := strings.Split(list, ",")
		if len(acks) > 100 || len(list) > 10_000 {
			return
		}
		bubble(t, func(t *testing.T) {
			e, w := talk(t, mux.Options{})
			send(t, e, reply(), mux.Body{Data: octets(int(sent)), More: true})
			synctest.Wait()
			last, repeated := int64(0), uint64(0)
			for _, body := range acks {
				w.send(ack(0, body))
				synctest.Wait()
				n, err := strconv.ParseInt(body, 10, 64)
				if !count.MatchString(body) || err != nil || n < last || n > int64(sent) {
					if !fatal(e) {
						t.Fatalf("ACK %q after %d of %d: connection goes on, want it ended", body, last, sent)
					}
					return
				}
				if n == last {
					repeated++
				}
				last = n
				if e.Err() != nil || e.stats.Count(mux.AckRepeated) != repeated {
					t.Fatalf("ACK %q of %d: %v, ack_repeated %d; want it taken, and %d", body, sent, e.Err(), e.stats.Count(mux.AckRepeated), repeated)
				}
			}
			// What was acknowledged may be sent again.
			more := send(t, e, request(), mux.Body{})
			if err := more.Wait(t.Context(), "gone"); err != nil && !errors.Is(err, mux.ErrLost) {
				t.Error(err)
			}
		})
	})
}
