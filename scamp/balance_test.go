package scamp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// serveNamed runs so many services that answer with their address.
func serveNamed(n *scamptest.Network, count int) []*scamptest.Service {
	var all []*scamptest.Service
	for i := range count {
		var s *scamptest.Service
		s = n.Serve(fmt.Sprintf("sample%d", i), func(svc *scamp.Service) {
			svc.Handle("Sample.where", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
				return rep.SetBytes([]byte(s.Addr()))
			}, nil)
		})
		all = append(all, s)
	}
	return all
}

// where calls Sample.where and returns the address that answered, or the error.
func where(t *testing.T, c scamp.Caller, route *scamp.RouteOptions, key string) string {
	t.Helper()
	reply, err := c.Call(t.Context(), &scamp.Request{Action: "Sample.where", Terminal: scamp.Ticket(key), Route: route})
	if err != nil {
		return err.Error()
	}
	body, err := reply.Bytes(0)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

func TestBalancers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		all := serveNamed(n, 3)
		bus := n.Bus(nil)
		count := func(calls int, route *scamp.RouteOptions, key func(i int) string) map[string]int {
			got := make(map[string]int)
			for i := range calls {
				got[where(t, bus, route, key(i))]++
			}
			return got
		}
		none := func(int) string { return "" }

		got := count(30, &scamp.RouteOptions{Balancer: scamp.RoundRobin()}, none)
		for _, s := range all {
			if got[s.Addr()] != 10 {
				t.Errorf("RoundRobin, 30 calls: %v, want 10 at each of 3", got)
			}
		}
		for name, b := range map[string]scamp.Balancer{"nil": nil, "Random": scamp.Random, "LeastPending": scamp.LeastPending, "SameHostFirst": scamp.SameHostFirst(nil)} {
			got := count(300, &scamp.RouteOptions{Balancer: b}, none)
			for _, s := range all {
				if got[s.Addr()] < 50 {
					t.Errorf("%s, 300 calls: %v, want each of 3 about equally often", name, got)
				}
			}
		}

		sticky := &scamp.RouteOptions{Balancer: scamp.Sticky(func(r *scamp.Request) string { return string(r.Terminal) })}
		before := make(map[string]string)
		for i := range 300 {
			key := fmt.Sprint(i)
			before[key] = where(t, bus, sticky, key)
			if again := where(t, bus, sticky, key); again != before[key] {
				t.Fatalf("Sticky sends key %s to %s, then to %s", key, before[key], again)
			}
		}
		gone := all[0].Addr()
		all[0].Stop()
		synctest.Wait()
		moved := 0
		for key, was := range before {
			is := where(t, bus, sticky, key)
			if was == gone {
				moved++
			} else if is != was {
				t.Fatalf("key %s moved from %s to %s when %s left", key, was, is, gone)
			}
		}
		if moved < 50 || moved > 150 {
			t.Errorf("%d of 300 keys were at one instance of 3", moved)
		}

		// A filter leaves out what it does not want; what is no choice is none.
		want := all[1].Addr()
		only := &scamp.RouteOptions{Filter: func(r discovery.Route) bool { return r.Address == want }}
		if got := count(20, only, none); got[want] != 20 {
			t.Errorf("Filter for %s: %v", want, got)
		}
		_, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.where", Route: &scamp.RouteOptions{Filter: func(discovery.Route) bool { return false }}})
		if ce, is := errors.AsType[*scamp.CallError](err); !errors.Is(err, scamp.ErrNotFound) || !is || ce.Ran != scamp.RanNo {
			t.Errorf("Filter that wants none: %v, want ErrNotFound that did not run", err)
		}
		wrong := uint64(0)
		for _, bad := range []int{-1, 2, 1 << 30} {
			got := count(4, &scamp.RouteOptions{Balancer: func(*scamp.Choice) int { return bad }}, none)
			if got[all[1].Addr()]+got[all[2].Addr()] != 4 {
				t.Errorf("a Balancer that returns %d: %v, want the calls answered", bad, got)
			}
			if wrong += 4; bus.Stats()["bad_choice"] != wrong {
				t.Errorf("a Balancer that returns %d: bad_choice is %d, want %d", bad, bus.Stats()["bad_choice"], wrong)
			}
		}
	})
}

// PROTOCOL 11.5: an instance that cannot be connected to is marked until a probe connects:
// after 1, 2, 4 s and so on, without a packet. Calls do not try it meanwhile.
func TestProbeTakesMarkAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		all := serveNamed(n, 2)
		broken := all[0].Addr()
		var down atomic.Bool
		var dials []time.Duration
		start := time.Now()
		bus := n.Bus(&scamp.Options{
			Rand: func(int) int { return 0 },
			Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if addr == broken {
					dials = append(dials, time.Since(start).Round(100*time.Millisecond))
					if down.Load() {
						return nil, errors.New("no route")
					}
				}
				return n.Dial(ctx, network, addr)
			},
		})
		down.Store(true)
		for range 400 { // 20 s of calls
			if got := where(t, bus, &scamp.RouteOptions{Balancer: scamp.Random}, ""); got != all[1].Addr() {
				t.Fatalf("call went to %s, want all at the instance that is well", got)
			}
			time.Sleep(50 * time.Millisecond)
		}
		if want := []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second, 15 * time.Second}; !slices.Equal(dials, want) {
			t.Errorf("dials of the broken instance at %v, want %v: one by a call, the others by probes", dials, want)
		}
		down.Store(false)
		for time.Since(start) < 32*time.Second {
			time.Sleep(50 * time.Millisecond)
			where(t, bus, nil, "") // Rand is 0: whoever is first
		}
		if len(dials) != 6 || bus.Stats()["instance_probed"] != 5 {
			t.Errorf("dials at %v, %d probes, want a sixth that connects", dials, bus.Stats()["instance_probed"])
		}
		got := make(map[string]int)
		for range 20 {
			got[where(t, bus, &scamp.RouteOptions{Balancer: scamp.RoundRobin()}, "")]++
			got[where(t, bus, &scamp.RouteOptions{Filter: func(r discovery.Route) bool { return r.Address == broken }}, "")]++
		}
		if got[broken] < 20 {
			t.Errorf("after the probe %v, want calls at %s again", got, broken)
		}
		if len(dials) != 6 {
			t.Errorf("%d dials, want the connection of the probe to serve the calls", len(dials))
		}
	})
}

// PROTOCOL 11.5 asks for the mark, not for somebody who has the patience to see the dial
// fail: when all calls leave sooner, the instance is marked and probed all the same.
func TestImpatientCallsMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		all := serveNamed(n, 2)
		hole := all[0].Addr()
		var dials atomic.Int32
		bus := n.Bus(&scamp.Options{Balancer: inOrder(all), Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == hole {
				dials.Add(1)
				<-ctx.Done() // after DialTimeout, 10 s
				return nil, ctx.Err()
			}
			return n.Dial(ctx, network, addr)
		}})
		var failed []int
		for i := range 60 {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if o := <-inBackground(ctx, bus, &scamp.Request{Action: "Sample.where"}); o.err != nil {
				wantRan(t, "black hole", o.err, scamp.RanNo, scamp.ErrTimeout)
				failed = append(failed, i)
			}
			cancel()
			time.Sleep(15 * time.Second)
		}
		if !slices.Equal(failed, []int{0}) || bus.Stats()["instance_probed"] == 0 {
			t.Errorf("of 60 calls of 5 s, one each 15 s, with one of two instances a black hole, %v failed, want the first alone; %d dials, %d probes",
				failed, dials.Load(), bus.Stats()["instance_probed"])
		}
	})
}

// Calls that wait for a dial count as pending: an instance that takes connections and
// says nothing, as one that was stopped does, gets a call now and then, not all of them.
func TestCallsAvoidAHungDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		all := serveNamed(n, 3)
		hung := all[0].Addr()
		bus := n.Bus(&scamp.Options{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == hung {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return n.Dial(ctx, network, addr)
		}})
		const calls = 400
		failed := make(chan int, calls) // one for each call
		for range calls {
			go func() { // ends with the call
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				o := <-inBackground(ctx, bus, &scamp.Request{Action: "Sample.where"})
				if o.err != nil {
					failed <- 1
					return
				}
				failed <- 0
			}()
			time.Sleep(20 * time.Millisecond) // 8 s in all: less than DialTimeout, after which it is marked
		}
		sum := 0
		for range calls {
			sum += <-failed
		}
		if sum > 10 {
			t.Errorf("%d of %d calls waited for an instance of 3 that hangs: want about one in each 2 s", sum, calls)
		}
	})
}

// A call that waits on a retired connection waits at its instance all the same: the new
// connection to it is not that of an idle one.
func TestCallsAvoidARetiredConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Limits.RPCTimeout = 3 * time.Second
		var hung atomic.Bool
		var all []*scamptest.Service
		for i := range 3 {
			all = append(all, n.Serve(fmt.Sprintf("sample%d", i), func(s *scamp.Service) {
				s.Handle("Sample.do", func(ctx context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
					time.Sleep(20 * time.Millisecond)
					if i == 0 && hung.Load() {
						<-ctx.Done()
						return ctx.Err()
					}
					return rep.SetBytes(nil)
				}, nil)
			}))
		}
		bus := n.Bus(&scamp.Options{Limits: n.Limits})
		var pending atomic.Int32 // calls choose at the same time
		look := func(c *scamp.Choice) int {
			for i, r := range c.Routes {
				if r.Ident == all[0].Ident() {
					pending.Store(int32(c.Pending(i)))
					return i
				}
			}
			return 0
		}
		route := &scamp.RouteOptions{Balancer: look}
		hung.Store(true)
		first := inBackground(t.Context(), bus, &scamp.Request{Action: "Sample.do", Route: route})
		time.Sleep(time.Second) // so that its time is over when others still wait, who sent later
		var others []<-chan outcome
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			others = append(others, inBackground(ctx, bus, &scamp.Request{Action: "Sample.do", Route: route}))
		}
		<-first // and nothing has come: the connection is retired, those pending go on
		if bus.Stats()["conn_retired"] != 1 {
			t.Fatalf("counters %v, want the connection retired", bus.Stats())
		}
		hung.Store(false)
		for _, when := range []string{"before", "when"} {
			if o := <-inBackground(t.Context(), bus, &scamp.Request{Action: "Sample.do", Route: route}); o.err != nil || pending.Load() != 5 {
				t.Errorf("%s there is another connection beside the retired one with 5 calls %d are pending at the instance (%v), want 5", when, pending.Load(), o.err)
			}
		}
		for _, o := range others {
			<-o
		}
		time.Sleep(time.Minute)
		bus.Call(t.Context(), &scamp.Request{Action: "Sample.do", Route: route})
		if pending.Load() != 0 {
			t.Errorf("%d calls are pending when none is, want 0", pending.Load())
		}
	})
}

// PROTOCOL 11.5: only a probe that connects or a new announcement ends a mark. Calls that
// are far apart avoid the instance too, and have it probed again.
func TestMarksOutliveQuietTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		all := serveNamed(n, 2)
		var down atomic.Bool
		var dials atomic.Int32
		bus := n.Bus(&scamp.Options{Balancer: inOrder(all), Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == all[0].Addr() {
				dials.Add(1)
				if down.Load() {
					<-ctx.Done()
					return nil, ctx.Err()
				}
			}
			return n.Dial(ctx, network, addr)
		}})
		down.Store(true)
		var slow []int
		for i := range 40 {
			began := time.Now()
			where(t, bus, nil, "")
			if time.Since(began) > 5*time.Second {
				slow = append(slow, i)
			}
			time.Sleep(5 * time.Minute)
		}
		if !slices.Equal(slow, []int{0}) {
			t.Errorf("of 40 calls, one each 5 min, with one of two instances a black hole, %v took more than 5 s, want the first alone", slow)
		}
		down.Store(false)
		before := dials.Load()
		where(t, bus, nil, "") // wants it, so it is probed
		time.Sleep(time.Second)
		if got := where(t, bus, nil, ""); got != all[0].Addr() || dials.Load() != before+1 {
			t.Errorf("a second after a call that would have wanted it, %s is asked, %d dials, want %s, by the one probe", got, dials.Load()-before, all[0].Addr())
		}
	})
}

// An instance that nobody wants is not probed for ever.
func TestProbesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		serveNamed(n, 1)
		var dials atomic.Int32
		bus := n.Bus(&scamp.Options{Dial: func(context.Context, string, string) (net.Conn, error) {
			dials.Add(1)
			return nil, errors.New("no route")
		}})
		where(t, bus, nil, "")
		time.Sleep(time.Hour)
		if got := dials.Load(); got < 5 || got > 12 {
			t.Errorf("%d dials in an hour after one call, want probes for three minutes", got)
		}
	})
}
