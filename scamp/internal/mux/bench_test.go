package mux_test

import (
	"fmt"
	"io"
	"testing"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// A counter reads whole messages and hands on that they have come.
type arrivals chan error

func (a arrivals) accept(m *mux.Inbound) {
	go func() { // ends with the message
		_, err := m.WriteTo(io.Discard)
		a <- err
	}()
}

// What does a message of 64 octets and the one that answers it cost in time and
// allocations, both ends together, when one caller waits for each? The handler runs
// on the reader's goroutine, so this is the floor of what a call can cost.
func BenchmarkEcho(b *testing.B) {
	for _, n := range networks {
		b.Run(n.name, func(b *testing.B) { benchmarkEcho(b, n, 1) })
	}
}

// What do they cost when 16 and 128 wait at once, and packets leave together?
func BenchmarkEchoParallel(b *testing.B) {
	for _, callers := range []int{16, 128} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) { benchmarkEcho(b, networks[2], callers) })
	}
}

func benchmarkEcho(b *testing.B, n network, callers int) {
	a, z := n.make(b)
	run(b, z.rw, z.link, mux.Options{Accept: func(m *mux.Inbound) {
		body, err := m.Bytes(1000)
		if err != nil {
			b.Error(err)
		}
		if _, err := m.Conn().Send(replyTo(m), mux.Body{Data: body}, nil); err != nil {
			b.Error(err)
		}
	}})
	replies := make(chan *mux.Inbound, callers) // one for each that waits
	c := run(b, a.rw, a.link, mux.Options{Accept: func(m *mux.Inbound) { replies <- m }})
	h := packet.Header{Type: packet.TypeRequest, Action: "Lab.echo", Sector: "main", ID: packet.NumberID(1)}
	body := octets(64)
	call := func() {
		if _, err := c.Send(&h, mux.Body{Data: body}, nil); err != nil {
			b.Fatal(err)
		}
	}
	for range callers - 1 {
		call()
	}
	b.SetBytes(2 * 64)
	b.ReportAllocs()
	for b.Loop() {
		call()
		m := <-replies
		if got, err := m.Bytes(1000); err != nil || len(got) != 64 {
			b.Fatalf("%d octets, %v", len(got), err)
		}
	}
	for range callers - 1 {
		<-replies
	}
}

// How fast does one long body go through, one way, with the window of old peers and
// with that between two of ours?
func BenchmarkBulk(b *testing.B) {
	for _, n := range networks {
		for _, noExt := range []bool{true, false} {
			name := "window 1 MiB"
			if noExt {
				name = "window 65536"
			}
			b.Run(n.name+"/"+name, func(b *testing.B) { benchmarkBulk(b, n, noExt) })
		}
	}
}

func benchmarkBulk(b *testing.B, n network, noExt bool) {
	a, z := n.make(b)
	done := make(arrivals, 1)
	other := run(b, z.rw, z.link, mux.Options{Accept: done.accept, NoExt: noExt})
	c := run(b, a.rw, a.link, mux.Options{NoExt: noExt})
	if _, err := other.Send(reply(), mux.Body{}, nil); err != nil { // its window is heard
		b.Fatal(err)
	}
	waitFor(b, "the first header", c.Heard)
	body := octets(8 << 20)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Send(request(), mux.Body{Data: body}, nil); err != nil {
			b.Fatal(err)
		}
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}
