package mux_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// allNetworks are those that two live ends are tested on.
var allNetworks = append([]network{auditedPipe}, networks...)

func onAll(t *testing.T, f func(*testing.T, network)) {
	for _, n := range allNetworks {
		t.Run(n.name, func(t *testing.T) { f(t, n) })
	}
}

// TestEcho sends bodies of all interesting sizes through two ends and back.
func TestEcho(t *testing.T) {
	onAll(t, func(t *testing.T, n network) {
		for _, opts := range []mux.Options{{}, {NoExt: true}, {Limits: mux.Limits{ChunkSize: 1000, MaxWindow: 70000}}} {
			c, _ := connect(t, n, opts, echo)
			for _, size := range []int{0, 1, 64, 16384, 16385, 32768, 32769, 65536, 65537, 1<<20 + 1} {
				got, err := c.echo(octets(size))
				if err == nil {
					err = diff(got, octets(size))
				}
				if err != nil {
					t.Fatalf("echo of %d octets with %+v: %v", size, opts, err)
				}
			}
		}
	})
}

// A random source of octets that can be compared without being kept.
type random struct {
	*rand.ChaCha8
	left int
	sum  hash.Hash
}

func newRandom(seed byte, n int) *random {
	return &random{rand.NewChaCha8([32]byte{seed}), n, sha256.New()}
}

func (r *random) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n, _ := r.ChaCha8.Read(p[:min(len(p), r.left)])
	r.left -= n
	r.sum.Write(p[:n])
	return n, nil
}

// echoStream sends n random octets as a stream and compares what comes back.
func (c *caller) echoStream(seed byte, n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	k, err := c.open(mux.Body{More: true})
	if err != nil {
		return err
	}
	src := newRandom(seed, n)
	sent := make(chan error, 1)
	go func() { // ends when the body is sent, or the connection is lost
		_, err := io.CopyBuffer(writerTo(ctx, &k.out), src, make([]byte, 1+int(seed)*777))
		sent <- errors.Join(err, k.out.CloseSend())
	}()
	back := sha256.New()
	m, err := k.wait()
	if err == nil {
		_, err = m.WriteTo(back)
	}
	if err := errors.Join(err, <-sent); err != nil {
		return err
	}
	if string(back.Sum(nil)) != string(src.sum.Sum(nil)) {
		return fmt.Errorf("%d octets came back different", n)
	}
	return nil
}

// TestManyStreams has 64 streams of random sizes at once.
func TestManyStreams(t *testing.T) {
	onAll(t, func(t *testing.T, n network) {
		c, server := connect(t, n, mux.Options{}, echo)
		var group sync.WaitGroup
		for i := range 64 {
			group.Go(func() {
				size := rand.New(rand.NewPCG(1, uint64(i))).IntN(300_000)
				if err := c.echoStream(byte(i+1), size); err != nil {
					t.Errorf("stream %d of %d octets: %v", i, size, err)
				}
			})
		}
		group.Wait()
		nothingLeft(t, c.end, server)
	})
}

// TestManyMessages sends 5,000 small messages from 64 goroutines.
func TestManyMessages(t *testing.T) {
	onAll(t, func(t *testing.T, n network) {
		c, server := connect(t, n, mux.Options{}, echo)
		messages := 5000
		if race {
			messages = 1280
		}
		var group sync.WaitGroup
		for i := range 64 {
			group.Go(func() {
				for k := range messages / 64 {
					want := octets((i*131 + k*17) % 3000)
					got, err := c.echo(want)
					if err == nil {
						err = diff(got, want)
					}
					if err != nil {
						t.Errorf("message %d of goroutine %d: %v", k, i, err)
						return
					}
				}
			})
		}
		group.Wait()
		nothingLeft(t, c.end, server)
	})
}

// nothingLeft waits until nothing is open or unread on either end.
func nothingLeft(t *testing.T, ends ...*end) {
	t.Helper()
	for _, e := range ends {
		left := "?"
		for until := time.Now().Add(10 * time.Second); left != "" && time.Now().Before(until); time.Sleep(time.Millisecond) {
			left = mux.Pending(e.Conn)
		}
		if left != "" {
			t.Errorf("left at the end: %s", left)
		}
	}
}

// TestRandomAbortsAndCuts has streams end in all ways there are, and connections
// cut in between: every message ends, and what is complete is right.
func TestRandomAbortsAndCuts(t *testing.T) {
	onAll(t, func(t *testing.T, n network) {
		for seed := range uint64(12) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			// The handler may also give up, or not care.
			var mu sync.Mutex
			roll := func(n int) int {
				mu.Lock()
				defer mu.Unlock()
				return rnd.IntN(n)
			}
			c, server := connect(t, n, mux.Options{}, func(m *mux.Inbound) {
				switch roll(5) {
				case 0:
					m.Discard()
					if o, err := m.Conn().Send(replyTo(m), mux.Body{Data: []byte("no")}, nil); err == nil {
						o.Wait(context.Background(), "gone")
					}
				case 1:
					o, err := m.Conn().Send(replyTo(m), mux.Body{More: true}, nil)
					if err == nil {
						io.CopyN(writerTo(context.Background(), o), inboundReader{m}, int64(roll(100_000)))
						o.Abort("had enough")
					}
					m.Discard()
				default:
					echo(m)
				}
			})
			var group sync.WaitGroup
			for i := range 16 {
				size, how := roll(400_000), roll(4)
				group.Go(func() { abortSomehow(t, c, byte(i+1), size, how, roll) })
			}
			if seed%3 == 0 {
				for range roll(2000) {
					runtime.Gosched()
				}
				if seed%2 == 0 {
					c.Close()
				} else {
					server.Close()
				}
			}
			group.Wait()
			if seed%3 != 0 {
				nothingLeft(t, c.end, server)
			}
		}
	})
}

// abortSomehow makes a call that ends in one of several ways.
func abortSomehow(t *testing.T, c *caller, seed byte, size, how int, roll func(int) int) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	k, err := c.open(mux.Body{More: true})
	if err != nil {
		return // the connection is gone
	}
	src := newRandom(seed, size)
	sending := make(chan struct{})
	go func() { // ends when the body is sent, aborted, or the connection is lost
		defer close(sending)
		w := writerTo(ctx, &k.out)
		if how == 1 {
			io.CopyN(w, src, int64(size/2))
			k.out.Abort("changed my mind")
			return
		}
		if how == 2 {
			short, stop := context.WithTimeout(ctx, time.Duration(roll(3000))*time.Microsecond)
			defer stop()
			w = writerTo(short, &k.out)
		}
		if _, err := io.Copy(w, src); err != nil {
			k.out.Abort(err.Error())
			return
		}
		k.out.CloseSend()
	}()
	defer func() { <-sending }()
	if how == 2 {
		if <-sending; !k.out.Started() {
			return // given up before its HEADER was written: it has left no trace
		}
	}
	m, err := k.wait()
	if err != nil {
		if c.Err() == nil {
			t.Errorf("call %d, %d octets, way %d: %v", seed, size, how, err)
		}
		return
	}
	if how == 3 {
		io.CopyN(io.Discard, inboundReader{m}, int64(size/3))
		m.Discard()
		return
	}
	back := sha256.New()
	got, err := m.WriteTo(back)
	if err == nil && got == int64(size) && how == 0 {
		<-sending
		if string(back.Sum(nil)) != string(src.sum.Sum(nil)) {
			t.Errorf("call %d: %d octets came back different", seed, size)
		}
	}
	var tx *mux.TXERR
	if err != nil && !errors.As(err, &tx) && !errors.Is(err, mux.ErrLost) {
		t.Errorf("call %d: body ends with %v, want EOF, a *TXERR or ErrLost", seed, err)
	}
}

// inboundReader hides WriteTo.
type inboundReader struct{ m *mux.Inbound }

func (r inboundReader) Read(p []byte) (int, error) { return r.m.Read(p) }

// TestSmallMessageOvertakes has small calls pass a large transfer on the same
// connection, in both directions at once (PROTOCOL 17-42).
func TestSmallMessageOvertakes(t *testing.T) {
	onAll(t, func(t *testing.T, n network) {
		c, _ := connect(t, n, mux.Options{}, echo)
		transfer := make(chan error, 1)
		size := 24 << 20
		if race {
			size = 3 << 20
		}
		go func() { transfer <- c.echoStream(1, size) }() // ends with the transfer
		during := 0
		for {
			if _, err := c.echo(octets(64)); err != nil {
				t.Fatal(err)
			}
			during++
			select {
			case err := <-transfer:
				if err != nil {
					t.Fatal(err)
				}
				if during < 5 {
					t.Errorf("%d small calls during the transfer, want many", during)
				}
				return
			default:
			}
		}
	})
}

// TestPreparerDropsAMessage: what Prepare refuses leaves no trace.
func TestPreparerDropsAMessage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, w := talk(t, mux.Options{})
		var o mux.Outbound
		o.Init(e.Conn, mux.Body{Data: []byte("x")}, prepareFunc(func(*packet.Header) bool { return false }))
		err := e.SendOutbound(&o, request())
		if ended, why := o.Ended(); !errors.Is(err, mux.ErrClosed) || !ended || why == nil || o.Started() {
			t.Errorf("%v, ended %v with %v, started %v; want ErrClosed, and it ended and not started", err, ended, why, o.Started())
		}
		w.wants("after a message that Prepare refused")
	})
}

type prepareFunc func(*packet.Header) bool

func (f prepareFunc) Prepare(h *packet.Header) bool { return f(h) }

// TestHoldRefuses what is not complete, not in one piece or not well, and keeps what
// it lent whatever becomes of the message.
func TestHoldRefuses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var s shelf
		e, w := talk(t, mux.Options{Accept: s.accept})
		w.send(header(0, jsRequest) + data(0, "all ") + data(0, "of it"))
		m := s.message(t)
		if b, _, ok := m.Hold(100); ok {
			t.Errorf("Hold of a message that goes on: %q", b)
		}
		w.send(eof(0) + header(1, jsRequest) + stream(1, 40_000, 16384) + eof(1) +
			header(2, jsRequest) + data(2, "part") + txerr(2, "no") + header(3, jsRequest) + data(3, "gone") + eof(3))
		all := s.messages()
		all[3].Discard()
		for i, m := range all[1:] {
			if b, _, ok := m.Hold(1 << 20); ok {
				t.Errorf("Hold of message %d, which is in pieces, cut or discarded: %q", i+1, b)
			}
		}
		b, held, ok := m.Hold(100)
		if !ok || string(b) != "all of it" {
			t.Errorf("Hold: %q, %v", b, ok)
		}
		if n, err := m.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("Read after Hold: %d, %v; want the end", n, err)
		}
		for _, m := range all {
			m.Discard()
			m.Fail(io.ErrClosedPipe)
		}
		if string(b) != "all of it" {
			t.Errorf("after Discard the octets are %q", b)
		}
		held.Release()
		nothingOpen(t, e)
	})
}
