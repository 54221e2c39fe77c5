package mux_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
	"pgregory.net/rapid"
)

// TestTwoEnds joins two Conns by a pipe that splits, delays and cuts, and has both
// send, read, abort and close by random programs (THREATS 4.2): 1,000 of up to 200
// operations, fewer under the race detector, more by SCAMP_MODEL_CHECKS. FuzzEnds
// runs the same programs.
func TestTwoEnds(t *testing.T) {
	n := 1000
	if race {
		n = 60
	}
	modelChecks(t, n)
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.SampledFrom([]int{4, 16, 64, 200, 200, 200}).Draw(r, "n")
		program := rapid.SliceOfN(rapid.Byte(), n, n).Draw(r, "program")
		how := rapid.Byte().Draw(r, "how")
		seed := rapid.Uint64Range(0, 10_000).Draw(r, "seed")
		var err error
		bubble(t, func(t *testing.T) { err = twoEnds(t, program, how, seed) })
		if err != nil {
			r.Fatal(err)
		}
	})
}

// FuzzEnds runs a program of sends, reads, aborts and cuts on two live ends. What
// is read is what was sent, in order, and what is complete is all of it.
func FuzzEnds(f *testing.F) {
	f.Add([]byte("\x00\x10\x20\x30\x40\x50"), byte(0), uint64(0))
	f.Add([]byte("\x01\x91\x22\x93\x41\xf2\x60\x71\x01\x91\x22\x93"), byte(3), uint64(0))
	for seed := range uint64(8) {
		f.Add(bytes.Repeat([]byte("\x00\x1f\x2f\x3f\x4f\x5f"), 10), byte(seed), seed)
		f.Add(bytes.Repeat([]byte("\x07\x0f\x47\x4f\x97\x9f\xd3\x70"), 12), byte(seed), seed)
		f.Add(bytes.Repeat([]byte("\x0b\x13\x1a\x37\x6d\x7b\x85\x9d\xa2\xc4\xd1"), 9), byte(seed), seed)
		// Bodies collected, tiny writes, a shutdown and a close.
		f.Add([]byte("\x05\x6f\x0d\x67\x45\x16\x26\x4d\xd5\x6f\x77\xd2\xf7\x05\xff"), byte(seed+8), seed)
		f.Add([]byte("\x06\x4f\x0e\x8f\x57\x07\x27\x5f\xd7\xff\x77\xd7\xef\x05\x2f"), byte(seed), seed)
	}
	f.Fuzz(func(t *testing.T, program []byte, how byte, seed uint64) {
		bubble(t, func(t *testing.T) {
			if err := twoEnds(t, program[:min(len(program), 300)], how, seed); err != nil {
				t.Errorf("program %x, how %d, seed %d: %v", program, how, seed, err)
			}
		})
	})
}

// A transfer is one message of the program, at both of its ends.
type transfer struct {
	out  *mux.Outbound
	sent []byte // handed to Write that took it, and Data
	how  int    // how the rest of it is read
	in   *mux.Inbound
	body []byte
	err  error
	read chan int      // octets to read; closed when the rest is wanted
	done chan struct{} // closed when the reader has seen the end
}

// A duel is two Conns, and the transfers of each by their numbers.
type duel struct {
	ends [2]*end
	ctx  context.Context

	mu    sync.Mutex
	by    [2][]*transfer
	every []*transfer
}

// twoEnds runs a program. Of how, 1 and 2 say which end sends no ext, 4 that the limits
// are so small that programs reach them, and 8 that both ask whether the other lives;
// seed 0 is a pipe that does no harm.
func twoEnds(t *testing.T, program []byte, how byte, seed uint64) error {
	a, b := auditedPipe.make(t)
	if seed > 0 {
		a, b = rough(t, seed)
	}
	d := new(duel)
	opts := func(dir int, flag byte) mux.Options {
		o := mux.Options{NoExt: how&flag != 0, Accept: func(m *mux.Inbound) {
			d.mu.Lock()
			x := d.by[dir][m.No()]
			x.in = m
			d.mu.Unlock()
			go x.readAll() // ends with the message
		}}
		if how&4 != 0 {
			o.Limits = fuzzLimits
		}
		if how&8 != 0 {
			o.Heartbeat, o.PingAny = 10*time.Second, true
			for _, side := range []side{a, b} {
				side.link.Conn.(auditedConn).a.asks = true
			}
		}
		return o
	}
	d.ends = [2]*end{run(t, a.rw, a.link, opts(1, 1)), run(t, b.rw, b.link, opts(0, 2))}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	d.ctx = ctx
	for i, op := range program {
		d.do(op, i)
	}
	return d.finish()
}

// do is one operation: its kind in the upper half, then a bit for the end, and three
// that say how much.
func (d *duel) do(op byte, i int) {
	dir, arg := int(op>>3&1), int(op&7)
	d.mu.Lock()
	all := d.by[dir]
	d.mu.Unlock()
	var x *transfer
	if len(all) > 0 {
		x = all[(i*7+arg)%len(all)]
	}
	switch kind := op >> 4; {
	case kind <= 2:
		d.open(dir, arg, kind == 2)
	case kind == 13:
		time.Sleep(time.Duration(arg*arg) * time.Second / 100)
	case kind == 14 && arg == 7 && i%4 == 0:
		d.ends[dir].Close()
	case kind == 15 && arg == 7 && i%4 == 0:
		go d.ends[dir].Shutdown(time.Second) // ends with the connection
	case x == nil || x.out == nil:
		// Nothing was begun yet.
	case kind == 6 && arg == 7:
		for range 550 { // so many tiny ones are gathered
			x.write(d.ctx, 0)
		}
	case kind <= 6:
		x.write(d.ctx, arg)
	case kind == 7:
		x.out.CloseSend()
	case kind == 8:
		x.out.Abort("program")
	case kind <= 11:
		select {
		case x.read <- arg * 1000:
		case <-time.After(time.Second):
		}
	case kind == 12:
		d.mu.Lock()
		in := x.in
		d.mu.Unlock()
		if in != nil {
			in.Discard()
		}
	}
}

// open begins a message; whole says that nothing is written to it any more.
func (d *duel) open(dir, arg int, whole bool) {
	x := &transfer{read: make(chan int), done: make(chan struct{}), how: arg}
	d.every = append(d.every, x)
	x.sent = octets(arg * arg * 400)
	register := prepareFunc(func(*packet.Header) bool {
		d.mu.Lock()
		d.by[dir] = append(d.by[dir], x)
		d.mu.Unlock()
		return true
	})
	h := request()
	h.ID = packet.RequestID{}
	if o, err := d.ends[dir].Send(h, mux.Body{Data: bytes.Clone(x.sent), More: !whole, Unit: whole && arg < 4}, register); err == nil {
		x.out = o
	}
}

// write writes some octets. It may have to wait for ever, and gives up after a second.
func (x *transfer) write(ctx context.Context, arg int) {
	ctx, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	p := octets(arg*arg*arg*300 + 1)
	n, _ := x.out.Write(ctx, p)
	x.sent = append(x.sent, p[:n]...)
	clear(p) // the octets are ours again
}

// finish ends what the program has left open, and looks at all of it.
func (d *duel) finish() error {
	for _, x := range d.every {
		close(x.read)
	}
	time.Sleep(time.Hour) // all that can move has
	for _, x := range d.every {
		if x.out != nil {
			x.out.CloseSend()
		}
	}
	time.Sleep(time.Hour)
	synctest.Wait()
	alive := d.ends[0].Err() == nil && d.ends[1].Err() == nil
	for i, x := range d.every {
		if err := x.check(alive); err != nil {
			return fmt.Errorf("transfer %d: %w", i, err)
		}
	}
	for _, e := range d.ends {
		if left := mux.Pending(e.Conn); alive && left != "" {
			return errors.New("left at the end: " + left)
		}
	}
	return nil
}

// readAll reads as much as it is told to, and at last everything.
func (x *transfer) readAll() {
	defer close(x.done)
	for n := range x.read {
		if x.err != nil {
			continue
		}
		got := make([]byte, n)
		k, err := io.ReadFull(inboundReader{x.in}, got)
		x.body = append(x.body, got[:k]...)
		if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
			x.err = err
		}
	}
	if x.err != nil {
		return
	}
	var rest []byte
	switch x.how {
	case 0, 1, 2:
		rest, x.err = io.ReadAll(inboundReader{x.in})
	case 3, 4:
		var b bytes.Buffer
		_, x.err = x.in.WriteTo(&b)
		rest = b.Bytes()
	case 5:
		rest, x.err = x.in.Bytes(1 << 30)
	case 6:
		rest, x.err = x.in.Bytes(10_000)
	default:
		var held mux.Held
		var ok bool
		if rest, held, ok = x.in.Hold(100_000); !ok {
			rest, x.err = io.ReadAll(inboundReader{x.in})
		}
		rest = bytes.Clone(rest)
		held.Release()
	}
	x.body = append(x.body, rest...)
}

// check compares what was read with what was sent.
func (x *transfer) check(alive bool) error {
	if x.in == nil {
		if alive && x.out != nil && x.out.Started() {
			return errors.New("started and never offered")
		}
		return nil
	}
	select {
	case <-x.done:
	default:
		return errors.New("its reader waits for an end")
	}
	ended, err := x.out.Ended()
	switch {
	case !ended:
		return errors.New("has no end")
	case !bytes.HasPrefix(x.sent, x.body):
		return fmt.Errorf("%d octets were read that are not those that were sent", len(x.body))
	case x.err == nil && (err != nil || len(x.body) != len(x.sent)):
		return fmt.Errorf("read %d octets to their good end; sent %d with %v", len(x.body), len(x.sent), err)
	}
	return nil
}
