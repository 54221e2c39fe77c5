//go:build resource

package scamp_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/scampbus/scamp-go/scamp"
)

// An echo of 64 octets over TLS takes at most 9 allocations, both ends together, two of
// them in crypto/tls: a change that adds one says so here. (Eight and a bit: pools
// are emptied now and then.)
func TestResourceEchoAllocations(t *testing.T) {
	bus := overTCP(t, func(s *scamp.Service) {
		s.Handle("Bench.echo", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
			body, err := req.Bytes()
			if err != nil {
				return err
			}
			return rep.SetBytes(body)
		}, nil)
	})
	body := bytes.Repeat([]byte{'x'}, 64)
	call := func() {
		reply, err := bus.Call(context.Background(), &scamp.Request{Action: "Bench.echo", Data: body})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := reply.Bytes(0); err != nil || !bytes.Equal(got, body) {
			t.Fatalf("echo: %q, %v, want %q", got, err, body)
		}
	}
	const most = 9
	if got := testing.AllocsPerRun(5000, call); got > most {
		t.Errorf("%.1f allocations for each echo, want at most %d", got, most)
	}
}
