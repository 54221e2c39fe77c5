package scamp_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A call that is given up where no message may be begun any more takes none of the others
// along.
func TestCancelLeavesTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Serve("sample", func(s *scamp.Service) {
			s.Handle("Sample.sink", func(_ context.Context, req *scamp.Request, _ *scamp.ReplyWriter) error {
				_, err := io.Copy(io.Discard, req.Body)
				return err
			}, nil)
			s.Handle("Sample.hang", func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error {
				<-ctx.Done()
				return ctx.Err()
			}, nil)
			s.Handle("Sample.echo", echo, nil)
		})
		const most = 8
		bus := n.Bus(&scamp.Options{Limits: scamp.Limits{Mux: mux.Limits{MaxOpenMessages: most}}})
		if _, err := bus.Call(t.Context(), echoReq("x")); err != nil { // it has told us that it knows cancel
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		given := make(chan error, 1)
		go func() { // ends with cancel
			_, err := bus.Call(ctx, &scamp.Request{Action: "Sample.hang"})
			given <- err
		}()
		synctest.Wait()
		var open []*scamp.Stream
		for range most {
			s, err := bus.Stream(t.Context(), &scamp.Request{Action: "Sample.sink"})
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, s)
		}
		cancel()
		<-given
		synctest.Wait()
		for i, s := range open {
			s.Write([]byte("the rest"))
			s.CloseSend()
			if _, err := s.Reply(); err != nil {
				t.Errorf("stream %d beside a call that was given up: %v", i, err)
			}
			s.Close()
		}
		if got := bus.Stats()["cancel_dropped"]; got != 1 {
			t.Errorf("cancel_dropped is %d, want 1", got)
		}
	})
}

// A hook that panics leaves nothing of its call behind.
func TestHookThatPanicsLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Serve("sample", func(s *scamp.Service) {
			s.Handle("Sample.long", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
				return rep.SetBytes(make([]byte, 1<<20))
			}, nil)
		})
		bus := n.Bus(nil)
		for name, trace := range map[string]*scamp.Trace{
			"Sent":    {Sent: func() { panic("hook") }},
			"Replied": {Replied: func(time.Duration) { panic("hook") }},
		} {
			func() {
				defer func() { recover() }()
				bus.Call(scamp.WithTrace(t.Context(), trace), &scamp.Request{Action: "Sample.long"})
			}()
			synctest.Wait()
			if left := scamp.TablesOf(bus); len(left) > 0 {
				t.Errorf("left behind a hook %s that panicked: %v", name, left)
			}
		}
	})
}
