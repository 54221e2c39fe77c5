package scamp_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A closing body notes that it was closed.
type closing struct {
	io.Reader
	closed int
}

func (c *closing) Close() error { c.closed++; return nil }

// TestMoreThanOneBody: nobody knows which of them was meant, and none is lost.
func TestMoreThanOneBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		bus := n.Bus(nil)
		s := n.Serve("sample", func(s *scamp.Service) {
			s.Handle("Sample.echo", echo, nil)
			s.Handle("Sample.pass", func(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
				on := *req
				on.Action, on.Version = "Sample.echo", 1
				reply, err := bus.Call(ctx, &on)
				if err != nil {
					return err
				}
				_, err = io.Copy(rep, reply.Body)
				return err
			}, nil)
		})
		client, err := bus.Dial(t.Context(), s.Addr(), scamp.Identity{Certificate: s.KeyPair.Certificate})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		made := func() (io.Reader, error) { t.Error("GetBody was called"); return nil, io.EOF }
		for name, c := range map[string]interface {
			scamp.Caller
			Stream(context.Context, *scamp.Request) (*scamp.Stream, error)
		}{"bus": bus, "client": client, "local": s.Bus} {
			for i, req := range []scamp.Request{
				{Data: []byte("a"), Body: &closing{Reader: strings.NewReader("b")}},
				{Data: []byte("a"), GetBody: made},
				{Body: &closing{Reader: strings.NewReader("b")}, GetBody: made},
			} {
				req.Action = "Sample.echo"
				want := 0
				check := func(what string, err error, text string) {
					t.Helper()
					body, _ := req.Body.(*closing)
					if want++; err == nil || !strings.Contains(err.Error(), text) || body != nil && body.closed != want {
						t.Errorf("%s: %s of request %d: %v, want %q, and the body closed", name, what, i, err, text)
					}
				}
				_, err := c.Call(t.Context(), &req)
				check("Call", err, "more than one of Data, Body and GetBody")
				_, err = c.Stream(t.Context(), &req)
				check("Stream", err, "want it written to the stream")
			}
		}
		reply, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.pass", Data: []byte("passed on")})
		if err != nil {
			t.Fatal(err)
		}
		if b, err := reply.Bytes(0); string(b) != "passed on" || err != nil {
			t.Errorf("a handler passes its request on: %q, %v", b, err)
		}
	})
}

// TestHandlerChangesItsRequest: a handler passes its request on with a body of its own, or is
// told that two of them are set.
func TestHandlerChangesItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		var change func(*scamp.Request)
		var bus *scamp.Bus
		pass := func(ctx context.Context) (string, error) {
			on := *scamp.RequestFrom(ctx)
			on.Action = "Sample.echo"
			change(&on)
			reply, err := bus.Call(ctx, &on)
			if err != nil {
				return "", err
			}
			b, err := reply.Bytes(0)
			return string(b), err
		}
		s := n.Serve("sample", func(s *scamp.Service) {
			s.Handle("Sample.echo", echo, nil)
			s.Handle("Sample.pass", func(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
				b, err := pass(ctx)
				if err != nil {
					return err
				}
				return rep.SetBytes([]byte(b))
			}, nil)
			scamp.HandleJSON(s, "Sample.typed", func(ctx context.Context, _ string) (string, error) { return pass(ctx) }, nil)
		})
		bus = s.Bus
		long := strings.Repeat("long ", 60000)
		made := func() (io.Reader, error) { return strings.NewReader("made"), nil }
		for _, tt := range []struct {
			name   string
			change func(*scamp.Request)
			want   string // empty means refused; "*" what came
		}{
			{"as it is", func(*scamp.Request) {}, "*"},
			{"read as a whole", func(r *scamp.Request) {
				if b, err := r.Bytes(); err != nil || len(b) == 0 {
					t.Errorf("Bytes of a copy: %d octets, %v", len(b), err)
				}
			}, "*"},
			{"read as a whole, its Data alone", func(r *scamp.Request) {
				if b, err := r.Bytes(); err != nil || len(b) == 0 {
					t.Errorf("Bytes of a copy: %d octets, %v", len(b), err)
				}
				r.Body = nil
			}, "*"},
			{"own Data", func(r *scamp.Request) { r.Data = []byte("own") }, ""},
			{"own Data, nothing in it", func(r *scamp.Request) { r.Data = []byte{} }, ""},
			{"own Data alone", func(r *scamp.Request) { r.Data, r.Body = []byte("own"), nil }, "own"},
			{"own Body", func(r *scamp.Request) { r.Body = strings.NewReader("body") }, "body"},
			{"GetBody", func(r *scamp.Request) { r.GetBody = made }, ""},
			{"GetBody and Data", func(r *scamp.Request) { r.GetBody, r.Data, r.Body = made, []byte("own"), nil }, ""},
			{"GetBody alone", func(r *scamp.Request) { r.GetBody, r.Data, r.Body = made, nil, nil }, "made"},
		} {
			change = tt.change
			check := func(how, came, got string, err error) {
				t.Helper()
				want := tt.want
				if want == "*" {
					want = came
				}
				refused := err != nil && strings.Contains(err.Error(), "want Body nil beside a Data of your own")
				if want == "" && !refused || want != "" && (err != nil || got != want) {
					t.Errorf("%s, %s: passed on %d octets %.20q, %v, want %d octets %.20q", tt.name, how, len(got), got, err, len(want), want)
				}
			}
			for how, c := range map[string]scamp.Caller{"over TLS": n.Bus(nil), "within the process": bus} {
				for _, came := range []string{"short", long} {
					reply, err := c.Call(t.Context(), &scamp.Request{Action: "Sample.pass", Body: struct{ io.Reader }{strings.NewReader(came)}})
					var b []byte
					if err == nil {
						b, err = reply.Bytes(0)
					}
					check(how, came, string(b), err)
				}
			}
			got, err := scamp.Call[string](t.Context(), bus, "Sample.typed", "value")
			check("as a value", `"value"`, got, err)
		}
	})
}

// What TestHandlerChangesItsRequest tries with a copy is refused for the request itself too.
func TestHandlerChangesItsRequestInPlace(t *testing.T) {
	n := scamptest.New(t)
	var bus *scamp.Bus
	s := n.Serve("sample", func(s *scamp.Service) {
		s.Handle("Sample.echo", echo, nil)
		scamp.HandleJSON(s, "Sample.typed", func(ctx context.Context, _ string) (string, error) {
			req := scamp.RequestFrom(ctx)
			req.Action, req.Data = "Sample.echo", []byte(`"own"`)
			_, err := bus.Call(ctx, req)
			return fmt.Sprint(err), nil
		}, nil)
	})
	bus = s.Bus
	for how, c := range map[string]scamp.Caller{"over TLS": n.Bus(nil), "within the process": bus} {
		if got, err := scamp.Call[string](t.Context(), c, "Sample.typed", "value"); err != nil || !strings.Contains(got, "want Body nil beside a Data of your own") {
			t.Errorf("%s: passed on with %q, %v: want a refusal", how, got, err)
		}
	}
}

// A copy of a handler's request that was read as a whole is passed on as it is, too.
func TestCopyOfARequestIsRead(t *testing.T) {
	n := scamptest.New(t)
	var bus *scamp.Bus
	s := n.Serve("sample", func(s *scamp.Service) {
		s.Handle("Sample.echo", echo, nil)
		scamp.HandleJSON(s, "Sample.typed", func(ctx context.Context, _ string) (string, error) {
			on := *scamp.RequestFrom(ctx)
			on.Action = "Sample.echo"
			if b, err := on.Bytes(); string(b) != `"value"` || err != nil {
				t.Errorf("Bytes of a copy: %q, %v", b, err)
			}
			reply, err := bus.Call(ctx, &on)
			if err != nil {
				return "", err
			}
			var out string
			return out, reply.JSON(&out)
		}, nil)
	})
	bus = s.Bus
	if _, err := scamp.Call[string](t.Context(), bus, "Sample.typed", "value"); err != nil {
		t.Error(err)
	}
}
