package scamp_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// announceGo makes bus believe in an instance that announces itself as the original Go
// implementation does: interval 2500, seconds with a fraction.
func (f *far) announceGo(bus *scamp.Bus) {
	f.t.Helper()
	a, err := discovery.SignJSON([]byte(`[3,"sample:AAAAAAAAAAAAAAAAAAAAAAAA","main",1,2500,"beepish+tls://127.0.0.1:30101",["json"],[["Sample",["echo","",1]]],1700000000.25]`),
		f.pair.Certificate, f.pair.Key)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := bus.Directory().Add(a); err != nil {
		f.t.Fatal(err)
	}
}

// goReply is a reply as the original Go implementation writes it: recorded in
// fixtures/transcripts/js-to-go-echo.txt.
func goReply(no, id int, body string) string {
	header := fmt.Sprintf(`{"action":"","envelope":"json","request_id":%d,"client_id":0,"ticket":"","identifying_token":"","type":"reply","version":0}`, id)
	return msg(no, header+"\n", body)
}

// TestConformanceDialect is what PROTOCOL 3.4 asks toward the original Go implementation,
// and who is taken for it.
func TestConformanceDialect(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"19a_units":                      units,
		"19a_connections_of_their_own":   connectionsOfTheirOwn,
		"19a_announced_and_is_not":       announcedAndIsNot,
		"19a_not_announced_and_is":       notAnnouncedAndIs,
		"19a_found_out_too_late":         foundOutTooLate,
		"19a_found_out_with_one_request": foundOutWithOneRequest,
		"19a_nobody_announced_it":        nobodyAnnouncedIt,
		"19a_each_connection_shows_anew": eachConnectionShowsAnew,
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
	}
}

// Requests whose body is known go out one after the other and each in one piece, so
// that they are completed in the order of their ids, whatever else is sent.
func units(t *testing.T) {
	f := newFar(t)
	bus := f.bus(nil)
	f.announceGo(bus)
	const calls = 20
	var done []<-chan outcome
	for i := range calls {
		done = append(done, inBackground(t.Context(), bus, echoReq(strings.Repeat(string(rune('a'+i)), 65536-i))))
	}
	w := f.next()
	var bodies []string
	for no := range calls {
		body := ""
		for i, want := range []string{"HEADER", "DATA", "DATA", "DATA", "DATA", "EOF"} {
			p := w.next()
			if p.Kind.String() != want || p.MsgNo != uint64(no) {
				t.Fatalf("packet %d of request %d: %s %d, want %s of that request", i, no+1, p.Kind, p.MsgNo, want)
			}
			if want == "DATA" {
				body += string(p.Body)
			}
		}
		bodies = append(bodies, body)
	}
	for no, body := range bodies {
		w.send(goReply(no, no+1, body[:1]))
	}
	for i := range done {
		if o := <-done[i]; o.err != nil || o.body != string(rune('a'+i)) {
			t.Errorf("call %d: %q, %v, want the reply to its own request", i, o.body, o.err)
		}
	}
}

// What is longer than 65536 octets, or of unknown length, has a connection of its own,
// and is aborted by closing that.
func connectionsOfTheirOwn(t *testing.T) {
	f := newFar(t)
	bus := f.bus(nil)
	f.announceGo(bus)
	small := inBackground(t.Context(), bus, echoReq("small"))
	shared := f.next()
	shared.message()
	shared.send(goReply(0, 1, "shared"))
	if o := <-small; o.err != nil || o.body != "shared" {
		t.Errorf("known body: %q, %v, want the reply", o.body, o.err)
	}

	long := inBackground(t.Context(), bus, echoReq(strings.Repeat("l", 65537)))
	own := f.next()
	own.begun()
	own.send(goReply(0, 1, "own"))
	if o := <-long; o.err != nil || o.body != "own" {
		t.Errorf("long body: %q, %v, want the reply", o.body, o.err)
	}
	own.over() // it is closed behind the call

	s, err := bus.Stream(t.Context(), &scamp.Request{Action: "Sample.echo"})
	if err != nil {
		t.Fatal(err)
	}
	streamed := f.next()
	if _, err := s.Write([]byte("half of a body")); err != nil {
		t.Fatal(err)
	}
	streamed.begun()
	s.Abort("enough")
	if got := streamed.over(); strings.Contains(got, "TXERR") {
		t.Errorf("an aborted request shows %q, want the connection closed without a TXERR", got)
	}
	s.Close()

	again := inBackground(t.Context(), bus, echoReq("again"))
	shared.message()
	shared.send(goReply(1, 2, "still there"))
	if o := <-again; o.err != nil || o.body != "still there" || f.dialed() != 3 {
		t.Errorf("after all that: %q, %v over %d connections, want the shared one and two more", o.body, o.err, f.dialed())
	}
}

// wantShared wants a stream of bus on w, aborted by a TXERR: w is message no of ours.
func wantShared(t *testing.T, bus streamer, w *wire, dialed func() int) {
	t.Helper()
	before := dialed()
	s, err := bus.Stream(t.Context(), &scamp.Request{Action: "Sample.echo"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("half of a body")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if m := w.message(); m.txerr == "" || m.body != "half of a body" || dialed() != before {
		t.Errorf("stream: %q ended by TXERR %q, %d connections more; want it cut by a TXERR on the one there is", m.body, m.txerr, dialed()-before)
	}
}

type streamer interface {
	scamp.Caller
	Stream(ctx context.Context, req *scamp.Request) (*scamp.Stream, error)
}

// wantOwn wants a stream of bus on a connection of its own.
func wantOwn(t *testing.T, f *far, bus streamer) {
	t.Helper()
	s, err := bus.Stream(t.Context(), &scamp.Request{Action: "Sample.echo"})
	if err != nil {
		t.Fatal(err)
	}
	own := f.next()
	own.begun()
	s.Close()
	if got := own.over(); strings.Contains(got, "TXERR") {
		t.Errorf("an aborted request shows %q, want the connection closed without a TXERR", got)
	}
}

// announcedAndIsNot: the first reply frees a service from the rules of a dialect that it
// does not speak.
func announcedAndIsNot(t *testing.T) {
	f := newFar(t)
	bus := f.bus(nil)
	f.announceGo(bus)
	done := inBackground(t.Context(), bus, echoReq("x"))
	w := f.next()
	w.message()
	w.send(reply(0, 1, "y"))
	if o := <-done; o.err != nil {
		t.Fatal(o.err)
	}
	wantShared(t, bus, w, f.dialed)
}

// notAnnouncedAndIs: and it binds one that does not announce itself as such.
func notAnnouncedAndIs(t *testing.T) {
	f := newFar(t)
	bus := f.known()
	done := inBackground(t.Context(), bus, echoReq("x"))
	w := f.next()
	w.message()
	w.send(goReply(0, 1, "y"))
	if o := <-done; o.err != nil || o.body != "y" {
		t.Fatalf("%q, %v, want the reply", o.body, o.err)
	}
	wantOwn(t, f, bus)
	again := inBackground(t.Context(), bus, echoReq(strings.Repeat("u", 65536)))
	w.message()
	w.send(goReply(1, 2, "z"))
	if o := <-again; o.err != nil || o.body != "z" || f.dialed() != 2 {
		t.Errorf("known body: %q, %v, %d connections; want the reply, on the first", o.body, o.err, f.dialed())
	}
}

// foundOutTooLate: the second request was completed before the first, so the number in
// the first reply is that of another request. Nobody may get it.
func foundOutTooLate(t *testing.T) {
	f := newFar(t)
	bus := f.known()
	s, err := bus.Stream(t.Context(), &scamp.Request{Action: "Sample.echo"})
	if err != nil {
		t.Fatal(err)
	}
	w := f.next()
	w.begun()
	second := inBackground(t.Context(), bus, echoReq("second"))
	w.begun()
	w.send(goReply(0, 1, "the reply to the second"))
	if _, err := s.Reply(); ranOf(err) != scamp.RanMaybe || !errors.Is(err, scamp.ErrLost) {
		t.Errorf("first request: %v, want the connection lost and Ran maybe", err)
	}
	if o := <-second; ranOf(o.err) != scamp.RanMaybe || !errors.Is(o.err, scamp.ErrLost) {
		t.Errorf("second request: %q, %v, want the connection lost and Ran maybe", o.body, o.err)
	}
	w.over()
	if n := bus.Stats()["dialect_mistaken"]; n != 1 {
		t.Errorf("dialect_mistaken is %d, want 1", n)
	}
}

// foundOutWithOneRequest: one request is still being sent, and none after it has ended.
// It may go on; what comes next must not end before it, and has another connection.
func foundOutWithOneRequest(t *testing.T) {
	f := newFar(t)
	bus := f.known()
	first := inBackground(t.Context(), bus, echoReq("first"))
	w := f.next()
	w.message()
	s, err := bus.Stream(t.Context(), &scamp.Request{Action: "Sample.echo"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w.begun()
	w.send(goReply(0, 1, "one"))
	if o := <-first; o.err != nil || o.body != "one" {
		t.Fatalf("first request: %q, %v, want the reply", o.body, o.err)
	}
	third := inBackground(t.Context(), bus, echoReq("third"))
	other := f.next()
	other.message()
	other.send(goReply(0, 1, "three"))
	if o := <-third; o.err != nil || o.body != "three" {
		t.Errorf("third request: %q, %v, want the reply, on another connection", o.body, o.err)
	}
	s.CloseSend()
	w.message()
	w.send(goReply(1, 2, "two"))
	if r, err := s.Reply(); err != nil {
		t.Errorf("second request: %v, want the reply", err)
	} else if b, err := r.Bytes(0); string(b) != "two" || err != nil {
		t.Errorf("second request: %q, %v, want two", b, err)
	}
	w.over() // nobody is left on it
}

// nobodyAnnouncedIt: who is dialed is taken for one of the original Go implementation
// until it replies, on whatever connection.
func nobodyAnnouncedIt(t *testing.T) {
	f := newFar(t)
	c, w := f.client(nil)
	long := inBackground(t.Context(), c, echoReq(strings.Repeat("l", 65537)))
	own := f.next()
	own.begun()
	own.send(reply(0, 1, "own"))
	if o := <-long; o.err != nil || o.body != "own" {
		t.Fatalf("long body: %q, %v, want the reply", o.body, o.err)
	}
	wantShared(t, c, w, f.dialed)
}

// eachConnectionShowsAnew: what a service has shown on one connection is assumed on the
// next, until that shows something else.
func eachConnectionShowsAnew(t *testing.T) {
	f := newFar(t)
	c, w := f.client(nil)
	no := 0 // of the next request on w
	for _, tt := range []struct {
		reply func(no, id int, body string) string
		own   bool
	}{{reply, false}, {goReply, true}, {reply, false}, {reply, false}} {
		done := inBackground(t.Context(), c, echoReq("x"))
		if w == nil {
			w = f.next()
		}
		w.message()
		w.send(tt.reply(0, no+1, ""))
		if o := <-done; o.err != nil {
			t.Fatal(o.err)
		}
		if tt.own {
			wantOwn(t, f, c)
		} else {
			wantShared(t, c, w, f.dialed)
		}
		w.c.Close()
		synctest.Wait()
		w, no = nil, 0
		if tt.own {
			wantOwn(t, f, c)
			continue
		}
		s, err := c.Stream(t.Context(), &scamp.Request{Action: "Sample.echo"})
		if err != nil {
			t.Fatal(err)
		}
		w, no = f.next(), 1
		w.begun()
		s.Close()
		if m := w.message(); m.txerr == "" {
			t.Errorf("stream on the next connection: %+v, want it cut by a TXERR", m)
		}
	}
}
