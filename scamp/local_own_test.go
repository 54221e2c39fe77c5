package scamp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/scamp"
)

// What a call within the process gave is the caller's, and what it took stays so, as if it
// had gone over the wire.
func TestLocalErrorIsTheCallers(t *testing.T) {
	data := []byte(`{"who":"alice"}`)
	bus := ownBus(t, &scamp.Config{Limits: scamp.Limits{WorkerTimeout: 20 * time.Millisecond}}, "own", func(s *scamp.Service) {
		scamp.HandleJSON(s, "A.no", func(_ context.Context, who string) (int, error) {
			copy(data[8:], who)
			return 0, &scamp.RemoteError{Code: "x_no", Text: "no", Data: data}
		}, nil)
		scamp.HandleJSON(s, "A.refused", func(context.Context, string) (int, error) { return 0, nil }, &scamp.ActionOptions{Privileges: []int64{7}})
		scamp.HandleJSON(s, "A.slow", func(ctx context.Context, _ string) (int, error) { <-ctx.Done(); return 0, ctx.Err() }, nil)
	})
	call := func(action, in string) (*scamp.CallError, *scamp.RemoteError) {
		_, err := scamp.Call[int](context.Background(), bus, action, in)
		ce, _ := errors.AsType[*scamp.CallError](err)
		re, ok := errors.AsType[*scamp.RemoteError](err)
		if ce == nil || !ok {
			t.Fatalf("%s: %v, want an answer", action, err)
		}
		return ce, re
	}
	_, kept := call("A.no", "alice")
	call("A.no", "malla")
	if got := string(kept.Data); got != `{"who":"alice"}` {
		t.Errorf("the error that a caller kept says %s when its service has answered another", got)
	}
	for _, action := range []string{"A.refused", "A.slow"} {
		first, re := call(action, "")
		timeout := errors.Is(first, scamp.ErrTimeout)
		clear(re.Data) // its own
		if second, _ := call(action, ""); second.Ran != first.Ran || errors.Is(second, scamp.ErrTimeout) != timeout {
			t.Errorf("%s: ran %v and then %v (%v), because the first caller changed its error", action, first.Ran, second.Ran, second)
		}
	}
}

func TestLocalExtraIsItsOwners(t *testing.T) {
	var kept scamp.Extra
	bus := ownBus(t, &scamp.Config{}, "own", func(s *scamp.Service) {
		scamp.HandleJSON(s, "A.x", func(ctx context.Context, n int) (int, error) {
			for _, v := range scamp.RequestFrom(ctx).Extra {
				copy(v, bytes.Repeat([]byte("9"), len(v)))
			}
			if kept == nil {
				kept = scamp.Extra{"back": json.RawMessage("1")}
			}
			scamp.ReplyFrom(ctx).Extra = kept
			return n, nil
		}, nil)
	})
	sent := json.RawMessage("12345")
	req := &scamp.Request{Action: "A.x", Extra: scamp.Extra{"there": sent}}
	_, reply, err := scamp.CallWith[int](context.Background(), bus, req, 1)
	if err != nil {
		t.Fatal(err)
	}
	if string(sent) != "12345" {
		t.Errorf("the handler made %s of the caller's member of Extra", sent)
	}
	clear(reply.Extra["back"])
	if got := string(kept["back"]); got != "1" {
		t.Errorf("the caller made %q of the handler's member of Extra", got)
	}
}

// A clock is a context of which somebody asks the deadline.
type clock struct {
	context.Context
	asked func()
}

func (c clock) Deadline() (time.Time, bool) { c.asked(); return time.Time{}, false }

// Behind Close no handler begins, wherever its call was.
func TestLocalHandlerBehindClose(t *testing.T) {
	var closed, late atomic.Bool
	opened := func() *scamp.Bus {
		return ownBus(t, &scamp.Config{}, "own", func(s *scamp.Service) {
			scamp.HandleJSON(s, "A.do", func(_ context.Context, n int) (int, error) {
				if closed.Load() {
					late.Store(true)
				}
				return n, nil
			}, nil)
		})
	}
	for where, on := range map[string]func(stop func()) context.Context{
		"before it is entered": func(stop func()) context.Context { return clock{context.Background(), stop} },
		"before it runs": func(stop func()) context.Context {
			return scamp.WithTrace(context.Background(), &scamp.Trace{Sent: stop})
		},
	} {
		closed.Store(false)
		bus := opened()
		stop := sync.OnceFunc(func() { bus.Close(); closed.Store(true) })
		if n, err := scamp.Call[int](on(stop), bus, "A.do", 1); err == nil || late.Load() {
			t.Errorf("closed %s: %d, %v, a handler ran: %v; want an error and none", where, n, err, late.Load())
		}
	}
	for range 10 {
		closed.Store(false)
		bus := opened()
		var work sync.WaitGroup
		for range 3 {
			work.Go(func() { // ends behind Close
				for {
					after := closed.Load()
					_, err := scamp.Call[int](context.Background(), bus, "A.do", 1)
					if after && err == nil {
						t.Error("a call behind Close went well")
					}
					if after {
						return
					}
				}
			})
		}
		time.Sleep(5 * time.Millisecond) // they are anywhere
		bus.Close()
		closed.Store(true)
		work.Wait()
	}
}
