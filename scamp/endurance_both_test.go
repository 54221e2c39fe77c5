package scamp_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// stripes is a body without an end that is another for each place it begins at.
type stripes struct{ at int }

// next is what of the body comes next, as much of it as lies in one piece.
func (s *stripes) next() []byte { return enduranceOctets[s.at%len(enduranceOctets):] }

func (s *stripes) Read(b []byte) (int, error) {
	n := copy(b, s.next())
	s.at += n
	return n, nil
}

// Write takes the octets of that body and no others.
func (s *stripes) Write(b []byte) (int, error) {
	for done := 0; done < len(b); {
		n := min(len(s.next()), len(b)-done)
		if !bytes.Equal(b[done:done+n], s.next()[:n]) {
			return done, fmt.Errorf("other octets arrive than were sent")
		}
		done += n
		s.at += n
	}
	return len(b), nil
}

// take reads a whole body and wants it to be n octets of stripes.
func (s *stripes) take(r io.Reader, n int64) error {
	if got, err := io.Copy(s, r); err != nil || got != n {
		return fmt.Errorf("%d octets of a body: %w, want %d and its end", got, err, n)
	}
	return nil
}

// bothWays registers an action that sends a body of n octets while it receives one. The
// client id says which of them.
func bothWays(s *scamp.Service, n int64) {
	s.Handle("Both.ways", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
		var in error
		var taking sync.WaitGroup
		taking.Go(func() { in = (&stripes{int(req.ClientID) * 101}).take(req.Body, n) }) // ends with the request
		_, err := io.Copy(rep, io.LimitReader(&stripes{int(req.ClientID) * 103}, n))
		taking.Wait()
		if err == nil {
			err = in
		}
		return err
	}, nil)
}

// callBothWays makes so many calls of it at once, each in a goroutine of its own, and
// waits for all.
func callBothWays(t *testing.T, c *scamp.Client, calls int, n int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // a deadlock ends here
	defer cancel()
	var all sync.WaitGroup
	for i := range calls {
		all.Go(func() {
			reply, err := c.Call(ctx, &scamp.Request{Action: "Both.ways", ClientID: int64(i), Body: io.LimitReader(&stripes{i * 101}, n)})
			if err == nil {
				err = (&stripes{i * 103}).take(reply.Body, n)
			}
			if err != nil {
				t.Errorf("call %d of %d, %d octets each way: %v", i, calls, n, err)
			}
		})
	}
	all.Wait()
}

// Sixteen streams on one connection send and receive at once, as fast as they can: none
// waits for another for ever, and each gets its own octets. TestResourceBothWays has 64
// MiB of each.
func TestBothWaysAtOnce(t *testing.T) {
	n := scamptest.New(t)
	pair := n.KeyPair()
	svc, err := n.Bus(&scamp.Options{Listen: net.Listen}).NewService("both", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	bothWays(svc, 512<<10)
	serve(t, svc)
	c, err := scamp.Dial(t.Context(), svc.Addr(), scamp.Identity{Certificate: pair.Certificate}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	callBothWays(t, c, 16, 512<<10)
}
