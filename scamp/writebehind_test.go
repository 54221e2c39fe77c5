package scamp_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/scamp"
)

// A handler that leaves a goroutine behind which goes on to write has one that is told so,
// and no race with the end of its reply.
func TestWriteBehindTheHandler(t *testing.T) {
	gone := make(chan struct{}, 1)
	_, c := tcpService(t, scamp.Limits{}, func(s *scamp.Service) {
		s.Use(scamp.AccessLog(nil))
		s.Handle("Lab.leaves", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
			go func() { // ends when a Write fails
				for {
					if _, err := rep.Write([]byte("x")); err != nil {
						gone <- struct{}{}
						return
					}
				}
			}()
			return nil
		}, nil)
	})
	for range 200 {
		s, err := c.Stream(t.Context(), &scamp.Request{Action: "Lab.leaves"})
		if err != nil {
			t.Fatal(err)
		}
		s.CloseSend()
		io.Copy(io.Discard, s) // some of it, or an error
		s.Close()
		select {
		case <-gone:
		case <-time.After(time.Minute):
			t.Fatal("who writes behind the handler hears of no error")
		}
	}
}
