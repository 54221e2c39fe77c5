package scamptest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A breaking body has some octets and then an error.
type breaking struct{ closed *int }

func (breaking) Read(p []byte) (int, error) { return copy(p, `"la`), errors.New("disk gone") }
func (b breaking) Close() error             { *b.closed++; return nil }

// shown is what a program can see of how a call ended, as text.
func shown(reply *scamp.Reply, err error) string {
	if err == nil {
		body, err := reply.Bytes(0)
		return fmt.Sprintf("reply %s, %v", body, err)
	}
	ce, ok := errors.AsType[*scamp.CallError](err)
	if !ok {
		return "no CallError: " + err.Error()
	}
	return fmt.Sprintf("%s, attempts %d, ran %v, instance %v: %v; %s", ce.Action, ce.Attempts, ce.Ran, ce.Instance != "", ce.Err, ce.Advice)
}

// TestCallerTakesWhatABusTakes: each request ends at a Caller as it does on a bus.
func TestCallerTakesWhatABusTakes(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	noBody := func() (io.Reader, error) { return nil, errors.New("no such file") }
	closed := new(int)
	for _, tt := range []struct {
		name string
		ctx  context.Context
		req  scamp.Request
		want string // a part of it; what is not wanted cannot hide in both
	}{
		{name: "data", req: scamp.Request{Action: "Stock.left", Data: []byte(`"lamp"`)}, want: "reply 3"},
		{name: "sector and version that agree", req: scamp.Request{Action: "main:Stock.left~1", Sector: "MAIN", Version: 1, Data: []byte(`"lamp"`)}, want: "reply 3"},
		{name: "no name", req: scamp.Request{Action: "nonsense"}, want: "no CallError: "},
		{name: "another sector beside it", req: scamp.Request{Action: "main:Stock.left", Sector: "web"}, want: `no CallError: scamp: call main:Stock.left: sector "web" beside it`},
		{name: "another version beside it", req: scamp.Request{Action: "Stock.left~1", Version: 2}, want: "version 2 beside it"},
		{name: "negative attempts", req: scamp.Request{Action: "Stock.left", Retry: &scamp.RetryOptions{Attempts: -1}}, want: "Attempts -1"},
		{name: "negative tenant", req: scamp.Request{Action: "Stock.left", ClientID: -1}, want: "client id -1"},
		{name: "extra that is a field", req: scamp.Request{Action: "Stock.left", Extra: scamp.Extra{"action": json.RawMessage(`1`)}}, want: "no CallError: "},
		{name: "long ticket", req: scamp.Request{Action: "Stock.left", Ticket: scamp.Ticket(strings.Repeat("x", 20000))}, want: "want at most"},
		{name: "body breaks", req: scamp.Request{Action: "Stock.left", Body: breaking{closed}}, want: "attempts 1, ran maybe"},
		{name: "body that is made breaks", req: scamp.Request{Action: "Stock.left", GetBody: func() (io.Reader, error) { return breaking{closed}, nil }}, want: "attempts 1, ran maybe"},
		{name: "no body", req: scamp.Request{Action: "Stock.left", GetBody: noBody}, want: "attempts 2, ran no"},
		{name: "no body, idempotent", req: scamp.Request{Action: "Stock.left", GetBody: noBody, Idempotent: true}, want: "attempts 3, ran no"},
		{name: "no body, once", req: scamp.Request{Action: "Stock.left", GetBody: noBody, Retry: &scamp.RetryOptions{Attempts: 1}}, want: "attempts 1, ran no"},
		{name: "body of an action that nobody offers", req: scamp.Request{Action: "Other.thing", Body: breaking{closed}}, want: "attempts 0, ran no"},
		{name: "body of a request that is refused", req: scamp.Request{Action: "Stock.left", Body: breaking{closed}, ClientID: -1}, want: "client id -1"},
		{name: "data beside a body", req: scamp.Request{Action: "Stock.left", Data: []byte("1"), Body: breaking{closed}}, want: "more than one of Data, Body and GetBody is set: want one of them, or none for an empty body; body closed 1 times"},
		{name: "data beside a body that is made", req: scamp.Request{Action: "Stock.left", Data: []byte("1"), GetBody: noBody}, want: "no CallError: scamp: call Stock.left: more than one"},
		{name: "a body beside one that is made", req: scamp.Request{Action: "Stock.left", Body: breaking{closed}, GetBody: noBody}, want: "none for an empty body; body closed 1 times"},
		{name: "cancelled before", ctx: cancelled, req: scamp.Request{Action: "Stock.left"}, want: "attempts 1, ran no"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, fake := scamptest.New(t), new(scamptest.Caller)
				left := func(context.Context, string) (int, error) { return 3, nil }
				n.Serve("stock", func(s *scamp.Service) { scamp.HandleJSON(s, "Stock.left", left, nil) })
				scamptest.Answer(fake, "Stock.left", left)
				ctx := tt.ctx
				if ctx == nil {
					ctx = t.Context()
				}
				var got [2]string
				for i, c := range []scamp.Caller{n.Bus(nil), fake} {
					*closed = 0
					req := tt.req
					got[i] = shown(c.Call(ctx, &req))
					synctest.Wait()
					got[i] += fmt.Sprintf("; body closed %d times", *closed)
				}
				if got[0] != got[1] || !strings.Contains(got[0], tt.want) {
					t.Errorf("a bus:  %s\na fake: %s\nwant %q", got[0], got[1], tt.want)
				}
			})
		})
	}
}

// TestCallerTriesAsABusDoes: what nobody has received is tried as often as a bus does it.
func TestCallerTriesAsABusDoes(t *testing.T) {
	for name, req := range map[string]scamp.Request{
		"usual":      {Action: "Stock.left"},
		"idempotent": {Action: "Stock.left", Idempotent: true},
		"four times": {Action: "Stock.left", Retry: &scamp.RetryOptions{Attempts: 4, Pause: time.Second}},
		"a reader":   {Action: "Stock.left", Body: strings.NewReader("")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, fake := scamptest.New(t), new(scamptest.Caller)
				s := n.Serve("stock", func(s *scamp.Service) {
					scamp.HandleJSON(s, "Stock.left", func(context.Context, string) (int, error) { return 3, nil }, nil)
				})
				bus := n.Bus(nil)
				n.Kill(s)
				synctest.Wait()
				fake.Fail("Stock.left", fmt.Errorf("%w: %w", scamp.ErrNoDial, syscall.ECONNREFUSED))
				var got [2]verdict
				for i, c := range []scamp.Caller{bus, fake} {
					r := req
					_, err := c.Call(t.Context(), &r)
					got[i] = verdictOf(t, err)
				}
				if got[0].Attempts != got[1].Attempts || got[0].Ran != got[1].Ran {
					t.Errorf("a bus says %+v\nand a Caller %+v", got[0], got[1])
				}
			})
		})
	}
}

// TestCallerFailsWithWhatItIsGiven: errors.Is holds for every reason that Fail names.
func TestCallerFailsWithWhatItIsGiven(t *testing.T) {
	for err, want := range map[error]scamp.Ran{
		scamp.ErrNotFound: scamp.RanNo, scamp.ErrDenied: scamp.RanNo, scamp.ErrPin: scamp.RanNo, scamp.ErrStale: scamp.RanNo,
		scamp.ErrRefused: scamp.RanNo, scamp.ErrNoDial: scamp.RanNo, scamp.ErrClosed: scamp.RanNo,
		scamp.ErrTimeout: scamp.RanMaybe, scamp.ErrLost: scamp.RanMaybe, scamp.ErrBroken: scamp.RanMaybe,
		context.Canceled: scamp.RanMaybe, context.DeadlineExceeded: scamp.RanMaybe, scamp.ErrBadReply: scamp.RanYes,
	} {
		var fake scamptest.Caller
		fake.Fail("Stock.left", fmt.Errorf("as told: %w", err))
		_, got := scamp.Call[int](t.Context(), &fake, "Stock.left", "lamp")
		ce, ok := errors.AsType[*scamp.CallError](got)
		if !ok || !errors.Is(got, err) || ce.Ran != want || ce.Code() != (&scamp.CallError{Err: err}).Code() {
			t.Errorf("Fail with %v: %v, want that with ran %v", err, got, want)
		}
		if err == context.DeadlineExceeded && !errors.Is(got, scamp.ErrTimeout) {
			t.Errorf("Fail with %v: %v, want ErrTimeout beside it", err, got)
		}
	}
}

// TestCallerComparesNamesAsABusDoes: in any case they are the same action, which errors
// spell as it is offered.
func TestCallerComparesNamesAsABusDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, fake := scamptest.New(t), new(scamptest.Caller)
		panics := func(context.Context, string) (int, error) { panic("out of lamps") }
		n.Serve("stock", func(s *scamp.Service) { scamp.HandleJSON(s, "Stock.left", panics, nil) })
		scamptest.Answer(fake, "Stock.left", panics)
		var got [2]verdict
		for i, c := range []scamp.Caller{n.Bus(nil), fake} {
			_, err := scamp.Call[int](t.Context(), c, "MAIN:stock.LEFT", "lamp")
			got[i] = verdictOf(t, err)
		}
		if !reflect.DeepEqual(got[0], got[1]) || got[0].Remote.Code != scamp.CodeGeneral || got[0].Action != "main:Stock.left~1" {
			t.Errorf("a bus says of a panic %+v\nand a Caller %+v", got[0], got[1])
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := scamp.Call[int](ctx, fake, "stock.left", "lamp"); verdictOf(t, err).Remote.Code != scamp.CodeGeneral {
			t.Errorf("a panic within a deadline: %v, want general", err)
		}
		if n := len(fake.Requests("STOCK.left")); n != 2 {
			t.Errorf("%d requests: want 2", n)
		}
	})
}

// TestCallerAnswersForWhatEnds: an answer that ends its goroutine, as t.FailNow does, is no
// reason to wait for it.
func TestCallerAnswersForWhatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, fake := scamptest.New(t), new(scamptest.Caller)
		ends := func(context.Context, string) (int, error) { runtime.Goexit(); return 0, nil }
		n.Serve("stock", func(s *scamp.Service) { scamp.HandleJSON(s, "Stock.left", ends, nil) })
		scamptest.Answer(fake, "Stock.left", ends)
		within, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for name, ctx := range map[string]context.Context{"a deadline": within, "no end": context.Background()} {
			var got [2]verdict
			for i, c := range []scamp.Caller{n.Bus(nil), fake} {
				_, err := scamp.Call[int](ctx, c, "Stock.left", "lamp")
				got[i] = verdictOf(t, err)
			}
			if !reflect.DeepEqual(got[0], got[1]) || got[0].Remote.Code != scamp.CodeGeneral {
				t.Errorf("a context with %s: a bus says %+v\nand a Caller %+v", name, got[0], got[1])
			}
		}
	})
}

// TestCallerPanicsOnMisuse: a mistake of the test is no answer.
func TestCallerPanicsOnMisuse(t *testing.T) {
	var fake scamptest.Caller
	for name, misuse := range map[string]func(){
		"Reply":    func() { fake.Reply("bad", 1) },
		"Fail":     func() { fake.Fail("Stock.left", nil) },
		"Requests": func() { fake.Requests("nope") },
	} {
		func() {
			defer func() {
				if v := recover(); !strings.Contains(fmt.Sprint(v), "want ") {
					t.Errorf("%s: panic %v, want one that says what is wanted", name, v)
				}
			}()
			misuse()
		}()
	}
}
