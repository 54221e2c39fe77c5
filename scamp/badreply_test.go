package scamp_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// However a reply is decoded, one that is no JSON gives the error of the call: the same as
// of any other failure, with the whole action, the instance and its address, the attempts,
// and that it ran.
func TestUndecodableReplyIsAFailedCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		odd := func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
			return rep.SetBytes([]byte("{"))
		}
		s := n.Serve("sample", func(s *scamp.Service) {
			s.Handle("Sample.odd", odd, nil)
			first := true
			s.Handle("Sample.second", func(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
				if first {
					first = false
					<-ctx.Done()
				}
				return odd(ctx, req, rep)
			}, nil)
		})
		bus := n.Bus(nil)
		client, err := bus.Dial(t.Context(), s.Addr(), scamp.Identity{Certificate: s.KeyPair.Certificate})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		typed := func(c scamp.Caller, req scamp.Request) error {
			_, _, err := scamp.CallWith[greeting](t.Context(), c, &req, who{})
			return err
		}
		plain := func(c scamp.Caller, req scamp.Request) error {
			reply, err := c.Call(t.Context(), &req)
			if err != nil {
				return err
			}
			var g greeting
			return reply.JSON(&g)
		}
		stream := func(_ scamp.Caller, req scamp.Request) error {
			st, err := bus.Stream(t.Context(), &req)
			if err != nil {
				return err
			}
			st.CloseSend()
			reply, err := st.Reply()
			if err != nil {
				return err
			}
			var g greeting
			return reply.JSON(&g)
		}
		at := s.Ident() + " (" + s.Addr() + ")"
		again := &scamp.RetryOptions{AttemptTimeout: time.Second}
		for _, tt := range []struct {
			name, action string
			call         func(scamp.Caller, scamp.Request) error
			c            scamp.Caller
			req          scamp.Request
			instance     string
			attempts     int
		}{
			{"typed", "Sample.odd", typed, bus, scamp.Request{}, at, 1},
			{"typed, sent again", "Sample.second", typed, bus, scamp.Request{Idempotent: true, Retry: again}, at, 2},
			{"typed, of a client", "Sample.odd", typed, client, scamp.Request{}, s.Addr(), 1},
			{"JSON", "Sample.odd", plain, bus, scamp.Request{}, at, 1},
			{"JSON of a client", "Sample.odd", plain, client, scamp.Request{}, s.Addr(), 1},
			{"JSON of a stream", "Sample.odd", stream, nil, scamp.Request{}, at, 1},
		} {
			req := tt.req
			req.Action = tt.action
			err := tt.call(tt.c, req)
			ce, ok := errors.AsType[*scamp.CallError](err)
			if !ok || !errors.Is(err, scamp.ErrBadReply) {
				t.Errorf("%s: error %v, want a CallError that is ErrBadReply", tt.name, err)
				continue
			}
			if want := "main:" + tt.action + "~1"; ce.Action != want || ce.Instance != tt.instance || ce.Attempts != tt.attempts || ce.Ran != scamp.RanYes {
				t.Errorf("%s: action %q at %q, attempt %d, ran %v: want %q at %q, attempt %d, ran yes",
					tt.name, ce.Action, ce.Instance, ce.Attempts, ce.Ran, want, tt.instance, tt.attempts)
			}
			if l := ce.Ladder(); len(l.Rungs) < 10 {
				t.Errorf("%s: ladder of %d rungs, want that of the call:\n%v", tt.name, len(l.Rungs), l)
			}
		}
	})
}

// A reply that a fake made is no other matter.
func TestUndecodableReplyOfAFake(t *testing.T) {
	reply := func() *scamp.Reply { return &scamp.Reply{Instance: "fake", Body: io.NopCloser(strings.NewReader("{"))} }
	var g greeting
	_, _, typed := scamp.CallWith[greeting](t.Context(), answering(reply), &scamp.Request{Action: "Sample.odd"}, who{})
	for _, tt := range []struct {
		name, action string
		err          error
	}{{"typed", "main:Sample.odd~1", typed}, {"JSON", "", reply().JSON(&g)}} {
		ce, ok := errors.AsType[*scamp.CallError](tt.err)
		if !ok || !errors.Is(tt.err, scamp.ErrBadReply) || ce.Action != tt.action || ce.Instance != "fake" || ce.Ran != scamp.RanYes {
			t.Errorf("%s: error %v, want a CallError of %q at fake that is ErrBadReply and ran", tt.name, tt.err, tt.action)
		}
	}
}

type answering func() *scamp.Reply

func (a answering) Call(context.Context, *scamp.Request) (*scamp.Reply, error) { return a(), nil }
