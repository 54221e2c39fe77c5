package scamp_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// What the package uses again must not show: a handler that keeps what it was given
// sees its own request for ever, and cannot reach the reply to another.
func TestKeptRequestsStayTheirOwn(t *testing.T) {
	type kept struct {
		ctx context.Context
		req *scamp.Request
		rep *scamp.ReplyWriter
	}
	var mu sync.Mutex
	var all []kept
	n := scamptest.New(t)
	n.Serve("keeper", func(s *scamp.Service) {
		s.Handle("Keeper.keep", func(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
			body, err := req.Bytes()
			if err != nil {
				return err
			}
			mu.Lock()
			all = append(all, kept{ctx, req, rep})
			mu.Unlock()
			return rep.SetBytes([]byte(strings.ToUpper(string(body))))
		}, nil)
		s.Handle("Keeper.abuse", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
			mu.Lock()
			defer mu.Unlock()
			for _, k := range all {
				if _, err := k.rep.Write([]byte("stolen")); err == nil {
					t.Error("a reply was written after its handler had returned")
				}
				k.rep.SetBytes([]byte("stolen"))
			}
			return rep.SetBytes([]byte("done"))
		}, nil)
	})
	bus := n.Bus(nil)
	call := func(action, ticket, body string) string {
		rep, err := bus.Call(t.Context(), &scamp.Request{Action: action, Ticket: scamp.Ticket(ticket), Data: []byte(body)})
		if err != nil {
			t.Fatalf("%s: %v", action, err)
		}
		b, err := rep.Bytes(0)
		if err != nil {
			t.Fatalf("%s: %v", action, err)
		}
		return string(b)
	}
	for i := range 200 {
		if got := call("Keeper.keep", fmt.Sprint("ticket ", i), fmt.Sprint("body ", i)); got != fmt.Sprint("BODY ", i) {
			t.Fatalf("reply %q to body %d", got, i)
		}
		if i%20 == 0 && call("Keeper.abuse", "", "") != "done" {
			t.Fatal("the reply of another handler was changed")
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for i, k := range all {
		if want := fmt.Sprint("ticket ", i); string(k.req.Ticket) != want {
			t.Errorf("kept request %d has %q, want %q", i, k.req.Ticket, want)
		}
		if scamp.RequestFrom(k.ctx) != k.req || scamp.ReplyFrom(k.ctx) != k.rep || k.ctx.Err() == nil {
			t.Errorf("kept context %d: request %p, want %p, and ended: %v", i, scamp.RequestFrom(k.ctx), k.req, k.ctx.Err())
		}
	}
}

// A reply whose body was taken is harmless: reading or closing it later does nothing to
// the calls that came after it.
func TestKeptRepliesAreHarmless(t *testing.T) {
	n := scamptest.New(t)
	n.Serve("echo", func(s *scamp.Service) {
		s.Handle("Echo.echo", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
			body, err := req.Bytes()
			if err != nil {
				return err
			}
			return rep.SetBytes(body)
		}, nil)
	})
	bus := n.Bus(nil)
	var old []*scamp.Reply
	for i := range 300 {
		body := fmt.Sprint("body ", i)
		rep, err := bus.Call(t.Context(), &scamp.Request{Action: "Echo.echo", Data: []byte(body)})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range old {
			o.Body.Close()
			if b, err := o.Bytes(0); len(b) > 0 || err != nil {
				t.Fatalf("a reply that was taken: %q, %v; want nothing", b, err)
			}
		}
		b, err := rep.Bytes(0)
		if err != nil || string(b) != body {
			t.Fatalf("reply %q, %v; want %q", b, err, body)
		}
		if old = append(old, rep); len(old) > 20 {
			old = old[1:]
		}
	}
}
