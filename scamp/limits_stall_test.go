package scamp_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A reply that nobody acknowledges ends after the stall time, however long its handler
// might have taken to begin it (THREATS P11, P14).
func TestStallCountsFromTheReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		s := n.Serve("sample", func(s *scamp.Service) {
			s.Handle("Sample.long", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
				_, err := io.Copy(rep, io.LimitReader(&endless{}, 1<<20))
				return err
			}, &scamp.ActionOptions{Timeout: 24 * time.Hour})
		})
		w := callWire(t, n, s.Addr())
		w.send(msg(0, ask("Sample.long", 1), ""))
		<-time.After(59 * time.Second)
		if got := s.Bus.Stats()["send_stalled"]; got != 0 {
			t.Errorf("send_stalled is %d after 59 s, want 0", got)
		}
		<-time.After(2 * time.Second)
		if m := w.message(); m.txerr == "" {
			t.Errorf("a reply that nobody acknowledges for 61 s: %d octets and whole %v, want a TXERR", len(m.body), m.whole)
		}
		if got := s.Bus.Stats()["send_stalled"]; got != 1 {
			t.Errorf("send_stalled is %d, want 1", got)
		}
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
