package scamp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// Middleware sees what passes, in order, and only what tickets let through.
func TestMiddleware(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		var lines syncBuffer
		var seen []string
		note := func(name string) scamp.Middleware {
			return func(next scamp.Handler) scamp.Handler {
				return func(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
					seen = append(seen, name)
					return next(ctx, req, rep)
				}
			}
		}
		n.Serve("sample", func(s *scamp.Service) {
			s.Use(note("outer"), scamp.AccessLog(slog.New(slog.NewJSONHandler(&lines, nil))))
			s.Handle("Sample.read", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
				return rep.SetBytes([]byte("12345"))
			}, nil)
			s.Handle("Sample.write", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
				_, err := rep.Write([]byte("1234567"))
				return err
			}, nil)
			s.Handle("Sample.secret", ok, &scamp.ActionOptions{Privileges: []int64{1}})
			s.Handle("Sample.panic", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { panic("boom") }, nil)
			s.Use(note("inner"), scamp.Recover(func(_ context.Context, req *scamp.Request, v any, stack []byte) error {
				if req.Action != "Sample.panic" || v != "boom" || !bytes.Contains(stack, []byte("TestMiddleware")) {
					t.Errorf("Recover was told %q, %v and a stack of %d octets", req.Action, v, len(stack))
				}
				return &scamp.RemoteError{Code: "x_boom"}
			}))
		})
		bus := n.Bus(nil)
		ticket := n.Ticket(scamp.TicketClaims{User: 1})
		for _, tt := range []struct{ action, code string }{{"Sample.read", "ok"}, {"Sample.write", "ok"}, {"Sample.secret", "authz"}, {"Sample.panic", "x_boom"}} {
			seen = nil
			code, _ := callCode(t, bus, tt.action, ticket)
			synctest.Wait()
			want := "[outer inner]"
			if tt.action == "Sample.secret" {
				want = "[]"
			}
			if code != tt.code || fmt.Sprint(seen) != want {
				t.Errorf("%s: %s through %v, want %s through %s", tt.action, code, seen, tt.code, want)
			}
		}
		type line struct {
			Action, Code, Level string
			Octets              int
		}
		var got []line
		for text := range strings.Lines(lines.String()) {
			var l line
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Fatal(err)
			}
			got = append(got, l)
		}
		if want := fmt.Sprint([]line{{"main:Sample.read", "", "INFO", 5}, {"main:Sample.write", "", "INFO", 7}, {"main:Sample.panic", "x_boom", "WARN", 0}}); fmt.Sprint(got) != want {
			t.Errorf("access log says %v, want %v", got, want)
		}
		if strings.Contains(lines.String(), string(ticket)[:20]) {
			t.Errorf("access log shows the ticket: %s", lines.String())
		}
	})
}

// The access log quotes as much of an error as any line quotes of foreign text (THREATS X1).
func TestAccessLogCutsErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct{ limit, want int }{{0, 128}, {10, 10}} {
			n := scamptest.New(t)
			n.Limits.LogText = tt.limit
			var lines syncBuffer
			n.Serve("sample", func(s *scamp.Service) {
				s.Use(scamp.AccessLog(slog.New(slog.NewJSONHandler(&lines, nil))))
				s.Handle("Sample.fail", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
					return errors.New(strings.Repeat("x", 1000))
				}, nil)
			})
			callCode(t, n.Bus(nil), "Sample.fail", "")
			synctest.Wait()
			if got := strings.Count(lines.String(), "x"); got != tt.want {
				t.Errorf("LogText %d: %d octets of the error, want %d: %s", tt.limit, got, tt.want, &lines)
			}
		}
	})
}

// A panic that Recover catches counts as any does. The service tells of it where nobody
// else is told.
func TestRecoveredPanicsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		var log syncBuffer
		bus := n.Bus(&scamp.Options{Log: slog.New(slog.NewJSONHandler(&log, nil))})
		boom := func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { panic("boom") }
		told := 0
		n.ServeOn(bus, "sample", nil, func(s *scamp.Service) {
			s.Handle("Sample.quiet", scamp.Recover(nil)(boom), nil)
			s.Handle("Sample.told", scamp.Recover(func(context.Context, *scamp.Request, any, []byte) error { told++; return nil })(boom), nil)
		})
		caller := n.Bus(nil)
		for i, tt := range []struct {
			action string
			lines  int
			told   int
		}{{"Sample.quiet", 1, 0}, {"Sample.told", 0, 1}} {
			log.Reset()
			if code, _ := callCode(t, caller, tt.action, ""); code != "general" {
				t.Errorf("%s: answered %s, want general", tt.action, code)
			}
			synctest.Wait()
			if n := bus.Stats()["handler_panicked"]; n != uint64(i+1) {
				t.Errorf("%s: handler_panicked is %d, want %d", tt.action, n, i+1)
			}
			if lines := strings.Count(log.String(), `"msg":"handler panicked"`); lines != tt.lines || told != tt.told {
				t.Errorf("%s: %d lines and told %d times, want %d and %d:\n%s", tt.action, lines, told, tt.lines, tt.told, &log)
			}
			if tt.lines > 0 && !strings.Contains(log.String(), "TestRecoveredPanicsCount") {
				t.Errorf("%s: the log has no stack:\n%s", tt.action, &log)
			}
		}
		if err := scamp.Recover(nil)(boom)(t.Context(), &scamp.Request{}, nil); err == nil {
			t.Error("a panic outside of any service is no error")
		}
	})
}

// A middleware that goes on without its handler leaves it to Recover when its request is
// over. The race detector looks.
func TestRecoverBehindItsRequest(t *testing.T) {
	var left sync.WaitGroup
	bus := overTCP(t, func(s *scamp.Service) {
		s.Use(func(next scamp.Handler) scamp.Handler {
			return func(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
				left.Go(func() { next(ctx, req, rep) })
				return errors.New("not waited for")
			}
		}, scamp.Recover(nil))
		s.Handle("Sample.late", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
			panic("late")
		}, nil)
	})
	for range 1000 {
		if _, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.late"}); err == nil {
			t.Fatal("a handler that fails was taken for one that does not")
		}
	}
	left.Wait()
}
