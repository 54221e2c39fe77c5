package scamp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/internal/ticketscan"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A place is where a caller is, seen from the service.
type place struct {
	t      *testing.T
	n      *scamptest.Network
	svc    *scamptest.Service
	bus    *scamp.Bus
	ctx    context.Context // of calls that say nothing else
	opened time.Time

	mu    sync.Mutex
	notes []string
}

// note adds to what two places are compared by.
func (p *place) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

// outcome notes how a call ended: all that a program can decide by.
func (p *place) outcome(body any, err error) {
	p.note("%s", ending(body, err))
}

func ending(body any, err error) string {
	if err == nil {
		return fmt.Sprint("ok ", body)
	}
	var b strings.Builder
	b.WriteString("failed")
	if ce, ok := errors.AsType[*scamp.CallError](err); ok {
		fmt.Fprintf(&b, " ran=%v attempts=%d", ce.Ran, ce.Attempts)
	}
	if re, ok := errors.AsType[*scamp.RemoteError](err); ok {
		fmt.Fprintf(&b, " code=%s text=%q data=%s", re.Code, re.Text, re.Data)
	}
	for _, is := range []error{scamp.ErrNotFound, scamp.ErrDenied, scamp.ErrTimeout, scamp.ErrRefused, scamp.ErrLost, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, is) {
			fmt.Fprintf(&b, " is=%v", is)
		}
	}
	return b.String()
}

func (p *place) elapsed() { p.note("after %v", time.Since(p.opened).Round(100*time.Millisecond)) }

// raw makes a call of octets.
func (p *place) raw(ctx context.Context, req scamp.Request) {
	reply, err := p.bus.Call(ctx, &req)
	if err != nil {
		p.outcome(nil, err)
		return
	}
	b, err := reply.Bytes(0)
	p.outcome(fmt.Sprintf("%.40s %d", b, len(b)), err)
	if reply.Instance != p.svc.Ident() {
		p.note("instance %q", reply.Instance)
	}
}

type pair struct {
	A, B int
	Note string `json:",omitempty"`
}
type sum struct{ Sum int }

func add(_ context.Context, in pair) (sum, error) { return sum{in.A + in.B}, nil }

// typed makes a call of values.
func (p *place) typed(ctx context.Context, action string, in pair) {
	out, err := scamp.Call[sum](ctx, p.bus, action, in)
	p.outcome(out, err)
}

func echoRaw(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
	b, err := req.Bytes()
	if err != nil {
		return err
	}
	return rep.SetBytes(b)
}

func copyRaw(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
	_, err := io.Copy(rep, req.Body)
	return err
}

// localCases are what a call within the process and one over TLS must do alike.
var localCases = []struct {
	name   string
	limits scamp.Limits
	opts   scamp.ServiceOptions
	rules  string // says who may call, if not empty
	serve  func(p *place, s *scamp.Service)
	call   func(p *place)
	want   string // notes, and the counters that rose
	// endless is what is different for a caller within the process whose context has no
	// Done, if anything is: he has lent the handler his goroutine.
	endless string
}{
	{name: "octets",
		serve: func(_ *place, s *scamp.Service) { s.Handle("A.do", echoRaw, nil) },
		call:  func(p *place) { p.raw(p.ctx, scamp.Request{Action: "A.do", Data: []byte("hello")}) },
		want:  "ok hello 5"},
	{name: "no octets",
		serve: func(_ *place, s *scamp.Service) { s.Handle("A.do", echoRaw, nil) },
		call:  func(p *place) { p.raw(p.ctx, scamp.Request{Action: "A.do"}) },
		want:  "ok  0"},
	{name: "a handler that changes what it got",
		serve: func(p *place, s *scamp.Service) {
			s.Handle("A.do", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
				b, err := req.Bytes()
				copy(b, "HEY")
				return errors.Join(err, rep.SetBytes(b))
			}, nil)
		},
		call: func(p *place) {
			mine := []byte("hello")
			p.raw(p.ctx, scamp.Request{Action: "A.do", Data: mine})
			p.note("caller's %s", mine)
		},
		want: "ok HEYlo 5; caller's hello"},
	{name: "a reader",
		serve: func(_ *place, s *scamp.Service) { s.Handle("A.do", copyRaw, nil) },
		call: func(p *place) {
			p.raw(p.ctx, scamp.Request{Action: "A.do", Body: io.LimitReader(strings.NewReader(strings.Repeat("x", 3<<20)), 2<<20)})
		},
		want: "ok " + strings.Repeat("x", 40) + " 2097152"},
	{name: "a stream",
		serve: func(_ *place, s *scamp.Service) { s.Handle("A.do", copyRaw, nil) },
		call: func(p *place) {
			s, err := p.bus.Stream(p.ctx, &scamp.Request{Action: "A.do"})
			if err != nil {
				p.outcome(nil, err)
				return
			}
			buf := make([]byte, 8)
			for _, piece := range []string{"one", "two"} {
				s.Write([]byte(piece))
				n, err := io.ReadFull(s, buf[:3])
				p.note("%s %v", buf[:n], err)
			}
			s.CloseSend()
			rest, err := io.ReadAll(s)
			p.note("%d %v", len(rest), err)
		},
		want: "one <nil>; two <nil>; 0 <nil>"},
	{name: "a reply that breaks off",
		serve: func(_ *place, s *scamp.Service) {
			s.Handle("A.do", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
				rep.Write([]byte("some"))
				return errors.New("no more")
			}, nil)
		},
		call: func(p *place) { p.raw(p.ctx, scamp.Request{Action: "A.do"}) },
		want: "failed ran=maybe attempts=1"},
	{name: "a caller who takes only the beginning",
		serve: func(p *place, s *scamp.Service) {
			s.Handle("A.do", func(ctx context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
				rep.Write([]byte("some"))
				<-ctx.Done()
				p.note("handler: %v", ctx.Err())
				return ctx.Err()
			}, nil)
		},
		call: func(p *place) {
			p.raw(p.ctx, scamp.Request{Action: "A.never~9", Route: &scamp.RouteOptions{Wait: -1}})
			reply, err := p.bus.Call(p.ctx, &scamp.Request{Action: "A.do"})
			if err != nil {
				p.outcome(nil, err)
				return
			}
			buf := make([]byte, 4)
			io.ReadFull(reply.Body, buf)
			reply.Body.Close()
			synctest.Wait()
			p.note("%s", buf)
		},
		want: "failed ran=no attempts=0 is=action not found; handler: context canceled; some"},
	{name: "values",
		serve: func(_ *place, s *scamp.Service) { scamp.HandleJSON(s, "A.add", add, nil) },
		call:  func(p *place) { p.typed(p.ctx, "A.add", pair{A: 2, B: 3}) },
		want:  "ok {5}"},
	{name: "values of other types",
		serve: func(_ *place, s *scamp.Service) {
			scamp.HandleJSON(s, "A.add", func(_ context.Context, in map[string]any) (map[string]any, error) {
				return map[string]any{"Sum": in["A"].(float64) + in["B"].(float64)}, nil
			}, nil)
		},
		call: func(p *place) { p.typed(p.ctx, "A.add", pair{A: 2, B: 3}) },
		want: "ok {5}"},
	{name: "values that are not what is wanted",
		serve: func(_ *place, s *scamp.Service) {
			scamp.HandleJSON(s, "A.add", func(_ context.Context, in []int) (sum, error) { return sum{}, nil }, nil)
		},
		call: func(p *place) { p.typed(p.ctx, "A.add", pair{A: 2, B: 3}) },
		want: `failed ran=yes attempts=1 code=bad_request text="request body: json: cannot unmarshal object into Go value of type []int" data=`},
	{name: "values with defaults",
		serve: func(_ *place, s *scamp.Service) {
			scamp.HandleJSON(s, "A.add", func(ctx context.Context, in pair) (sum, error) {
				return sum{in.A + int(scamp.RequestFrom(ctx).ClientID)}, nil
			}, nil)
		},
		call: func(p *place) {
			out, err := scamp.Call[sum](p.ctx, p.bus.With(scamp.Request{ClientID: 40}), "A.add", pair{A: 2})
			p.outcome(out, err)
			out, err = scamp.Call[sum](p.ctx, p.bus.With(scamp.Request{ClientID: 50, Idempotent: true}), "A.add", pair{A: 2})
			p.outcome(out, err)
		},
		want: "ok {42}; ok {52}"},
	{name: "an error of the action's own",
		serve: func(_ *place, s *scamp.Service) {
			scamp.HandleJSON(s, "A.add", func(context.Context, pair) (sum, error) {
				return sum{7}, &scamp.RemoteError{Code: "x_odd", Text: "an odd\nnumber", Data: json.RawMessage(`{"n":3}`)}
			}, nil)
		},
		call: func(p *place) { p.typed(p.ctx, "A.add", pair{}) },
		want: `failed ran=yes attempts=1 code=x_odd text="an odd\nnumber" data={"n":3}`},
	{name: "an error that is too long, with data that is no object",
		serve: func(_ *place, s *scamp.Service) {
			scamp.HandleJSON(s, "A.add", func(context.Context, pair) (sum, error) {
				return sum{}, &scamp.RemoteError{Code: strings.Repeat("c", 300), Text: "", Data: json.RawMessage(`[1]`)}
			}, nil)
		},
		call: func(p *place) { p.typed(p.ctx, "A.add", pair{}) },
		want: "failed ran=yes attempts=1 code=" + strings.Repeat("c", 255) + ` text="Unknown error" data=`},
	{name: "an error of a call that the handler made",
		serve: func(_ *place, s *scamp.Service) {
			scamp.HandleJSON(s, "A.add", func(context.Context, pair) (sum, error) {
				return sum{}, &scamp.RemoteError{Code: "transport", Text: "full", Data: json.RawMessage(`{"dispatch_failure":true}`)}
			}, nil)
		},
		call: func(p *place) { p.typed(p.ctx, "A.add", pair{}) },
		want: `failed ran=yes attempts=1 code=transport text="full" data=`},
	{name: "a panic",
		serve: func(_ *place, s *scamp.Service) {
			scamp.HandleJSON(s, "A.add", func(context.Context, pair) (sum, error) { panic("oh") }, nil)
		},
		call: func(p *place) { p.typed(p.ctx, "A.add", pair{}) },
		want: `failed ran=yes attempts=1 code=general text="the handler failed" data=; handler_panicked 1`},
	{name: "members of the header",
		serve: func(p *place, s *scamp.Service) {
			scamp.HandleJSON(s, "A.add", func(ctx context.Context, in pair) (sum, error) {
				req, rep := scamp.RequestFrom(ctx), scamp.ReplyFrom(ctx)
				b, err := req.Bytes()
				p.note("%s %s~%d %s %s %s %d %s; %s %v", req.Sector, req.Action, req.Version, req.Envelope, req.Ticket, string(req.Terminal), req.ClientID, req.Extra["x"], b, err)
				req.Extra["x"] = nil
				rep.Extra = map[string]json.RawMessage{"y": json.RawMessage("2")}
				return sum{in.A}, nil
			}, nil)
		},
		call: func(p *place) {
			extra := map[string]json.RawMessage{"x": json.RawMessage("1")}
			out, reply, err := scamp.CallWith[sum](p.ctx, p.bus, &scamp.Request{Action: "main:A.add~1", Ticket: "tick", Terminal: "term", ClientID: 7, Extra: extra}, pair{A: 1})
			p.outcome(out, err)
			rest, err := io.ReadAll(reply.Body)
			p.note("%s %s %d %v %v", extra["x"], reply.Extra["y"], len(rest), err, reply.Body.Close())
		},
		want: `main A.add~1 json [ticket] term 7 1; {"A":1,"B":0} <nil>; ok {1}; 1 2 0 <nil> <nil>`},
	{name: "a body that a typed handler reads again",
		serve: func(p *place, s *scamp.Service) {
			scamp.HandleJSON(s, "A.add", func(ctx context.Context, in pair) (sum, error) {
				b, err := io.ReadAll(scamp.RequestFrom(ctx).Body)
				p.note("%s %v", b, err)
				return sum{in.A}, nil
			}, nil)
		},
		call: func(p *place) { p.typed(p.ctx, "A.add", pair{A: 1}) },
		want: `{"A":1,"B":0} <nil>; ok {1}`},
	{name: "a reply header that cannot be sent",
		serve: func(_ *place, s *scamp.Service) {
			scamp.HandleJSON(s, "A.add", func(ctx context.Context, in pair) (sum, error) {
				scamp.ReplyFrom(ctx).Extra = map[string]json.RawMessage{"request_id": json.RawMessage("2")}
				return sum{}, nil
			}, nil)
		},
		call: func(p *place) {
			_, err := scamp.Call[sum](p.ctx, p.bus, "A.add", pair{})
			re, _ := errors.AsType[*scamp.RemoteError](err)
			p.note("%s", re.Code)
		},
		want: "internal"},
	{name: "a typed handler that sets the reply itself",
		serve: func(_ *place, s *scamp.Service) {
			scamp.HandleJSON(s, "A.add", func(ctx context.Context, in pair) (sum, error) {
				return sum{}, scamp.ReplyFrom(ctx).SetBytes([]byte("x"))
			}, nil)
		},
		call: func(p *place) { p.typed(p.ctx, "A.add", pair{}) },
		want: `failed ran=yes attempts=1 code=general text="scamp: the reply has begun: its body was set or written already" data=`},
	{name: "middleware sees the octets and changes them",
		serve: func(p *place, s *scamp.Service) {
			scamp.HandleJSON(s, "A.add", add, nil)
			s.Use(func(next scamp.Handler) scamp.Handler {
				return func(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
					p.note("%s", req.Data)
					req.Data = []byte(`{"A":20,"B":22}`)
					return next(ctx, req, rep)
				}
			})
		},
		call: func(p *place) { p.typed(p.ctx, "A.add", pair{A: 1, B: 2}) },
		want: `{"A":1,"B":2}; ok {42}`},
	{name: "the access log",
		serve: func(p *place, s *scamp.Service) {
			log := slog.New(slog.NewTextHandler(noteWriter{p}, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == "time" || a.Key == "took" || a.Key == "from" {
					return slog.Attr{}
				}
				return a
			}}))
			s.Use(scamp.AccessLog(log))
			scamp.HandleJSON(s, "A.add", add, nil)
		},
		call: func(p *place) { p.typed(p.ctx, "A.add", pair{A: 1, B: 2}) },
		want: `level=INFO msg=request action=main:A.add version=1 caller="" octets=9; ok {3}`},
	{name: "tickets",
		opts: scamp.ServiceOptions{RequireTickets: true, AuthzTable: scamp.AuthzTableOff},
		serve: func(p *place, s *scamp.Service) {
			scamp.HandleJSON(s, "A.add", func(ctx context.Context, in pair) (sum, error) {
				who, err := scamp.RequestFrom(ctx).Principal()
				if err != nil {
					return sum{}, err
				}
				return sum{int(who.Effective.User)}, nil
			}, &scamp.ActionOptions{Privileges: []int64{5}})
		},
		call: func(p *place) {
			for _, ticket := range []scamp.Ticket{"", "1,2,3", p.n.Ticket(scamp.TicketClaims{User: 12}), p.n.Ticket(scamp.TicketClaims{User: 12, Privileges: []int64{5}})} {
				out, _, err := scamp.CallWith[sum](p.ctx, p.bus, &scamp.Request{Action: "A.add", Ticket: ticket}, pair{})
				p.outcome(out, err)
			}
		},
		want: `failed ran=no attempts=1 code=authn text="no ticket, and this wants one" data={"dispatch_failure":true} is=not authorized is=refused before it ran; ` +
			`failed ran=no attempts=1 code=authn text="ticket: behind the last comma is no signature: want base64" data={"dispatch_failure":true} is=not authorized is=refused before it ran; ` +
			`failed ran=no attempts=1 code=authz text="the ticket lacks privilege 5" data={"dispatch_failure":true} is=not authorized is=refused before it ran; ok {12}`},
	{name: "the ticket of a context",
		opts:  scamp.ServiceOptions{RequireTickets: true, AuthzTable: scamp.AuthzTableOff},
		serve: func(_ *place, s *scamp.Service) { scamp.HandleJSON(s, "A.add", add, nil) },
		call: func(p *place) {
			p.typed(scamp.WithTicket(p.ctx, p.n.Ticket(scamp.TicketClaims{User: 12})), "A.add", pair{A: 1, B: 2})
		},
		want: "ok {3}"},
	{name: "a caller that may not",
		rules: strings.Repeat("AB:", 19) + "AB main:ALL\n",
		serve: func(_ *place, s *scamp.Service) { scamp.HandleJSON(s, "A.add", add, nil) },
		call:  func(p *place) { p.typed(p.ctx, "A.add", pair{A: 1, B: 2}) },
		want:  `failed ran=no attempts=1 code=authz text="callers must show a certificate here, and none was shown" data={"dispatch_failure":true} is=not authorized is=refused before it ran`},
	{name: "a deadline that the handler does not heed",
		serve: func(p *place, s *scamp.Service) {
			scamp.HandleJSON(s, "A.add", func(ctx context.Context, in pair) (sum, error) {
				at, ok := ctx.Deadline()
				time.Sleep(5 * time.Second)
				p.note("handler: %v %v, in time %v", ok, ctx.Err(), time.Since(p.opened).Round(time.Second) <= 5*time.Second && at.Sub(p.opened).Round(time.Second) == 2*time.Second)
				return sum{1}, nil
			}, nil)
		},
		call: func(p *place) {
			ctx, cancel := context.WithDeadline(p.ctx, p.opened.Add(2*time.Second))
			defer cancel()
			out, err := scamp.Call[sum](ctx, p.bus, "A.add", pair{})
			p.note("%v %v", out, errors.Is(err, scamp.ErrTimeout) && errors.Is(err, context.DeadlineExceeded))
			p.elapsed()
			time.Sleep(5 * time.Second)
		},
		want: "{0} true; after 2s; handler: true context deadline exceeded, in time true"},
	{name: "a caller that leaves",
		serve: func(p *place, s *scamp.Service) {
			scamp.HandleJSON(s, "A.add", func(ctx context.Context, in pair) (sum, error) {
				if in.A == 0 {
					return sum{}, nil
				}
				<-ctx.Done()
				p.note("handler: %v", ctx.Err())
				return sum{}, ctx.Err()
			}, nil)
		},
		call: func(p *place) {
			ctx, cancel := context.WithCancel(p.ctx)
			p.typed(ctx, "A.add", pair{}) // from now on each side knows that the other understands cancel
			time.AfterFunc(time.Second, cancel)
			p.typed(ctx, "A.add", pair{A: 1})
			p.elapsed()
			synctest.Wait()
		},
		want: "*ok {0}; failed ran=maybe attempts=1 is=context canceled; after 1s; handler: context canceled"},
	{name: "a handler that takes too long",
		limits: scamp.Limits{WorkerTimeout: 3 * time.Second},
		serve: func(p *place, s *scamp.Service) {
			scamp.HandleJSON(s, "A.add", func(ctx context.Context, in pair) (sum, error) {
				<-ctx.Done()
				p.note("handler: %v", ctx.Err())
				return sum{}, nil
			}, nil)
		},
		call: func(p *place) {
			p.typed(p.ctx, "A.add", pair{})
			p.elapsed()
			synctest.Wait()
		},
		want: `*failed ran=yes attempts=1 code=transport text="service timeout" data={"timeout":true} is=timed out; after 3s; handler: context deadline exceeded; worker_timeout 1`},
	{name: "a handler that does not look at its context",
		limits: scamp.Limits{WorkerTimeout: 3 * time.Second},
		serve: func(p *place, s *scamp.Service) {
			scamp.HandleJSON(s, "A.add", func(ctx context.Context, in pair) (sum, error) {
				time.Sleep(10 * time.Second)
				p.note("handler: %v", ctx.Err())
				return sum{}, nil
			}, nil)
		},
		call: func(p *place) {
			_, err := scamp.Call[sum](p.ctx, p.bus, "A.add", pair{})
			p.elapsed()
			p.outcome(nil, err)
			time.Sleep(10 * time.Second)
		},
		want:    `after 3s; failed ran=yes attempts=1 code=transport text="service timeout" data={"timeout":true} is=timed out; handler: context deadline exceeded; worker_timeout 1`,
		endless: `handler: context deadline exceeded; after 10s; failed ran=yes attempts=1 code=transport text="service timeout" data={"timeout":true} is=timed out; worker_timeout 1`},
	{name: "the time of an action",
		serve: func(p *place, s *scamp.Service) {
			scamp.HandleJSON(s, "A.add", func(ctx context.Context, in pair) (sum, error) {
				<-ctx.Done()
				return sum{}, nil
			}, &scamp.ActionOptions{Timeout: 2 * time.Second})
		},
		call: func(p *place) { p.typed(p.ctx, "A.add", pair{}); p.elapsed() },
		want: `failed ran=yes attempts=1 code=transport text="service timeout" data={"timeout":true} is=timed out; after 2s; worker_timeout 1`},
	{name: "no place, and a queue that is full",
		limits: scamp.Limits{MaxConcurrency: 1, MaxQueue: 1},
		serve: func(p *place, s *scamp.Service) {
			scamp.HandleJSON(s, "A.add", func(ctx context.Context, in pair) (sum, error) {
				time.Sleep(time.Second)
				return sum{in.A}, nil
			}, nil)
		},
		call: func(p *place) {
			var all sync.WaitGroup
			for i := range 3 {
				all.Go(func() { p.typed(p.ctx, "A.add", pair{A: i}) })
				synctest.Wait()
			}
			all.Wait()
			p.elapsed()
		},
		want: `failed ran=no attempts=2 code=transport text="too many requests are waiting" data={"dispatch_failure":true} is=refused before it ran; ok {0}; ok {1}; after 2s; ` +
			`handlers_queued 1; instance_avoided 2; queue_full 2`},
	{name: "a service that stops",
		limits: scamp.Limits{MaxConcurrency: 1},
		opts:   scamp.ServiceOptions{Drain: 2 * time.Second},
		serve: func(p *place, s *scamp.Service) {
			scamp.HandleJSON(s, "A.add", func(ctx context.Context, in pair) (sum, error) {
				<-ctx.Done()
				return sum{}, ctx.Err()
			}, nil)
		},
		call: func(p *place) {
			var both sync.WaitGroup
			for i := range 2 {
				both.Go(func() {
					_, err := scamp.Call[sum](p.ctx, p.bus, "A.add", pair{A: i})
					p.note("%d %s", i, ending(nil, err))
				})
				synctest.Wait()
			}
			if err := p.svc.Stop(); err != nil {
				p.note("Serve: %v", err)
			}
			both.Wait()
			p.mu.Lock()
			slices.Sort(p.notes)
			p.mu.Unlock()
			p.elapsed()
		},
		want: `0 failed ran=maybe attempts=1 is=connection lost; 1 failed ran=no attempts=1 code=transport text="shutting down" data={"dispatch_failure":true} is=refused before it ran; after 2s; ` +
			`handlers_queued 1; instance_avoided 1`},
	{name: "a body over the limit",
		limits: scamp.Limits{MaxBody: 100},
		serve:  func(_ *place, s *scamp.Service) { s.Handle("A.do", echoRaw, nil) },
		call:   func(p *place) { p.raw(p.ctx, scamp.Request{Action: "A.do", Data: bytes.Repeat([]byte("x"), 101)}) },
		want:   `failed ran=yes attempts=1 code=request_too_big text="the body is longer than 100 octets" data=; body_too_big 1`},
}

type noteWriter struct{ p *place }

func (w noteWriter) Write(b []byte) (int, error) {
	ticketscan.Hear("a log that a test reads", b)
	w.p.note("%s", bytes.TrimSpace(b))
	return len(b), nil
}

// TestLocalIsAsRemote has every case called from another bus, over TLS, and from the bus
// that serves the action, with a context that can end and with one that cannot.
func TestLocalIsAsRemote(t *testing.T) {
	for _, tt := range localCases {
		for _, from := range []string{"remote", "local", "local, endless"} {
			t.Run(tt.name+"/"+from, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := &place{t: t, n: scamptest.New(t), ctx: context.Background()}
					p.n.Limits = tt.limits
					opts := tt.opts
					if tt.rules != "" {
						opts.Callers, opts.CallersMode = writeFile(t, t.TempDir(), "callers", tt.rules), scamp.CallersEnforce
					}
					p.svc = p.n.ServeWith("local", &opts, func(s *scamp.Service) { tt.serve(p, s) })
					p.bus = p.svc.Bus
					if from == "remote" {
						p.bus = p.n.Bus(nil)
					}
					if from != "local, endless" {
						var cancel context.CancelFunc
						p.ctx, cancel = context.WithCancel(p.ctx)
						defer cancel()
					}
					linked := ""
					p.ctx = scamp.WithTrace(p.ctx, &scamp.Trace{Connected: func(i scamp.ConnectInfo) {
						if i.Local == (from == "remote") {
							linked = fmt.Sprintf("connected %+v", i)
						}
					}})
					before := counters(p)
					p.opened = time.Now()
					tt.call(p)
					synctest.Wait()
					p.mu.Lock()
					defer p.mu.Unlock()
					for name, n := range counters(p) {
						if n -= before[name]; n > 0 && interesting[name] {
							p.notes = append(p.notes, fmt.Sprintf("%s %d", name, n))
						}
					}
					sortCounters(p)
					want := tt.want
					if from == "local, endless" && tt.endless != "" {
						want = tt.endless
					}
					if w, ok := strings.CutPrefix(want, "*"); ok { // the order of the first notes is anybody's
						want = w
						got, first := slices.Clone(p.notes), strings.Split(w, "; ")
						slices.Sort(got)
						slices.Sort(first)
						if slices.Equal(got, first) {
							return
						}
					}
					if got := strings.Join(p.notes, "; "); got != want || linked != "" {
						t.Errorf("%s %s:\n got %s\nwant %s", linked, from, got, want)
					}
				})
			})
		}
	}
}

// interesting are the counters that a call can raise; others count connections and
// announcements.
var interesting = map[string]bool{"handler_panicked": true, "worker_timeout": true, "queue_full": true, "handlers_queued": true,
	"instance_avoided": true, "body_too_big": true, "held_refused": true, "reply_unknown": true, "rpc_timeout": true}

// counters are those of both sides together.
func counters(p *place) map[string]uint64 {
	all := p.svc.Bus.Stats()
	if p.bus != p.svc.Bus {
		for name, n := range p.bus.Stats() {
			all[name] += n
		}
	}
	return all
}

// sortCounters puts the counters at the end of the notes in order.
func sortCounters(p *place) {
	i := len(p.notes)
	for i > 0 {
		name, _, _ := strings.Cut(p.notes[i-1], " ")
		if !interesting[name] {
			break
		}
		i--
	}
	slices.Sort(p.notes[i:])
}
