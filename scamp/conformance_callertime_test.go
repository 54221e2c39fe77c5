package scamp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/internal/ticketscan"
	"github.com/scampbus/scamp-go/scamp"
)

// TestConformanceTime has the lines of PROTOCOL 17 about the time of a requester,
// all of it synthetic.
func TestConformanceTime(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"46_idle_requester", idleRequester},
		{"47_silent_service", silentService},
		{"47_deadline_of_the_caller", callersDeadline},
		{"47a_request_whose_acks_keep_coming", acksKeepComing},
		{"47a_reply_our_reader_takes_slowly", slowReaderOfOurs},
		{"47a_reply_that_stalls", replyThatStalls},
		{"47a_quiet_reply_of_a_peer_that_lives", quietReply},
		{"48_retired_connection", retiredConnection},
		{"48_no_retirement", noRetirement},
		{"49_setup_gives_up", setupGivesUp},
	} {
		t.Run(tt.name, func(t *testing.T) { synctest.Test(t, tt.run) })
	}
}

// took waits for a call and checks how long after began it ended.
func took(t *testing.T, what string, began time.Time, done <-chan outcome, want time.Duration, is error) {
	t.Helper()
	o := <-done
	if after := time.Since(began); after != want || is != nil && !errors.Is(o.err, is) || is == nil && o.err != nil {
		t.Errorf("%s: %v after %v, want %v after %v", what, o.err, after, is, want)
	}
}

// lives says whether the connection is still there after d.
func (w *wire) lives(d time.Duration) bool {
	<-time.After(d)
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err == nil
}

func idleRequester(t *testing.T) {
	c, w := newFar(t).client(nil)
	done := inBackground(t.Context(), c, echoReq(""))
	w.message()
	w.send(reply(0, 1, ""))
	<-done
	if !w.lives(89*time.Second) || w.lives(2*time.Second) {
		t.Error("an idle connection of ours does not close after 90 s")
	}

	// A call that waits, and a reply that is not over, keep it.
	c, w = newFar(t).client(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 1000*time.Second)
	defer cancel()
	done = inBackground(ctx, c, echoReq(""))
	w.message()
	if !w.lives(200 * time.Second) {
		t.Fatal("the connection closed while a call waited")
	}
	w.send(pk("HEADER", 0, `{"request_id":1}`))
	if !w.lives(200 * time.Second) {
		t.Fatal("the connection closed while a reply was open")
	}
	w.send(pk("EOF", 0, ""))
	<-done
	if !w.lives(89*time.Second) || w.lives(2*time.Second) {
		t.Error("the connection does not close 90 s after the last reply")
	}
}

func silentService(t *testing.T) {
	f := newFar(t)
	bus := f.bus(nil)
	for action, want := range map[string]time.Duration{"Sample.echo": 75 * time.Second, "Sample.long": 605 * time.Second} {
		f.announce(bus, "sample:1", "127.0.0.1:30101", discovery.Action{Class: "Sample", Name: "echo"},
			discovery.Action{Class: "Sample", Name: "long", Flags: []string{"t600"}})
		began := time.Now()
		done := inBackground(t.Context(), bus, &scamp.Request{Action: action, Data: []byte("x")})
		w := f.next() // each of its own: the one before is retired
		m := w.message()
		if ms := m.header.Ext.MS; ms != 0 {
			t.Errorf("%s: ms is %d, want none: its caller has set no deadline", action, ms)
		}
		took(t, action, began, done, want, scamp.ErrTimeout)
	}
	if n := bus.Stats()["rpc_timeout"]; n != 2 {
		t.Errorf("rpc_timeout is %d, want 2", n)
	}
}

func callersDeadline(t *testing.T) {
	c, w := newFar(t).client(nil)
	for _, d := range []time.Duration{time.Millisecond, 3 * time.Second, 500 * time.Second} {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		took(t, fmt.Sprint("deadline ", d), time.Now(), inBackground(ctx, c, echoReq("")), d, scamp.ErrTimeout)
		cancel()
	}
	// It bounds the whole reply too.
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, errors.New("lunch"))
	defer cancel()
	began := time.Now()
	done := inBackground(ctx, c, echoReq(""))
	synctest.Wait()
	w.send(pk("HEADER", 0, `{"request_id":4}`))
	o := <-done
	if after := time.Since(began); after != 10*time.Second || !errors.Is(o.err, scamp.ErrTimeout) || !errors.Is(o.err, context.DeadlineExceeded) || !strings.Contains(o.err.Error(), "lunch") {
		t.Errorf("reply that does not end: %v after %v, want ErrTimeout with its cause after 10s", o.err, after)
	}
}

func acksKeepComing(t *testing.T) {
	f := newFar(t)
	began := time.Now()
	done := inBackground(t.Context(), f.known(), &scamp.Request{Action: "Sample.echo", Data: bytes.Repeat([]byte("x"), 65536+10)})
	w := f.next()
	for i := range 10 {
		<-time.After(74 * time.Second)
		w.send(pk("ACK", 0, fmt.Sprint(i+1)))
	}
	w.send(reply(0, 1, ""))
	took(t, "a request that is acknowledged octet by octet", began, done, 740*time.Second, nil)
}

func slowReaderOfOurs(t *testing.T) {
	f := newFar(t)
	call, err := f.known().Stream(t.Context(), &scamp.Request{Action: "Sample.echo"})
	if err != nil {
		t.Fatal(err)
	}
	defer call.Close()
	w := f.next()
	call.CloseSend()
	w.message()
	w.send(pk("HEADER", 0, `{"request_id":1}`) + pk("DATA", 0, "0123456789"))
	one := make([]byte, 1)
	for range 10 {
		<-time.After(70 * time.Second)
		if _, err := call.Read(one); err != nil {
			t.Fatalf("a reply that waits for its reader: %v, want it there", err)
		}
	}
	// All is read now, and the service has 75 s to say more.
	<-time.After(74 * time.Second)
	w.send(pk("DATA", 0, "x"))
	if _, err := call.Read(one); err != nil {
		t.Errorf("74 s after the last octet was read: %v, want the next", err)
	}
	w.send(pk("EOF", 0, ""))
	if _, err := call.Read(one); err != io.EOF {
		t.Errorf("end of the reply: %v, want EOF", err)
	}
}

func replyThatStalls(t *testing.T) {
	c, w := newFar(t).client(nil)
	began := time.Now()
	done := inBackground(t.Context(), c, echoReq(""))
	w.message()
	w.send(pk("HEADER", 0, `{"request_id":1}`))
	for range 5 {
		<-time.After(70 * time.Second)
		w.send(pk("DATA", 0, "x"))
	}
	took(t, "a reply that stalls", began, done, 425*time.Second, scamp.ErrTimeout)
}

// A watch may be quiet at whoever may be sent PING (PROTOCOL 4.7, 4.9).
func quietReply(t *testing.T) {
	for _, tt := range []struct {
		name, ext, first string
		heartbeat        time.Duration
	}{
		{"one of ours", `"ext":{"v":1,"win":1048576,"cancel":1},`, "", 0},
		{"one that has sent PING", "", pk("PING", 7, ""), 0},
		{"any, with beepish.heartbeat", "", "", 15 * time.Second},
	} {
		f := newFar(t)
		bus, err := scamp.Open(&scamp.Config{Heartbeat: tt.heartbeat}, &scamp.Options{Log: ticketscan.Log(t, nil), Dial: f.dial, Carriers: []discovery.Carrier{discovery.NewLoopback()}})
		if err != nil {
			t.Fatal(err)
		}
		defer bus.Close()
		c, err := bus.Dial(t.Context(), "127.0.0.1:30100", scamp.Identity{Certificate: f.pair.Certificate})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		w := f.next()
		began := time.Now()
		done := inBackground(t.Context(), c, echoReq(""))
		w.message()
		w.send(tt.first + pk("HEADER", 0, `{`+tt.ext+`"request_id":1}`))
		if !w.lives(600 * time.Second) { // answering PING
			t.Fatalf("%s: the connection of a quiet reply was ended", tt.name)
		}
		select {
		case o := <-done:
			t.Fatalf("%s: a quiet reply of a peer that lives: %v", tt.name, o.err)
		default:
		}
		w.mute.Store(true)
		o := <-done
		if after := time.Since(began); o.err == nil || after < 615*time.Second || after > 645*time.Second {
			t.Errorf("%s: a peer that no longer answers PING: %v after %v, want the call to fail after 615 to 645 s", tt.name, o.err, after)
		}
	}
}

func retiredConnection(t *testing.T) {
	f := newFar(t)
	c, w := f.client(nil)
	began := time.Now()
	silent := inBackground(t.Context(), c, echoReq("1"))
	w.message()
	<-time.After(10 * time.Second)
	later := inBackground(t.Context(), c, echoReq("2"))
	w.message()
	took(t, "silence", began, silent, 75*time.Second, scamp.ErrTimeout)
	next := inBackground(t.Context(), c, echoReq("3"))
	w2 := f.next()
	if m := w2.message(); m.body != "3" || m.header.ID.String() != "1" {
		t.Errorf("the next call: %s with %q, want it on a connection of its own", m.json, m.body)
	}
	w2.send(reply(0, 1, "three"))
	if o := <-next; o.body != "three" {
		t.Errorf("the next call: %q, %v, want three", o.body, o.err)
	}
	// The old one serves what is pending, drains what is late, and closes then.
	w.send(reply(0, 1, strings.Repeat("late", 25000)))
	w.awaitAck(0, 100000)
	w.send(reply(1, 2, "two"))
	if o := <-later; o.body != "two" {
		t.Errorf("the call that was pending: %q, %v, want two", o.body, o.err)
	}
	w.over()
	if s := c.Stats(); s["conn_retired"] != 1 || s["reply_late"] != 1 {
		t.Errorf("conn_retired is %d, reply_late %d, want 1 and 1", s["conn_retired"], s["reply_late"])
	}

	// At the latest after 30 s.
	c, w = f.client(nil)
	began = time.Now()
	silent = inBackground(t.Context(), c, echoReq("1"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	pending := inBackground(ctx, c, echoReq("2"))
	took(t, "silence", began, silent, 75*time.Second, scamp.ErrTimeout)
	if !w.lives(29*time.Second) || w.lives(2*time.Second) {
		t.Error("a retired connection with a call pending does not close after 30 s")
	}
	wantRan(t, "the call that was pending", (<-pending).err, scamp.RanMaybe, scamp.ErrLost)
}

func noRetirement(t *testing.T) {
	f := newFar(t)
	c, w := f.client(nil)
	// Something was received since the request was sent.
	began := time.Now()
	done := inBackground(t.Context(), c, echoReq("x"))
	<-time.After(time.Second)
	w.send("PING 7 0\r\nEND\r\n")
	took(t, "a service that lives", began, done, 75*time.Second, scamp.ErrTimeout)
	// A deadline of the caller, and a cancel.
	for _, d := range []time.Duration{time.Second, 100 * time.Second} {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		<-inBackground(ctx, c, echoReq("y"))
		cancel()
	}
	ctx, cancel := context.WithCancel(t.Context())
	done = inBackground(ctx, c, echoReq("z"))
	synctest.Wait()
	cancel()
	<-done
	synctest.Wait()
	if n := f.dialed(); n != 1 || c.Stats()["conn_retired"] != 0 {
		t.Errorf("%d dials, conn_retired %d, want one connection for all", n, c.Stats()["conn_retired"])
	}
	done = inBackground(t.Context(), c, echoReq("last"))
	for w.message().body != "last" {
	}
	w.send(reply(0, 5, "ok"))
	if o := <-done; o.body != "ok" {
		t.Errorf("the next call: %q, %v, want ok", o.body, o.err)
	}
}

func setupGivesUp(t *testing.T) {
	// TCP that does not connect, and a peer that does not speak TLS.
	for name, dial := range map[string]func(context.Context, string, string) (net.Conn, error){
		"connect": func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"TLS": func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			t.Cleanup(func() { there.Close() })
			go io.Copy(io.Discard, there) // ends when the pipe does
			return here, nil
		},
	} {
		f := newFar(t)
		bus := f.bus(&scamp.Options{Dial: dial})
		f.announce(bus, "sample:1", "127.0.0.1:30101")
		began := time.Now()
		o := <-inBackground(t.Context(), bus, echoReq(""))
		if after := time.Since(began); after != 10*time.Second || !errors.Is(o.err, scamp.ErrNoDial) || !strings.Contains(o.err.Error(), name) {
			t.Errorf("%s: %v after %v, want ErrNoDial naming the step after 10s", name, o.err, after)
		}
		if n := bus.Stats()["dial_timeout"]; n != 1 {
			t.Errorf("%s: dial_timeout is %d, want 1", name, n)
		}
		// A caller who has less time leaves earlier.
		<-time.After(2 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		began = time.Now()
		o = <-inBackground(ctx, bus, echoReq(""))
		cancel()
		if after := time.Since(began); after != time.Second || !errors.Is(o.err, scamp.ErrTimeout) || ranOf(o.err) != scamp.RanNo {
			t.Errorf("%s: %v after %v, want ErrTimeout with Ran no after 1s", name, o.err, after)
		}
	}
}
