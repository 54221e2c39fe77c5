package scamptest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A verdict is what a program can see of an error, but for the instance.
type verdict struct {
	Action   string
	Attempts int
	Ran      scamp.Ran
	Advice   string
	Is       []error
	Remote   scamp.RemoteError
}

func verdictOf(t *testing.T, err error) (v verdict) {
	t.Helper()
	ce, ok := errors.AsType[*scamp.CallError](err)
	if !ok {
		t.Fatalf("error %v: want a *scamp.CallError", err)
	}
	v = verdict{Action: ce.Action, Attempts: ce.Attempts, Ran: ce.Ran, Advice: ce.Advice}
	for _, is := range []error{scamp.ErrNotFound, scamp.ErrDenied, scamp.ErrTimeout, scamp.ErrRefused, scamp.ErrLost, scamp.ErrNoDial,
		context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, is) {
			v.Is = append(v.Is, is)
		}
	}
	if re, ok := errors.AsType[*scamp.RemoteError](err); ok {
		v.Remote = *re
	}
	return v
}

// TestCallerFailsAsABusDoes has calls fail on a bus and at a Caller, and compares what
// their callers see.
func TestCallerFailsAsABusDoes(t *testing.T) {
	remote := &scamp.RemoteError{Code: "x_sold_out", Text: "none left"}
	for _, tt := range []struct {
		name   string
		action string
		ctx    func(context.Context) (context.Context, context.CancelFunc)
		handle error // of the handler, both times
		fault  func(n *scamptest.Network, s *scamptest.Service)
		fail   error // what Fail is given for that fault
	}{
		{name: "nobody offers it", action: "Other.thing"},
		{name: "nobody offers that version", action: "web:Other.thing~3"},
		{name: "remote error", handle: remote},
		{name: "remote error without a code", handle: &scamp.RemoteError{Text: "no"}},
		{name: "any error", handle: errors.New("out of lamps")},
		{name: "wrapped remote error", handle: fmt.Errorf("stock: %w", remote)},
		{name: "no connection", fault: func(n *scamptest.Network, s *scamptest.Service) { n.Kill(s) }, fail: fmt.Errorf("%w: %w", scamp.ErrNoDial, syscall.ECONNREFUSED)},
		{name: "lost", fault: func(n *scamptest.Network, s *scamptest.Service) {
			time.AfterFunc(time.Second, func() { n.Cut(s) })
			n.Pause(s)
		}, fail: scamp.ErrLost},
		{name: "deadline", fault: func(n *scamptest.Network, s *scamptest.Service) { n.Pause(s) }, ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}},
		{name: "cancelled", ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, fake := scamptest.New(t), new(scamptest.Caller)
				release := make(chan struct{})
				handler := func(ctx context.Context, _ string) (int, error) {
					if tt.ctx != nil {
						<-release // whoever calls cannot know that it never looks at its context
					}
					return 3, tt.handle
				}
				s := n.Serve("stock", func(s *scamp.Service) {
					scamp.HandleJSON(s, "Stock.warm", func(context.Context, string) (int, error) { return 0, nil }, nil)
					scamp.HandleJSON(s, "Stock.left", handler, nil)
				})
				scamptest.Answer(fake, "Stock.left", handler)
				if tt.fail != nil {
					fake.Fail("Stock.left", tt.fail)
				}
				bus := n.Bus(nil)
				if _, err := scamp.Call[int](t.Context(), bus, "Stock.warm", "lamp"); err != nil {
					t.Fatal(err)
				}
				if tt.fault != nil {
					tt.fault(n, s)
					synctest.Wait()
				}
				action := tt.action
				if action == "" {
					action = "Stock.left"
				}
				var got [2]verdict
				for i, c := range []scamp.Caller{bus, fake} {
					ctx, cancel := t.Context(), func() {}
					if tt.ctx != nil {
						var end context.CancelFunc
						ctx, end = tt.ctx(ctx)
						cancel = end
					}
					_, err := scamp.Call[int](ctx, c, action, "lamp")
					cancel()
					got[i] = verdictOf(t, err)
				}
				close(release)
				if !reflect.DeepEqual(got[0], got[1]) {
					t.Errorf("a bus says %+v\nand a Caller %+v", got[0], got[1])
				}
			})
		})
	}
}

// TestCallerRemembersRequests: whatever a body is given as, the test sees its octets.
func TestCallerRemembersRequests(t *testing.T) {
	var fake scamptest.Caller
	fake.Reply("Stock.left", 3)
	for _, req := range []scamp.Request{
		{Action: "Stock.left", Data: []byte(`"lamp"`), Ticket: "ticket"},
		{Action: "main:Stock.left~1", Body: strings.NewReader(`"lamp"`)},
		{Action: "Stock.left", Sector: "main", Version: 1, GetBody: func() (io.Reader, error) { return strings.NewReader(`"lamp"`), nil }},
	} {
		reply, err := fake.Call(t.Context(), &req)
		if err != nil {
			t.Fatal(err)
		}
		var left int
		if err := reply.JSON(&left); err != nil || left != 3 {
			t.Errorf("%s: reply %d, %v, want 3", req.Action, left, err)
		}
	}
	fake.Call(t.Context(), &scamp.Request{Action: "web:Stock.left"})
	got := fake.Requests("Stock.left")
	if len(got) != 3 || len(fake.Requests("")) != 4 || got[0].Ticket != "ticket" {
		t.Fatalf("%d requests of %d, the first %+v, want 3 of 4 as they were given", len(got), len(fake.Requests("")), got)
	}
	for i, r := range got {
		var item string
		if err := r.JSON(&item); err != nil || item != "lamp" || r.Body != nil || r.GetBody != nil {
			t.Errorf("request %d: %q, %v, want its body in Data alone", i, item, err)
		}
	}
	_, err := fake.Call(t.Context(), &scamp.Request{Action: "Stock.lost"})
	if want := "main:Stock.lost~1: action not found: no service offers this action; did you mean main:Stock.left~1?; scamp list actions --all shows what there is"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("an action without an answer: %v, want %q", err, want)
	}
	if _, err := fake.Call(t.Context(), &scamp.Request{Action: "nonsense"}); err == nil || errors.As(err, new(*scamp.CallError)) {
		t.Errorf("a name that is none: %v, want an error that is no CallError, as a bus has it", err)
	}
}

// TestCallerIsSafe: answers change while it is called.
func TestCallerIsSafe(t *testing.T) {
	var fake scamptest.Caller
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 50 {
				fake.Reply("Stock.left", i)
				if _, err := scamp.Call[int](t.Context(), &fake, "Stock.left", "lamp"); err != nil {
					t.Error(err)
				}
				fake.Requests("")
			}
		})
	}
	all.Wait()
	if n := len(fake.Requests("Stock.left")); n != 400 {
		t.Errorf("%d requests: want 400", n)
	}
}

// TestCallerAdvises: each error that Fail names comes with what a bus would advise.
func TestCallerAdvises(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string // how the advice begins
	}{
		{scamp.ErrPin, "the instance was restarted with another key"},
		{scamp.ErrNoDial, "the instance is announced but does not answer; scamp show"},
		{scamp.ErrNotFound, "scamp list actions --all shows what there is"},
		{scamp.ErrStale, "is scamp cache running"},
		{scamp.ErrDenied, ""},
		{scamp.ErrRefused, "the instance is busy or shutting down"},
		{scamp.ErrClosed, "what the call went through was closed by the program"},
		{scamp.ErrTimeout, "give the call more time"},
		{context.DeadlineExceeded, "give the call more time"},
		{context.Canceled, "the program itself gave the call up"},
		{scamp.ErrBadReply, "see that both sides mean the same by the action"},
		{scamp.ErrBroken, "see in the log of the service why it gave the reply up"},
		{scamp.ErrLost, "see whether the service has ended or was started anew"},
		{fmt.Errorf("%w: %w", scamp.ErrNoDial, syscall.ECONNREFUSED), "the instance is announced but does not answer: is its process gone"},
	} {
		var fake scamptest.Caller
		fake.Fail("Stock.left", tt.err)
		_, got := scamp.Call[int](t.Context(), &fake, "Stock.left", "lamp")
		if v := verdictOf(t, got); !strings.HasPrefix(v.Advice, tt.want) || (v.Advice == "") != (tt.want == "") {
			t.Errorf("Fail with %v: advice %q, want %q", tt.err, v.Advice, tt.want)
		}
	}
}

// TestCallerSeesTheTicketOfTheContext: a test can tell on whose behalf a call is made, as a
// service could.
func TestCallerSeesTheTicketOfTheContext(t *testing.T) {
	fake := new(scamptest.Caller)
	fake.Reply("Stock.left", 3)
	ctx := scamp.WithTicket(t.Context(), "of the context")
	if _, err := scamp.Call[int](ctx, fake, "Stock.left", "lamp"); err != nil {
		t.Fatal(err)
	}
	own := &scamp.Request{Action: "Stock.left", Ticket: "its own"}
	if _, _, err := scamp.CallWith[int](ctx, fake, own, "lamp"); err != nil {
		t.Fatal(err)
	}
	plain := &scamp.Request{Action: "Stock.left"}
	if _, _, err := scamp.CallWith[int](ctx, fake, plain, "lamp"); err != nil || plain.Ticket != "" {
		t.Fatalf("%v, and the caller's own request has ticket %q: want none", err, string(plain.Ticket))
	}
	for i, want := range []scamp.Ticket{"of the context", "its own", "of the context"} {
		if got := fake.Requests("Stock.left")[i].Ticket; got != want {
			t.Errorf("request %d has ticket %q, want %q", i, string(got), string(want))
		}
	}
}
