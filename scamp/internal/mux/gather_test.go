package mux_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// Who writes line by line, however fast, is no flood at the other end, and all of it
// arrives; who writes now and then waits for nothing.
func TestTinyWritesAreGathered(t *testing.T) {
	for _, n := range networks {
		t.Run(n.name, func(t *testing.T) {
			a, b := n.make(t)
			e := run(t, a.rw, a.link, mux.Options{})
			got := make(chan []byte, 1)
			far := run(t, b.rw, b.link, mux.Options{Accept: func(m *mux.Inbound) {
				go func() { body, _ := m.Bytes(1 << 20); got <- body }()
			}})
			o, err := e.Send(&packet.Header{Type: packet.TypeRequest}, mux.Body{More: true}, nil)
			if err != nil {
				t.Fatal(err)
			}
			var want bytes.Buffer
			for i := range 60000 {
				line := fmt.Sprintln(i)
				want.WriteString(line)
				if _, err := o.Write(context.Background(), []byte(line)); err != nil {
					t.Fatalf("line %d: %v", i, err)
				}
			}
			if err := o.CloseSend(); err != nil {
				t.Fatal(err)
			}
			if err := diff(<-got, want.Bytes()); err != nil {
				t.Error(err)
			}
			if k := far.stats.Count(mux.TinyData); k != 0 {
				t.Errorf("%s counts %d, want 0", mux.TinyData, k)
			}
		})
	}
}

func TestTinyWritesLeaveSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t)
		e := run(t, a.rw, a.link, mux.Options{})
		in := make(chan *mux.Inbound, 1)
		run(t, b.rw, b.link, mux.Options{Accept: func(m *mux.Inbound) { in <- m }})
		o, err := e.Send(&packet.Header{Type: packet.TypeRequest}, mux.Body{More: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		m := <-in
		buf := make([]byte, 1)
		for i := range 2000 {
			began := time.Now()
			if _, err := o.Write(context.Background(), []byte{'x'}); err != nil {
				t.Fatal(err)
			}
			if _, err := m.Read(buf); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > time.Millisecond || i < 500 && took > 0 {
				t.Fatalf("octet %d took %v, want at once at first and at most 1 ms later", i, took)
			}
		}
		o.Abort("enough")
	})
}

// What was gathered has been reported as written: it is not lost when a Write after it
// gives up, and leaves soon also if no other Write follows.
func TestGatheredOctetsSurviveAWriteThatGivesUp(t *testing.T) {
	for _, again := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			e, w := talk(t, mux.Options{NoExt: true})
			o := send(t, e, request(), mux.Body{More: true})
			var want bytes.Buffer
			write := func(ctx context.Context, p []byte) {
				n, err := o.Write(ctx, p)
				if (err == nil) != (n == len(p)) {
					t.Errorf("Write of %d octets: %d, %v", len(p), n, err)
				}
				want.Write(p[:n])
			}
			for i := range 500 {
				write(t.Context(), []byte{byte(i)})
			}
			write(t.Context(), octets(65536-500)) // the window is full
			write(t.Context(), []byte("gathered"))
			short, stop := context.WithTimeout(t.Context(), time.Nanosecond)
			defer stop()
			write(short, bytes.Repeat([]byte("x"), 5000))
			w.send(ack(0, 65536))
			if again {
				write(t.Context(), bytes.Repeat([]byte("y"), 5000))
			}
			time.Sleep(time.Second)
			var got []byte
			for _, p := range kindsOnly(w.packets(), packet.KindData) {
				got = append(got, p.Body...)
			}
			if err := diff(got, want.Bytes()); err != nil {
				t.Errorf("written again: %v: %v", again, err)
			}
			o.Abort("enough")
		})
	}
}
