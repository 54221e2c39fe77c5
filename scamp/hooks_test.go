package scamp_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// Hooks are told in order, at their time: whoever is told that the service drains can
// still have it answer, and when it has drained nothing of it runs.
func TestServiceHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		bus, pair := n.Bus(nil), n.KeyPair()
		n.Allow(pair, "main:ALL")
		var running atomic.Int32
		var svc *scamp.Service
		var told []string
		began := time.Now()
		note := func(what string, calls bool) func() {
			return func() {
				code := "ok"
				if calls {
					code, _ = callCode(t, bus, "Sample.quick", "")
				}
				told = append(told, fmt.Sprintf("%s: %s, %d running, after %v", what, code, running.Load(), time.Since(began).Round(time.Second)))
			}
		}
		svc, err := n.Bus(nil).NewService("sample", &scamp.ServiceOptions{
			KeyPair: pair, Listen: []string{"127.0.0.1:0"}, Grace: 3 * time.Second,
			Hooks: scamp.ServiceHooks{Ready: note("ready", true), Draining: note("draining", true), Drained: note("drained", false)},
		})
		if err != nil {
			t.Fatal(err)
		}
		svc.Handle("Sample.quick", ok, nil)
		svc.Handle("Sample.slow", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
			running.Add(1)
			defer running.Add(-1)
			<-time.After(10 * time.Second)
			return nil
		}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- svc.Serve(ctx) }() // ends with ctx
		<-svc.Ready()
		slow := inBackground(t.Context(), bus, &scamp.Request{Action: "Sample.slow"})
		<-time.After(time.Second)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if o := <-slow; o.err != nil {
			t.Errorf("the call in hand: %v, want it answered", o.err)
		}
		want := []string{"ready: ok, 0 running, after 0s", "draining: ok, 1 running, after 1s", "drained: ok, 0 running, after 10s"}
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}

// A service that does not start tells nothing.
func TestServiceHooksWithoutStart(t *testing.T) {
	n := scamptest.New(t)
	never := func() { t.Error("a hook was told of a service that did not start") }
	svc, err := n.Bus(nil).NewService("sample", &scamp.ServiceOptions{KeyPair: n.KeyPair(), Hooks: scamp.ServiceHooks{Ready: never, Draining: never, Drained: never}})
	if err != nil {
		t.Fatal(err)
	}
	if err := svc.Serve(t.Context()); err == nil {
		t.Error("a service without actions was served")
	}
}
