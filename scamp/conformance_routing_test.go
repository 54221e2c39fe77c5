package scamp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/internal/ticketscan"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// TestConformanceRouting has the lines of PROTOCOL 17 about how an instance is found
// and chosen.
func TestConformanceRouting(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"75a_without_a_cache_file_multicast_is_enough", heardAlone},
		{"81_case_aliases_and_the_announced_name", caseAndAliases},
		{"82_mismatches_are_not_found", mismatches},
		{"83_unreachable_instance_is_avoided", unreachableIsAvoided},
		{"83_unreachable_instance_is_used_when_alone", unreachableAlone},
		{"83_refusing_instance_is_avoided_for_a_second", refusingIsAvoided},
		{"84_one_redispatch_to_another_instance", oneRedispatch},
		{"84_no_redispatch_of_what_may_not_be_repeated", noRedispatch},
	} {
		t.Run(tt.name, func(t *testing.T) { synctest.Test(t, tt.run) })
	}
	t.Run("86_port_in_use_another_is_tried", portInUse)
	t.Run("86a_no_address", noAddress)
}

func heardAlone(t *testing.T) {
	n := scamptest.New(t)
	bus := n.Bus(nil) // knows nobody yet
	began := time.Now()
	done := inBackground(t.Context(), bus, &scamp.Request{Action: "Greeter.echo", Data: []byte("x")})
	<-time.After(3 * time.Second)
	n.Serve("greeter", register)
	if o := <-done; o.body != "x" || time.Since(began) > 6*time.Second {
		t.Errorf("call before the service is there: %q, %v after %v, want it heard and called", o.body, o.err, time.Since(began))
	}
}

func caseAndAliases(t *testing.T) {
	f := newFar(t)
	bus := f.bus(nil)
	f.announce(bus, "sample:1", "127.0.0.1:30101", discovery.Action{Class: "Sample.Item", Name: "makeOne", Flags: []string{"create"}, Version: 2})
	var w *wire
	for i, action := range []string{"Sample.Item.makeOne~2", "MAIN:sample.ITEM.MAKEONE~2", "main:sample.item._CREATE~2"} {
		done := inBackground(t.Context(), bus, &scamp.Request{Action: action})
		if w == nil {
			w = f.next()
		}
		m := w.message()
		if m.header.Action != "Sample.Item.makeOne" || m.header.Version != 2 || m.header.Sector != "main" {
			t.Errorf("call of %s: %s, want the announced name", action, m.json)
		}
		w.send(reply(i, i+1, ""))
		if o := <-done; o.err != nil {
			t.Errorf("call of %s: %v", action, o.err)
		}
	}
}

func mismatches(t *testing.T) {
	f := newFar(t)
	bus := f.bus(nil)
	f.announce(bus, "sample:1", "127.0.0.1:30101", discovery.Action{Class: "Sample", Name: "echo", Sector: "main"})
	for _, req := range []scamp.Request{
		{Action: "Sample.echo", Envelope: "jsonstore"},
		{Action: "Sample.echo~2"},
		{Action: "Sample.echo", Version: 3},
		{Action: "web:Sample.echo"},
		{Action: "Sample.echo", Sector: "background"},
		{Action: "Sample.echo", Route: &scamp.RouteOptions{Ident: "sample:2"}},
		{Action: "Sample._create"},
	} {
		_, err := bus.Call(t.Context(), &req)
		wantRan(t, fmt.Sprintf("%+v", req), err, scamp.RanNo, scamp.ErrNotFound)
	}
	if n := f.dialed(); n != 0 {
		t.Errorf("%d dials, want none", n)
	}
	done := inBackground(t.Context(), bus, &scamp.Request{Action: "Sample.echo", Route: &scamp.RouteOptions{Ident: f.pair.Certificate.Fingerprint + "#sample:1"}})
	w := f.next()
	w.message()
	w.send(reply(0, 1, ""))
	if o := <-done; o.err != nil {
		t.Errorf("call aimed at fingerprint#ident: %v", o.err)
	}
}

const (
	alpha = "127.0.0.1:30101"
	beta  = "127.0.0.1:30102"
)

func unreachableIsAvoided(t *testing.T) {
	s, bus := newStreet(t)
	s.answer("")
	s.announce(bus, "sample:alpha", alpha)
	s.announce(bus, "sample:beta", beta)
	s.set(alpha, true)
	for range 50 {
		if o := <-inBackground(t.Context(), bus, echoReq("")); o.err != nil {
			t.Fatalf("with one of two instances down: %v", o.err)
		}
	}
	if log := s.dials(); len(log) > 2 || !slices.Contains(log, beta) {
		t.Errorf("dials %q, want each instance dialed at most once", log)
	}
	// A newer announcement lifts the mark, and so it is tried again.
	s.set(alpha, false)
	<-time.After(100 * time.Millisecond)
	s.announce(bus, "sample:alpha", alpha)
	<-time.After(time.Second)
	for range 50 {
		<-inBackground(t.Context(), bus, echoReq(""))
	}
	if log := s.dials(); !slices.Contains(log, alpha) {
		t.Errorf("dials %q after a newer announcement, want %s tried", log, alpha)
	}
}

func unreachableAlone(t *testing.T) {
	s, bus := newStreet(t)
	s.answer("")
	s.announce(bus, "sample:alpha", alpha)
	s.set(alpha, true)
	for range 100 {
		o := <-inBackground(t.Context(), bus, echoReq(""))
		wantRan(t, "the only instance is down", o.err, scamp.RanNo, scamp.ErrNoDial)
	}
	if log := s.dials(); len(log) != 1 {
		t.Errorf("%d dials within a second, want 1", len(log))
	}
	if n := bus.Stats()["dial_backoff"]; n < 99 {
		t.Errorf("dial_backoff is %d, want 99 or more", n)
	}
	s.set(alpha, false)
	<-time.After(1001 * time.Millisecond)
	if o := <-inBackground(t.Context(), bus, echoReq("")); o.err != nil {
		t.Errorf("the only instance is back: %v, want it used although it failed before", o.err)
	}
}

func refusingIsAvoided(t *testing.T) {
	s, bus := newStreet(t)
	s.announce(bus, "sample:alpha", alpha)
	refusing := inBackground(t.Context(), bus, echoReq(""))
	w := s.next()
	w.message()
	// While it says so, the other one comes up.
	s.announce(bus, "sample:beta", beta)
	s.answer("")
	w.send(msg(0, `{"request_id":1,"type":"reply","error_code":"transport","error":"busy","error_data":{"dispatch_failure":true}}`, ""))
	if o := <-refusing; o.err != nil || o.reply.Instance != "sample:beta" {
		t.Errorf("call that was refused: %v, want the reply of the other instance", o.err)
	}
	count := func() (a, b int) {
		for range 40 {
			switch o := <-inBackground(t.Context(), bus, echoReq("")); {
			case o.err != nil:
				t.Fatal(o.err)
			case o.reply.Instance == "sample:alpha":
				a++
			default:
				b++
			}
		}
		return a, b
	}
	if a, _ := count(); a != 0 {
		t.Errorf("%d of 40 calls went to the instance that had just refused, want none for a second", a)
	}
	go w.serveAll(1, "") // ends with the connection
	<-time.After(1001 * time.Millisecond)
	if a, b := count(); a == 0 || b == 0 {
		t.Errorf("a second later: %d and %d of 40 calls, want both instances used", a, b)
	}
}

func oneRedispatch(t *testing.T) {
	s, bus := newStreet(t)
	s.answer(`,"error_code":"transport","error":"busy","error_data":{"dispatch_failure":true}`)
	s.announce(bus, "sample:alpha", alpha)
	s.announce(bus, "sample:beta", beta)
	var asked []string
	ctx := scamp.WithTrace(t.Context(), &scamp.Trace{Routed: func(r discovery.Route) { asked = append(asked, r.Ident) }})
	_, err := bus.Call(ctx, echoReq(""))
	var ce *scamp.CallError
	wantRan(t, "everybody refuses", err, scamp.RanNo, scamp.ErrRefused)
	if errors.As(err, &ce); ce.Attempts != 2 || len(asked) != 2 || asked[0] == asked[1] {
		t.Errorf("asked %q, %d attempts, want both instances once", asked, ce.Attempts)
	}
	// A quota and trouble inside are redispatched once too, however many attempts there may
	// be, but speak against no instance.
	for _, code := range []string{"ratelimit", "internal"} {
		s, bus := newStreet(t)
		s.answer(`,"error_code":"` + code + `","error":"no","error_data":{"dispatch_failure":true}`)
		s.announce(bus, "sample:alpha", alpha)
		s.announce(bus, "sample:beta", beta)
		for _, retry := range []*scamp.RetryOptions{nil, {Attempts: 5}} {
			asked = nil
			req := echoReq("")
			req.Retry = retry
			_, err := bus.Call(ctx, req)
			wantRan(t, code, err, scamp.RanNo, scamp.ErrRefused)
			if len(asked) != 2 || asked[0] == asked[1] {
				t.Errorf("%s, retry %+v: asked %q, want both instances once", code, retry, asked)
			}
		}
		if n := bus.Stats()["instance_avoided"]; n > 0 {
			t.Errorf("%s: %d instances avoided, want none", code, n)
		}
		alone, bus := newStreet(t)
		alone.answer(`,"error_code":"` + code + `","error":"no","error_data":{"dispatch_failure":true}`)
		alone.announce(bus, "sample:alpha", alpha)
		for _, retry := range []*scamp.RetryOptions{nil, {Attempts: 5}} {
			asked = nil
			req := echoReq("")
			req.Retry = retry
			if _, err := bus.Call(ctx, req); err == nil || len(asked) != 1 {
				t.Errorf("%s of the only instance, retry %+v: %v, asked %q, want it once", code, retry, err, asked)
			}
		}
	}
	// With one instance it is asked again itself.
	s2, bus2 := newStreet(t)
	s2.answer(`,"error_code":"transport","error":"busy","error_data":{"dispatch_failure":true}`)
	s2.announce(bus2, "sample:alpha", alpha)
	asked = nil
	_, err = bus2.Call(ctx, echoReq(""))
	wantRan(t, "the only one refuses", err, scamp.RanNo, scamp.ErrRefused)
	if !slices.Equal(asked, []string{"sample:alpha", "sample:alpha"}) {
		t.Errorf("asked %q, want it twice", asked)
	}
}

func noRedispatch(t *testing.T) {
	for name, tt := range map[string]struct {
		members string
		req     *scamp.Request
	}{
		"authz":           {`,"error_code":"authz","error":"no","error_data":{"dispatch_failure":true}`, echoReq("")},
		"authn":           {`,"error_code":"authn","error":"no","error_data":{"dispatch_failure":true}`, echoReq("")},
		"an error":        {`,"error_code":"transport","error":"no"`, echoReq("")},
		"aimed":           {`,"error_code":"transport","error":"no","error_data":{"dispatch_failure":true}`, &scamp.Request{Action: "Sample.echo", Route: &scamp.RouteOptions{Ident: "sample:alpha"}}},
		"body read once":  {`,"error_code":"transport","error":"no","error_data":{"dispatch_failure":true}`, &scamp.Request{Action: "Sample.echo", Body: strings.NewReader("x")}},
		"not quite true":  {`,"error_code":"transport","error":"no","error_data":{"dispatch_failure":1}`, echoReq("")},
		"said elsewhere":  {`,"error_code":"transport","error":"no","dispatch_failure":true`, echoReq("")},
		"said only there": {`,"error_code":"x","error":"no","error_data":{"x":{"dispatch_failure":true}}`, echoReq("")},
	} {
		s, bus := newStreet(t)
		s.answer(tt.members)
		s.announce(bus, "sample:alpha", alpha)
		s.announce(bus, "sample:beta", beta)
		asked := 0
		ctx := scamp.WithTrace(t.Context(), &scamp.Trace{Routed: func(discovery.Route) { asked++ }})
		if _, err := bus.Call(ctx, tt.req); err == nil || asked != 1 {
			t.Errorf("%s: %v after %d attempts, want an error after 1", name, err, asked)
		}
	}
}

func portInUse(t *testing.T) {
	var tried []string
	open := func(cfg *scamp.Config, busy int) error {
		tried = nil
		bus, err := scamp.Open(cfg, &scamp.Options{Log: ticketscan.Log(t, nil), Carriers: []discovery.Carrier{discovery.NewLoopback()}, Listen: func(network, addr string) (net.Listener, error) {
			tried = append(tried, addr)
			if len(tried) <= busy {
				return nil, &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
			}
			return net.Listen(network, "127.0.0.1:0")
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer bus.Close()
		svc, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: sample(t), Grace: -1})
		if err != nil {
			t.Fatal(err)
		}
		svc.Handle("Sample.echo", echo, nil)
		ctx, cancel := context.WithCancel(context.Background())
		go func() { // ends when the service is ready, or the test
			select {
			case <-svc.Ready():
			case <-ctx.Done():
			}
			cancel()
		}()
		defer cancel()
		return svc.Serve(ctx)
	}
	addr := []string{"127.0.0.1"}
	if err := open(&scamp.Config{BusAddress: addr}, 5); err != nil || len(tried) != 6 {
		t.Errorf("five ports in use: %v after %q, want the sixth taken", err, tried)
	}
	for _, a := range tried {
		if !inRange(a, 30100, 30399) {
			t.Errorf("tried %s, want a port from 30100 to 30399", a)
		}
	}
	if err := open(&scamp.Config{BusAddress: addr, FirstPort: 4000}, 19); err != nil || !inRange(tried[19], 4000, 4299) {
		t.Errorf("first_port 4000: %v after %q, want ports from 4000 to 4299", err, tried)
	}
	if err := open(&scamp.Config{BusAddress: addr, BindTries: 3, FirstPort: 4000, LastPort: 4000}, 100); err == nil || len(tried) != 3 || !strings.Contains(err.Error(), "4000") {
		t.Errorf("all ports in use: %v after %q, want an error after 3 tries", err, tried)
	}
}

func inRange(addr string, first, last int) bool {
	var port int
	_, err := fmt.Sscanf(addr, "127.0.0.1:%d", &port)
	return err == nil && first <= port && port <= last
}

func noAddress(t *testing.T) {
	// A cache file with an instance of ours on loopback.
	n := scamptest.New(t)
	live := n.Serve("greeter", register)
	var record []byte
	for _, e := range live.Bus.Directory().All() {
		record = append(append(record, "\n%%%\n"...), e.Announcement.Record()...)
	}
	dir := t.TempDir()
	cache, rules := filepath.Join(dir, "cache"), filepath.Join(dir, "rules")
	for file, text := range map[string]string{cache: string(record), rules: live.KeyPair.Certificate.Fingerprint + " main:ALL\n"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	nowhere := &scamp.Config{BusAddress: []string{"if:no-such-interface"}, CachePath: cache, AuthorizedServices: rules}
	bus, err := scamp.Open(nowhere, &scamp.Options{Log: ticketscan.Log(t, nil), Dial: n.Dial})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	if out, err := scamp.Call[greeting](t.Context(), bus, "Greeter.hello", who{"x"}); err != nil || out.Text != "hello x" {
		t.Errorf("call through a cache file without an address: %+v, %v, want hello x", out, err)
	}
	svc, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: sample(t)})
	if err != nil {
		t.Fatal(err)
	}
	svc.Handle("Sample.echo", echo, nil)
	if err := svc.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "bus.address") || !strings.Contains(err.Error(), "no-such-interface") {
		t.Errorf("Serve without an address: %v, want an error that names bus.address and the interface", err)
	}
}
