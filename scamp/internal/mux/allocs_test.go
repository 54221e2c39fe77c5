//go:build resource

package mux_test

import (
	"testing"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// TestResourceEchoAllocations: a message of 64 octets and the one that answers it, on
// both ends together, take at most so many allocations: a change that adds one says so
// here. BenchmarkEcho tells what they cost.
func TestResourceEchoAllocations(t *testing.T) {
	for _, tt := range []struct {
		network
		most float64
	}{{networks[1], 6}, {networks[2], 8}} {
		t.Run(tt.name, func(t *testing.T) {
			a, z := tt.make(t)
			run(t, z.rw, z.link, mux.Options{Accept: func(m *mux.Inbound) {
				body, err := m.Bytes(1000)
				if err != nil {
					t.Error(err)
				}
				if _, err := m.Conn().Send(replyTo(m), mux.Body{Data: body}, nil); err != nil {
					t.Error(err)
				}
			}})
			replies := make(chan *mux.Inbound, 1)
			c := run(t, a.rw, a.link, mux.Options{Accept: func(m *mux.Inbound) { replies <- m }})
			h := packet.Header{Type: packet.TypeRequest, Action: "Lab.echo", Sector: "main", ID: packet.NumberID(1)}
			body := octets(64)
			echo := func() {
				if _, err := c.Send(&h, mux.Body{Data: body}, nil); err != nil {
					t.Fatal(err)
				}
				if got, err := (<-replies).Bytes(1000); err != nil || len(got) != 64 {
					t.Fatalf("%d octets, %v", len(got), err)
				}
			}
			got := testing.AllocsPerRun(5000, echo)
			if got > tt.most {
				t.Errorf("%.1f allocations for each echo, want at most %.0f", got, tt.most)
			}
		})
	}
}
