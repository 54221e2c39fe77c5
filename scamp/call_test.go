package scamp_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

type who struct {
	Name string `json:"name"`
}

type greeting struct {
	Text string `json:"text"`
}

func hello(_ context.Context, in who) (greeting, error) {
	if in.Name == "" {
		return greeting{}, &scamp.RemoteError{Code: "x_nobody", Text: "who are you?", Data: json.RawMessage(`{"field":"name"}`)}
	}
	return greeting{"hello " + in.Name}, nil
}

func echo(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
	_, err := io.Copy(rep, req.Body)
	return err
}

func echoBytes(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
	b, err := req.Bytes()
	if err != nil {
		return err
	}
	return rep.SetBytes(bytes.Clone(b))
}

func register(s *scamp.Service) {
	scamp.HandleJSON(s, "Greeter.hello", hello, nil)
	s.Handle("Greeter.echo", echo, nil)
	s.Handle("Greeter.echo_bytes", echoBytes, nil)
}

func TestCallAndError(t *testing.T) {
	n := scamptest.New(t)
	s := n.Serve("greeter", register)
	bus := n.Bus(nil)
	out, err := scamp.Call[greeting](t.Context(), bus, "Greeter.hello", who{"world"})
	if err != nil || out.Text != "hello world" {
		t.Fatalf("Call: %+v, %v, want hello world", out, err)
	}
	_, err = scamp.Call[greeting](t.Context(), bus, "main:greeter.HELLO~1", who{})
	var re *scamp.RemoteError
	var ce *scamp.CallError
	if !errors.As(err, &re) || re.Code != "x_nobody" || string(re.Data) != `{"field":"name"}` {
		t.Errorf("error reply: %v, want x_nobody with its data", err)
	}
	if !errors.As(err, &ce) || ce.Ran != scamp.RanYes || ce.Attempts != 1 || !strings.Contains(ce.Instance, s.Ident()) {
		t.Errorf("error reply: %+v, want Ran yes, one attempt, instance %s", ce, s.Ident())
	}
}

func TestStreamedEcho(t *testing.T) {
	n := scamptest.New(t)
	n.Serve("greeter", register)
	bus := n.Bus(nil)
	for _, size := range []int{0, 1, 16384, 65536, 65537, 1 << 20, 5 << 20} {
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(rand.Uint32())
		}
		for _, action := range []string{"Greeter.echo", "Greeter.echo_bytes"} {
			reply, err := bus.Call(t.Context(), &scamp.Request{Action: action, Body: io.MultiReader(bytes.NewReader(body))})
			if err != nil {
				t.Fatalf("%s of %d octets: %v", action, size, err)
			}
			got, err := reply.Bytes(0)
			if err != nil || sha256.Sum256(got) != sha256.Sum256(body) {
				t.Errorf("%s of %d octets: %d came back, error %v", action, size, len(got), err)
			}
		}
	}
}

func TestManyCallersOneConnection(t *testing.T) {
	n := scamptest.New(t)
	n.Serve("greeter", register)
	bus := n.Bus(nil)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for j := range 20 {
				want := fmt.Sprintf("%d/%d", i, j)
				reply, err := bus.Call(t.Context(), &scamp.Request{Action: "Greeter.echo_bytes", Data: []byte(want)})
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := reply.Bytes(0); err != nil || string(got) != want {
					t.Errorf("echo: %q, %v, want %q", got, err, want)
				}
			}
		})
	}
	all.Wait()
}

// What no rule allows is not called, and the error says which rule is missing
// (invariant 7).
func TestNotFoundSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Serve("greeter", register)
		stranger := n.KeyPair()
		n.ServeWith("rogue", &scamp.ServiceOptions{KeyPair: stranger}, func(s *scamp.Service) { s.Handle("Secret.get", echo, nil) })
		bus := n.Bus(nil)
		for _, tt := range []struct {
			action string
			is     error
			want   string
		}{
			{"Greeter.helo", scamp.ErrNotFound, "Greeter.hello"},
			{"Greeter.hello~2", scamp.ErrNotFound, "version"},
			{"web:Greeter.hello", scamp.ErrNotFound, "main"},
			{"Secret.get", scamp.ErrDenied, stranger.Certificate.Fingerprint},
		} {
			_, err := bus.Call(t.Context(), &scamp.Request{Action: tt.action})
			var ce *scamp.CallError
			if !errors.Is(err, tt.is) || !strings.Contains(fmt.Sprint(err), tt.want) || !errors.As(err, &ce) || ce.Ran != scamp.RanNo {
				t.Errorf("call %s: %v, want %v naming %q and Ran no", tt.action, err, tt.is, tt.want)
			}
		}
	})
}

func TestPanicAndPlainErrors(t *testing.T) {
	n := scamptest.New(t)
	n.Serve("bad", func(s *scamp.Service) {
		s.Handle("Bad.panic", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { panic("ouch") }, nil)
		s.Handle("Bad.plain", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { return errors.New("disk full") }, nil)
		s.Handle("Bad.half", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
			rep.Write([]byte("half"))
			return errors.New("disk full")
		}, nil)
	})
	bus := n.Bus(nil)
	for _, tt := range []struct{ action, want string }{
		{"Bad.panic", "general: the handler failed"},
		{"Bad.plain", "general: disk full"},
	} {
		_, err := bus.Call(t.Context(), &scamp.Request{Action: tt.action})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.action, err, tt.want)
		}
	}
	reply, err := bus.Call(t.Context(), &scamp.Request{Action: "Bad.half"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := reply.Bytes(0)
	var ce *scamp.CallError
	if err == nil || !strings.Contains(err.Error(), "disk full") || !errors.As(err, &ce) || ce.Ran != scamp.RanMaybe {
		t.Errorf("reply that breaks off: %q, %v, want an error with disk full and Ran maybe", b, err)
	}
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		ended := make(chan error, 10)
		n.Serve("slow", func(s *scamp.Service) {
			slow := func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error {
				<-ctx.Done()
				ended <- ctx.Err()
				return ctx.Err()
			}
			s.Handle("Slow.wait", slow, nil)
			s.Handle("Slow.long", slow, &scamp.ActionOptions{Timeout: 600 * time.Second})
		})
		bus := n.Bus(nil)
		began := time.Now()
		_, err := bus.Call(t.Context(), &scamp.Request{Action: "Slow.wait"})
		if took := time.Since(began); !errors.Is(err, scamp.ErrTimeout) || !strings.Contains(err.Error(), "service timeout") || took.Round(time.Second) != 60*time.Second {
			t.Errorf("worker timeout: %v after %v, want service timeout after 60 s", err, took)
		}
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the handler's context: %v, want deadline exceeded", err)
		}
		began = time.Now()
		_, err = bus.Call(t.Context(), &scamp.Request{Action: "Slow.long"})
		if took := time.Since(began); err == nil || took.Round(time.Second) != 600*time.Second {
			t.Errorf("t600: %v after %v, want an error after 600 s", err, took)
		}
		<-ended
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began = time.Now()
		_, err = bus.Call(ctx, &scamp.Request{Action: "Slow.wait"})
		if took := time.Since(began); !errors.Is(err, scamp.ErrTimeout) || took.Round(time.Second) != 3*time.Second {
			t.Errorf("own deadline: %v after %v, want ErrTimeout after 3 s", err, took)
		}
		synctest.Wait()
		select {
		case <-ended:
		case <-time.After(time.Second):
			t.Error("the handler goes on although the caller's time is over")
		}
	})
}

func TestCancelReachesHandler(t *testing.T) {
	n := scamptest.New(t)
	started, ended := make(chan struct{}), make(chan error, 1)
	n.Serve("slow", func(s *scamp.Service) {
		s.Handle("Slow.wait", func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error {
			close(started)
			<-ctx.Done()
			ended <- ctx.Err()
			return ctx.Err()
		}, nil)
		s.Handle("Slow.ping", echo, nil)
	})
	bus := n.Bus(nil)
	if _, err := bus.Call(t.Context(), &scamp.Request{Action: "Slow.ping"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-started; cancel() }()
	_, err := bus.Call(ctx, &scamp.Request{Action: "Slow.wait"})
	var ce *scamp.CallError
	if !errors.Is(err, context.Canceled) || !errors.As(err, &ce) || ce.Ran != scamp.RanMaybe {
		t.Errorf("cancelled call: %v, want context.Canceled and Ran maybe", err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the handler's context: %v, want cancelled", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the handler was not cancelled")
	}
}

func TestStreamBothWays(t *testing.T) {
	n := scamptest.New(t)
	n.Serve("greeter", register)
	s, err := n.Bus(nil).Stream(t.Context(), &scamp.Request{Action: "Greeter.echo"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	buf := make([]byte, 100)
	for i := range 10 {
		want := strings.Repeat("x", i+1)
		if _, err := s.Write([]byte(want)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s, buf[:i+1]); err != nil || string(buf[:i+1]) != want {
			t.Fatalf("round %d: %q, %v, want %q", i, buf[:i+1], err, want)
		}
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if k, err := s.Read(buf); k != 0 || err != io.EOF {
		t.Errorf("after the end: %d, %v, want EOF", k, err)
	}
}

func TestRedispatchOnce(t *testing.T) {
	n := scamptest.New(t)
	dead := n.Serve("greeter", register)
	n.Serve("greeter", register)
	bus := n.Bus(nil)
	n.Kill(dead) // before anybody connected: its announcement is still believed
	for range 20 {
		if _, err := scamp.Call[greeting](t.Context(), bus, "Greeter.hello", who{"x"}); err != nil {
			t.Errorf("with one of two instances dead: %v", err)
		}
	}
}

func TestImpostorGetsNothing(t *testing.T) {
	n := scamptest.New(t)
	s := n.Serve("greeter", register)
	other := n.KeyPair()
	c, err := n.Bus(nil).Dial(t.Context(), s.Addr(), scamp.Identity{Certificate: other.Certificate})
	if err == nil {
		c.Close()
	}
	var pin *scamp.PinError
	if !errors.Is(err, scamp.ErrPin) || !errors.As(err, &pin) || pin.Got != s.Fingerprint() || pin.Want != other.Certificate.Fingerprint {
		t.Errorf("dial with another identity: %v, want ErrPin with both fingerprints", err)
	}
}
