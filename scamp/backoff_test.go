package scamp_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A Client whose instance is gone dials it less and less often, as probes do (PROTOCOL
// 11.5), and starts over when it was there.
func TestClientBacksOff(t *testing.T) {
	for _, tt := range []struct {
		name string
		rand func(n int) int
		want []time.Duration // between dials, calls come every 10 ms
	}{
		{"least jitter", func(int) int { return 0 }, []time.Duration{1 * time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 8 * time.Second}},
		{"most jitter", func(n int) int { return n - 1 }, []time.Duration{1250 * time.Millisecond, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 10 * time.Second}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scamptest.New(t)
				s := n.Serve("greeter", register)
				var down atomic.Bool
				var dials []time.Time

				c, err := scamp.Dial(t.Context(), s.Addr(), scamp.Identity{Certificate: s.KeyPair.Certificate}, &scamp.Options{
					Rand: tt.rand, Limits: scamp.Limits{MaxBackoff: 8 * time.Second, ClientIdle: time.Second},
					Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
						if down.Load() {
							dials = append(dials, time.Now())
							return nil, errors.New("connection refused")
						}
						return n.Dial(ctx, network, addr)
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				for round := range 2 {
					<-time.After(2 * time.Second) // the connection was idle for too long
					down.Store(true)
					dials = nil
					for len(dials) <= len(tt.want) {
						wantRan(t, "call of who is gone", (<-inBackground(t.Context(), c, &scamp.Request{Action: "Greeter.echo"})).err, scamp.RanNo, scamp.ErrNoDial)
						<-time.After(10 * time.Millisecond)
					}
					var got []time.Duration
					for i := range tt.want {
						got = append(got, dials[i+1].Sub(dials[i]).Truncate(50*time.Millisecond))
					}
					if !slices.Equal(got, tt.want) {
						t.Errorf("round %d: %v between dials, want %v", round, got, tt.want)
					}
					down.Store(false)
					<-time.After(10 * time.Second)
					if o := <-inBackground(t.Context(), c, &scamp.Request{Action: "Greeter.echo"}); o.err != nil {
						t.Fatalf("round %d: call of who is back: %v", round, o.err)
					}
				}
			})
		})
	}
}
