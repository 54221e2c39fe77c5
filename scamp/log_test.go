package scamp_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A stuck log takes one line and then none until it is freed.
type stuck struct {
	slog.Handler // of which only Enabled is used
	took         chan struct{}
	free         chan struct{}

	mu    sync.Mutex
	lines []string
}

func (s *stuck) Enabled(context.Context, slog.Level) bool { return true }

func (s *stuck) Handle(_ context.Context, r slog.Record) error {
	select {
	case s.took <- struct{}{}:
	default:
	}
	<-s.free
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line)
	return nil
}

// A log that takes no line stops nobody: not the connection whose peer was odd, and not
// the others. What waits for it is bounded; what does not fit is counted, and Close
// waits for the rest.
func TestStuckLogStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const odd, waiting = 100, 64
		log := &stuck{took: make(chan struct{}, 1), free: make(chan struct{})}
		n := scamptest.New(t)
		pair := n.KeyPair()
		bus := n.Bus(&scamp.Options{Log: slog.New(log), Limits: scamp.Limits{LogRate: 1000}})
		svc, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}, Grace: -1})
		if err != nil {
			t.Fatal(err)
		}
		svc.Handle("Sample.echo", echo, nil)
		stop := serve(t, svc)
		w := callWire(t, n, svc.Addr())
		w.send(msg(0, `{"type":"first"}`, ""))
		<-log.took // from here on the log is stuck
		for i := range odd {
			w.send(msg(1+i, `{"type":"banana"}`, ""))
		}
		w.send(msg(1+odd, ask("Sample.echo", 1), "x"))
		if m := w.message(); m.body != "x" {
			t.Errorf("request behind %d oddities while the log is stuck: %q, want its reply", odd, m.json)
		}
		if got := bus.Stats()["log_suppressed"]; got != odd-waiting {
			t.Errorf("log_suppressed is %d, want the %d of %d lines that do not fit into %d", got, odd-waiting, odd, waiting)
		}
		closed := make(chan struct{})
		go func() { stop(); bus.Close(); close(closed) }() // ends when the log is freed
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close returned before the lines were written")
		default:
		}
		close(log.free)
		<-closed
		written := 0
		for _, line := range log.lines {
			if strings.Contains(line, "type=banana") {
				written++
			}
		}
		if written != waiting {
			t.Errorf("%d lines about oddities are written in the end, want the %d that waited", written, waiting)
		}
	})
}

// Lines that tell of no connection do not stop anybody either: a service is served and
// the bus goes on hearing of others while the log is stuck.
func TestStuckLogStopsNoDiscovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &stuck{took: make(chan struct{}, 1), free: make(chan struct{})}
		n := scamptest.New(t)
		pair := n.KeyPair()
		n.Allow(pair, "main:ALL")
		bus := n.Bus(&scamp.Options{Log: slog.New(log)})
		stranger := n.Segment().Join()
		defer stranger.Close()
		if err := stranger.Send(t.Context(), stranger.Iface(), []byte("no announcement")); err != nil {
			t.Fatal(err)
		}
		<-log.took // the observer's line: from here on the log is stuck
		svc, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0", "no address"}, Grace: -1})
		if err != nil {
			t.Fatal(err)
		}
		svc.Handle("Sample.echo", echo, nil)
		stop := serve(t, svc) // which tells of the address
		if _, err := bus.Call(t.Context(), echoReq("x")); err != nil {
			t.Errorf("call of a service that the bus must hear of while the log is stuck: %v", err)
		}
		close(log.free)
		stop()
		bus.Close()
		told := strings.Join(log.lines, "\n")
		for _, want := range []string{"announcement refused", "one address is not served"} {
			if !strings.Contains(told, want) {
				t.Errorf("the log says %q, want %q in it", told, want)
			}
		}
	})
}
