package scamptest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A shop calls others: whom, its constructor is told.
type shop struct{ calls scamp.Caller }

func (s shop) order(ctx context.Context, item string) string {
	left, err := scamp.Call[int](ctx, s.calls, "Stock.left", item)
	switch {
	case errors.Is(err, scamp.ErrNotFound):
		return "closed"
	case err != nil:
		return "come back later"
	case left == 0:
		return "sold out"
	}
	return "on its way"
}

func ExampleCaller() {
	fake := new(scamptest.Caller)
	s := shop{fake}
	fmt.Println(s.order(context.Background(), "lamp"))

	scamptest.Answer(fake, "Stock.left", func(_ context.Context, item string) (int, error) { return len(item) - 4, nil })
	fmt.Println(s.order(context.Background(), "lamp"))
	fmt.Println(s.order(context.Background(), "chair"))

	fake.Fail("Stock.left", scamp.ErrLost)
	fmt.Println(s.order(context.Background(), "chair"))

	requests := fake.Requests("Stock.left")
	fmt.Printf("%d requests, the last of them %s\n", len(requests), requests[3].Data)
	// Output:
	// closed
	// sold out
	// on its way
	// come back later
	// 4 requests, the last of them "chair"
}

// serveClock has a service tell a word.
func serveClock(s *scamp.Service) {
	scamp.HandleJSON(s, "Clock.tick", func(context.Context, struct{}) (string, error) { return "tock", nil }, nil)
}

// tick calls it, for at most a second: examples have no synthetic time.
func tick(bus *scamp.Bus) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	out, _, err := scamp.CallWith[string](ctx, bus, &scamp.Request{Action: "Clock.tick", Route: &scamp.RouteOptions{Wait: -1}}, struct{}{})
	if ce, ok := errors.AsType[*scamp.CallError](err); ok {
		return fmt.Sprintf("no answer; did it run? %v", ce.Ran)
	}
	return out
}

func ExampleNetwork_Restart() {
	run(func(t testing.TB) {
		net := scamptest.New(t)
		clock, bus := net.Serve("clock", serveClock), net.Bus(nil)
		net.Kill(clock)
		fmt.Println(tick(bus))
		net.Restart(clock)
		net.Await(bus, "Clock.tick", 2) // the dead one is not missed yet
		fmt.Println(tick(bus))
	})
	// Output:
	// no answer; did it run? no
	// tock
}

func ExampleNetwork_Pause() {
	run(func(t testing.TB) {
		net := scamptest.New(t)
		clock, bus := net.Serve("clock", serveClock), net.Bus(nil)
		fmt.Println(tick(bus))
		resume := net.Pause(clock)
		fmt.Println(tick(bus))
		resume()
		fmt.Println(tick(bus))
	})
	// Output:
	// tock
	// no answer; did it run? maybe
	// tock
}

func ExampleNetwork_Partition() {
	run(func(t testing.TB) {
		net := scamptest.New(t)
		clock, bus, other := net.Serve("clock", serveClock), net.Bus(nil), net.Bus(nil)
		heal := net.Partition(bus, clock.Bus)
		fmt.Println(tick(bus))
		fmt.Println(tick(other))
		heal()
		fmt.Println(tick(bus))
	})
	// Output:
	// no answer; did it run? no
	// tock
	// tock
}

// A connection that breaks behind the first octet of the reply, and one that is slow.
func ExampleNetwork_Disturb() {
	run(func(t testing.TB) {
		net := scamptest.New(t)
		clock, bus := net.Serve("clock", serveClock), net.Bus(nil)
		fmt.Println(tick(bus))
		net.Disturb(clock, scamptest.Line{CutFrom: 1})
		fmt.Println(tick(bus))
		net.Disturb(clock, scamptest.Line{Delay: 5 * time.Millisecond})
		began := time.Now()
		fmt.Println(tick(bus))
		fmt.Println("three round trips for TCP, TLS and the call:", time.Since(began) >= 30*time.Millisecond)
	})
	// Output:
	// tock
	// no answer; did it run? maybe
	// tock
	// three round trips for TCP, TLS and the call: true
}

// Announcements that come late.
func ExampleNetwork_Segment() {
	run(func(t testing.TB) {
		net := scamptest.New(t)
		bus := net.Bus(nil)
		net.Segment().Disturb(func(from, to discovery.Iface, data []byte) discovery.Fault {
			return discovery.Fault{Delay: 20 * time.Millisecond} // or Drop: true
		})
		began := time.Now()
		net.Serve("clock", serveClock) // which waits to hear itself
		net.Await(bus, "Clock.tick", 1)
		fmt.Println("late:", time.Since(began) >= 20*time.Millisecond)
	})
	// Output: late: true
}

// A service whose clock is an hour behind; tickets that it verifies begin too early.
func ExampleClock() {
	run(func(t testing.TB) {
		net := scamptest.New(t)
		clock := new(scamptest.Clock)
		clock.Skew(-time.Hour)
		late := net.Bus(&scamp.Options{Now: clock.Now})
		net.ServeOn(late, "clock", &scamp.ServiceOptions{RequireTickets: true, AuthzTable: scamp.AuthzTableOff}, serveClock)

		ctx := scamp.WithTicket(context.Background(), net.Ticket(scamp.TicketClaims{User: 1}))
		_, err := scamp.Call[string](ctx, net.Bus(nil), "Clock.tick", struct{}{})
		fmt.Println("denied:", errors.Is(err, scamp.ErrDenied))
		clock.Skew(0)
		out, err := scamp.Call[string](ctx, net.Bus(nil), "Clock.tick", struct{}{})
		fmt.Println(out, err)
	})
	// Output:
	// denied: true
	// tock <nil>
}
