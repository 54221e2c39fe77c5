package scamp_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/scamp"
)

// ownPasser is a bus with A.pass, whose handler passes its request on to B.to with limit
// time for that, and then asks for the octets itself.
func ownPasser[In any](t *testing.T, limit time.Duration, to scamp.Handler) *scamp.Bus {
	t.Helper()
	var bus *scamp.Bus
	bus = ownBus(t, &scamp.Config{}, "own", func(s *scamp.Service) {
		s.Handle("B.to", to, nil)
		scamp.HandleJSON(s, "A.pass", func(ctx context.Context, _ In) (string, error) {
			on := *scamp.RequestFrom(ctx)
			on.Action = "B.to"
			within, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			if reply, err := bus.Call(within, &on); err == nil { // it may come too late
				reply.Body.Close()
			}
			b, err := scamp.RequestFrom(ctx).Bytes()
			return string(b), err
		}, nil)
	})
	return bus
}

// A value that a handler passed on is its caller's again when the call of that handler is
// over, whatever became of the call it was passed on with; the race detector looks.
func TestPassedOnValueIsItsCallersAgain(t *testing.T) {
	bus := ownPasser[[]int](t, 50*time.Microsecond, func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
		return rep.SetBytes([]byte("early"))
	})
	in := make([]int, 2000)
	for range 100 {
		if _, err := scamp.Call[string](context.Background(), bus, "A.pass", in); err != nil {
			t.Fatal(err)
		}
		in[1999]++
	}
}

// An angry value cannot be made JSON of.
type angry struct{ N int }

func (angry) MarshalJSON() ([]byte, error) { panic("angry") }

// A panic in making JSON of what a handler passes on is that handler's (PROTOCOL 12.2).
func TestPassedOnValuePanics(t *testing.T) {
	bus := ownPasser[angry](t, time.Minute, echo)
	_, err := scamp.Call[string](context.Background(), bus, "A.pass", angry{1})
	if re, ok := errors.AsType[*scamp.RemoteError](err); !ok || re.Code != scamp.CodeGeneral {
		t.Errorf("a value whose MarshalJSON panics was passed on: %v, want code %s", err, scamp.CodeGeneral)
	}
}

// The Body of a handler's request outlives the request it came in.
func TestPassedOnBodyInAnotherRequest(t *testing.T) {
	var bus *scamp.Bus
	bus = ownBus(t, &scamp.Config{}, "own", func(s *scamp.Service) {
		s.Handle("B.echo", echo, nil)
		scamp.HandleJSON(s, "A.pass", func(ctx context.Context, _ string) (out string, err error) {
			req := scamp.RequestFrom(ctx)
			*req = scamp.Request{Action: "B.echo", Body: req.Body}
			reply, err := bus.Call(ctx, req)
			if err != nil {
				return "", err
			}
			return out, reply.JSON(&out)
		}, nil)
	})
	if got, err := scamp.Call[string](context.Background(), bus, "A.pass", "value"); got != "value" || err != nil {
		t.Errorf("passed on %q, %v, want \"value\"", got, err)
	}
}

// A handler that passes its request on when it has returned breaks its word; what it sends
// is looked for in nothing that other requests use by then. The race detector looks.
func TestPassedOnBehindItsHandler(t *testing.T) {
	kept := make(chan *scamp.Request, 1)
	bus, c := tcpService(t, scamp.Limits{}, func(s *scamp.Service) {
		s.Handle("Lab.keep", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
			select {
			case kept <- req:
			default:
			}
			return rep.SetBytes([]byte("ok"))
		}, nil)
	})
	var work sync.WaitGroup
	work.Go(func() {
		for req := range kept {
			on := *req
			on.Action, on.Version, on.Route = "No.body", 1, &scamp.RouteOptions{Wait: -1}
			if _, err := bus.Call(context.Background(), &on); err == nil {
				t.Error("nobody offers No.body, and it was called")
			}
		}
	})
	for i := range 200 {
		reply, err := c.Call(t.Context(), &scamp.Request{Action: "Lab.keep", Data: fmt.Append(nil, "secret ", i)})
		if err != nil {
			t.Fatal(err)
		}
		reply.Body.Close()
	}
	close(kept) // no handler runs any more
	work.Wait()
}
