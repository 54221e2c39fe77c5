package scamp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// TestGivenUpCalls gives calls up in every way there is, from a seed, over TCP, through
// connections that are cut and within the process: nothing of them is left at either end.
// TestResourceGivenUpCalls makes a hundred thousand, and looks at the memory too.
func TestGivenUpCalls(t *testing.T) {
	const calls = 1500
	start := holdsOnline(t)
	t.Run("calls", func(t *testing.T) { // whose cleanup is the drain
		g := newGivenUp(t, rand.Uint64(), calls)
		g.run(calls)
		g.wantNothingLeft()
		g.wantTrueRan()
	})
	wantHolds(t, start)
}

// holdsOnline is holds of a process that has used the network: the runtime has its
// descriptors for that.
func holdsOnline(t *testing.T) map[string]int64 {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return holds()
}

// wantHolds waits until the process holds no more than at the start.
func wantHolds(t *testing.T, start map[string]int64) {
	t.Helper()
	var now map[string]int64
	if !scamptest.Eventually(func() bool { // the kernel and the runtime may lag behind
		now = holds()
		return now["goroutines"] <= start["goroutines"] && now["descriptors"] <= start["descriptors"]
	}) {
		t.Errorf("in the end the process holds %v, want no more than %v", now, start)
	}
}

// A givenUp is a bus whose calls are given up.
type givenUp struct {
	t      *testing.T
	seed   uint64
	all    []*scamp.Bus // of callers and services
	plain  *scamp.Bus
	cut    *scamp.Bus // whose connections are cut
	own    *scamp.Bus // which serves itself
	cutter *cutter

	runs []atomic.Int32 // of handlers, by number of the call
	said []scamp.Ran    // of the calls, -1 for those without an error

	made int // calls

	mu  sync.Mutex                // protects how
	how map[string]map[string]int // how often each way ended how
}

const givenUpCallers = 64

func newGivenUp(t *testing.T, seed uint64, calls int) *givenUp {
	t.Helper()
	t.Logf("seed %d", seed)
	g := &givenUp{t: t, seed: seed, runs: make([]atomic.Int32, calls+1), said: make([]scamp.Ran, calls), how: make(map[string]map[string]int)}
	n := scamptest.New(t)
	n.Limits.DialTimeout = 300 * time.Millisecond
	n.Limits.MaxConcurrency = 12 // so that requests wait in line
	n.Limits.Mux.MaxWindow = 65536
	for i := range 3 {
		pair := n.KeyPair()
		n.Allow(pair, "main:ALL")
		bus := n.Bus(&scamp.Options{Listen: net.Listen, Dial: dialLoopback, Limits: n.Limits})
		svc, err := bus.NewService(fmt.Sprint("given", i), &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}, Grace: -1})
		if err != nil {
			t.Fatal(err)
		}
		svc.Handle("Given.wait", g.wait, nil)
		svc.Handle("Given.slow", g.slow, nil)
		svc.Handle("Given.read", g.read, nil)
		svc.Handle("Given.big", g.big, nil)
		svc.Handle("Given.break", g.breaks, nil)
		scamp.HandleJSON(svc, "Given.typed", g.typed, nil)
		serve(t, svc)
		g.all, g.own = append(g.all, bus), bus
	}
	g.plain = n.Bus(&scamp.Options{Dial: dialLoopback, Limits: n.Limits})
	g.cutter = newCutter(t, seed, 400<<10)
	n.Limits.DialTimeout = 0 // a relay takes its time
	g.cut = n.Bus(&scamp.Options{Dial: g.cutter.dial, Limits: n.Limits})
	g.all = append(g.all, g.plain, g.cut)
	g.holes(n)
	return g
}

func dialLoopback(ctx context.Context, network, addr string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// holes announces instances whose listeners accept and then say nothing: calls of
// Given.hole wait for a connection.
func (g *givenUp) holes(n *scamptest.Network) {
	pair := n.KeyPair()
	n.Allow(pair, "main:ALL")
	for i := range 8 {
		l, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
		if err != nil {
			g.t.Fatal(err)
		}
		g.t.Cleanup(func() { l.Close() })
		a := &discovery.Announcement{Ident: fmt.Sprint("hole:", i), Weight: 1, Address: "beepish+tls://" + l.Addr().String(), Envelopes: []string{"json"},
			Actions: []discovery.Action{{Class: "Given", Name: "hole"}}, Timestamp: time.Now().UnixMicro(), Interval: time.Hour, Certificate: pair.Certificate}
		if _, err := a.Sign(pair.Key); err != nil {
			g.t.Fatal(err)
		}
		if err := g.plain.Directory().Add(a); err != nil {
			g.t.Fatal(err)
		}
	}
}

// ran notes a run. A call's number is its client id.
func (g *givenUp) ran(req *scamp.Request) { g.runs[req.ClientID].Add(1) }

// wait ends when its caller has left.
func (g *givenUp) wait(ctx context.Context, req *scamp.Request, _ *scamp.ReplyWriter) error {
	g.ran(req)
	<-ctx.Done()
	return context.Cause(ctx)
}

// slow takes its time, up to three milliseconds.
func (g *givenUp) slow(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
	g.ran(req)
	<-time.After(time.Duration(req.ClientID%30) * 100 * time.Microsecond)
	return rep.SetBytes([]byte("slow"))
}

// read reads the whole body.
func (g *givenUp) read(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
	g.ran(req)
	_, err := io.Copy(io.Discard, req.Body)
	return err
}

// big answers with more than a window.
func (g *givenUp) big(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
	g.ran(req)
	_, err := rep.ReadFrom(io.LimitReader(zeros{}, 160<<10))
	return err
}

// breaks breaks its reply off, and the request's body with it.
func (g *givenUp) breaks(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
	g.ran(req)
	if _, err := io.CopyN(rep, zeros{}, 10<<10); err != nil {
		return err
	}
	return errors.New("cannot go on")
}

func (g *givenUp) typed(ctx context.Context, in int) (int, error) {
	g.runs[in].Add(1)
	if in%2 == 0 {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	<-time.After(time.Duration(in%30) * 100 * time.Microsecond)
	return in, nil
}

// run makes the next calls, until there were so many.
func (g *givenUp) run(to int) {
	var callers sync.WaitGroup
	var next atomic.Int64
	next.Store(int64(g.made))
	for range givenUpCallers {
		callers.Go(func() { // ends with the last call
			for id := next.Add(1) - 1; id < int64(to); id = next.Add(1) - 1 {
				g.call(id)
			}
		})
	}
	callers.Wait()
	g.made = to
}

// call makes one call, by the dice that belong to its number.
func (g *givenUp) call(id int64) {
	r := rand.New(rand.NewPCG(g.seed, uint64(id)))
	ways := givenUpWays
	way := ways[r.IntN(len(ways))]
	bus := []*scamp.Bus{g.plain, g.plain, g.cut, g.own}[r.IntN(4)]
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	began := time.Now()
	err := way.call(g, ctx, bus, id, r)
	if took := time.Since(began); took > 15*time.Second {
		g.t.Errorf("seed %d: call %d, %s, took %v: %v", g.seed, id, way.name, took, err)
	}
	g.said[id] = ranOf(err)
	kind := "ok"
	if err != nil {
		kind = g.said[id].String()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.how[way.name] == nil {
		g.how[way.name] = make(map[string]int)
	}
	g.how[way.name][kind]++
}

// soon ends ctx within two milliseconds, by its deadline or by a cancel.
func soon(ctx context.Context, r *rand.Rand) (context.Context, context.CancelFunc) {
	d := time.Duration(r.IntN(2000)) * time.Microsecond
	if r.IntN(2) == 0 {
		return context.WithTimeout(ctx, d)
	}
	ctx, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(d, cancel)
	return ctx, func() { timer.Stop(); cancel() }
}

// whole makes a call and reads its reply.
func whole(ctx context.Context, bus *scamp.Bus, req *scamp.Request) error {
	reply, err := bus.Call(ctx, req)
	if err == nil {
		_, err = reply.Bytes(0)
	}
	return err
}

// givenUpWays are the ways to give a call up.
var givenUpWays = []struct {
	name string
	call func(g *givenUp, ctx context.Context, bus *scamp.Bus, id int64, r *rand.Rand) error
}{
	{"before it is sent", func(g *givenUp, ctx context.Context, bus *scamp.Bus, id int64, r *rand.Rand) error {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return whole(ctx, bus, &scamp.Request{Action: "Given.slow", ClientID: id})
	}},
	{"while connecting", func(g *givenUp, ctx context.Context, _ *scamp.Bus, id int64, r *rand.Rand) error {
		ctx, cancel := soon(ctx, r)
		defer cancel()
		return whole(ctx, g.plain, &scamp.Request{Action: "Given.hole", ClientID: id})
	}},
	{"in line, or in the handler", func(g *givenUp, ctx context.Context, bus *scamp.Bus, id int64, r *rand.Rand) error {
		ctx, cancel := soon(ctx, r)
		defer cancel()
		return whole(ctx, bus, &scamp.Request{Action: "Given.slow", ClientID: id})
	}},
	{"while it waits", func(g *givenUp, ctx context.Context, bus *scamp.Bus, id int64, r *rand.Rand) error {
		ctx, cancel := soon(ctx, r)
		defer cancel()
		return whole(ctx, bus, &scamp.Request{Action: "Given.wait", ClientID: id})
	}},
	{"a typed call", func(g *givenUp, ctx context.Context, bus *scamp.Bus, id int64, r *rand.Rand) error {
		ctx, cancel := soon(ctx, r)
		defer cancel()
		_, err := scamp.Call[int](ctx, bus, "Given.typed", int(id))
		return err
	}},
	{"within the request's body", func(g *givenUp, ctx context.Context, bus *scamp.Bus, id int64, r *rand.Rand) error {
		ctx, cancel := soon(ctx, r)
		defer cancel()
		body := io.MultiReader(io.LimitReader(zeros{}, r.Int64N(120<<10)), untilDone{ctx})
		return whole(ctx, bus, &scamp.Request{Action: "Given.read", Body: body, ClientID: id})
	}},
	{"a stream within its body", func(g *givenUp, ctx context.Context, bus *scamp.Bus, id int64, r *rand.Rand) error {
		s, err := bus.Stream(ctx, &scamp.Request{Action: []string{"Given.read", "Given.wait", "Given.big"}[r.IntN(3)], ClientID: id})
		if err != nil {
			return err
		}
		timer := time.AfterFunc(time.Duration(r.IntN(2000))*time.Microsecond, func() { s.Close() })
		defer timer.Stop()
		defer s.Close()
		if _, err := io.CopyN(s, zeros{}, r.Int64N(120<<10)); err != nil {
			return err
		}
		if r.IntN(2) == 0 {
			s.Abort("given up")
		}
		_, err = s.Reply()
		return err
	}},
	{"within the reply, closed", func(g *givenUp, ctx context.Context, bus *scamp.Bus, id int64, r *rand.Rand) error {
		reply, err := bus.Call(ctx, &scamp.Request{Action: "Given.big", ClientID: id})
		if err != nil {
			return err
		}
		defer reply.Body.Close()
		_, err = io.CopyN(io.Discard, reply.Body, r.Int64N(160<<10))
		return err
	}},
	{"within the reply, cancelled", func(g *givenUp, ctx context.Context, bus *scamp.Bus, id int64, r *rand.Rand) error {
		ctx, cancel := soon(ctx, r)
		defer cancel()
		return whole(ctx, bus, &scamp.Request{Action: "Given.big", ClientID: id})
	}},
	{"a reply that nobody reads", func(g *givenUp, ctx context.Context, bus *scamp.Bus, id int64, r *rand.Rand) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		_, err := bus.Call(ctx, &scamp.Request{Action: "Given.big", ClientID: id})
		return err
	}},
	{"broken off by the service", func(g *givenUp, ctx context.Context, bus *scamp.Bus, id int64, r *rand.Rand) error {
		req := &scamp.Request{Action: "Given.break", ClientID: id}
		if r.IntN(2) == 0 {
			req.Body = io.LimitReader(zeros{}, r.Int64N(120<<10))
		}
		return whole(ctx, bus, req)
	}},
	{"for another attempt", func(g *givenUp, ctx context.Context, bus *scamp.Bus, id int64, r *rand.Rand) error {
		req := &scamp.Request{Action: "Given.slow", ClientID: id, Idempotent: true, Retry: &scamp.RetryOptions{AttemptTimeout: time.Millisecond}}
		if r.IntN(2) == 0 {
			req.Retry = &scamp.RetryOptions{Hedge: time.Millisecond}
			req.Action = []string{"Given.slow", "Given.big"}[r.IntN(2)]
		}
		return whole(ctx, bus, req)
	}},
	{"answered", func(g *givenUp, ctx context.Context, bus *scamp.Bus, id int64, r *rand.Rand) error {
		return whole(ctx, bus, &scamp.Request{Action: "Given.read", Data: bytes.Repeat([]byte("x"), r.IntN(100<<10)), ClientID: id})
	}},
}

// An untilDone is a body whose next octet never comes.
type untilDone struct{ ctx context.Context }

func (u untilDone) Read([]byte) (int, error) { <-u.ctx.Done(); return 0, u.ctx.Err() }

// left is what the calls have left in tables.
func (g *givenUp) left() map[string]int {
	sum := make(map[string]int)
	for _, b := range g.all {
		for what, n := range scamp.TablesOf(b) {
			sum[what] += n
		}
	}
	return sum
}

// wantNothingLeft waits until tables are empty, which says that every end of every call
// has come to both sides.
func (g *givenUp) wantNothingLeft() {
	g.t.Helper()
	for _, bus := range []*scamp.Bus{g.plain, g.cut, g.own} {
		for range 30 { // a service that has said nothing yet could not be told to cancel
			whole(g.t.Context(), bus, &scamp.Request{Action: "Given.read", ClientID: int64(len(g.said))})
		}
	}
	var left map[string]int
	if !scamptest.Eventually(func() bool { left = g.left(); return len(left) == 0 }) {
		g.t.Errorf("seed %d: after %d calls tables have %v, want nothing", g.seed, g.made, left)
	}
}

// wantTrueRan compares what was said of calls with the runs of their handlers, and wants
// every way to have been taken.
func (g *givenUp) wantTrueRan() {
	g.t.Helper()
	var lines []string
	for _, way := range givenUpWays {
		lines = append(lines, fmt.Sprintf("%-28s %v", way.name, g.how[way.name]))
	}
	g.t.Logf("%d calls, %d connections cut, counters of one caller %v\n%s", g.made, g.cutter.cuts.Load(), g.plain.Stats(), strings.Join(lines, "\n"))
	for id, said := range g.said[:g.made] {
		if n := g.runs[id].Load(); said == scamp.RanNo && n > 0 || said == scamp.RanYes && n == 0 {
			g.t.Errorf("seed %d: call %d was said to have run: %v; its handler ran %d times", g.seed, id, said, n)
		}
	}
	kinds := make(map[string]int)
	for _, how := range g.how {
		for kind, n := range how {
			kinds[kind] += n
		}
	}
	if len(g.how) != len(givenUpWays) || kinds["ok"]*kinds["no"]*kinds["maybe"] == 0 || g.cutter.cuts.Load() == 0 {
		g.t.Errorf("seed %d: %d of %d ways, %v, %d cuts: want some of each", g.seed, len(g.how), len(givenUpWays), slices.Sorted(maps.Keys(kinds)), g.cutter.cuts.Load())
	}
}
