package scamp_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// What connections are made for: when a call no longer wants one, what is remembered of
// one that has ended, and which one serves a call.

// A call whose time runs out while it connects is over then, did not run, and says
// nothing against the connection, which the next call uses.
func TestConnectingCounts(t *testing.T) {
	for _, tt := range []struct {
		name  string
		flag  string
		limit time.Duration
		dial  time.Duration
	}{
		{"rpc_timeout", "", 2 * time.Second, 3 * time.Second},
		{"flag_tN", "t1", 6 * time.Second, 8 * time.Second},
		{"flag_tN_at_the_dial_timeout", "t5", 10 * time.Second, 10*time.Second + time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFar(t)
				dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
					<-time.After(tt.dial)
					return f.dial(ctx, network, addr)
				}
				bus := f.bus(&scamp.Options{Dial: dial, Limits: scamp.Limits{RPCTimeout: 2 * time.Second, DialTimeout: 20 * time.Second}})
				f.announce(bus, "far:1", "127.0.0.1:30100", discovery.Action{Class: "Sample", Name: "echo", Flags: flags(tt.flag)})
				began := time.Now()
				o := <-inBackground(t.Context(), bus, echoReq("late"))
				wantRan(t, "call", o.err, scamp.RanNo, scamp.ErrTimeout)
				if took := time.Since(began); took != tt.limit {
					t.Errorf("the call took %v, want %v", took, tt.limit)
				}
				w := f.next()
				synctest.Wait()
				if got := w.arrived(); got != "" {
					t.Errorf("arrived: %q, want nothing of a request whose time is over", got)
				}
				done := inBackground(t.Context(), bus, echoReq("in time"))
				if m := w.message(); m.body != "in time" {
					t.Errorf("next request: %q, want it on the same connection", m.body)
				}
				w.send(reply(0, 1, "ok"))
				if o := <-done; o.body != "ok" {
					t.Errorf("next call: %q, %v, want ok", o.body, o.err)
				}
				if n := bus.Stats()["conn_retired"]; n != 0 || f.dialed() != 1 {
					t.Errorf("%d connections retired of %d, want none of 1", n, f.dialed())
				}
			})
		})
	}
}

func flags(flag string) []string {
	if flag == "" {
		return nil
	}
	return []string{flag}
}

// Nor is one sent whose time runs out between its connection and its turn.
func TestLateRequestIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		bus := f.bus(&scamp.Options{Limits: scamp.Limits{RPCTimeout: 2 * time.Second}})
		f.announce(bus, "far:1", "127.0.0.1:30100")
		ctx := scamp.WithTrace(t.Context(), &scamp.Trace{Connected: func(scamp.ConnectInfo) { <-time.After(2 * time.Second) }})
		o := <-inBackground(ctx, bus, echoReq("late"))
		wantRan(t, "call", o.err, scamp.RanNo, scamp.ErrTimeout)
		w := f.next()
		synctest.Wait()
		if got := w.arrived(); got != "" || bus.Stats()["conn_retired"] != 0 {
			t.Errorf("arrived: %q, %d connections retired; want nothing, and none", got, bus.Stats()["conn_retired"])
		}
	})
}

// A connection for one call does not outlive a caller who left before he had it, or whose
// request could not be sent.
func TestConnectionOfOneCallEndsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		slow := false
		c, err := scamp.Dial(t.Context(), "127.0.0.1:30100", scamp.Identity{Certificate: f.pair.Certificate},
			&scamp.Options{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if slow {
					<-time.After(time.Second)
				}
				return f.dial(ctx, network, addr)
			}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		f.next()
		slow = true
		var leaving sync.WaitGroup
		for range 20 {
			leaving.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				_, err := c.Stream(ctx, &scamp.Request{Action: "Sample.echo"})
				wantRan(t, "stream of a caller who leaves", err, scamp.RanNo, scamp.ErrTimeout)
			})
		}
		leaving.Wait()
		<-time.After(5 * time.Second)
		if n := scamp.Connections(c); n != 1 {
			t.Errorf("after 20 callers left: %d connections, want the first", n)
		}
		if n := f.dialed(); n != 5 {
			t.Errorf("%d dials, want the first and those four that were under way when their callers left", n)
		}

		slow = false
		_, err = c.Stream(t.Context(), &scamp.Request{Action: "Sample.echo", Terminal: scamp.Ticket(strings.Repeat("\x01", 8000))})
		wantRan(t, "header that is too big", err, scamp.RanNo, nil)
		synctest.Wait()
		if n := scamp.Connections(c); n != 1 || f.dialed() != 6 {
			t.Errorf("after a request that could not be sent: %d connections after %d dials, want the first after 6", n, f.dialed())
		}
		s, err := c.Stream(t.Context(), &scamp.Request{Action: "Sample.echo"})
		if err != nil {
			t.Fatalf("stream of a caller who stays: %v, want one", err)
		}
		s.Close()
	})
}

// What a service has shown holds until it shows something else, or somebody else has
// answered in its place.
func TestDialectOutlivesConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		c, w := f.client(nil)
		done := inBackground(t.Context(), c, echoReq("x"))
		w.message()
		w.send(reply(0, 1, ""))
		if o := <-done; o.err != nil {
			t.Fatal(o.err)
		}
		w.c.Close()
		synctest.Wait()
		for range 5 {
			s, err := c.Stream(t.Context(), &scamp.Request{Action: "Sample.echo"})
			if err != nil {
				t.Fatal(err)
			}
			s.Close()
		}
		if n := f.dialed(); n != 2 {
			t.Errorf("five streams after the connection ended: %d dials, want one more than the first", n)
		}
		w = f.next()
		w.c.Close()
		synctest.Wait()

		f.show(f.n.KeyPair().TLS())
		_, err := c.Stream(t.Context(), &scamp.Request{Action: "Sample.echo"})
		wantRan(t, "another certificate", err, scamp.RanNo, scamp.ErrPin)
		<-f.fail
		f.show(f.pair.TLS())
		<-time.After(2 * time.Second)
		wantOwn(t, f, c)
	})
}

// A service shows that it is one of the original Go implementation when the connection
// was chosen for a request, and before that was sent: the request has another one.
func TestDialectShownInBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		bus := f.known()
		first := inBackground(t.Context(), bus, echoReq("first"))
		w := f.next()
		w.message()
		var once sync.Once
		ctx := scamp.WithTrace(t.Context(), &scamp.Trace{Connected: func(scamp.ConnectInfo) {
			once.Do(func() {
				w.send(goReply(0, 1, "one"))
				if o := <-first; o.err != nil || o.body != "one" {
					t.Errorf("first request: %q, %v, want the reply", o.body, o.err)
				}
			})
		}})
		s, err := bus.Stream(ctx, &scamp.Request{Action: "Sample.echo"})
		if err != nil {
			t.Fatal(err)
		}
		own := f.next()
		own.begun()
		third := inBackground(t.Context(), bus, echoReq("third"))
		if m := w.message(); m.body != "third" {
			t.Errorf("on the shared connection: %q, want the third request", m.body)
		}
		w.send(goReply(1, 2, "three"))
		if o := <-third; o.err != nil || o.body != "three" {
			t.Errorf("third request: %q, %v, want its reply", o.body, o.err)
		}
		s.CloseSend()
		own.message()
		own.send(goReply(0, 1, "two"))
		r, err := s.Reply()
		if err != nil {
			t.Fatal(err)
		}
		if b, err := r.Bytes(0); string(b) != "two" || err != nil {
			t.Errorf("second request: %q, %v, want two", b, err)
		}
		if n := bus.Stats()["conn_retired"]; n != 0 || f.dialed() != 2 {
			t.Errorf("%d connections retired of %d, want none of 2", n, f.dialed())
		}
	})
}

// A connection that ends while a call takes it is not remembered for the next: that
// would keep all it holds for as long as nobody calls.
func TestEndedConnectionIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		c, w := f.client(nil)
		kept, err := scamp.RememberEnded(t.Context(), c, func() {
			w.c.Close()
			synctest.Wait()
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := scamp.Connections(c); kept || n != 0 {
			t.Errorf("remembered: %v, with %d connections; want it forgotten, and none", kept, n)
		}
	})
}
