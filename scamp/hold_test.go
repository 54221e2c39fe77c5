package scamp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// Collected bodies of one peer address hold at most a quarter of MaxHeld, and only
// until their handlers have returned.
func TestHeldBodiesAreBounded(t *testing.T) {
	n := scamptest.New(t)
	n.Limits.MaxHeld = 400 << 10
	entered, leave := make(chan struct{}), make(chan struct{})
	s := n.Serve("keeper", func(s *scamp.Service) {
		s.Handle("Keeper.keep", func(_ context.Context, req *scamp.Request, _ *scamp.ReplyWriter) error {
			if _, err := req.Bytes(); err != nil {
				return err
			}
			entered <- struct{}{}
			<-leave
			return nil
		}, nil)
	})
	bus := n.Bus(nil)
	keep := func() error {
		// A reader of unknown length, so that the handler collects what arrives.
		body := io.MultiReader(bytes.NewReader(make([]byte, 80<<10)))
		_, err := bus.Call(t.Context(), &scamp.Request{Action: "Keeper.keep", Body: body})
		return err
	}
	first := make(chan error, 1)
	go func() { first <- keep() }()
	<-entered
	for range 3 {
		var re *scamp.RemoteError
		if err := keep(); !errors.As(err, &re) || re.Code != scamp.CodeTransport {
			t.Errorf("a second body of 80 KiB where 100 may be held: %v, want transport", err)
		}
	}
	leave <- struct{}{}
	if err := <-first; err != nil {
		t.Errorf("the body that was held: %v", err)
	}
	if got := s.Bus.Stats()["held_refused"]; got != 3 {
		t.Errorf("held_refused counts %d, want 3", got)
	}
}
