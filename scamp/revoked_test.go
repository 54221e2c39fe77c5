package scamp_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/internal/ticketscan"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// TestRevokedWhileConnected is THREATS S7: a service whose rule goes away gets no new
// request after two seconds, though its connections stay open, and finishes those in
// hand.
func TestRevokedWhileConnected(t *testing.T) {
	n := scamptest.New(t)
	var last atomic.Int64 // when a request began last
	inHand, finish := make(chan struct{}), make(chan struct{})
	live := n.Serve("greeter", func(s *scamp.Service) {
		s.Handle("Greeter.count", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
			last.Store(time.Now().UnixNano())
			return nil
		}, nil)
		s.Handle("Greeter.wait", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
			close(inHand)
			<-finish
			rep.SetBytes([]byte("finished"))
			return nil
		}, nil)
	})
	dir := t.TempDir()
	rules, fresh := filepath.Join(dir, "rules"), filepath.Join(dir, "fresh")
	if err := os.WriteFile(rules, []byte(live.KeyPair.Certificate.Fingerprint+" Greeter\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	bus, err := scamp.Open(&scamp.Config{AuthorizedServices: rules}, &scamp.Options{Log: ticketscan.Log(t, nil), Dial: n.Dial, Carriers: []discovery.Carrier{n.Segment().Join()}})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	for _, e := range live.Bus.Directory().All() {
		if err := bus.Directory().Add(e.Announcement); err != nil {
			t.Fatal(err)
		}
	}
	waited := make(chan string, 1)
	go func() { // ends with its reply
		reply, err := bus.Call(t.Context(), &scamp.Request{Action: "Greeter.wait"})
		if err != nil {
			waited <- err.Error()
			return
		}
		body, err := reply.Bytes(0)
		if err != nil {
			waited <- err.Error()
			return
		}
		waited <- string(body)
	}()
	<-inHand

	const most = 2 * time.Second
	var callers sync.WaitGroup
	var allowed, denied atomic.Int64
	revoked := make(chan time.Time)
	ended := make(chan struct{})
	for range 4 {
		callers.Go(func() { // ends with ended
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-ended:
					return
				case <-tick.C:
				}
				switch reply, err := bus.Call(t.Context(), &scamp.Request{Action: "Greeter.count"}); {
				case err == nil:
					reply.Body.Close()
					allowed.Add(1)
				case errors.Is(err, scamp.ErrDenied):
					denied.Add(1)
				default:
					t.Errorf("call: %v, want a reply or ErrDenied", err)
				}
			}
		})
	}
	go func() { // ends with its send
		scamptest.Eventually(func() bool { return allowed.Load() > 100 })
		if err := errors.Join(os.WriteFile(fresh, []byte("# nobody may do anything\n"), 0o644), os.Rename(fresh, rules)); err != nil {
			t.Error(err)
		}
		revoked <- time.Now()
	}()
	at := <-revoked
	<-time.After(time.Until(at.Add(most + 500*time.Millisecond))) // callers go on all the while
	close(ended)
	callers.Wait()
	if began := time.Unix(0, last.Load()); began.After(at.Add(most)) {
		t.Errorf("a request began %v after its rule was taken away: want none after %v", began.Sub(at), most)
	}
	if allowed.Load() < 100 || denied.Load() == 0 {
		t.Errorf("%d calls were allowed and %d denied: want both", allowed.Load(), denied.Load())
	}
	close(finish)
	if got := <-waited; got != "finished" {
		t.Errorf("the request in hand: %q, want it finished", got)
	}
}
