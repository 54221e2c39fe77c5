package scamp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// An error reply is an error for everybody who reads the Stream, whenever he does: not an
// empty body.
func TestErrorReplyIsNoEmptyBody(t *testing.T) {
	no := &scamp.RemoteError{Code: "x_no", Text: "no"}
	reads := map[string]func(*scamp.Stream) (int, error){
		"Read":    func(s *scamp.Stream) (int, error) { b, err := io.ReadAll(s); return len(b), err },
		"WriteTo": func(s *scamp.Stream) (int, error) { n, err := s.WriteTo(new(bytes.Buffer)); return int(n), err },
	}
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Serve("sample", func(s *scamp.Service) {
			s.Handle("Sample.no", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { return no }, nil)
		})
		bus := n.Bus(nil)
		for name, read := range reads {
			for _, first := range []string{"nothing", "the reply", "Reply"} {
				s, err := bus.Stream(t.Context(), &scamp.Request{Action: "Sample.no"})
				if err != nil {
					t.Fatal(err)
				}
				switch first {
				case "the reply":
					synctest.Wait() // it is there before anybody asks
				case "Reply":
					if _, err := s.Reply(); err == nil {
						t.Error("Reply: no error")
					}
				}
				for range 2 {
					size, err := read(s)
					var ce *scamp.CallError
					if size > 0 || !errors.As(err, &ce) || ce.Ran != scamp.RanYes || ce.Code() != no.Code {
						t.Errorf("%s of an error reply behind %s: %d octets, %v, want the error and that it ran", name, first, size, err)
					}
				}
				s.Close()
			}
		}
		if left := scamp.TablesOf(bus); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

// nilErrors are what handlers return who return a nil pointer as an error.
var nilErrors = map[string]error{"A.remote": (*scamp.RemoteError)(nil), "A.call": (*scamp.CallError)(nil), "A.own": (*nilError)(nil)}

// An error that panics when it is told is a panic of the handler: it ends no process.
func TestErrorThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Serve("sample", func(s *scamp.Service) {
			for action, bad := range nilErrors {
				s.Handle(action, func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { return bad }, nil)
				s.Handle(action+"late", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
					io.WriteString(rep, "half a reply")
					return bad
				}, nil)
			}
		})
		bus := n.Bus(nil)
		for action := range nilErrors {
			_, err := bus.Call(t.Context(), &scamp.Request{Action: action})
			var ce *scamp.CallError
			if !errors.As(err, &ce) || ce.Code() != scamp.CodeGeneral || ce.Ran != scamp.RanYes {
				t.Errorf("%s: %v, want the code general", action, err)
			}
			reply, err := bus.Call(t.Context(), &scamp.Request{Action: action + "late"})
			if err == nil {
				_, err = reply.Bytes(0)
			}
			if !errors.Is(err, scamp.ErrBroken) {
				t.Errorf("%s behind its first octets: %v, want ErrBroken", action, err)
			}
		}
	})
}

// It is so for those of the same process, whose callers must not panic.
func TestLocalErrorThatPanics(t *testing.T) {
	bus := ownBus(t, &scamp.Config{}, "own", func(s *scamp.Service) {
		for action, bad := range nilErrors {
			scamp.HandleJSON(s, action, func(context.Context, int) (int, error) { return 0, bad }, nil)
		}
	})
	for action := range nilErrors {
		for _, ctx := range []context.Context{context.Background(), t.Context()} {
			_, err := scamp.Call[int](ctx, bus, action, 1)
			var ce *scamp.CallError
			if !errors.As(err, &ce) || ce.Code() != scamp.CodeGeneral || ce.Ran != scamp.RanYes {
				t.Errorf("%s: %v, want the code general", action, err)
			}
		}
	}
	if got := bus.Stats()["handler_panicked"]; got != uint64(2*len(nilErrors)) {
		t.Errorf("handler_panicked is %d, want %d", got, 2*len(nilErrors))
	}
}

// A body that was closed says so in the words of the call, however it is read.
func TestClosedStreamIsReadNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Serve("sample", func(s *scamp.Service) { s.Handle("Sample.echo", echo, nil) })
		bus := n.Bus(nil)
		for name, read := range map[string]func(*scamp.Stream) (int64, error){
			"Read":    func(s *scamp.Stream) (int64, error) { n, err := s.Read(make([]byte, 1)); return int64(n), err },
			"WriteTo": func(s *scamp.Stream) (int64, error) { return s.WriteTo(io.Discard) },
		} {
			s, err := bus.Stream(t.Context(), &scamp.Request{Action: "Sample.echo"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Write(make([]byte, 10_000)); err != nil {
				t.Fatal(err)
			}
			if err := s.CloseSend(); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Reply(); err != nil {
				t.Fatal(err)
			}
			s.Close()
			size, err := read(s)
			if _, ok := errors.AsType[*scamp.CallError](err); size > 0 || !ok {
				t.Errorf("%s behind Close: %d octets, %v, want the error of the call", name, size, err)
			}
		}
	})
}
