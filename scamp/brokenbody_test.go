package scamp_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A caller that ends its request with TXERR has left (PROTOCOL 3.7): the handler's context
// ends then, wherever it waits, and not when it has waited for long enough.
func TestBrokenBodyEndsTheHandler(t *testing.T) {
	closed := func(s *scamp.Stream, _ context.CancelFunc) { s.Close() }
	for _, tt := range []struct {
		name  string
		leave func(s *scamp.Stream, cancel context.CancelFunc)
		begun bool   // the reply has begun
		want  string // in what Reply, or else the reply's body, says; empty if the caller has left that too
	}{
		{"Abort", func(s *scamp.Stream, _ context.CancelFunc) { s.Abort("") }, false, "transport: request body not received"},
		{"Abort behind the reply's header", func(s *scamp.Stream, _ context.CancelFunc) { s.Abort("") }, true, "transport: request body not received"},
		{"Close", closed, false, ""},
		{"Close behind the reply's header", closed, true, ""},
		{"context", func(_ *scamp.Stream, cancel context.CancelFunc) { cancel() }, false, ""},
	} {
		eachPlace(t, tt.name, func(t *testing.T, svc *scamptest.Service, bus *scamp.Bus, seen *endings) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			action := "Sample.wait"
			if tt.begun {
				action = "Sample.begin"
			}
			s, err := bus.Stream(ctx, &scamp.Request{Action: action})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if _, err := s.Write([]byte("half")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			tt.leave(s, cancel)
			seen.want(t)
			if tt.want == "" {
				return
			}
			_, err = s.Reply()
			if tt.begun {
				_, err = io.ReadAll(s)
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the reply: %v, want %q", err, tt.want)
			}
		})
	}
	eachPlace(t, "the body fails", func(t *testing.T, svc *scamptest.Service, bus *scamp.Bus, seen *endings) {
		body := io.MultiReader(strings.NewReader("half"), pauseReader{}, brokenReader{})
		_, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.wait", Body: body})
		wantRan(t, "body that fails", err, scamp.RanMaybe, nil)
		seen.want(t)
	})
}

// TestReplyToABrokenBodyIsNotTheOutcome: a call that broke its own request off ends with its
// own reason, also when the service, which hears of that, answers before the caller has
// gone on. On several processors it did so in one call of ten.
func TestReplyToABrokenBodyIsNotTheOutcome(t *testing.T) {
	gone, why := errors.New("disk gone"), errors.New("changed my mind")
	for _, tt := range []struct {
		name string
		body func(leave func()) io.Reader
		want error
	}{
		{"the body fails", func(func()) io.Reader {
			return io.MultiReader(strings.NewReader("half"), readerFunc(func([]byte) (int, error) { return 0, gone }))
		}, gone},
		{"the caller leaves", func(leave func()) io.Reader {
			return io.MultiReader(strings.NewReader("half"), readerFunc(func([]byte) (int, error) { leave(); return 0, io.EOF }))
		}, why},
	} {
		eachPlace(t, tt.name, func(t *testing.T, svc *scamptest.Service, bus *scamp.Bus, _ *endings) {
			for i := range 500 {
				ctx, cancel := context.WithCancelCause(t.Context())
				_, err := bus.Call(ctx, &scamp.Request{Action: "Sample.read", Body: tt.body(func() { cancel(why) })})
				cancel(nil)
				if tt.want == why && err == nil {
					continue // all of it arrived before the caller had left
				}
				if ce, ok := errors.AsType[*scamp.CallError](err); !ok || ce.Ran != scamp.RanMaybe || !errors.Is(err, tt.want) {
					t.Fatalf("call %d: %v, want %v and ran maybe", i, err, tt.want)
				}
			}
		})
	}
}

// A readerFunc is a Read.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestAbortOfWhatWasNotSent: nobody answers a request that never went out, so its call ends
// with it.
func TestAbortOfWhatWasNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, stuck := newFar(t), make(chan struct{})
		var limits scamp.Limits
		limits.Mux.MaxWriteQueue = 1
		limits.Mux.WriteStall = time.Hour
		dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := f.dial(ctx, network, addr)
			return &stuckConn{Conn: conn, stuck: stuck, closed: make(chan struct{})}, err
		}
		c, err := scamp.Dial(t.Context(), "127.0.0.1:30100", scamp.Identity{Certificate: f.pair.Certificate}, &scamp.Options{Limits: limits, Dial: dial})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		w := f.next()
		first := inBackground(t.Context(), c, echoReq("")) // shows of what kind the service is
		w.message()
		w.send(reply(0, 1, ""))
		<-first
		close(stuck)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		inBackground(ctx, c, echoReq("it fills the queue"))
		synctest.Wait()
		s, err := c.Stream(ctx, &scamp.Request{Action: "Sample.echo"})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		s.Abort("")
		_, err = s.Reply()
		if ce, ok := errors.AsType[*scamp.CallError](err); !ok || ce.Ran != scamp.RanNo || time.Since(began) > 0 {
			t.Errorf("Reply of an aborted stream that was not sent: %v after %v, want ran no at once", err, time.Since(began))
		}
		if _, err := s.Write([]byte("more")); err == nil {
			t.Error("Write behind Abort: no error")
		}
	})
}

// A stuckConn takes nothing to write once stuck is closed.
type stuckConn struct {
	net.Conn
	stuck, closed chan struct{}
	once          sync.Once
}

func (c *stuckConn) Write(p []byte) (int, error) {
	select {
	case <-c.stuck:
		<-c.closed
		return 0, net.ErrClosed
	default:
		return c.Conn.Write(p)
	}
}

func (c *stuckConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// A pauseReader has no octets, and says so after a second.
type pauseReader struct{}

func (pauseReader) Read([]byte) (int, error) {
	time.Sleep(time.Second)
	return 0, io.EOF
}

// Endings are how handlers ended.
type endings struct {
	mu  sync.Mutex
	all []error
	at  []time.Time
}

// want wants one handler to have ended now, because its caller has left.
func (e *endings) want(t *testing.T) {
	t.Helper()
	now := time.Now()
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.all) != 1 || !errors.Is(e.all[0], context.Canceled) || !e.at[0].Equal(now) {
		t.Errorf("when the caller had left, handlers ended with %v at %v, want one with context.Canceled at %v", e.all, e.at, now)
	}
}

// eachPlace runs f with a bus that calls a service over a connection, and within its own
// process.
func eachPlace(t *testing.T, name string, f func(t *testing.T, svc *scamptest.Service, bus *scamp.Bus, seen *endings)) {
	for _, from := range []string{"remote", "local"} {
		t.Run(name+"/"+from, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scamptest.New(t)
				seen := new(endings)
				svc := n.Serve("sample", func(s *scamp.Service) {
					wait := func(ctx context.Context) error {
						var err error
						select {
						case <-ctx.Done():
							err = ctx.Err()
						case <-time.After(50 * time.Second):
						}
						seen.mu.Lock()
						defer seen.mu.Unlock()
						seen.all, seen.at = append(seen.all, err), append(seen.at, time.Now())
						return err
					}
					s.Handle("Sample.wait", func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error { return wait(ctx) }, nil)
					s.Handle("Sample.read", func(_ context.Context, req *scamp.Request, _ *scamp.ReplyWriter) error {
						_, err := req.Bytes()
						return err
					}, nil)
					s.Handle("Sample.begin", func(ctx context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
						if _, err := rep.Write([]byte("so far")); err != nil {
							return err
						}
						return wait(ctx)
					}, nil)
				})
				bus := svc.Bus
				if from == "remote" {
					bus = n.Bus(nil)
				}
				f(t, svc, bus, seen)
			})
		})
	}
}

// A request that waits in line on a connection that has carried no reply yet can be taken
// back all the same: its caller is told at once that the service knows cancel.
func TestQueuedOnFreshConnectionIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Limits.MaxConcurrency = 1
		var log runLog
		n.Serve("sample", func(s *scamp.Service) {
			s.Handle("Sample.hold", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
				time.Sleep(10 * time.Second)
				return nil
			}, nil)
			s.Handle("Sample.do", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
				log.add(1)
				return nil
			}, &scamp.ActionOptions{Timeout: 2 * time.Second})
		})
		bus := n.Bus(nil)
		first := inBackground(t.Context(), bus, &scamp.Request{Action: "Sample.hold"})
		synctest.Wait()
		began := time.Now()
		o := <-inBackground(t.Context(), bus, &scamp.Request{Action: "Sample.do"})
		wantRan(t, "the one in line", o.err, scamp.RanMaybe, scamp.ErrTimeout)
		if took := time.Since(began); took != 7*time.Second {
			t.Errorf("an action with t2 that waits for its turn fails after %v, want 7s", took)
		}
		if o := <-first; o.err != nil {
			t.Error(o.err)
		}
		synctest.Wait()
		if len(log.runs) != 0 {
			t.Errorf("%d handlers ran of a request whose caller had left before its turn", len(log.runs))
		}
	})
}
