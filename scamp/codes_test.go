package scamp_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// What fails below an action has the code transport (PROTOCOL 5.2), for who calls and for
// whom a handler passes it on to; what an action answers keeps its own.
func TestCodesOfFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Serve("sample", func(s *scamp.Service) {
			s.Handle("Sample.no", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
				return &scamp.RemoteError{Code: "x_no"}
			}, nil)
			s.Handle("Sample.cut", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
				rep.Write([]byte("{"))
				return &scamp.RemoteError{Code: "x_cut"}
			}, nil)
			s.Handle("Sample.odd", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
				return rep.SetBytes([]byte("{"))
			}, nil)
			s.Handle("Sample.slow", func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error {
				<-ctx.Done()
				return ctx.Err()
			}, nil)
			s.Handle("Sample.plain", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { return errors.New("plain") }, nil)
		})
		bus := n.Bus(nil)
		n.Serve("relay", func(s *scamp.Service) {
			scamp.HandleJSON(s, "Relay.call", func(ctx context.Context, action string) (string, error) {
				ctx, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				_, err := scamp.Call[greeting](ctx, bus, action, who{})
				return "", err
			}, nil)
		})
		for _, tt := range []struct {
			action, code string
			want         error
		}{
			{"Sample.no", "x_no", nil},
			{"Sample.plain", "general", nil},
			{"Sample.cut", "transport", scamp.ErrBroken},
			{"Sample.odd", "transport", scamp.ErrBadReply},
			{"Sample.slow", "transport", scamp.ErrTimeout},
			{"Sample.absent", "transport", scamp.ErrNotFound},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := scamp.Call[greeting](ctx, bus, tt.action, who{})
			cancel()
			var ce *scamp.CallError
			if !errors.As(err, &ce) || ce.Code() != tt.code || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("call %s: %v, want the code %s and %v", tt.action, err, tt.code, tt.want)
			}
			_, err = scamp.Call[string](t.Context(), bus, "Relay.call", tt.action)
			if !errors.As(err, &ce) || ce.Code() != tt.code || ce.Ran != scamp.RanYes {
				t.Errorf("call %s through a handler: %v, want the code %s, and that it ran", tt.action, err, tt.code)
			}
		}
		bus.Close()
		_, err := scamp.Call[greeting](t.Context(), bus, "Sample.plain", who{})
		var ce *scamp.CallError
		if !errors.As(err, &ce) || ce.Code() != "transport" || !errors.Is(err, scamp.ErrClosed) || ce.Ran != scamp.RanNo {
			t.Errorf("call of a closed bus: %v, want the code transport, ErrClosed, and that it did not run", err)
		}
	})
}
