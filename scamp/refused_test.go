package scamp_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// PROTOCOL 5.5: what a service of ours refuses because of its ticket or its caller did
// not run, and the caller is told so, from the first request on; what a handler refuses
// by itself ran.
func TestRefusedBeforeTheHandlerDidNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		runs := 0
		n.ServeWith("sample", &scamp.ServiceOptions{RequireTickets: true, AuthzTable: scamp.AuthzTableOff}, func(s *scamp.Service) {
			s.Handle("Sample.read", ok, &scamp.ActionOptions{Privileges: []int64{1}})
			s.Handle("Sample.judge", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
				runs++
				return &scamp.RemoteError{Code: scamp.CodeAuthz, Text: "not you"}
			}, nil)
		})
		bus := n.Bus(nil)
		none := n.Ticket(scamp.TicketClaims{User: 1})
		for _, tt := range []struct {
			action string
			ticket scamp.Ticket
			code   string
			ran    scamp.Ran
		}{
			{"Sample.read", "", scamp.CodeAuthn, scamp.RanNo},
			{"Sample.read", "junk", scamp.CodeAuthn, scamp.RanNo},
			{"Sample.read", none, scamp.CodeAuthz, scamp.RanNo},
			{"Sample.judge", none, scamp.CodeAuthz, scamp.RanYes},
		} {
			_, err := bus.Call(t.Context(), &scamp.Request{Action: tt.action, Ticket: tt.ticket})
			ce, isCall := errors.AsType[*scamp.CallError](err)
			re, isRemote := errors.AsType[*scamp.RemoteError](err)
			if !isCall || !isRemote || re.Code != tt.code || ce.Ran != tt.ran || ce.Attempts != 1 || !errors.Is(err, scamp.ErrDenied) {
				t.Errorf("%s with ticket %v: %v, want %s once, ran %v", tt.action, tt.ticket, err, tt.code, tt.ran)
			}
		}
		if runs != 1 {
			t.Errorf("%d handlers ran, want 1", runs)
		}
	})
}

// What observes sees every request, also those that are refused, panic or are answered
// in the handler's stead; what Use was given sees only what was let in.
func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		var outside, inside syncBuffer
		opts := &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == "action" || a.Key == "code" {
				return a
			}
			return slog.Attr{}
		}}
		n.Serve("sample", func(s *scamp.Service) {
			s.Use(scamp.AccessLog(slog.New(slog.NewTextHandler(&inside, opts))))
			s.Observe(scamp.AccessLog(slog.New(slog.NewTextHandler(&outside, opts))))
			s.Handle("Sample.secret", ok, &scamp.ActionOptions{Privileges: []int64{1}})
			s.Handle("Sample.panic", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { panic("boom") }, nil)
			s.Handle("Sample.late", func(ctx context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
				<-ctx.Done()
				return rep.SetBytes([]byte("too late"))
			}, &scamp.ActionOptions{Timeout: time.Second})
			s.Handle("Sample.good", ok, nil)
		})
		bus := n.Bus(nil)
		for _, action := range []string{"Sample.secret", "Sample.panic", "Sample.late", "Sample.good"} {
			callCode(t, bus, action, "")
			synctest.Wait()
		}
		const rest = "action=main:Sample.panic code=general\naction=main:Sample.late code=transport\naction=main:Sample.good\n"
		if got := inside.String(); got != rest {
			t.Errorf("inside: %s, want %s", got, rest)
		}
		if got := outside.String(); got != "action=main:Sample.secret code=authn\n"+rest {
			t.Errorf("outside: %s, want the refused request too", got)
		}
	})
}
