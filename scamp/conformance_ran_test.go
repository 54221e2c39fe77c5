package scamp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// TestConformanceRan has the table of PROTOCOL 5.5 row by row, and what the others say
// about how calls fail (invariant 3).
func TestConformanceRan(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"44a_reply_or_error_of_the_handler", ranAnswered},
		{"44a_refused_before_dispatch", ranRefused},
		{"44a_no_connection", ranNoConnection},
		{"44a_header_never_handed_to_tls", ranNeverSent},
		{"44a_no_action_from_a_service_of_ours", ranNoAction},
		{"44a_codes_with_and_without_dispatch_failure", ranCodes},
		{"44a_lost_timed_out_or_broken_off", ranMaybe},
		{"44a_client_certificate_refused", ranCertificateRefused},
		{"43_connection_loss_fails_each_call_once", lossFailsCalls},
		{"43_connection_loss_ends_handlers", lossEndsHandlers},
		{"44_failure_to_connect_and_loss", connectOrLoss},
		{"45_fin_ends_both_directions", finEndsBoth},
	} {
		t.Run(tt.name, func(t *testing.T) { synctest.Test(t, tt.run) })
	}
}

func wantRan(t *testing.T, what string, err error, want scamp.Ran, is error) {
	t.Helper()
	if err == nil || ranOf(err) != want || is != nil && !errors.Is(err, is) {
		t.Errorf("%s: %v with Ran %v, want %v with Ran %v", what, err, ranOf(err), is, want)
	}
}

func ranAnswered(t *testing.T) {
	wantRan(t, "error reply", answered(t, `,"error_code":"x_no","error":"no"`).err, scamp.RanYes, nil)
	wantRan(t, "transport without dispatch_failure", answered(t, `,"error_code":"transport","error":"no","error_data":{"dispatch_failure":"true"}`).err, scamp.RanYes, nil)
	wantRan(t, "unusable reply", answered(t, `,"error_code":17`).err, scamp.RanYes, nil)
	wantRan(t, "service timeout", answered(t, `,"error_code":"transport","error":"service timeout","error_data":{"timeout":true}`).err, scamp.RanYes, scamp.ErrTimeout)
}

func ranRefused(t *testing.T) {
	o := answered(t, `,"error_code":"transport","error":"no","error_data":{"dispatch_failure":true}`)
	wantRan(t, "dispatch_failure", o.err, scamp.RanNo, scamp.ErrRefused)

	// And our own service with a full queue.
	n := scamptest.New(t)
	var limits scamp.Limits
	limits.MaxConcurrency, limits.MaxQueue = 1, 1
	bus := n.Bus(&scamp.Options{Limits: limits})
	pair := n.KeyPair()
	svc, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	ran, release := 0, make(chan struct{})
	svc.Handle("Sample.echo", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
		ran++
		<-release
		return nil
	}, nil)
	serve(t, svc)
	c, err := n.Bus(nil).Dial(t.Context(), svc.Addr(), scamp.Identity{Certificate: pair.Certificate})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	first, second := inBackground(t.Context(), c, echoReq("")), inBackground(t.Context(), c, echoReq(""))
	synctest.Wait()
	wantRan(t, "queue full", (<-inBackground(t.Context(), c, echoReq(""))).err, scamp.RanNo, scamp.ErrRefused)
	close(release)
	if a, b := <-first, <-second; a.err != nil || b.err != nil || ran != 2 {
		t.Errorf("the calls before it: %v and %v, %d handlers ran, want both served", a.err, b.err, ran)
	}
	if s := bus.Stats(); s["queue_full"] != 1 || s["handlers_queued"] != 1 {
		t.Errorf("queue_full is %d, handlers_queued %d, want 1 and 1", s["queue_full"], s["handlers_queued"])
	}
}

func ranNoConnection(t *testing.T) {
	f := newFar(t)
	f.setDown(true)
	bus := f.bus(nil)
	f.announce(bus, "sample:1", "127.0.0.1:30101")
	_, err := bus.Call(t.Context(), echoReq(""))
	wantRan(t, "dial", err, scamp.RanNo, scamp.ErrNoDial)

	f = newFar(t)
	f.cfg.CipherSuites, f.cfg.MaxVersion = []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}, tls.VersionTLS12
	bus = f.bus(nil)
	f.announce(bus, "sample:1", "127.0.0.1:30101")
	_, err = bus.Call(t.Context(), echoReq(""))
	wantRan(t, "TLS", err, scamp.RanNo, scamp.ErrNoDial)

	f = newFar(t)
	f.cfg.Certificates = []tls.Certificate{scamptest.New(t).KeyPair().TLS()}
	bus = f.bus(nil)
	f.announce(bus, "sample:1", "127.0.0.1:30101")
	_, err = bus.Call(t.Context(), echoReq(""))
	wantRan(t, "certificate", err, scamp.RanNo, scamp.ErrPin)
}

func ranNeverSent(t *testing.T) {
	// The far end reads nothing after the handshake, so what is written waits.
	deaf := make(chan *tls.Conn, 1)
	f := newFar(t)
	dial := func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		t.Cleanup(func() { here.Close(); there.Close() })
		go func() { // ends with the handshake
			c := tls.Server(there, f.cfg)
			c.Handshake()
			deaf <- c
		}()
		return here, nil
	}
	var limits scamp.Limits
	limits.Mux.MaxWriteQueue = 1
	limits.Mux.WriteStall = time.Hour
	c, err := scamp.Dial(t.Context(), "127.0.0.1:1", scamp.Identity{Certificate: f.pair.Certificate}, &scamp.Options{Dial: dial, Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	sent := inBackground(ctx, c, echoReq("sent"))
	synctest.Wait()
	waiting := inBackground(ctx, c, echoReq("waiting"))
	wantRan(t, "header handed to TLS", (<-sent).err, scamp.RanMaybe, scamp.ErrTimeout)
	wantRan(t, "header still in the queue", (<-waiting).err, scamp.RanNo, scamp.ErrTimeout)
	w := newWire(t, <-deaf) // now it reads
	if m := w.message(); m.body != "sent" {
		t.Errorf("arrived: %s with %q, want the request that was sent", m.json, m.body)
	}
	w.quiet()
}

func ranNoAction(t *testing.T) {
	n := scamptest.New(t)
	s := n.Serve("sample", func(s *scamp.Service) { s.Handle("Sample.echo", echo, nil) })
	c, err := n.Bus(nil).Dial(t.Context(), s.Addr(), scamp.Identity{Certificate: s.KeyPair.Certificate})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Call(t.Context(), &scamp.Request{Action: "Sample.nothere"})
	wantRan(t, "no_action from a service of ours", err, scamp.RanNo, scamp.ErrNotFound)

	// An old peer would mark the instance for dispatch_failure, and gets none.
	w := callWire(t, n, s.Addr())
	w.send(msg(0, ask("Sample.nothere", 1), ""), msg(1, ask("Sample.nothere", 2, "ext", `{"v":1}`), ""))
	for i, want := range []bool{false, true} {
		if m := w.message(); m.header.ErrorCode != "no_action" || m.header.DispatchFailure() != want {
			t.Errorf("request %d: reply %s, want no_action with dispatch_failure %v", i, m.json, want)
		}
	}
}

func ranCodes(t *testing.T) {
	for code, is := range map[string]error{"no_action": scamp.ErrNotFound, "authn": scamp.ErrDenied, "authz": scamp.ErrDenied} {
		members := fmt.Sprintf(`,"error_code":%q,"error":"no"`, code)
		wantRan(t, code, answered(t, members).err, scamp.RanYes, is)
		wantRan(t, code+" with dispatch_failure", answered(t, members+`,"error_data":{"dispatch_failure":true}`).err, scamp.RanNo, is)
	}
}

func ranMaybe(t *testing.T) {
	for name, ending := range map[string]func(*wire){
		"connection lost":          func(w *wire) { w.c.NetConn().Close() },
		"connection closed":        func(w *wire) { w.c.Close() },
		"timed out":                func(*wire) {},
		"reply ended by TXERR":     func(w *wire) { w.send(pk("HEADER", 0, `{"request_id":1}`) + pk("TXERR", 0, "no")) },
		"lost in the reply":        func(w *wire) { w.send(pk("HEADER", 0, `{"request_id":1}`)); w.c.Close() },
		"reply without an end":     func(w *wire) { w.send(pk("HEADER", 0, `{"request_id":1}`) + pk("DATA", 0, "half")) },
		"a packet of its own kind": func(w *wire) { w.send("RSET 0 0\r\nEND\r\n") },
	} {
		c, w := newFar(t).client(nil)
		done := inBackground(t.Context(), c, echoReq("x"))
		w.message()
		ending(w)
		wantRan(t, name, (<-done).err, scamp.RanMaybe, nil)
	}
}

func ranCertificateRefused(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		f := newFar(t)
		f.cfg.MaxVersion, f.cfg.ClientAuth = version, tls.RequireAndVerifyClientCert
		bus := f.bus(nil)
		f.announce(bus, "sample:1", "127.0.0.1:30101")
		_, err := bus.Call(t.Context(), echoReq(""))
		want := scamp.RanNo
		var ce *scamp.CallError
		if version == tls.VersionTLS13 && errors.As(err, &ce) && ce.Ran != scamp.RanNo {
			want = scamp.RanMaybe // the refusal comes after our handshake, mostly after the request too
		}
		wantRan(t, tls.VersionName(version), err, want, nil)
	}
}

// Each call ends once, whatever its connection does (invariant 2).
func lossFailsCalls(t *testing.T) {
	c, w := newFar(t).client(nil)
	var calls []<-chan outcome
	for range 10 {
		calls = append(calls, inBackground(t.Context(), c, echoReq("x")))
	}
	w.await("all requests", func() bool { return w.heads == 10 })
	w.send(reply(0, 3, "done"), pk("HEADER", 1, `{"request_id":4,"type":"reply"}`)+pk("DATA", 1, "half"))
	w.c.Close()
	ok := 0
	for _, done := range calls {
		o := <-done
		if o.err == nil && o.body == "done" {
			ok++ // all of its reply had arrived
			continue
		}
		wantRan(t, "call on a lost connection", o.err, scamp.RanMaybe, scamp.ErrLost)
	}
	if ok != 1 {
		t.Errorf("%d calls got their reply, want the one that was whole", ok)
	}
}

func lossEndsHandlers(t *testing.T) {
	n := scamptest.New(t)
	ended := make(chan error, 2)
	s := n.Serve("sample", func(s *scamp.Service) {
		s.Handle("Sample.wait", func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error {
			<-ctx.Done()
			ended <- fmt.Errorf("%w: %w", ctx.Err(), context.Cause(ctx))
			return nil
		}, nil)
		s.Handle("Sample.read", func(_ context.Context, req *scamp.Request, _ *scamp.ReplyWriter) error {
			_, err := req.Bytes()
			ended <- err
			return err
		}, nil)
	})
	w := callWire(t, n, s.Addr())
	w.send(msg(0, ask("Sample.wait", 1), ""), pk("HEADER", 1, ask("Sample.read", 2))+pk("DATA", 1, "half"))
	synctest.Wait()
	w.c.Close()
	for range 2 {
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "connection") && !errors.Is(err, context.Canceled) {
			t.Errorf("handler on a lost connection: %v, want it ended by that", err)
		}
	}
}

func connectOrLoss(t *testing.T) {
	f := newFar(t)
	f.setDown(true)
	bus := f.bus(nil)
	f.announce(bus, "sample:1", "127.0.0.1:30101")
	_, err := bus.Call(t.Context(), echoReq(""))
	wantRan(t, "failure to connect", err, scamp.RanNo, nil)
	f.setDown(false)
	<-time.After(2 * time.Second) // one dial a second, however many calls
	done := inBackground(t.Context(), bus, echoReq(""))
	w := f.next()
	w.message()
	w.c.Close()
	wantRan(t, "loss after the HEADER", (<-done).err, scamp.RanMaybe, scamp.ErrLost)
	if f.dialed() != 2 {
		t.Errorf("%d dials, want 2: what may have run is not sent again", f.dialed())
	}
}

func finEndsBoth(t *testing.T) {
	_, w := sampleService(t, nil)
	w.acks.Store(true)
	w.send(msg(0, ask("Sample.half", 1), ""))
	w.begun()
	w.expect(pk("DATA", 0, "half"))
	w.c.CloseWrite() // nobody replies to who has hung up
	if got := w.over(); got != "" {
		t.Errorf("after the end of the stream: %q, want the connection closed", got)
	}
}

// TestCallGivesDataBack checks that the octets of a request may be reused when
// its call has failed: nothing reads them any more.
func TestCallGivesDataBack(t *testing.T) {
	f := newFar(t)
	data := bytes.Repeat([]byte("a"), 1<<20)
	ctx, cancel := context.WithCancel(t.Context())
	done := inBackground(ctx, f.known(), &scamp.Request{Action: "Sample.echo", Data: data})
	w := f.next()
	w.await("the request", func() bool { return w.data[0] == 65536 })
	cancel()
	<-done
	clear(data) // the race detector watches
	w.send(pk("ACK", 0, "65536"))
	if m := w.message(); m.txerr == "" || len(m.body) != 65536 {
		t.Errorf("cancelled request: %d octets ended by TXERR %q, want 65536 and a TXERR", len(m.body), m.txerr)
	}
	w.quiet()
}
