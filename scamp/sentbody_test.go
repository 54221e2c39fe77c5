package scamp_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/scamp"
)

// A body that has nothing to read when its call ends is closed then, so that its Read
// ends: no goroutine is left, which the bubble of the test makes sure of.
func TestBlockedBodyIsClosed(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(w *wire, cancel func())
		want error // of the call; nil means a reply
	}{
		{"caller_leaves", func(_ *wire, cancel func()) { cancel() }, context.Canceled},
		{"reply_is_over", func(w *wire, _ func()) { w.send(reply(1, 2, "early")) }, nil},
		{"connection_is_lost", func(w *wire, _ func()) { w.c.Close() }, scamp.ErrLost},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, w := newFar(t).client(nil)
				first := inBackground(t.Context(), c, echoReq("")) // shows of what kind the service is
				w.message()
				w.send(reply(0, 1, ""))
				<-first
				body, writer := io.Pipe()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := inBackground(ctx, c, &scamp.Request{Action: "Sample.echo", Body: body})
				writer.Write([]byte("begun"))
				w.await("what there is of the request", func() bool { return w.data[1] == 5 })
				tt.end(w, cancel)
				if o := <-done; !errors.Is(o.err, tt.want) {
					t.Errorf("call: %v, want %v", o.err, tt.want)
				}
				synctest.Wait()
				if _, err := writer.Write([]byte("more")); err != io.ErrClosedPipe {
					t.Errorf("write to the body after its call: %v, want %v", err, io.ErrClosedPipe)
				}
			})
		})
	}
}
