package scamp_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
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

// A shared value is one that no JSON can hold: what arrives of it shows how it came.
type shared struct {
	Ch chan int `json:"-"`
	N  int
}

// Values pass as they are only where nobody can tell the difference but by sharing them.
func TestLocalValuesPass(t *testing.T) {
	same := func(_ context.Context, in *shared) (*shared, error) { return in, nil }
	for _, tt := range []struct {
		name   string
		how    scamp.LocalCalls
		use    bool // middleware
		req    scamp.Request
		passes bool
	}{
		{"the same types", scamp.LocalOn, false, scamp.Request{}, true},
		{"its own preferred", scamp.LocalPrefer, false, scamp.Request{}, true},
		{"off", scamp.LocalOff, false, scamp.Request{}, false},
		{"middleware", scamp.LocalOn, true, scamp.Request{}, false},
		{"may be sent again", scamp.LocalOn, false, scamp.Request{Idempotent: true}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bus := ownBus(t, &scamp.Config{Local: tt.how}, "own", func(s *scamp.Service) {
				scamp.HandleJSON(s, "A.same", same, nil)
				if tt.use {
					s.Use(func(next scamp.Handler) scamp.Handler { return next })
				}
			})
			for _, ctx := range []context.Context{context.Background(), t.Context()} {
				req := tt.req
				req.Action = "A.same"
				in := &shared{Ch: make(chan int), N: 3}
				out, reply, err := scamp.CallWith[*shared](ctx, bus, &req, in)
				if err != nil || out.N != 3 || reply.Instance == "" {
					t.Fatalf("%+v, %v, want N 3", out, err)
				}
				if passed := out == in; passed != tt.passes {
					t.Errorf("the value passed as it is: %v, want %v", passed, tt.passes)
				}
			}
		})
	}
}

// ownBus returns a bus that serves what it calls, over loopback and memory.
func ownBus(t testing.TB, cfg *scamp.Config, name string, register func(*scamp.Service)) *scamp.Bus {
	t.Helper()
	segment := discovery.NewLoopback()
	t.Cleanup(func() { segment.Close() })
	pair, err := scamp.GenerateKeyPair(name, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := discovery.ParseAuthorized(strings.NewReader(pair.Certificate.Fingerprint + " main:ALL\n"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.BusAddress = []string{"127.0.0.1"}
	bus, err := scamp.Open(cfg, &scamp.Options{Log: ticketscan.Log(t, nil), Carriers: []discovery.Carrier{segment.Join()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bus.Close() })
	bus.Directory().SetAuthorized(rules)
	svc, err := bus.NewService(name, &scamp.ServiceOptions{Listen: []string{"127.0.0.1:0"}, KeyPair: pair, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	register(svc)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- svc.Serve(ctx) }() // ended by the clean-up, which waits
	t.Cleanup(func() { cancel(); <-done })
	<-svc.Ready()
	return bus
}

// A handler that ends its goroutine ends a caller that lent it its own, and gives its
// place back.
func TestLocalGoexit(t *testing.T) {
	bus := ownBus(t, &scamp.Config{Limits: scamp.Limits{MaxConcurrency: 1}}, "own", func(s *scamp.Service) {
		scamp.HandleJSON(s, "A.exit", func(context.Context, int) (int, error) { runtime.Goexit(); return 0, nil }, nil)
		scamp.HandleJSON(s, "A.good", func(_ context.Context, n int) (int, error) { return n, nil }, nil)
	})
	for _, ctx := range []context.Context{context.Background(), t.Context()} {
		var err error
		returned := false
		var all sync.WaitGroup
		all.Go(func() {
			_, err = scamp.Call[int](ctx, bus, "A.exit", 1)
			returned = true
		})
		all.Wait()
		if ends := ctx.Done() != nil; returned != ends || ends && err == nil {
			t.Errorf("a call whose context can end: %v: returned %v with %v", ends, returned, err)
		}
		if n, err := scamp.Call[int](ctx, bus, "A.good", 5); n != 5 || err != nil {
			t.Errorf("the next call: %d, %v, want 5", n, err)
		}
	}
	if n := bus.Stats()["handler_panicked"]; n != 2 {
		t.Errorf("handler_panicked: %d, want 2", n)
	}
}

// Which instance a call goes to is chosen among all; LocalPrefer takes an own one before
// the others, unless the caller has a balancer of its own or a reason against it.
func TestLocalChoice(t *testing.T) {
	last := func(c *scamp.Choice) int { return len(c.Routes) - 1 }
	for _, tt := range []struct {
		name string
		how  scamp.LocalCalls
		req  scamp.Request
		want []string
	}{
		{"on", scamp.LocalOn, scamp.Request{}, []string{"far", "own"}},
		{"off", scamp.LocalOff, scamp.Request{}, []string{"far", "own"}},
		{"prefer", scamp.LocalPrefer, scamp.Request{}, []string{"own"}},
		{"prefer, and a filter", scamp.LocalPrefer, scamp.Request{Route: &scamp.RouteOptions{
			Filter: func(r discovery.Route) bool { return strings.HasPrefix(r.Ident, "far") }}}, []string{"far"}},
		{"prefer, and a balancer of the call", scamp.LocalPrefer, scamp.Request{Route: &scamp.RouteOptions{Balancer: last}}, []string{"own"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scamptest.New(t)
				who := func(name string) func(*scamp.Service) {
					return func(s *scamp.Service) {
						scamp.HandleJSON(s, "A.who", func(context.Context, int) (string, error) { return name, nil }, nil)
					}
				}
				n.Serve("far", who("far"))
				keys := n.KeyPair()
				n.Allow(keys, "main:ALL")
				cfg := &scamp.Config{BusAddress: []string{"127.0.0.1"}, Local: tt.how}
				bus, err := scamp.Open(cfg, &scamp.Options{Log: ticketscan.Log(t, nil), Dial: n.Dial, Listen: n.Listen, Carriers: []discovery.Carrier{n.Segment().Join()}})
				if err != nil {
					t.Fatal(err)
				}
				defer bus.Close()
				bus.Directory().SetAuthorized(n.Bus(nil).Directory().Authorized())
				svc, err := bus.NewService("own", &scamp.ServiceOptions{Listen: []string{"127.0.0.1:0"}, KeyPair: keys, Grace: -1})
				if err != nil {
					t.Fatal(err)
				}
				who("own")(svc)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- svc.Serve(ctx) }() // ended by cancel
				defer func() { cancel(); <-done }()
				<-svc.Ready()
				time.Sleep(10 * time.Second) // each hears the other
				var got []string
				for range 60 {
					req := tt.req
					req.Action = "A.who"
					out, _, err := scamp.CallWith[string](context.Background(), bus, &req, 0)
					if err != nil {
						t.Fatal(err)
					}
					if !slices.Contains(got, out) {
						got = append(got, out)
					}
				}
				slices.Sort(got)
				if !slices.Equal(got, tt.want) {
					t.Errorf("calls went to %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// A failed call tells that nothing was in its way.
func TestLocalLadder(t *testing.T) {
	bus := ownBus(t, &scamp.Config{}, "own", func(s *scamp.Service) {
		scamp.HandleJSON(s, "A.no", func(context.Context, int) (int, error) { return 0, errors.New("never") }, nil)
	})
	for _, call := range []func() error{
		func() error { _, err := scamp.Call[int](context.Background(), bus, "A.no", 1); return err },
		func() error {
			_, err := bus.Call(context.Background(), &scamp.Request{Action: "A.no", Data: []byte("1")})
			return err
		},
	} {
		ce, ok := errors.AsType[*scamp.CallError](call())
		if !ok {
			t.Fatal("no CallError")
		}
		got := ""
		for _, r := range ce.Ladder().Rungs {
			if r.Name == scamp.RungTCP || r.Name == scamp.RungTLS || r.Name == scamp.RungPin || r.Name == scamp.RungReply {
				got += fmt.Sprintf("%s=%v %q ", r.Name, r.State == scamp.RungOK, r.Text)
			}
		}
		const want = `tcp=true "the service is one of this process: no socket and no TLS" tls=false "" pin=false "" reply=false "general: never" `
		if !strings.EqualFold(got, want) {
			t.Errorf("the ladder says %s\nwant %s", got, want)
		}
	}
}

// Calls that come and go while the service starts and stops neither hang nor leave
// anything behind: the places are all free at the end.
func TestLocalUnderLoad(t *testing.T) {
	bus := ownBus(t, &scamp.Config{Limits: scamp.Limits{MaxConcurrency: 3, MaxQueue: 4096}}, "own", func(s *scamp.Service) {
		scamp.HandleJSON(s, "A.add", add, nil)
		s.Handle("A.echo", echoRaw, nil)
	})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 200 {
				ctx, cancel := context.WithCancel(context.Background())
				switch {
				case i == 0:
					time.AfterFunc(time.Duration(j)*time.Microsecond, cancel)
				case i%2 == 1:
					ctx = context.Background()
				}
				out, err := scamp.Call[sum](ctx, bus, "A.add", pair{A: i, B: j})
				if i > 0 && (err != nil || out.Sum != i+j) {
					t.Errorf("add %d %d: %v, %v", i, j, out, err)
				}
				if j%5 == 0 {
					if reply, err := bus.Call(ctx, &scamp.Request{Action: "A.echo", Data: []byte("x")}); err == nil {
						reply.Bytes(0)
					} else if i > 0 {
						t.Errorf("echo: %v", err)
					}
				}
				cancel()
			}
		})
	}
	all.Wait()
}
