package scamp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
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

// A runLog notes which instance ran a request, by its number.
type runLog struct {
	mu   sync.Mutex
	runs []int
}

func (l *runLog) add(i int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs = append(l.runs, i)
}

// serveEach runs instances of one action, each with a handler of its own.
func serveEach(n *scamptest.Network, l *runLog, handlers ...scamp.Handler) []*scamptest.Service {
	var all []*scamptest.Service
	for i, h := range handlers {
		all = append(all, n.Serve(fmt.Sprintf("sample%d", i), func(s *scamp.Service) {
			s.Handle("Sample.do", func(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
				l.add(i)
				return h(ctx, req, rep)
			}, nil)
		}))
	}
	return all
}

// inOrder asks instances in the order in which they were made.
func inOrder(all []*scamptest.Service) scamp.Balancer {
	return func(c *scamp.Choice) int {
		for _, s := range all {
			for i, r := range c.Routes {
				if r.Ident == s.Ident() {
					return i
				}
			}
		}
		return 0
	}
}

func hang(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error {
	<-ctx.Done()
	return ctx.Err()
}

func good(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
	return rep.SetBytes([]byte("good"))
}

func busy(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
	return &scamp.RemoteError{Code: "x_busy", Text: "not now"}
}

// What may have run is sent again only if its caller says that it may run twice; a call
// that failed says of all its attempts whether one may have run.
func TestRetry(t *testing.T) {
	cut := func(n *scamptest.Network, s **scamptest.Service) scamp.Handler {
		return func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error {
			n.Cut(*s)
			<-ctx.Done()
			return ctx.Err()
		}
	}
	for _, tt := range []struct {
		name     string
		handlers string // c cuts the connection, h hangs, g answers, b says no, d cannot be dialed
		req      scamp.Request
		want     string // "good" or Ran
		runs     string
		attempts int // zero is not looked at
	}{
		{"lost, not idempotent", "cg", scamp.Request{}, "maybe", "[0]", 1},
		{"lost, idempotent", "cg", scamp.Request{Idempotent: true}, "good", "[0 1]", 0},
		{"lost twice", "ccg", scamp.Request{Idempotent: true}, "good", "[0 1 2]", 0},
		{"lost three times", "cccg", scamp.Request{Idempotent: true}, "maybe", "[0 1 2]", 0},
		{"lost three times of four", "cccg", scamp.Request{Idempotent: true, Retry: &scamp.RetryOptions{Attempts: 4}}, "good", "[0 1 2 3]", 0},
		{"never again", "cg", scamp.Request{Idempotent: true, Retry: &scamp.RetryOptions{Attempts: 1}}, "maybe", "[0]", 0},
		{"an answer is an answer", "bg", scamp.Request{Idempotent: true}, "yes", "[0]", 0},
		{"a body that is gone", "cg", scamp.Request{Idempotent: true, Body: io.MultiReader(strings.NewReader("x"))}, "maybe", "[0]", 0},
		{"no dial, then lost", "dcd", scamp.Request{Retry: &scamp.RetryOptions{Attempts: 3}}, "maybe", "[1]", 2},
		{"no dial twice", "ddg", scamp.Request{}, "no", "[]", 2},
		{"no dial twice, three attempts", "ddg", scamp.Request{Retry: &scamp.RetryOptions{Attempts: 3}}, "good", "[2]", 0},
		{"lost, then no dial", "cdd", scamp.Request{Idempotent: true}, "maybe", "[0]", 3},
		{"a hang costs an attempt", "hg", scamp.Request{Idempotent: true, Retry: &scamp.RetryOptions{AttemptTimeout: time.Second}}, "good", "[0 1]", 0},
		{"hangs", "hhh", scamp.Request{Idempotent: true, Retry: &scamp.RetryOptions{AttemptTimeout: time.Second}}, "maybe", "[0 1 2]", 3},
		{"a hang of what may not run twice", "hg", scamp.Request{Retry: &scamp.RetryOptions{AttemptTimeout: time.Second}}, "maybe", "[0]", 0},
		{"hedge", "hg", scamp.Request{Idempotent: true, Retry: &scamp.RetryOptions{Hedge: time.Second}}, "good", "[0 1]", 0},
		{"hedge twice", "hhg", scamp.Request{Idempotent: true, Retry: &scamp.RetryOptions{Hedge: time.Second}}, "good", "[0 1 2]", 0},
		{"hedge is not needed", "gh", scamp.Request{Idempotent: true, Retry: &scamp.RetryOptions{Hedge: time.Second}}, "good", "[0]", 0},
		{"hedge, both fail", "cb", scamp.Request{Idempotent: true, Retry: &scamp.RetryOptions{Hedge: time.Second}}, "yes", "[0 1]", 2},
		{"hedge with nobody else", "h", scamp.Request{Idempotent: true, Retry: &scamp.RetryOptions{Hedge: time.Second}}, "maybe", "[0]", 0},
		{"hedge of what may not run twice", "hg", scamp.Request{Retry: &scamp.RetryOptions{Hedge: time.Second}}, "maybe", "[0]", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scamptest.New(t)
				var log runLog
				all := make([]*scamptest.Service, len(tt.handlers))
				var handlers []scamp.Handler
				for i, kind := range tt.handlers {
					handlers = append(handlers, map[rune]scamp.Handler{'c': cut(n, &all[i]), 'h': hang, 'g': good, 'b': busy, 'd': good}[kind])
				}
				copy(all, serveEach(n, &log, handlers...))
				down := make(map[string]bool)
				for i, kind := range tt.handlers {
					down[all[i].Addr()] = kind == 'd'
				}
				bus := n.Bus(&scamp.Options{Balancer: inOrder(all), Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					if down[addr] {
						return nil, errors.New("no route")
					}
					return n.Dial(ctx, network, addr)
				}})
				// No deadline, which the service would know: it and the caller would race for the end.
				ctx, cancel := context.WithCancel(t.Context())
				defer time.AfterFunc(20*time.Second, cancel).Stop()
				defer cancel()
				req := tt.req
				req.Action = "Sample.do"
				got := ""
				reply, err := bus.Call(ctx, &req)
				if err == nil {
					body, err := reply.Bytes(0)
					got = fmt.Sprint(string(body), err)[:4]
				} else if ce, ok := errors.AsType[*scamp.CallError](err); ok {
					got = ce.Ran.String()
					if ce.Attempts != tt.attempts && tt.attempts > 0 {
						t.Errorf("%v: Attempts %d, want %d", err, ce.Attempts, tt.attempts)
					}
					if ctx.Err() == nil && errors.Is(err, context.Canceled) {
						t.Errorf("%v: is context.Canceled, and nobody cancelled", err)
					}
				}
				synctest.Wait()
				log.mu.Lock()
				defer log.mu.Unlock()
				if runs := fmt.Sprint(log.runs); got != tt.want || runs != tt.runs {
					t.Errorf("%s: %s (%v), ran at %s, want %s at %s", tt.handlers, got, err, runs, tt.want, tt.runs)
				}
			})
		})
	}
}

// A typed call takes the reply as a whole: one that breaks off within its body is an attempt
// that failed. Who reads the body himself has the reply, and sees it break off.
func TestRetryOfReplyThatBreaksOff(t *testing.T) {
	for _, tt := range []struct {
		name  string
		req   scamp.Request
		abort bool // the handler fails, else the connection is lost
		want  string
		runs  string
	}{
		{"lost, not idempotent", scamp.Request{}, false, "0 maybe", "[0]"},
		{"lost, not idempotent, retried", scamp.Request{Retry: &scamp.RetryOptions{Attempts: 4}}, false, "0 maybe", "[0]"},
		{"lost, idempotent", scamp.Request{Idempotent: true}, false, "17 ", "[0 1]"},
		{"TXERR, idempotent", scamp.Request{Idempotent: true}, true, "17 ", "[0 1]"},
		{"lost, one attempt", scamp.Request{Idempotent: true, Retry: &scamp.RetryOptions{Attempts: 1}}, false, "0 maybe", "[0]"},
		{"lost, hedged", scamp.Request{Idempotent: true, Retry: &scamp.RetryOptions{Hedge: time.Minute}}, false, "17 ", "[0 1]"},
		{"lost, an attempt has a time", scamp.Request{Idempotent: true, Retry: &scamp.RetryOptions{AttemptTimeout: time.Minute}}, false, "17 ", "[0 1]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scamptest.New(t)
				var log runLog
				var all []*scamptest.Service
				broken := func(ctx context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
					if _, err := rep.Write([]byte("1")); err != nil {
						return err
					}
					time.Sleep(time.Second)
					if !tt.abort {
						n.Cut(all[0])
						<-ctx.Done()
					}
					return errors.New("it fails")
				}
				all = serveEach(n, &log, broken, func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error { return rep.SetJSON(17) })
				bus := n.Bus(&scamp.Options{Balancer: inOrder(all)})
				req := tt.req
				req.Action = "Sample.do"
				v, reply, err := scamp.CallWith[int](t.Context(), bus, &req, "in")
				got := fmt.Sprint(v, " ")
				if ce, ok := errors.AsType[*scamp.CallError](err); ok {
					got += ce.Ran.String()
				} else if err == nil {
					if rest, err := io.ReadAll(reply.Body); len(rest) > 0 || err != nil {
						t.Errorf("after the call its body has %q and %v, want its end", rest, err)
					}
				}
				if runs := fmt.Sprint(log.runs); got != tt.want || runs != tt.runs {
					t.Errorf("%q (%v), ran at %s, want %q at %s", got, err, runs, tt.want, tt.runs)
				}
				if tt.req.Idempotent && tt.req.Retry == nil { // read as a stream
					log.runs = nil
					reply, err := bus.Call(t.Context(), &req)
					if err != nil {
						t.Fatal(err)
					}
					_, err = reply.Bytes(0)
					if ce, ok := errors.AsType[*scamp.CallError](err); !ok || ce.Ran != scamp.RanMaybe || len(log.runs) != 1 {
						t.Errorf("read as a stream: %v, ran at %v, want an error that may have run, once", err, log.runs)
					}
				}
			})
		})
	}
}

// What cannot be meant is refused before anything is sent: a negative pause has no jitter.
func TestRetryOptionsAreChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		var log runLog
		serveEach(n, &log, good)
		bus := n.Bus(&scamp.Options{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no route") }})
		for _, tt := range []struct {
			retry scamp.RetryOptions
			want  string
		}{
			{scamp.RetryOptions{Attempts: -1}, "Attempts -1: want 0 or more"},
			{scamp.RetryOptions{Attempts: 3, Pause: -time.Second}, "Pause -1s: want 0 or more"},
			{scamp.RetryOptions{AttemptTimeout: -1}, "AttemptTimeout -1ns: want 0 or more"},
			{scamp.RetryOptions{Hedge: -time.Hour}, "Hedge -1h0m0s: want 0 or more"},
		} {
			body := new(closedBody)
			_, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.do", Idempotent: true, Body: body, Retry: &tt.retry})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !body.closed {
				t.Errorf("call with %+v: error %v, body closed %v, want %q and a closed body", tt.retry, err, body.closed, tt.want)
			}
			_, err = bus.With(scamp.Request{Retry: &tt.retry}).Call(t.Context(), &scamp.Request{Action: "Sample.do"})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("call with defaults of %+v: error %v, want %q", tt.retry, err, tt.want)
			}
		}
	})
}

// The handlers of attempts that lost see their callers leave, and nothing stays behind.
func TestHedgeCancelsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		var log runLog
		var left atomic.Int32
		var met atomic.Bool // only a peer that has shown that it knows cancel is sent one
		leave := func(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
			if met.CompareAndSwap(false, true) {
				return good(ctx, req, rep)
			}
			<-ctx.Done()
			left.Add(1)
			return ctx.Err()
		}
		all := serveEach(n, &log, leave, good)
		bus := n.Bus(&scamp.Options{Balancer: inOrder(all)})
		for range 6 {
			reply, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.do", Idempotent: true, Retry: &scamp.RetryOptions{Hedge: time.Millisecond}})
			if err != nil {
				t.Fatal(err)
			}
			if body, err := reply.Bytes(0); string(body) != "good" || err != nil {
				t.Errorf("body %q, error %v", body, err)
			}
		}
		synctest.Wait()
		if got := left.Load(); got != 5 {
			t.Errorf("%d handlers saw their caller leave, want 5", got)
		}
		if got := bus.Stats()["hedged"]; got != 5 {
			t.Errorf("counter hedged is %d, want 5", got)
		}
	})
}

// When the attempt that decides says that it did not run, another one of the race may have
// run, and even have a reply that came a moment later.
func TestHedgeRanWhenTheReplyComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		register := func(h scamp.Handler, opts *scamp.ActionOptions) func(*scamp.Service) {
			return func(s *scamp.Service) { s.Handle("Sample.do", h, opts) }
		}
		var runs atomic.Int32
		all := []*scamptest.Service{
			n.Serve("refusing", register(good, &scamp.ActionOptions{Privileges: []int64{7}})), // there is no ticket
			n.Serve("good", register(func(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
				runs.Add(1)
				time.Sleep(150 * time.Millisecond)
				return good(ctx, req, rep)
			}, nil)),
		}
		bus := n.Bus(&scamp.Options{Balancer: inOrder(all), Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == all[0].Addr() {
				time.Sleep(150 * time.Millisecond) // it refuses behind the first hedge
			}
			return n.Dial(ctx, network, addr)
		}})
		began := time.Now()
		var held atomic.Bool
		filter := func(discovery.Route) bool {
			if time.Since(began) > 90*time.Millisecond && held.CompareAndSwap(false, true) {
				time.Sleep(time.Second) // at the second hedge: refusal and reply come before either is looked at
			}
			return true
		}
		_, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.do", Idempotent: true,
			Route: &scamp.RouteOptions{Filter: filter}, Retry: &scamp.RetryOptions{Hedge: 50 * time.Millisecond}})
		ce, ok := errors.AsType[*scamp.CallError](err)
		if !ok || !errors.Is(err, scamp.ErrDenied) || ce.Ran == scamp.RanNo || ce.Attempts != 2 || runs.Load() != 1 {
			t.Errorf("a refusal, then a reply: error %v, %+v, ran %d times, want the refusal with Ran maybe of 2 attempts, and one run", err, ce, runs.Load())
		}
	})
}

// When everybody fails, a bus sends at most a tenth again.
func TestRetriesAreBudgeted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		var log runLog
		all := serveEach(n, &log, hang, hang, hang)
		bus := n.Bus(&scamp.Options{Balancer: inOrder(all)})
		for range 200 {
			bus.Call(t.Context(), &scamp.Request{Action: "Sample.do", Idempotent: true, Retry: &scamp.RetryOptions{AttemptTimeout: time.Second}})
		}
		log.mu.Lock()
		defer log.mu.Unlock()
		if again := len(log.runs) - 200; again < 25 || again > 31 {
			t.Errorf("200 calls that all fail were sent %d times more, want a tenth and the 10 of the start", again)
		}
		if bus.Stats()["retry_over_budget"] == 0 {
			t.Error("counter retry_over_budget did not move")
		}
	})
}

// A hedge that cannot be made costs nothing: no token, no count, no word.
func TestHedgeWithNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		var log runLog
		slow := func(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
			time.Sleep(400 * time.Millisecond)
			return good(ctx, req, rep)
		}
		serveEach(n, &log, slow)
		bus := n.Bus(nil)
		retried, routed := 0, 0
		ctx := scamp.WithTrace(t.Context(), &scamp.Trace{Retried: func(int, error) { retried++ }, Routed: func(discovery.Route) { routed++ }})
		for range 30 {
			reply, err := bus.Call(ctx, &scamp.Request{Action: "Sample.do", Idempotent: true, Retry: &scamp.RetryOptions{Hedge: 10 * time.Millisecond}})
			if err != nil {
				t.Fatal(err)
			}
			reply.Body.Close()
		}
		if s := bus.Stats(); s["hedged"] != 0 || s["retry_over_budget"] != 0 || retried != 0 || routed != 30 || len(log.runs) != 30 {
			t.Errorf("30 calls of the one instance: hedged %d, over budget %d, told %d times of a retry and %d of a route, ran %d times", s["hedged"], s["retry_over_budget"], retried, routed, len(log.runs))
		}
	})
}

// The last attempt has as long as the call, and what ended an attempt is in the ladder.
func TestAttemptTimeoutSparesTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		var log runLog
		slow := func(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
			select {
			case <-time.After(time.Second):
				return good(ctx, req, rep)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		all := serveEach(n, &log, slow, slow)
		bus := n.Bus(&scamp.Options{Balancer: inOrder(all)})
		for _, tt := range []struct {
			req  scamp.Request
			runs int
		}{
			{scamp.Request{Retry: &scamp.RetryOptions{Attempts: 1, AttemptTimeout: 100 * time.Millisecond}}, 1},
			{scamp.Request{Retry: &scamp.RetryOptions{Attempts: 2, AttemptTimeout: 100 * time.Millisecond}}, 2},
			{scamp.Request{Retry: &scamp.RetryOptions{AttemptTimeout: 100 * time.Millisecond}, Route: &scamp.RouteOptions{Ident: all[1].Ident()}}, 1},
			{scamp.Request{Retry: &scamp.RetryOptions{AttemptTimeout: 100 * time.Millisecond}, Body: io.MultiReader(strings.NewReader("x"))}, 1},
		} {
			before := len(log.runs)
			req := tt.req
			req.Action, req.Idempotent = "Sample.do", true
			reply, err := bus.Call(t.Context(), &req)
			if err != nil {
				t.Errorf("%+v: %v, want the last attempt to have its time", tt.req.Retry, err)
				continue
			}
			reply.Body.Close()
			synctest.Wait()
			if got := len(log.runs) - before; got != tt.runs {
				t.Errorf("%+v: ran %d times, want %d", tt.req.Retry, got, tt.runs)
			}
		}
	})
}

// Attempts of a race that all fail at once rest in between, like those of a series.
func TestHedgeRests(t *testing.T) {
	for _, hedge := range []time.Duration{0, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			n := scamptest.New(t)
			all := serveEach(n, new(runLog), good, good)
			bus := n.Bus(&scamp.Options{Balancer: inOrder(all), Rand: func(int) int { return 0 }, Dial: func(context.Context, string, string) (net.Conn, error) {
				return nil, errors.New("no route")
			}})
			start := time.Now()
			_, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.do", Idempotent: true, Retry: &scamp.RetryOptions{Attempts: 4, Pause: 2 * time.Second, Hedge: hedge}})
			if took := time.Since(start); took < 3*time.Second || took > 4*time.Second {
				t.Errorf("hedge %v: four attempts that fail at once took %v (%v), want rests of 1 and 2 s", hedge, took, err)
			}
		})
	}
}

// A body is closed also when nobody could be found to send it to.
func TestRetryClosesTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := scamptest.New(t).Bus(nil)
		body := new(closedBody)
		_, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.nobody", Body: body, Idempotent: true})
		if !errors.Is(err, scamp.ErrNotFound) || !body.closed {
			t.Errorf("error %v, body closed %v: want ErrNotFound and a closed body", err, body.closed)
		}
	})
}

type closedBody struct {
	strings.Reader
	closed bool
}

func (b *closedBody) Close() error { b.closed = true; return nil }
