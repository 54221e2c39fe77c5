package scamp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A lineLog is a log that a test reads while others write to it.
type lineLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lineLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lineLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A foreignBody is a body that does what it likes. It counts how often it was closed.
type foreignBody struct {
	read   func([]byte) (int, error)
	close  func()
	closed atomic.Int32
}

func (b *foreignBody) Read(p []byte) (int, error) { return b.read(p) }

func (b *foreignBody) Close() error {
	b.closed.Add(1)
	if b.close != nil {
		b.close()
	}
	return nil
}

// A body is copied by a goroutine of the bus: one that panics, or ends that goroutine, is
// the end of its call, which says so, and of nothing else.
func TestBodyPanics(t *testing.T) {
	gone := errors.New("disk gone")
	for _, tt := range []struct {
		name string
		read func(p []byte) (int, error) // behind the first octets
		want string                      // in the error and the log
		is   error
	}{
		{"a text", func([]byte) (int, error) { panic("the body's own") }, "the body's own", nil},
		{"an error", func([]byte) (int, error) { panic(gone) }, "disk gone", gone},
		{"more octets than there was room for", func(p []byte) (int, error) { return len(p) + 1, nil }, "slice bounds out of range", nil},
		{"the end of the goroutine", func([]byte) (int, error) { runtime.Goexit(); return 0, nil }, "ended its goroutine", nil},
	} {
		eachPlace(t, tt.name, func(t *testing.T, svc *scamptest.Service, bus *scamp.Bus, seen *endings) {
			first := true
			body := &foreignBody{read: func(p []byte) (int, error) {
				if first {
					first = false
					return copy(p, "half"), nil
				}
				time.Sleep(time.Second) // the handler runs
				return tt.read(p)
			}}
			_, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.wait", Body: body})
			wantRan(t, tt.name, err, scamp.RanMaybe, tt.is)
			if err == nil || !strings.Contains(err.Error(), "request body") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the call: %v, want that its body broke with %q", err, tt.want)
			}
			seen.want(t) // the handler's context has ended
			if n := body.closed.Load(); n != 1 {
				t.Errorf("the body was closed %d times, want once", n)
			}
			if n := bus.Stats()["callback_panicked"]; n != 1 {
				t.Errorf("callback_panicked: %d, want 1", n)
			}
			if left := scamp.TablesOf(bus); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A Close that panics on a goroutine of the bus costs nobody anything but a line of the
// log: the call is over for the body, however it ended.
func TestBodyClosePanics(t *testing.T) {
	for _, tt := range []struct {
		name string
		read func([]byte) (int, error)
		ran  bool // the call goes well
	}{
		{"of what was sent", func([]byte) (int, error) { return 0, io.EOF }, true},
		{"of what panicked", func([]byte) (int, error) { panic("the body's own") }, false},
		{"of what nobody wants any more", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scamptest.New(t)
				n.Serve("sample", func(s *scamp.Service) {
					s.Handle("Sample.read", func(_ context.Context, req *scamp.Request, _ *scamp.ReplyWriter) error {
						_, err := req.Bytes()
						return err
					}, nil)
				})
				log := new(lineLog)
				bus := n.Bus(&scamp.Options{Log: slog.New(slog.NewTextHandler(log, nil)), Limits: scamp.Limits{LogRate: 2}})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended := make(chan struct{})
				body := &foreignBody{read: tt.read, close: func() { defer close(ended); panic("the close's own") }}
				if body.read == nil { // it waits, until it is closed
					body.read = func([]byte) (int, error) { cancel(); <-ended; return 0, io.ErrClosedPipe }
				}
				_, err := bus.Call(ctx, &scamp.Request{Action: "Sample.read", Body: body})
				if (err == nil) != tt.ran {
					t.Errorf("the call: %v, want that it goes well: %v", err, tt.ran)
				}
				synctest.Wait()
				if n := body.closed.Load(); n != 1 {
					t.Errorf("the body was closed %d times, want once", n)
				}
				bus.Close() // waits for the log
				if text := log.String(); !strings.Contains(text, "the close's own") || !strings.Contains(text, "foreignbody_test.go") {
					t.Errorf("the log has %q, want the panic of Close with its stack", text)
				}
			})
		})
	}
}

// What a program hands in for the choice of an instance may panic: that goes on to who
// called, and leaves no body open and no connection behind.
func TestPanicBeforeTheBodyIsSent(t *testing.T) {
	panics := func() { panic("the program's own") }
	for _, tt := range []struct {
		name  string
		route *scamp.RouteOptions
		trace *scamp.Trace
	}{
		{"Filter", &scamp.RouteOptions{Filter: func(discovery.Route) bool { panics(); return true }}, nil},
		{"Balancer", &scamp.RouteOptions{Balancer: func(*scamp.Choice) int { panics(); return 0 }}, nil},
		{"Routed", nil, &scamp.Trace{Routed: func(discovery.Route) { panics() }}},
		{"Connected", nil, &scamp.Trace{Connected: func(scamp.ConnectInfo) { panics() }}},
		{"Sent", nil, &scamp.Trace{Sent: panics}},
	} {
		for _, retry := range []*scamp.RetryOptions{nil, {Attempts: 3}} {
			t.Run(tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := scamptest.New(t)
					for range 2 {
						n.Serve("sample", func(s *scamp.Service) { s.Handle("Sample.ok", ok, nil) })
					}
					bus := n.Bus(nil)
					if _, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.ok"}); err != nil {
						t.Fatal(err) // it knows both now
					}
					time.Sleep(10 * time.Second)
					body := &foreignBody{read: func([]byte) (int, error) { return 0, io.EOF }}
					func() {
						defer func() {
							if v := recover(); v != "the program's own" {
								t.Errorf("the call panicked with %v, want what its %s did", v, tt.name)
							}
						}()
						bus.Call(scamp.WithTrace(t.Context(), tt.trace), &scamp.Request{Action: "Sample.ok", Body: body, Route: tt.route, Retry: retry})
					}()
					synctest.Wait()
					if n := body.closed.Load(); n != 1 {
						t.Errorf("the body was closed %d times, want once", n)
					}
					if left := scamp.TablesOf(bus); len(left) > 0 {
						t.Errorf("left behind: %v", left)
					}
				})
			})
		}
	}
}

// A connection that one call has for itself is given up when a hook of that call panics.
func TestPanicOnAConnectionOfOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		bus := f.bus(nil)
		f.announceGo(bus)
		body := &foreignBody{read: func([]byte) (int, error) { return 0, io.EOF }}
		func() {
			defer func() { recover() }()
			ctx := scamp.WithTrace(t.Context(), &scamp.Trace{Connected: func(scamp.ConnectInfo) { panic("the program's own") }})
			req := echoReq("")
			req.Data, req.Body = nil, body
			bus.Call(ctx, req)
			t.Error("nothing panicked")
		}()
		f.next()
		if n := body.closed.Load(); n != 1 {
			t.Errorf("the body was closed %d times, want once", n)
		}
		synctest.Wait()
		if left := scamp.TablesOf(bus); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// What a program hands in for a hedged call is called by goroutines of the bus: what panics
// there is an attempt that failed.
func TestPanicInAHedge(t *testing.T) {
	for _, what := range []string{"GetBody", "Connected", "Sent", "Replied", "GetBody ends its goroutine"} {
		for _, always := range []bool{false, true} {
			t.Run(what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := scamptest.New(t)
					n.Serve("sample", func(s *scamp.Service) { s.Handle("Sample.ok", ok, nil) })
					log := new(lineLog)
					bus := n.Bus(&scamp.Options{Log: slog.New(slog.NewTextHandler(log, nil))})
					var asked atomic.Int32
					panics := func(where string) {
						if strings.HasPrefix(what, where) && (asked.Add(1) == 1 || always) {
							if where != what {
								runtime.Goexit()
							}
							panic("the program's own")
						}
					}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					ctx = scamp.WithTrace(ctx, &scamp.Trace{
						Connected: func(scamp.ConnectInfo) { panics("Connected") },
						Sent:      func() { panics("Sent") },
						Replied:   func(time.Duration) { panics("Replied") },
					})
					reply, err := bus.Call(ctx, &scamp.Request{Action: "Sample.ok", Idempotent: true,
						GetBody: func() (io.Reader, error) { panics("GetBody"); return strings.NewReader("x"), nil },
						Retry:   &scamp.RetryOptions{Hedge: time.Minute, Attempts: 2}})
					if err == nil {
						reply.Body.Close()
					}
					_, isCall := errors.AsType[*scamp.CallError](err)
					if always != (err != nil) || err != nil && (!isCall || !strings.Contains(err.Error(), "panicked: the program's own") && !strings.Contains(err.Error(), "ended its goroutine")) {
						t.Errorf("the call: %v, want an error that names the panic if all attempts do: %v", err, always)
					}
					synctest.Wait()
					if left := scamp.TablesOf(bus); len(left) > 0 {
						t.Errorf("left behind: %v", left)
					}
					if n := bus.Stats()["callback_panicked"]; n < 1 {
						t.Error("callback_panicked: 0, want 1 at least")
					}
				})
			})
		}
	}
}

// A Filter or Balancer that panics where a Subscription, or the bus for itself, looks for an
// instance, panics on a goroutine of the bus: that is told, and tried again later.
func TestPanicWhereASubscriptionLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Serve("sample", func(s *scamp.Service) { s.Publish("a", "k", 1); s.Handle("Sample.ok", ok, nil) })
		bus := n.Bus(&scamp.Options{Log: slog.New(slog.DiscardHandler)})
		if _, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.ok"}); err != nil {
			t.Fatal(err) // it knows the service now
		}
		var good atomic.Bool
		s, err := bus.Subscribe(&scamp.Request{Action: "Sample.ok", Route: &scamp.RouteOptions{Filter: func(discovery.Route) bool {
			if !good.Load() {
				panic("the filter's own")
			}
			return true
		}}}, "a")
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Ready(ctx); err == nil || !strings.Contains(err.Error(), "panicked: the filter's own") {
			t.Errorf("Ready: %v, want that the Filter panicked", err)
		}
		good.Store(true)
		if err := s.Ready(t.Context()); err != nil {
			t.Errorf("Ready when the Filter is good: %v", err)
		}
	})
}

// A Balancer that ends its goroutine ends the Subscription that it was to choose for.
func TestGoexitWhereASubscriptionLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Serve("sample", func(s *scamp.Service) { s.Handle("Sample.ok", ok, nil) })
		bus := n.Bus(&scamp.Options{Log: slog.New(slog.DiscardHandler)})
		if _, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.ok"}); err != nil {
			t.Fatal(err)
		}
		s, err := bus.Subscribe(&scamp.Request{Action: "Sample.ok", Route: &scamp.RouteOptions{Filter: func(discovery.Route) bool {
			runtime.Goexit()
			return true
		}}}, "a")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := s.Err(); err == nil || !strings.Contains(err.Error(), "ended its goroutine") {
			t.Errorf("Err: %v, want that the Filter ended its goroutine", err)
		}
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if err := s.Ready(ctx); err == nil || ctx.Err() != nil {
				t.Errorf("Ready: %v after %v, want at once that the Filter ended its goroutine", err, ctx.Err())
			}
			cancel()
			s.Close()
		}
	})
}

// The authorization table is fetched by a goroutine of the bus, with the Balancer of the bus.
func TestPanicWhereTheTableIsFetched(t *testing.T) {
	for _, panics := range []func(){func() { panic("the balancer's own") }, runtime.Goexit} {
		synctest.Test(t, func(t *testing.T) {
			n := scamptest.New(t)
			for range 2 {
				n.Serve("auth", func(s *scamp.Service) {
					s.Handle("Auth.getAuthzTable", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
						return rep.SetBytes([]byte(`{"sample.read":[]}`))
					}, &scamp.ActionOptions{Flags: []string{"noauth"}})
				})
			}
			var good atomic.Bool
			bus, pair := n.Bus(&scamp.Options{Log: slog.New(slog.DiscardHandler), Balancer: func(*scamp.Choice) int {
				if !good.Load() {
					panics()
				}
				return 0
			}}), n.KeyPair()
			n.Allow(pair, "main:ALL")
			svc, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}, RequireTickets: true, Grace: -1})
			if err != nil {
				t.Fatal(err)
			}
			svc.Handle("Sample.read", ok, nil)
			serve(t, svc)
			caller, ticket := n.Bus(nil), n.Ticket(scamp.TicketClaims{User: 1, Client: 2, Privileges: []int64{1}})
			if code, text := callCode(t, caller, "Sample.read", ticket); code != "internal" {
				t.Errorf("without a table: %s %q, want internal", code, text)
			}
			good.Store(true)
			time.Sleep(2 * time.Second)
			if code, text := callCode(t, caller, "Sample.read", ticket); code != "ok" {
				t.Errorf("with a table: %s %q, want ok", code, text)
			}
		})
	}
}

// A value that is no JSON is an error of its call, however it is sent: bus is that of a
// service, so that it is not made into JSON before an instance is known.
func TestValueThatIsNoJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		bus := n.Serve("sample", func(s *scamp.Service) {
			scamp.HandleJSON(s, "Sample.half", func(_ context.Context, f float64) (float64, error) { return f / 2, nil }, nil)
		}).Bus
		for _, req := range []scamp.Request{{Action: "Sample.half"}, {Action: "Sample.half", Idempotent: true}, {Action: "Sample.half", Retry: &scamp.RetryOptions{}}} {
			for _, v := range []any{math.NaN(), make(chan int)} {
				if _, _, err := scamp.CallWith[float64](t.Context(), bus, &req, v); err == nil || !strings.Contains(err.Error(), "json: unsupported") {
					t.Errorf("CallWith idempotent %v, retry %v: %v, want it refused as no JSON", req.Idempotent, req.Retry, err)
				}
				if _, err := scamp.Call[float64](t.Context(), bus.With(req), "Sample.half", v); err == nil || !strings.Contains(err.Error(), "json: unsupported") {
					t.Errorf("With idempotent %v, retry %v: %v, want it refused as no JSON", req.Idempotent, req.Retry, err)
				}
			}
		}
	})
}
