package scamp_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// What a program hands in may panic: where the program recovers, nothing is left behind.

type panickingWriter struct{}

func (panickingWriter) Write([]byte) (int, error) { panic("the writer's own") }

// A writer that panics while a handler copies the request's body to it is a panic of that
// handler, not the end of the process.
func TestWriterOfAHandlerPanics(t *testing.T) {
	bus, c := tcpService(t, scamp.Limits{}, func(s *scamp.Service) {
		s.Handle("Lab.copy", func(_ context.Context, req *scamp.Request, _ *scamp.ReplyWriter) error {
			_, err := io.Copy(panickingWriter{}, req.Body)
			return err
		}, nil)
		s.Handle("Lab.ok", ok, nil)
	})
	s, err := c.Stream(t.Context(), &scamp.Request{Action: "Lab.copy"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Write(make([]byte, 10000)) // it may be answered before all is written
	var re *scamp.RemoteError
	if _, err := s.Reply(); !errors.As(err, &re) || re.Code != scamp.CodeGeneral {
		t.Errorf("the call: %v, want the code general", err)
	}
	if code, _ := callCode(t, c, "Lab.ok", ""); code != "ok" {
		t.Errorf("the next call: %s", code)
	}
	if n := bus.Stats()["handler_panicked"]; n != 1 {
		t.Errorf("handler_panicked: %d, want 1", n)
	}
}

// A Middleware may ask the service it is for while it makes its handler.
func TestMiddlewareAsksItsService(t *testing.T) {
	n := scamptest.New(t)
	svc, err := n.Bus(nil).NewService("sample", &scamp.ServiceOptions{KeyPair: n.KeyPair(), Listen: []string{"127.0.0.1:0"}, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	svc.Handle("Sample.ok", ok, nil)
	svc.Use(func(next scamp.Handler) scamp.Handler {
		svc.Addr()
		svc.CallersState()
		svc.Handle("Sample.late", ok, nil) // changes nothing, and must not wait
		return next
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- svc.Serve(ctx) }() // ends with ctx
	select {
	case <-svc.Ready():
	case <-time.After(10 * time.Second):
		t.Fatal("Serve waits for its own Middleware")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A service whose hook panics is served no further.
func TestServiceHookPanics(t *testing.T) {
	for _, hook := range []string{"ready", "draining", "drained"} {
		n := scamptest.New(t)
		opts := &scamp.ServiceOptions{KeyPair: n.KeyPair(), Listen: []string{"127.0.0.1:0"}, Grace: -1}
		panics := func() { panic(hook) }
		switch hook {
		case "ready":
			opts.Hooks.Ready = panics
		case "draining":
			opts.Hooks.Draining = panics
		case "drained":
			opts.Hooks.Drained = panics
		}
		svc, err := n.Bus(&scamp.Options{Listen: net.Listen}).NewService("sample", opts)
		if err != nil {
			t.Fatal(err)
		}
		svc.Handle("Sample.ok", ok, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		func() {
			defer func() {
				if v := recover(); v != hook {
					t.Errorf("Serve: panic %v, want %s", v, hook)
				}
			}()
			svc.Serve(ctx)
		}()
		if c, err := net.Dial("tcp", svc.Addr()); err == nil {
			c.Close()
			t.Errorf("%s: the service still listens", hook)
		}
	}
}

// A Filter that panics when a hedged call looks for another instance leaves no attempt
// behind.
func TestFilterOfAHedgePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		for range 2 {
			n.Serve("sample", func(s *scamp.Service) {
				s.Handle("Sample.hang", func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error {
					<-ctx.Done()
					return nil
				}, nil)
			})
		}
		bus := n.Bus(nil)
		var asked atomic.Int32
		recovered := func() (v any) {
			defer func() { v = recover() }()
			bus.Call(context.Background(), &scamp.Request{Action: "Sample.hang", Idempotent: true,
				Retry: &scamp.RetryOptions{Hedge: time.Second, Attempts: 3},
				Route: &scamp.RouteOptions{Wait: 5 * time.Second, Filter: func(discovery.Route) bool {
					if asked.Add(1) == 3 {
						panic("the filter's own")
					}
					return true
				}}})
			return nil
		}()
		if recovered == nil {
			t.Error("nothing panicked")
		}
		synctest.Wait()
		if left := scamp.TablesOf(bus); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// An AccessLog without a log is silent.
func TestAccessLogOfNobody(t *testing.T) {
	bus := ownBus(t, &scamp.Config{}, "own", func(s *scamp.Service) {
		s.Use(scamp.AccessLog(nil))
		s.Handle("A.ok", ok, nil)
	})
	if code, _ := callCode(t, bus, "A.ok", ""); code != "ok" {
		t.Errorf("the call: %s", code)
	}
}

// A typed handler that no caller could get an answer from over a connection answers none
// within the process either.
func TestLocalReplyIsBounded(t *testing.T) {
	register := func(s *scamp.Service) {
		scamp.HandleJSON(s, "A.long", func(ctx context.Context, n int) (int, error) {
			scamp.ReplyFrom(ctx).Extra = scamp.Extra{"x": json.RawMessage(`"` + strings.Repeat("x", 70000) + `"`)}
			return n, nil
		}, nil)
		scamp.HandleJSON(s, "A.write", func(ctx context.Context, n int) (int, error) {
			scamp.ReplyFrom(ctx).Write([]byte("7")) // whatever that returns
			return n, nil
		}, nil)
	}
	for where, bus := range map[string]*scamp.Bus{"local": ownBus(t, &scamp.Config{}, "own", register), "remote": overTCP(t, register)} {
		_, err := scamp.Call[int](t.Context(), bus, "A.long", 1)
		var re *scamp.RemoteError
		if !errors.As(err, &re) || re.Code != scamp.CodeInternal {
			t.Errorf("%s, a header that is too long: %v, want the code internal", where, err)
		}
		if _, err := scamp.Call[int](t.Context(), bus, "A.write", 1); err == nil {
			t.Errorf("%s, a typed handler that writes its reply itself: no error", where)
		}
	}
}

// Who reads a reply while his own bus is closed hears that, and who reads one that he has
// closed, too.
func TestReplyBehindClose(t *testing.T) {
	bus := overTCP(t, func(s *scamp.Service) {
		s.Handle("Lab.endless", func(ctx context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
			rep.Write([]byte("begun"))
			<-ctx.Done()
			return nil
		}, nil)
	})
	open := func() *scamp.Reply {
		t.Helper()
		r, err := bus.Call(t.Context(), &scamp.Request{Action: "Lab.endless"})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	closed := open()
	closed.Body.Close()
	if _, err := closed.Bytes(0); err == nil || !strings.Contains(err.Error(), "closed by the caller; the program itself") {
		t.Errorf("a reply that was closed: %v, want that the caller did", err)
	}
	r := open()
	bus.Close()
	if _, err := io.ReadAll(r.Body); !errors.Is(err, scamp.ErrClosed) || !errors.Is(err, scamp.ErrLost) {
		t.Errorf("a reply whose bus was closed: %v, want ErrClosed and ErrLost", err)
	}
}

// A subscription that was closed, by itself or with its bus, is ErrClosed.
func TestClosedSubscription(t *testing.T) {
	n := scamptest.New(t)
	for _, by := range []string{"itself", "its bus"} {
		bus := n.Bus(nil)
		s, err := bus.Subscribe(&scamp.Request{Action: "Sample.echo"}, "a")
		if err != nil {
			t.Fatal(err)
		}
		if by == "itself" {
			s.Close()
		} else {
			bus.Close()
		}
		if err := s.Ready(t.Context()); !errors.Is(err, scamp.ErrClosed) || !errors.Is(s.Err(), scamp.ErrClosed) {
			t.Errorf("closed by %s: Ready %v, Err %v, want ErrClosed", by, err, s.Err())
		}
	}
}

// An instance that refuses a request which its caller has taken back is none to be avoided.
func TestAbortedStreamMarksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, bus := newStreet(t)
		s.announce(bus, "sample:alpha", alpha)
		call, err := bus.Stream(t.Context(), &scamp.Request{Action: "Sample.echo"})
		if err != nil {
			t.Fatal(err)
		}
		defer call.Close()
		w := s.next()
		w.begun()
		s.announce(bus, "sample:beta", beta)
		s.answer("")
		call.Write([]byte("half"))
		call.Abort("")
		synctest.Wait()
		w.send(msg(0, `{"request_id":1,"type":"reply","error_code":"transport","error":"request body not received","error_data":{"dispatch_failure":true}}`, ""))
		_, err = call.Reply()
		wantRan(t, "aborted stream", err, scamp.RanNo, scamp.ErrRefused)
		var ce *scamp.CallError
		if errors.As(err, &ce) && !strings.Contains(ce.Advice, "the program itself") {
			t.Errorf("advice %q, want that the program gave it up", ce.Advice)
		}
		if n := bus.Stats()["instance_avoided"]; n != 0 {
			t.Errorf("instance_avoided: %d, want 0", n)
		}
	})
}
