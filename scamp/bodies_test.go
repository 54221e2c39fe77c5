package scamp_test

import (
	"context"
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
