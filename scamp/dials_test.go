package scamp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/internal/ticketscan"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A call that meets a connection which is just closing is sent on another one: nothing
// of it was sent, so its body may be one that can be read once.
func TestCallMeetsClosingConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		s := n.Serve("greeter", register)
		c, err := n.Bus(nil).Dial(t.Context(), s.Addr(), scamp.Identity{Certificate: s.KeyPair.Certificate})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for i := range 20 {
			<-time.After(90 * time.Second) // when its idle time is over
			req := &scamp.Request{Action: "Greeter.echo", Body: io.MultiReader(strings.NewReader("x"))}
			if o := <-inBackground(t.Context(), c, req); o.err != nil || o.body != "x" {
				t.Fatalf("call %d, after 90 s: %q, %v, want x", i, o.body, o.err)
			}
		}
	})
}

// Whose caller has set no deadline is told of a timeout, and of no context that ended: it
// may well ask errors.Is which of the two it was.
func TestNoDeadlineIsExceededWhereNoneWasSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Serve("greeter", register)
		for _, tt := range []struct {
			limit time.Duration // of the caller's context
			want  bool          // context.DeadlineExceeded
		}{{0, false}, {time.Second, true}} {
			bus := n.Bus(&scamp.Options{Limits: scamp.Limits{RPCTimeout: 3 * time.Second}, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}})
			ctx, cancel := context.WithCancel(t.Context())
			if tt.limit > 0 {
				ctx, cancel = context.WithTimeout(t.Context(), tt.limit)
			}
			_, err := bus.Call(ctx, &scamp.Request{Action: "Greeter.echo"})
			cancel()
			wantRan(t, "black hole", err, scamp.RanNo, scamp.ErrTimeout)
			if got := errors.Is(err, context.DeadlineExceeded); got != tt.want {
				t.Errorf("deadline %v: error %v, is context.DeadlineExceeded %v, want %v", tt.limit, err, got, tt.want)
			}
		}
	})
}

// However many calls wait for a dial that fails, it counts once.
func TestOneFailedDialIsOneFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, bus := newStreet(t)
		s.announce(bus, "sample:alpha", alpha)
		s.set(alpha, true)
		var calls []<-chan outcome
		for range 50 {
			calls = append(calls, inBackground(t.Context(), bus, echoReq("")))
		}
		for _, done := range calls {
			wantRan(t, "dial", (<-done).err, scamp.RanNo, scamp.ErrNoDial)
		}
		s.announce(bus, "sample:beta", beta)
		s.set(alpha, false)
		s.answer("")
		<-time.After(2 * time.Second) // longer than after one failure, shorter than after two
		found := false
		for range 50 {
			o := <-inBackground(t.Context(), bus, echoReq(""))
			found = found || o.err == nil && o.reply.Instance == "sample:alpha"
		}
		if !found {
			t.Error("two seconds after a dial that 50 calls waited for, the instance is still avoided")
		}
	})
}

func TestDialsAtOnceAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		var mu sync.Mutex
		now, most := 0, 0
		bus := f.bus(&scamp.Options{Dial: func(context.Context, string, string) (net.Conn, error) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			<-time.After(time.Second)
			mu.Lock()
			now--
			mu.Unlock()
			return nil, errors.New("connection refused")
		}})
		n := scamptest.New(t)
		var calls []<-chan outcome
		began := time.Now()
		for i := range 6 { // six certificates at one address
			action := string(rune('a' + i))
			other := &far{t: t, pair: n.KeyPair()}
			other.announce(bus, "sample:"+action, alpha, discovery.Action{Class: "_meta", Name: action})
			calls = append(calls, inBackground(t.Context(), bus, &scamp.Request{Action: "_meta." + action}))
			synctest.Wait()
		}
		for _, done := range calls {
			wantRan(t, "dial", (<-done).err, scamp.RanNo, scamp.ErrNoDial)
		}
		if most != 4 || time.Since(began) != 2*time.Second {
			t.Errorf("%d dials to one address at once, %v in all, want 4 and the other two after them", most, time.Since(began))
		}
		if n := bus.Stats()["dial_backoff"]; n < 2 {
			t.Errorf("dial_backoff is %d, want the two that waited", n)
		}
	})
}

// Toward an original Go service, bodies that take a connection of their own wait for
// their dials; what was cancelled says so although its connection was closed for it.
func TestManyConnectionsOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		bus := f.bus(nil)
		f.announceGo(bus)
		long := strings.Repeat("l", 65537)
		var calls []<-chan outcome
		for range 20 {
			calls = append(calls, inBackground(t.Context(), bus, echoReq(long)))
		}
		for range 20 {
			w := f.next()
			w.begun()
			w.send(goReply(0, 1, "ok"))
		}
		for _, done := range calls {
			if o := <-done; o.body != "ok" {
				t.Errorf("one of 20 long bodies: %q, %v, want ok", o.body, o.err)
			}
		}
		for range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			done := inBackground(ctx, bus, &scamp.Request{Action: "Sample.echo", Body: io.LimitReader(zeros{}, 1<<20)})
			w := f.next()
			w.begun()
			cancel()
			if o := <-done; !errors.Is(o.err, context.Canceled) || ranOf(o.err) != scamp.RanMaybe {
				t.Errorf("cancelled call: %v with Ran %v, want context.Canceled and maybe", o.err, ranOf(o.err))
			}
			if got := w.over(); strings.Contains(got, "TXERR") {
				t.Errorf("cancelled call: %q, want the connection closed without a TXERR", got)
			}
		}
		// One that does not answer is dialed once a second, however many calls want it.
		f.setDown(true)
		before := f.dialed()
		for range 50 {
			wantRan(t, "long body to a service that is down", (<-inBackground(t.Context(), bus, echoReq(long))).err, scamp.RanNo, scamp.ErrNoDial)
		}
		if n := f.dialed() - before; n != 1 {
			t.Errorf("%d dials within a second, want 1", n)
		}
	})
}

func TestCloseEndsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		bus := f.bus(nil)
		f.announce(bus, "sample:1", alpha)
		waiting := inBackground(t.Context(), bus, echoReq("x"))
		w := f.next()
		w.message()
		began := time.Now()
		if err := bus.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("Close took %v, want a second at most", took)
		}
		wantRan(t, "call that waited", (<-waiting).err, scamp.RanMaybe, scamp.ErrLost)
		_, err := bus.Call(t.Context(), echoReq("x"))
		wantRan(t, "call on a closed bus", err, scamp.RanNo, nil)
		if err := bus.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}

		// A retired connection does not keep Close waiting.
		c, w := f.client(nil)
		w.stay.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		silent, pending := inBackground(t.Context(), c, echoReq("")), inBackground(ctx, c, echoReq(""))
		<-silent
		began = time.Now()
		c.Close()
		if took := time.Since(began); took > time.Second {
			t.Errorf("Close with a retired connection took %v, want a second at most", took)
		}
		wantRan(t, "call pending on it", (<-pending).err, scamp.RanMaybe, scamp.ErrLost)

		// Nor does a dial.
		bus = f.bus(&scamp.Options{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		f.announce(bus, "sample:1", alpha)
		dialing := inBackground(t.Context(), bus, echoReq(""))
		synctest.Wait()
		began = time.Now()
		bus.Close()
		wantRan(t, "call that waited for a dial", (<-dialing).err, scamp.RanNo, nil)
		if took := time.Since(began); took > 0 {
			t.Errorf("Close with a dial under way took %v, want no time", took)
		}
	})
}

// PING goes to peers that know it, and to all others only if the operator says so.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			heartbeat time.Duration
			pings     string // within 35 s of silence
		}{
			{0, ""},
			{15 * time.Second, pk("PING", 0, "") + pk("PING", 0, "")},
		} {
			f := newFar(t)
			bus, err := scamp.Open(&scamp.Config{Heartbeat: tt.heartbeat}, &scamp.Options{Log: ticketscan.Log(t, nil), Dial: f.dial, Carriers: []discovery.Carrier{discovery.NewLoopback()}})
			if err != nil {
				t.Fatal(err)
			}
			c, err := bus.Dial(t.Context(), alpha, scamp.Identity{Certificate: f.pair.Certificate})
			if err != nil {
				t.Fatal(err)
			}
			w := f.next()
			done := inBackground(t.Context(), c, echoReq(""))
			w.message()
			<-time.After(35 * time.Second)
			if got := w.arrived(); got != tt.pings {
				t.Errorf("heartbeat %v: %q after 35 s of silence, want %q", tt.heartbeat, got, tt.pings)
			}
			w.send(reply(0, 1, ""))
			if o := <-done; o.err != nil {
				t.Errorf("heartbeat %v: %v", tt.heartbeat, o.err)
			}
			c.Close()
			bus.Close()
		}
	})
}

// A call that joins a dial which was begun before its instance announced itself does not
// share its failure.
func TestDialOfTheOldAnnouncementIsNotThatOfTheNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		dials := 0
		bus := f.bus(&scamp.Options{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dials++; dials == 1 { // who was there before is gone without a word
				time.Sleep(3 * time.Second)
				return nil, errors.New("no route")
			}
			return f.dial(ctx, network, addr)
		}})
		call := func(ident string) <-chan outcome {
			req := echoReq("")
			req.Route = &scamp.RouteOptions{Ident: ident}
			return inBackground(t.Context(), bus, req)
		}
		f.announce(bus, "far:1", "127.0.0.1:30100")
		old := call("far:1")
		time.Sleep(time.Second)
		f.announce(bus, "far:2", "127.0.0.1:30100")
		began := call("far:2")
		w := f.next()
		w.message()
		w.send(reply(0, 1, ""))
		if o := <-began; o.err != nil || dials != 2 {
			t.Errorf("the call of who has just come: %v after %d dials, want a reply after 2", o.err, dials)
		}
		wantRan(t, "the call of who is gone", (<-old).err, scamp.RanNo, scamp.ErrNoDial)
	})
}

// neverDials is a Dial that fails after three seconds, and counts.
func neverDials(dials *int) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		*dials++
		time.Sleep(3 * time.Second)
		return nil, errors.New("no route")
	}
}

// However many calls of however many announcements join a dial that fails, one dial more is
// made for all of them (THREATS D22).
func TestDialForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		dials := 0
		bus := f.bus(&scamp.Options{Dial: neverDials(&dials)})
		var all []<-chan outcome
		call := func(ident string) {
			req := echoReq("")
			req.Route = &scamp.RouteOptions{Ident: ident}
			all = append(all, inBackground(t.Context(), bus, req))
		}
		f.announce(bus, "far:1", "127.0.0.1:30100")
		call("far:1")
		time.Sleep(time.Second)
		for i := range 6 {
			ident := fmt.Sprintf("far:%d", i+1)
			f.announce(bus, ident, "127.0.0.1:30100")
			for range 20 {
				call(ident)
			}
		}
		for i, o := range all {
			wantRan(t, fmt.Sprintf("call %d", i), (<-o).err, scamp.RanNo, scamp.ErrNoDial)
		}
		if dials != 2 {
			t.Errorf("%d calls of 7 announcements at one address: %d dials, want 2", len(all), dials)
		}
	})
}

// A call that chose its instance by an older announcement than the dial was made for that it
// joins has no news for that address.
func TestDialOfTheNewAnnouncementIsThatOfTheOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		dials := 0
		bus := f.bus(&scamp.Options{Dial: neverDials(&dials)})
		f.announce(bus, "far:1", "127.0.0.1:30100")
		time.Sleep(time.Second)
		var later <-chan outcome
		req := echoReq("")
		req.Route = &scamp.RouteOptions{Ident: "far:1", Filter: func(discovery.Route) bool {
			if later == nil {
				f.announce(bus, "far:1", "127.0.0.1:30100")
				anew := echoReq("")
				anew.Route = &scamp.RouteOptions{Ident: "far:1"}
				later = inBackground(t.Context(), bus, anew)
				time.Sleep(time.Second) // it dials
			}
			return true
		}}
		_, err := bus.Call(t.Context(), req)
		wantRan(t, "the call of the old announcement", err, scamp.RanNo, scamp.ErrNoDial)
		wantRan(t, "the call of the new one", (<-later).err, scamp.RanNo, scamp.ErrNoDial)
		if dials != 1 {
			t.Errorf("%d dials, want the one of the new announcement", dials)
		}
	})
}

// Who was announced since a dial failed is dialed at once, at the same address too, and
// once: however many calls there are, no address is flooded.
func TestRestartedServiceIsDialedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		s := n.Serve("greeter", register)
		dials := 0
		bus := n.Bus(&scamp.Options{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials++
			return n.Dial(ctx, network, addr)
		}})
		call := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err := bus.Call(ctx, &scamp.Request{Action: "Greeter.echo", Data: []byte("1"), Retry: &scamp.RetryOptions{Attempts: 1}, Route: &scamp.RouteOptions{Wait: -1}})
			return err
		}
		if err := call(); err != nil {
			t.Fatalf("call at the start: %v", err)
		}
		for restart := range 3 {
			time.Sleep(15 * time.Second) // until everybody misses who was killed before
			n.Kill(s)
			synctest.Wait()
			dials = 0
			var err error
			for range 50 {
				err = call()
				wantRan(t, "dead", err, scamp.RanNo, scamp.ErrNoDial)
			}
			if dials != 1 || !strings.Contains(err.Error(), "not tried, next try in ") {
				t.Fatalf("restart %d: 50 calls of who is dead: %d dials, the last call: %v; want one dial, and that it was not tried", restart, dials, err)
			}
			s = n.Restart(s)
			n.Await(bus, "Greeter.echo", 2) // nobody has missed the dead one yet
			dials = 0
			for i := range 50 {
				if err := call(); err != nil {
					t.Fatalf("restart %d: call %d of who is back: %v", restart, i, err)
				}
			}
			if dials != 1 {
				t.Fatalf("restart %d: 50 calls of who is back: %d dials, want 1", restart, dials)
			}
		}
	})
}
