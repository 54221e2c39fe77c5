package scamp_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A reply that comes in the instant in which its attempt is given up is the caller's, whole,
// or there is none.
func TestAttemptTimeoutAndReplyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Serve("big", func(s *scamp.Service) {
			s.Handle("Sample.big", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
				_, err := rep.Write(make([]byte, 300<<10))
				return err
			}, nil)
		})
		bus := n.Bus(nil)
		given := 0
		for range 40 {
			began := time.Now()
			ctx := scamp.WithTrace(t.Context(), &scamp.Trace{
				Replied: func(time.Duration) { time.Sleep(time.Until(began.Add(time.Second))) }, // until the timer fires too
				Retried: func(int, error) { given++ },
			})
			reply, err := bus.Call(ctx, &scamp.Request{Action: "Sample.big", Idempotent: true, Retry: &scamp.RetryOptions{Attempts: 2, AttemptTimeout: time.Second}})
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, reply.Body); n != 300<<10 || err != nil {
				t.Errorf("a reply that Call returned ended with %v behind %d octets, want 300 KiB", err, n)
			}
			reply.Body.Close()
		}
		t.Logf("%d of 40 attempts were given up", given)
	})
}

// What the service has answered is the error of the call, not that its attempt was given up
// in that instant.
func TestAttemptTimeoutHidesNoAnswer(t *testing.T) {
	n := scamptest.New(t)
	n.Serve("no", func(s *scamp.Service) {
		s.Handle("Sample.no", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
			return &scamp.RemoteError{Code: "x_no", Text: "no"}
		}, nil)
	})
	bus := n.Bus(nil)
	var all sync.WaitGroup
	var mu sync.Mutex // protects how
	how := make(map[string]int)
	for range 4 {
		all.Go(func() { // ends with its calls
			at := 200 * time.Microsecond
			for range 2000 {
				given := 0
				ctx := scamp.WithTrace(t.Context(), &scamp.Trace{Retried: func(int, error) { given++ }})
				_, err := bus.Call(ctx, &scamp.Request{Action: "Sample.no", Idempotent: true, Retry: &scamp.RetryOptions{Attempts: 2, AttemptTimeout: at}})
				_, answered := errors.AsType[*scamp.RemoteError](err)
				kind := "answered"
				switch {
				case ranOf(err) == scamp.RanYes && !answered:
					kind = "hidden"
					t.Errorf("%v: Ran yes without the answer", err)
				case given > 0 || !answered: // look where answers come, but spare the budget
					kind = "given up"
					at += at / 4
				default:
					at -= at / 50
				}
				at = max(at, 20*time.Microsecond)
				mu.Lock()
				how[kind]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	t.Log(how)
	if how["answered"] == 0 || how["given up"] == 0 {
		t.Errorf("calls ended %v, want some of both", how)
	}
}
