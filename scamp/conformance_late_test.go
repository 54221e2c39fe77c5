package scamp_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/scampbus/scamp-go/scamp"
)

func unknownReplyIsDrained(t *testing.T) {
	c, w := newFar(t).client(nil)
	// A sender with a window of 65536 octets can finish 1 MiB.
	w.send(pk("HEADER", 0, `{"request_id":99,"type":"reply"}`))
	for sent := 16384; sent <= 1<<20; sent += 16384 {
		w.send(pk("DATA", 0, strings.Repeat("x", 16384)))
		w.awaitAck(0, sent-65536+1)
	}
	w.send(pk("EOF", 0, ""))
	w.awaitAck(0, 1<<20-32768)
	w.send(msg(1, `{"type":"reply"}`, "x"), msg(2, `{"request_id":null,"type":"reply"}`, "x"), msg(3, `{"request_id":1,"type":"banana"}`, "x"),
		msg(4, `{"request_id":1,"type":"request","action":"Sample.echo"}`, "x"), msg(5, `{"type":"event"}`, "[]"))
	done := inBackground(t.Context(), c, echoReq(""))
	w.message()
	w.send(reply(6, 1, "ok"))
	if o := <-done; o.body != "ok" {
		t.Errorf("call after messages that make no sense: %q, %v, want ok", o.body, o.err)
	}
	if s := c.Stats(); s["reply_unknown"] != 4 || s["message_ignored"] != 2 {
		t.Errorf("reply_unknown is %d, message_ignored %d, want 4 and 2", s["reply_unknown"], s["message_ignored"])
	}
}

func lateReplies(t *testing.T) {
	c, w := newFar(t).client(nil)
	abandon(t, c, w, 1000)
	for i := range 1000 {
		w.send(reply(i, i+1, "late"))
	}
	w.quiet()
	if n := c.Stats()["reply_late"]; n != 1000 {
		t.Errorf("reply_late is %d, want 1000", n)
	}
	for i := range 99 {
		w.send(reply(1000+i, 1+i, "twice"))
	}
	w.quiet()
	w.send(reply(1099, 1, "twice"))
	w.over()
	if n := c.Stats()["reply_unknown"]; n != 100 {
		t.Errorf("reply_unknown is %d, want 100", n)
	}
}

// abandon makes calls whose callers leave when they have arrived.
func abandon(t *testing.T, c *scamp.Client, w *wire, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var calls []<-chan outcome
	for range n {
		calls = append(calls, inBackground(ctx, c, echoReq("")))
	}
	w.await("all requests", func() bool { return w.heads == n })
	cancel()
	for _, done := range calls {
		<-done
	}
	w.arrived()
}

func neverIssued(t *testing.T) {
	c, w := newFar(t).client(nil)
	// 99 within ten seconds, and again and again, are tolerated.
	no := 0
	for range 3 {
		for range 99 {
			w.send(reply(no, 1000+no, ""))
			no++
		}
		w.quiet()
		<-time.After(10*time.Second + time.Millisecond)
	}
	for range 100 {
		w.send(reply(no, 1000+no, ""))
		no++
	}
	w.over()
	done := inBackground(t.Context(), c, echoReq(""))
	if o := <-done; o.err == nil {
		t.Error("a call after that succeeds, want the far service to be asked anew and not to answer")
	}
}
