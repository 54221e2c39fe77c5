package scamp_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A body that is collected whole may be as long as MaxBody, at both ends; one octet more
// is refused, and the next one that fits is taken.
func TestCollectedBodiesCount(t *testing.T) {
	n := scamptest.New(t)
	n.Limits.MaxBody = 1000
	s := n.Serve("sample", func(s *scamp.Service) {
		s.Handle("Sample.size", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
			b, err := req.Bytes()
			if err != nil {
				return err
			}
			return rep.SetJSON(len(b))
		}, nil)
		s.Handle("Sample.echo", echo, nil)
	})
	bus := n.Bus(nil)
	for i, tt := range []struct {
		octets int
		ok     bool
	}{{1000, true}, {1001, false}, {999, true}} {
		body := bytes.Repeat([]byte{'x'}, tt.octets)
		before := s.Bus.Stats()["body_too_big"]
		_, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.size", Data: body})
		var re *scamp.RemoteError
		if tt.ok != (err == nil) || !tt.ok && (!errors.As(err, &re) || re.Code != scamp.CodeRequestTooBig) {
			t.Errorf("%d: a request of %d octets where 1000 are allowed: %v", i, tt.octets, err)
		}
		if moved := s.Bus.Stats()["body_too_big"] - before; (moved == 1) == tt.ok || moved > 1 {
			t.Errorf("%d: a request of %d octets moved body_too_big by %d", i, tt.octets, moved)
		}
		before = bus.Stats()["body_too_big"]
		reply, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.echo", Data: body})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := reply.Bytes(0); tt.ok != (err == nil) {
			t.Errorf("%d: a reply of %d octets where 1000 are allowed: %v", i, tt.octets, err)
		}
		if moved := bus.Stats()["body_too_big"] - before; (moved == 1) == tt.ok || moved > 1 {
			t.Errorf("%d: a reply of %d octets moved body_too_big by %d", i, tt.octets, moved)
		}
	}
	// The limit of a caller is none of ours.
	reply, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.echo", Data: []byte("long")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reply.Bytes(3); err == nil || strings.Contains(err.Error(), "flow.max_body") || bus.Stats()["body_too_big"] != 1 {
		t.Errorf("a reply longer than its caller wants: %v, body_too_big %d, want an error and still 1", err, bus.Stats()["body_too_big"])
	}
}

// An instance that refused to dispatch is passed over for AvoidTime and counted; after
// that it has its share again.
func TestRefusingInstancesAreAvoided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		var mu sync.Mutex
		ran := map[string]int{}
		serve := func(name string, limits scamp.Limits) {
			n.Limits = limits
			n.Serve(name, func(s *scamp.Service) {
				s.Handle("Sample.hold", func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error { <-ctx.Done(); return nil }, nil)
				s.Handle("Sample.who", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
					mu.Lock()
					ran[name]++
					mu.Unlock()
					return nil
				}, nil)
			})
		}
		serve("free", scamp.Limits{})
		serve("full", scamp.Limits{MaxConcurrency: 1, MaxQueue: 1})
		n.Limits = scamp.Limits{}
		bus := n.Bus(nil)
		// Fill the one that may run one handler and have one wait.
		full := n.Bus(nil)
		for _, e := range full.Directory().All() {
			if strings.HasPrefix(e.Peer.Ident, "full") {
				for range 2 {
					go full.Call(t.Context(), &scamp.Request{Action: "Sample.hold", Route: &scamp.RouteOptions{Ident: e.Peer.Ident}}) // ends with full
				}
			}
		}
		synctest.Wait()
		calls := func(k int) {
			for range k {
				if _, err := bus.Call(t.Context(), &scamp.Request{Action: "Sample.who"}); err != nil {
					t.Errorf("a call while one of two instances is full: %v", err)
				}
			}
		}
		calls(50)
		if got := bus.Stats()["instance_avoided"]; got != 1 {
			t.Errorf("instance_avoided is %d after 50 calls at once, want 1: it is passed over then", got)
		}
		<-time.After(1100 * time.Millisecond)
		calls(50)
		if got := bus.Stats()["instance_avoided"]; got != 2 {
			t.Errorf("instance_avoided is %d when the time has passed, want 2", got)
		}
		full.Close()
		<-time.After(1100 * time.Millisecond)
		calls(50)
		if got := bus.Stats()["instance_avoided"]; got != 2 || ran["full"] == 0 {
			t.Errorf("instance_avoided is %d, and the instance that has room again ran %d of 50, want 2 and some", got, ran["full"])
		}
	})
}

// A peer that TCP has given up is counted, and its calls end as lost.
func TestVanishedPeersCount(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ECONNRESET} {
		synctest.Test(t, func(t *testing.T) {
			n := scamptest.New(t)
			n.Serve("sample", func(s *scamp.Service) {
				s.Handle("Sample.hold", func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error { <-ctx.Done(); return nil }, nil)
			})
			gone := make(chan struct{})
			bus := n.Bus(&scamp.Options{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := n.Dial(ctx, network, addr)
				return &vanishing{c, gone, errno}, err
			}})
			done := inBackground(t.Context(), bus, &scamp.Request{Action: "Sample.hold"})
			synctest.Wait()
			close(gone)
			if o := <-done; !errors.Is(o.err, scamp.ErrLost) || ranOf(o.err) != scamp.RanMaybe {
				t.Errorf("%v: a call on it: %v, want ErrLost and Ran maybe", errno, o.err)
			}
			want := uint64(1)
			if errno == syscall.ECONNRESET {
				want = 0
			}
			if got := bus.Stats()["peer_vanished"]; got != want {
				t.Errorf("%v: peer_vanished is %d, want %d", errno, got, want)
			}
		})
	}
}

// A vanishing connection fails as TCP does when the other end no longer answers.
type vanishing struct {
	net.Conn
	gone  chan struct{}
	errno syscall.Errno
}

func (v *vanishing) Read(p []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() { n, err := v.Conn.Read(p); done <- result{n, err} }() // ends with the connection
	select {
	case r := <-done:
		return r.n, r.err
	case <-v.gone:
		v.Conn.Close()
		<-done
		return 0, &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", v.errno)}
	}
}

// What a peer does that is no error but odd is told in the log (PROTOCOL 4.4).
func TestRepeatedACKIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log syncBuffer
		n := scamptest.New(t)
		bus := n.Bus(&scamp.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		pair := n.KeyPair()
		n.Allow(pair, "main:ALL")
		svc, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}, Grace: -1})
		if err != nil {
			t.Fatal(err)
		}
		svc.Handle("Sample.hold", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
			rep.Write([]byte("twelve bytes"))
			_, err := req.Bytes()
			return err
		}, nil)
		serve(t, svc)
		w := callWire(t, n, svc.Addr())
		w.send(pk("HEADER", 0, ask("Sample.hold", 1)))
		w.begun()
		synctest.Wait()
		w.send(pk("ACK", 0, "12") + pk("ACK", 0, "12") + pk("EOF", 0, ""))
		w.message()
		synctest.Wait() // the log is written
		if got := bus.Stats()["ack_repeated"]; got != 1 || !strings.Contains(log.String(), "repeats the count 12") {
			t.Errorf("ack_repeated is %d, and the log says %q, want 1 and that the count was repeated", got, log.String())
		}
	})
}

// A limit below zero is no limit that anything could work with: it means the default.
func TestNegativeLimitsMeanDefaults(t *testing.T) {
	var l scamp.Limits
	v := reflect.ValueOf(&l).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.CanInt() && v.Type().Field(i).Name != "TicketSkew" {
			f.SetInt(-1)
		}
	}
	got, want := l.WithDefaults(), scamp.Limits{}.WithDefaults()
	got.TicketSkew = want.TicketSkew
	if got != want {
		t.Errorf("WithDefaults of limits below zero: %+v\nwant %+v", got, want)
	}
}

// A setting that is more than can be used is told, with its line.
func TestCappedSettingsAreTold(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"flow.max_inflight = 65536", ""},
		{"flow.max_inflight = 65537", "line 1: flow.max_inflight is 65537, but 65536 is used"},
		{"flow.max_window = 4194304", ""},
		{"\nflow.max_window = 4194305", "line 2: flow.max_window is 4194305, but 4194304 is used"},
		{"flow.max_window = 100000\nflow.max_buffered = 150000", "line 1: flow.max_window is 100000, but 75000 is used"},
	} {
		got := ""
		for _, w := range parseConfig(t, tt.text).Warnings {
			got += w.String()
		}
		_, rest, _ := strings.Cut(tt.want, ": ")
		if (got == "") != (tt.want == "") || !strings.Contains(got, rest) {
			t.Errorf("%q: warnings %q, want %q", tt.text, got, tt.want)
		}
	}
}
