package scamp_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/scamp"
)

// replies returns replies of every kind, all with the body "7".
func replies(t *testing.T) map[string]func() *scamp.Reply {
	_, c := tcpService(t, scamp.Limits{}, func(s *scamp.Service) {
		s.Handle("Lab.seven", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
			return rep.SetBytes([]byte("7"))
		}, nil)
		s.Handle("Lab.slow", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
			_, err := rep.Write([]byte("7"))
			return err
		}, nil)
	})
	call := func(c scamp.Caller, req scamp.Request) func() *scamp.Reply {
		return func() *scamp.Reply {
			t.Helper()
			r, err := c.Call(t.Context(), &req)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
	}
	return map[string]func() *scamp.Reply{
		"in one piece":   call(c, scamp.Request{Action: "Lab.seven"}),
		"piece by piece": call(c, scamp.Request{Action: "Lab.slow"}),
		"by hand":        func() *scamp.Reply { return &scamp.Reply{Body: io.NopCloser(strings.NewReader("7"))} },
		"empty":          func() *scamp.Reply { return new(scamp.Reply) },
	}
}

// A limit below zero is a mistake of the caller, who is told so, whatever the reply.
func TestBytesRefusesNegativeLimit(t *testing.T) {
	for name, reply := range replies(t) {
		b, err := reply().Bytes(-1)
		if _, remote := errors.AsType[*scamp.RemoteError](err); b != nil || err == nil || remote || !strings.Contains(err.Error(), "limit -1: want 0 for flow.max_body, or more") {
			t.Errorf("%s: Bytes(-1): %q, %v, want an error that says what to pass", name, b, err)
		}
	}
}

// What JSON cannot be decoded into is a mistake of who calls, not of who sent it: the reply
// is no bad one, nor the request.
func TestJSONRefusesWhatIsNoPointer(t *testing.T) {
	targets := map[string]any{"nil": nil, "*int(nil)": (*int)(nil), "int": 7, "map": map[string]int{}}
	for name, reply := range replies(t) {
		for target, v := range targets {
			err := reply().JSON(v)
			if err == nil || errors.Is(err, scamp.ErrBadReply) || !strings.Contains(err.Error(), "want a pointer that is not nil") {
				t.Errorf("%s: JSON into %s: %v, want an error that says what to pass and blames nobody else", name, target, err)
			}
		}
	}
	for target, v := range targets {
		err := (&scamp.Request{Data: []byte("7")}).JSON(v)
		re, ok := errors.AsType[*scamp.RemoteError](err)
		if !ok || re.Code != scamp.CodeInternal || !strings.Contains(err.Error(), "want a pointer that is not nil") {
			t.Errorf("request: JSON into %s: %v, want an error of code internal that says what to pass", target, err)
		}
	}
}

// Who passes what no reply can be read with has closed the reply all the same.
func TestRefusedReadClosesTheReply(t *testing.T) {
	for name, read := range map[string]func(*scamp.Reply){
		"Bytes": func(r *scamp.Reply) { r.Bytes(-1) },
		"JSON":  func(r *scamp.Reply) { r.JSON(nil) },
	} {
		body := &foreignBody{read: func([]byte) (int, error) { return 0, io.EOF }}
		read(&scamp.Reply{Body: body})
		if n := body.closed.Load(); n != 1 {
			t.Errorf("%s: the body was closed %d times, want once", name, n)
		}
		bus, c := tcpService(t, scamp.Limits{}, func(s *scamp.Service) {
			s.Handle("Lab.endless", func(ctx context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
				rep.Write([]byte("7"))
				<-ctx.Done()
				return nil
			}, nil)
		})
		r, err := c.Call(t.Context(), &scamp.Request{Action: "Lab.endless"})
		if err != nil {
			t.Fatal(err)
		}
		read(r)
		for began := time.Now(); bus.Stats()["request_ended"] != 1; time.Sleep(time.Millisecond) {
			if time.Since(began) > 10*time.Second {
				t.Fatalf("%s: the handler was not told to stop", name)
			}
		}
	}
}
