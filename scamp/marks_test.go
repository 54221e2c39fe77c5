package scamp_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// Nothing is remembered against an instance that nobody announces any more, though no call
// asks for it: each start of a service is an instance of its own.
func TestMarksOfInstancesThatAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		var log runLog
		serveEach(n, &log, good, good)
		var mu sync.Mutex
		down := make(map[string]bool)
		bus := n.Bus(&scamp.Options{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			if down[addr] {
				return nil, errors.New("no route")
			}
			return n.Dial(ctx, network, addr)
		}})
		die := func(wanted time.Duration) {
			s := n.Serve("dying", func(s *scamp.Service) { s.Handle("Sample.do", good, nil) })
			n.Await(bus, "Sample.do", 3)
			mu.Lock()
			down[s.Addr()] = true
			mu.Unlock()
			for end := time.Now().Add(wanted); !time.Now().After(end); time.Sleep(time.Second) {
				for range 20 {
					if _, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.do"}); err != nil {
						t.Fatal(err)
					}
				}
			}
			if scamp.Marks(bus) != 1 {
				t.Errorf("%d marks when an instance cannot be reached, want 1", scamp.Marks(bus))
			}
			if wanted == 0 {
				time.Sleep(4 * time.Minute) // it is announced, and nobody wants it: it rests
				if scamp.Marks(bus) != 1 {
					t.Errorf("%d marks of an instance that is still announced, want 1", scamp.Marks(bus))
				}
			}
			n.Kill(s)
		}
		for _, wanted := range []time.Duration{5 * time.Second, 0, 0} {
			die(wanted)
			time.Sleep(10 * time.Minute)
			if scamp.Marks(bus) != 0 {
				t.Fatalf("%d marks ten minutes after the last announcement, want 0", scamp.Marks(bus))
			}
		}
	})
}

// The mark of one that refused goes by itself.
func TestMarkOfARefusalEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Limits.MaxConcurrency, n.Limits.MaxQueue = 1, 1
		var log runLog
		serveEach(n, &log, func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
			time.Sleep(10 * time.Second)
			return nil
		})
		bus := n.Bus(nil)
		var all []<-chan outcome
		for range 4 {
			all = append(all, inBackground(t.Context(), bus, &scamp.Request{Action: "Sample.do"}))
			synctest.Wait()
		}
		if scamp.Marks(bus) != 1 {
			t.Errorf("%d marks when an instance has refused, want 1", scamp.Marks(bus))
		}
		time.Sleep(2*time.Second + time.Millisecond) // AvoidTime is one second, and refusals follow one another within it
		if scamp.Marks(bus) != 0 {
			t.Errorf("%d marks behind AvoidTime, want 0", scamp.Marks(bus))
		}
		for _, o := range all {
			<-o
		}
	})
}

// Too many make room, which counts.
func TestMarksMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := scamptest.New(t).Bus(nil)
		scamp.FillMarks(bus, 20001)
		if got, marks := bus.Stats()["mark_forgotten"], scamp.Marks(bus); got != 2000 || marks != 18001 {
			t.Errorf("20,001 marks: %d were forgotten and %d are left, want 2,000 and 18,001", got, marks)
		}
		time.Sleep(2 * time.Second)
		if marks := scamp.Marks(bus); marks != 0 {
			t.Errorf("%d marks of instances that nobody announces, want 0", marks)
		}
	})
}
