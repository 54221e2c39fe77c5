package scamp_test

import (
	"context"
	"testing"

	"github.com/scampbus/scamp-go/scamp"
)

// What does a typed call cost within the process, beside the function itself and the same
// call over TLS on loopback?
func BenchmarkLocalCall(b *testing.B) {
	serve := func(s *scamp.Service) {
		scamp.HandleJSON(s, "Bench.add", add, nil)
		s.Handle("Bench.echo", echoRaw, nil)
	}
	own := ownBus(b, &scamp.Config{}, "own", serve)
	far := overTCP(b, serve)
	typed := func(bus *scamp.Bus, ctx context.Context) func() error {
		return func() error {
			out, err := scamp.Call[sum](ctx, bus, "Bench.add", pair{A: 2, B: 3})
			if err == nil && out.Sum != 5 {
				b.Fatalf("2 + 3: %d", out.Sum)
			}
			return err
		}
	}
	octets := func(bus *scamp.Bus) func() error {
		body := []byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
		return func() error {
			reply, err := bus.Call(context.Background(), &scamp.Request{Action: "Bench.echo", Data: body})
			if err == nil {
				_, err = reply.Bytes(0)
			}
			return err
		}
	}
	ending, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, tt := range []struct {
		name string
		call func() error
	}{
		{"function", func() error { _, err := add(ending, pair{A: 2, B: 3}); return err }},
		{"typed", typed(own, context.Background())},
		{"typed,context=ends", typed(own, ending)},
		{"octets", octets(own)},
		{"remote,typed", typed(far, context.Background())},
		{"remote,octets", octets(far)},
	} {
		b.Run(tt.name, func(b *testing.B) {
			if err := tt.call(); err != nil { // connects
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := tt.call(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
