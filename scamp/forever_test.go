package scamp_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// Who allows as much as there is allows all of it, and not nothing.
func TestAsMuchAsThereIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Serve("sample", func(s *scamp.Service) { s.Handle("Sample.echo", echo, nil) })
		fake := new(scamptest.Caller)
		fake.Reply("Sample.echo", "x")
		for name, c := range map[string]scamp.Caller{"bus": n.Bus(nil), "fake": fake} {
			req := echoReq("\"x\"")
			req.Idempotent = true
			req.Retry = &scamp.RetryOptions{Attempts: math.MaxInt, Pause: math.MaxInt64, AttemptTimeout: math.MaxInt64, Hedge: time.Second}
			reply, err := c.Call(scamp.WithTrace(t.Context(), nil), req)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := reply.Bytes(math.MaxInt); err != nil || string(b) != "\"x\"" {
				t.Errorf("%s: %q, %v, want the reply", name, b, err)
			}
		}
	})
}

// Who sets a time to the longest there is means never, and not at once.
func TestLimitsThatAreForEver(t *testing.T) {
	const ever = math.MaxInt64
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		limits := scamp.Limits{
			HandshakeSilence: ever, HandshakeTimeout: ever, DialTimeout: ever, MaxBackoff: ever, ServerIdle: ever, ClientIdle: ever,
			RetireTime: ever, RPCTimeout: ever, WorkerTimeout: ever, AvoidTime: ever, Mux: mux.Limits{WriteStall: ever, SendStall: ever},
		}
		bus := n.Bus(&scamp.Options{Limits: limits})
		n.ServeOn(bus, "sample", nil, func(s *scamp.Service) {
			s.Handle("Sample.slow", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
				<-time.After(time.Minute)
				rep.Write([]byte("half of"))
				<-time.After(2 * time.Minute)
				return nil
			}, nil)
		})
		caller := n.Bus(&scamp.Options{Limits: limits})
		for range 3 { // the clock of a connection begins with it
			reply, err := caller.Call(context.Background(), &scamp.Request{Action: "Sample.slow"})
			if err == nil {
				_, err = reply.Bytes(0)
			}
			if err != nil {
				t.Errorf("a slow call with times that are for ever: %v", err)
			}
			<-time.After(10 * time.Minute)
		}
		if got := caller.Stats()["conn_opened"]; got != 1 {
			t.Errorf("%d connections for 3 calls, want one that is never idle for too long", got)
		}
	})
}
