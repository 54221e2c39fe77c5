package scamp_test

import (
	"strings"
	"testing"

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

// Toward the original Go implementation a body that is known goes out as one unit on the
// shared connection; any other has a connection of its own, and is aborted by closing
// that (PROTOCOL 3.4; item 19a but for the correction by the first reply).
func TestOriginalGoServices(t *testing.T) {
	f := newFar(t)
	bus := f.bus(nil)
	f.announceGo(bus)

	small := inBackground(t.Context(), bus, echoReq(strings.Repeat("s", 65536)))
	shared := f.next()
	for i, want := range []string{"HEADER", "DATA", "DATA", "DATA", "DATA", "EOF"} {
		if p := shared.next(); p.Kind.String() != want {
			t.Fatalf("packet %d of a known body: %s, want %s", i, p.Kind, want)
		}
	}
	shared.send(reply(0, 1, "shared"))
	if o := <-small; o.err != nil || o.body != "shared" {
		t.Errorf("known body: %q, %v, want the reply", o.body, o.err)
	}

	long := inBackground(t.Context(), bus, echoReq(strings.Repeat("l", 65537)))
	own := f.next()
	own.begun()
	own.send(reply(0, 1, "own"))
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
	shared.send(reply(1, 2, "still there"))
	if o := <-again; o.err != nil || o.body != "still there" || f.dialed() != 3 {
		t.Errorf("after all that: %q, %v over %d connections, want the shared one and two more", o.body, o.err, f.dialed())
	}
}
