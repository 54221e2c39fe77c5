//go:build resource

package scamp_test

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A distant network delays every octet each way, and carries as many as come.
type distant struct {
	dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	delay time.Duration
	work  sync.WaitGroup
}

func newDistant(t testing.TB, delay time.Duration, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *distant {
	d := &distant{dial: dial, delay: delay}
	t.Cleanup(d.work.Wait)
	return d
}

// Dial is Options.Dial.
func (d *distant) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	far, err := d.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	near, mine, err := tcpPair(ctx)
	if err != nil {
		far.Close()
		return nil, err
	}
	d.pass(near, far)
	d.pass(far, near)
	return mine, nil
}

// inFlight is what is on its way, and when it arrives.
type inFlight struct {
	at     time.Time
	octets []byte
}

// pass carries one direction until either end closes. It reads ahead of what it writes.
func (d *distant) pass(from, to net.Conn) {
	// So many reads may be on their way: more than any window fills in the delay.
	flight := make(chan inFlight, 1<<14)
	d.work.Go(func() {
		defer close(flight)
		for {
			b := make([]byte, 64<<10)
			n, err := from.Read(b)
			if n > 0 {
				flight <- inFlight{time.Now().Add(d.delay), b[:n:n]}
			}
			if err != nil {
				return
			}
		}
	})
	d.work.Go(func() {
		defer to.Close()
		for f := range flight {
			<-time.After(time.Until(f.at))
			to.Write(f.octets) // an end that is closed ends the reading too
		}
	})
}

// rate is how many octets a second do carries.
func rate(octets int, do func()) float64 {
	began := time.Now()
	do()
	return float64(octets) / time.Since(began).Seconds()
}

// plain sends so many octets through the distant network with nothing but a window: an
// octet comes back for each half of it. On a busy machine that is slower than the window
// allows, and nobody can be faster.
func (d *distant) plain(t *testing.T, octets, window int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var far sync.WaitGroup
	defer far.Wait()
	far.Go(func() { // ends with the connection
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for {
			if _, err := io.CopyN(io.Discard, c, int64(window/2)); err != nil {
				return
			}
			c.Write([]byte{1})
		}
	})
	c, err := d.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	half, got := make([]byte, window/2), make([]byte, 1)
	for sent, acked := 0, 0; acked < octets; acked += len(half) {
		for sent < octets && sent-acked < window {
			if _, err := c.Write(half); err != nil {
				t.Fatal(err)
			}
			sent += len(half)
		}
		if _, err := c.Read(got); err != nil {
			t.Fatal(err)
		}
	}
}

// TestResourceWAN is the case for the larger window of PROTOCOL 3.7: at 50 ms round trip
// one stream between two of ours reaches 15 MB/s up and down, on a connection that is
// new and on one that small calls have used; toward an old peer the window stays 65536,
// which is 1.3 MB/s.
func TestResourceWAN(t *testing.T) {
	const delay = 25 * time.Millisecond
	const wide, narrow = 32 << 20, 2 << 20
	const window, most = 1 << 20, (1 << 20) / (2 * 0.025) // octets, octets a second
	const fast, slow = 15e6, 65536 / (2 * 0.025)

	n := scamptest.New(t)
	pair := n.KeyPair()
	n.Allow(pair, "main:ALL")
	svc, err := n.Bus(&scamp.Options{Listen: net.Listen}).NewService("wan", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	svc.Handle("Wan.up", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
		_, err := io.Copy(io.Discard, req.Body)
		return err
	}, nil)
	svc.Handle("Wan.down", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
		_, err := io.Copy(rep, io.LimitReader(zeros{}, wide))
		return err
	}, nil)
	serve(t, svc)
	d := newDistant(t, delay, new(net.Dialer).DialContext)
	client := func() *scamp.Client {
		c, err := scamp.Dial(t.Context(), svc.Addr(), scamp.Identity{Certificate: pair.Certificate}, &scamp.Options{Dial: d.Dial})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	call := func(c *scamp.Client, action string, body io.Reader, want int64) {
		reply, err := c.Call(t.Context(), &scamp.Request{Action: action, Body: body})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.Copy(io.Discard, reply.Body); err != nil || got != want {
			t.Fatalf("%s: %d octets, %v, want %d", action, got, err, want)
		}
	}
	up := func(c *scamp.Client) { call(c, "Wan.up", io.LimitReader(zeros{}, wide), 0) }
	down := func(c *scamp.Client) { call(c, "Wan.down", nil, wide) }
	small := func(c *scamp.Client) {
		for range 10 {
			call(c, "Wan.up", strings.NewReader("x"), 0)
		}
	}
	for _, tt := range []struct {
		name string
		with func() *scamp.Client
		do   func(c *scamp.Client)
	}{
		{"up_new", client, up},
		{"down_new", client, down},
		{"up_used", func() *scamp.Client { c := client(); small(c); return c }, up},
		{"down_used", func() *scamp.Client { c := client(); small(c); return c }, down},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.with()
			var got, want float64
			for range 5 { // what disturbs a try only makes it slower
				can := rate(wide, func() { d.plain(t, wide, window) })
				got, want = rate(wide, func() { tt.do(c) }), fast*min(1, can/most)
				t.Logf("%.1f MB/s at %v round trip, where a window of %d KiB alone carries %.1f", got/1e6, 2*delay, window>>10, can/1e6)
				if got >= want {
					return
				}
			}
			t.Errorf("one stream of %d MiB at %v round trip: %.1f MB/s, want at least %.1f", wide>>20, 2*delay, got/1e6, want/1e6)
		})
	}

	t.Run("old_peer_up", func(t *testing.T) {
		f := newFar(t)
		bus := f.bus(&scamp.Options{Dial: newDistant(t, delay, f.dial).Dial})
		f.announce(bus, "far:1", "127.0.0.1:30100")
		small := inBackground(t.Context(), bus, echoReq("x"))
		w := f.next()
		w.acks.Store(true)
		w.message()
		w.send(reply(0, 1, ""))
		<-small
		wantNarrow(t, rate(narrow, func() {
			done := inBackground(t.Context(), bus, &scamp.Request{Action: "Sample.echo", Body: io.LimitReader(zeros{}, narrow)})
			m := w.message()
			w.send(reply(1, 2, ""))
			if o := <-done; o.err != nil || len(m.body) != narrow {
				t.Fatalf("%d octets arrived, %v, want %d", len(m.body), o.err, narrow)
			}
		}), slow)
	})
	t.Run("old_peer_down", func(t *testing.T) {
		raw, err := d.Dial(t.Context(), "tcp", svc.Addr())
		if err != nil {
			t.Fatal(err)
		}
		w := clientWire(t, raw, nil)
		w.acks.Store(true)
		began := time.Now()
		w.send(msg(0, `{"action":"Wan.down","envelope":"json","request_id":1,"type":"request","version":1}`, ""))
		w.await("a part of the reply", func() bool { return w.data[0] >= narrow || w.err != nil })
		wantNarrow(t, narrow/time.Since(began).Seconds(), slow)
	})
}

// wantNarrow wants the rate of a window of 65536 octets.
func wantNarrow(t *testing.T, got, want float64) {
	t.Helper()
	t.Logf("%.2f MB/s", got/1e6)
	if got > want*1.02 || got < want/4 {
		t.Errorf("one stream to an old peer: %.2f MB/s, want the %.2f of a window of 65536 octets, and no more", got/1e6, want/1e6)
	}
}
