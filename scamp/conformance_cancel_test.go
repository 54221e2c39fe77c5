package scamp_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

func cancelRunning(t *testing.T) {
	_, w := sampleService(t, nil)
	w.send(msg(0, ask("Sample.wait", 1), ""))
	synctest.Wait() // its handler runs
	w.send(msg(1, `{"request_id":1,"type":"cancel"}`, ""))
	m := w.message()
	if m.header.ErrorCode != "transport" || m.header.Error != "cancelled" || m.header.DispatchFailure() {
		t.Errorf("cancel of a request without a reply: %q, want transport, cancelled", m.json)
	}
	w.send(msg(2, ask("Sample.half", 2), ""))
	w.begun()
	w.expect(pk("DATA", 1, "half"))
	w.send(msg(3, `{"request_id":2,"type":"cancel"}`, ""))
	if m := w.message(); m.txerr == "" {
		t.Errorf("cancel of a request whose reply has begun: %q ended well, want TXERR", m.json)
	}
	w.quiet()
}

func cancelQueued(t *testing.T) {
	n := scamptest.New(t)
	ran := 0
	var limits scamp.Limits
	limits.Mux.MaxHandlers = 1
	bus := n.Bus(&scamp.Options{Limits: limits})
	pair := n.KeyPair()
	svc, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	svc.Handle("Sample.wait", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
		ran++
		<-release
		return nil
	}, nil)
	serve(t, svc)
	w := callWire(t, n, svc.Addr())
	w.send(msg(0, ask("Sample.wait", 1), ""), msg(1, ask("Sample.wait", 2), ""), msg(2, `{"request_id":2,"type":"cancel"}`, ""))
	if m := w.message(); m.header.ID.String() != "2" || m.header.Error != "cancelled" || !m.header.DispatchFailure() {
		t.Errorf("cancel of a request in queue: %q, want id 2, cancelled with dispatch_failure", m.json)
	}
	close(release)
	if m := w.message(); m.header.ID.String() != "1" || m.header.ErrorCode != "" {
		t.Errorf("the request before it: %q, want a reply to id 1", m.json)
	}
	w.quiet()
	if ran != 1 {
		t.Errorf("%d handlers ran, want 1", ran)
	}
}

func cancelNothing(t *testing.T) {
	_, w := sampleService(t, nil)
	w.send(msg(0, ask("Sample.echo", 1), "x"))
	w.message()
	w.send(
		msg(1, `{"request_id":1,"type":"cancel"}`, ""), msg(2, `{"request_id":1,"type":"cancel"}`, ""), msg(3, `{"request_id":77,"type":"cancel"}`, ""),
		msg(4, `{"type":"cancel"}`, ""), msg(5, `{"request_id":"x","type":"cancel"}`, "with a body"))
	w.quiet()
}

// A request that its caller gives up within its body is ended with TXERR in place of a
// cancel: its handler need not read to be told (PROTOCOL 3.7).
func cancelWithinBody(t *testing.T) {
	_, w := sampleService(t, nil)
	w.send(pk("HEADER", 0, ask("Sample.wait", 1)) + pk("DATA", 0, "some"))
	synctest.Wait() // its handler runs
	w.send(pk("TXERR", 0, "no more"))
	if m := w.message(); m.header.ErrorCode != "transport" || m.header.Error != "request body not received" || m.header.DispatchFailure() {
		t.Errorf("TXERR of a request without a reply: %q, want transport, request body not received", m.json)
	}
	w.send(pk("HEADER", 1, ask("Sample.half", 2)) + pk("DATA", 1, "some"))
	w.begun()
	w.expect(pk("DATA", 1, "half"))
	w.send(pk("TXERR", 1, "no more"))
	if m := w.message(); m.txerr == "" {
		t.Errorf("TXERR of a request whose reply has begun: %q ended well, want TXERR", m.json)
	}
	w.quiet()
}

// What is given up before the service has sent anything is cancelled when it does, and
// says that it takes that.
func cancelBeforeTheFirstReply(t *testing.T) {
	f := newFar(t)
	bus := f.known()
	ctx, cancel := context.WithCancel(t.Context())
	given := inBackground(ctx, bus, echoReq("given up"))
	w := f.next()
	w.message()
	cancel()
	wantRan(t, "given up", (<-given).err, scamp.RanMaybe, context.Canceled)
	w.quiet() // who knows whether it takes a cancel
	other := inBackground(t.Context(), bus, echoReq("other"))
	w.message()
	w.send(msg(0, `{"ext":{"v":1,"win":65536,"cancel":1},"request_id":2,"type":"reply"}`, ""))
	if o := <-other; o.err != nil {
		t.Error(o.err)
	}
	if m := w.message(); m.header.ID.String() != "1" || !strings.Contains(m.json, `"type":"cancel"`) {
		t.Errorf("after the first reply: %q, want a cancel of request 1", m.json)
	}
	w.quiet()
}
