package scamp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// TestConformanceServiceTime has the lines of PROTOCOL 17 about the time of a service,
// all of it synthetic.
func TestConformanceServiceTime(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"46_idle_service", idleService},
		{"47b_handler_that_does_not_begin", handlerDoesNotBegin},
		{"47b_reply_in_progress", replyInProgress},
		{"47b_reply_of_tN_in_progress", replyOfTNInProgress},
		{"47b_reply_without_progress", replyWithoutProgress},
		{"49_caller_without_a_header_line", noHeaderLine},
	} {
		t.Run(tt.name, func(t *testing.T) { synctest.Test(t, tt.run) })
	}
}

func idleService(t *testing.T) {
	s, w := sampleService(t, nil)
	w.send(msg(0, ask("Sample.echo", 1), "x"))
	w.message()
	if !w.lives(119*time.Second) || w.lives(2*time.Second) {
		t.Error("an idle connection of a service does not close after 120 s")
	}
	if n := s.Bus.Stats()["idle_closed"]; n != 1 {
		t.Errorf("idle_closed is %d, want 1", n)
	}

	// A handler that works, an open request, a reply that is not over: none is idle.
	n := scamptest.New(t)
	long := n.Serve("long", func(s *scamp.Service) {
		s.Handle("Long.work", func(ctx context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
			<-time.After(500 * time.Second)
			return rep.SetBytes([]byte("done"))
		}, &scamp.ActionOptions{Timeout: time.Hour})
	})
	w = callWire(t, n, long.Addr())
	w.send(msg(0, ask("Long.work", 1), ""))
	if !w.lives(499 * time.Second) {
		t.Fatal("the connection closed while a handler worked")
	}
	if m := w.message(); m.body != "done" {
		t.Errorf("reply after 500 s: %s with %q, want done", m.json, m.body)
	}
	if !w.lives(119*time.Second) || w.lives(2*time.Second) {
		t.Error("the connection does not close 120 s after the last reply")
	}
}

func handlerDoesNotBegin(t *testing.T) {
	n := scamptest.New(t)
	ended := make(chan error, 1)
	wait := func(ctx context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
		<-ctx.Done()
		_, err := io.WriteString(rep, "too late")
		ended <- err
		return nil
	}
	s := n.Serve("slow", func(s *scamp.Service) {
		s.Handle("Slow.wait", wait, nil)
		s.Handle("Slow.long", wait, &scamp.ActionOptions{Timeout: 600 * time.Second})
	})
	w := callWire(t, n, s.Addr())
	for i, tt := range []struct {
		action string
		want   time.Duration
	}{{"Slow.wait", 60 * time.Second}, {"Slow.long", 600 * time.Second}} {
		began := time.Now()
		w.send(msg(i, ask(tt.action, i+1), ""))
		synctest.Wait()
		<-time.After(tt.want) // message waits for 20 s at most
		m := w.message()
		if after := time.Since(began); after != tt.want || m.header.ErrorCode != "transport" || m.header.Error != "service timeout" {
			t.Errorf("%s: reply %s after %v, want service timeout after %v", tt.action, m.json, after, tt.want)
		}
		if err := <-ended; err == nil {
			t.Errorf("%s: the handler could still write", tt.action)
		}
		w.quiet()
	}
}

// N + 5 s stop at the reply's HEADER (PROTOCOL 4.9), also between two of ours: what has
// begun goes on for as long as it makes progress. What has not ends at N.
func replyOfTNInProgress(t *testing.T) {
	n := scamptest.New(t)
	svc := n.Serve("slow", func(s *scamp.Service) {
		opts := &scamp.ActionOptions{Timeout: 2 * time.Second}
		s.Handle("Slow.rows", func(ctx context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
			for range 30 {
				if _, err := rep.Write([]byte("row\n")); err != nil {
					return err
				}
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		}, opts)
		s.Handle("Slow.hang", hang, opts)
	})
	for name, bus := range map[string]*scamp.Bus{"remote": n.Bus(nil), "local": svc.Bus} {
		for range 2 { // the service has shown that it knows ext, the second time
			began := time.Now()
			o := <-inBackground(t.Context(), bus, &scamp.Request{Action: "Slow.rows"})
			if took := time.Since(began); o.err != nil || len(o.body) != 30*len("row\n") || took < 29*time.Second {
				t.Errorf("%s: 30 rows in 30 s of an action with t2: %d octets and %v after %v, want all", name, len(o.body), o.err, took)
			}
			began = time.Now()
			o = <-inBackground(t.Context(), bus, &scamp.Request{Action: "Slow.hang"})
			if took := time.Since(began); took != 2*time.Second || !errors.Is(o.err, scamp.ErrTimeout) {
				t.Errorf("%s: an action with t2 that says nothing: %v after %v, want a timeout after 2s", name, o.err, took)
			}
		}
	}
}

func replyInProgress(t *testing.T) {
	n := scamptest.New(t)
	s := n.Serve("slow", func(s *scamp.Service) {
		s.Handle("Slow.drip", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
			for range 600 { // 1 KiB/s
				if _, err := rep.Write(make([]byte, 1024)); err != nil {
					return err
				}
				<-time.After(time.Second)
			}
			return nil
		}, nil)
		s.Handle("Slow.pause", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
			io.WriteString(rep, "a")
			<-time.After(1000 * time.Second) // nothing to say yet
			_, err := io.WriteString(rep, "b")
			return err
		}, nil)
		s.Handle("Slow.big", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
			return rep.SetBytes(make([]byte, 65536+8))
		}, nil)
	})
	w := callWire(t, n, s.Addr())
	w.acks.Store(true)
	w.send(msg(0, ask("Slow.drip", 1), ""))
	if !w.lives(601 * time.Second) {
		t.Fatal("the connection was closed")
	}
	if m := w.message(); !m.whole || len(m.body) != 600<<10 {
		t.Errorf("a reply of 1 KiB/s: %d octets, ended by TXERR %q, want all of 614400", len(m.body), m.txerr)
	}
	w.send(msg(1, ask("Slow.pause", 2), ""))
	<-time.After(1001 * time.Second)
	if m := w.message(); !m.whole || m.body != "ab" {
		t.Errorf("a reply with a pause: %q, ended by TXERR %q, want ab", m.body, m.txerr)
	}
	// Acknowledged octet by octet, it still moves.
	w.acks.Store(false)
	w.send(msg(2, ask("Slow.big", 3), ""))
	for i := range 7 {
		<-time.After(59 * time.Second)
		w.send(pk("ACK", 2, fmt.Sprint(i+1)))
	}
	w.send(pk("ACK", 2, "65536"))
	if m := w.message(); !m.whole || len(m.body) != 65536+8 {
		t.Errorf("a reply acknowledged slowly: %d octets, ended by TXERR %q, want all of it", len(m.body), m.txerr)
	}
}

func replyWithoutProgress(t *testing.T) {
	n := scamptest.New(t)
	failed := make(chan error, 1)
	s := n.Serve("slow", func(s *scamp.Service) {
		s.Handle("Slow.write", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
			<-time.After(30 * time.Second)
			_, err := rep.Write(make([]byte, 100000))
			failed <- err
			return err
		}, nil)
		s.Handle("Slow.set", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
			return rep.SetBytes(make([]byte, 100000))
		}, nil)
	})
	for action, want := range map[string]time.Duration{"Slow.write": 90 * time.Second, "Slow.set": 60 * time.Second} {
		w := callWire(t, n, s.Addr())
		began := time.Now()
		w.send(msg(0, ask(action, 1), ""))
		<-time.After(want - 10*time.Second)
		m := w.message()
		if after := time.Since(began); after != want || len(m.body) != 65536 || m.txerr == "" {
			t.Errorf("%s that nobody acknowledges: %d octets, TXERR %q after %v, want 65536 and a TXERR after %v", action, len(m.body), m.txerr, after, want)
		}
		w.quiet()
	}
	if err := <-failed; err == nil {
		t.Error("Write of a reply that was cut: no error")
	}
	if n := s.Bus.Stats()["send_stalled"]; n != 2 {
		t.Errorf("send_stalled is %d, want 2", n)
	}
}

func noHeaderLine(t *testing.T) {
	s, silent := sampleService(t, nil)
	if !silent.lives(4*time.Second) || silent.lives(2*time.Second) {
		t.Error("a connection without a first header line does not close after 5 s")
	}
	n := scamptest.New(t)
	s2 := n.Serve("sample", func(s *scamp.Service) { s.Handle("Sample.echo", echo, nil) })
	// An octet a second is no header line.
	slow := callWire(t, n, s2.Addr())
	for i := range 6 {
		slow.send("HEADER"[i : i+1])
		<-time.After(time.Second)
	}
	slow.over()
	// A whole one is, whatever follows.
	w := callWire(t, n, s2.Addr())
	header := ask("Sample.echo", 1)
	w.send(fmt.Sprintf("HEADER 0 %d\r\n", len(header)))
	if !w.lives(30 * time.Second) {
		t.Fatal("a connection with a header line was closed")
	}
	w.send(header, "END\r\n", pk("EOF", 0, ""))
	w.message()
	// A peer that does not even speak TLS.
	raw, err := n.Dial(t.Context(), "tcp", s2.Addr())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := io.Copy(io.Discard, raw); time.Since(began) != 5*time.Second {
		t.Errorf("a connection without a handshake: %v after %v, want it closed after 5s", err, time.Since(began))
	}
	synctest.Wait()
	if a, b := s.Bus.Stats()["handshake_timeout"], s2.Bus.Stats()["handshake_timeout"]; a != 1 || b != 2 {
		t.Errorf("handshake_timeout is %d and %d, want 1 and 2", a, b)
	}
}
