package scamp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/fixtures"
	"github.com/scampbus/scamp-go/scamp"
)

// TestConformanceCaller has the lines of PROTOCOL 17 that judge a requester by the
// octets it sends and by what it makes of replies.
func TestConformanceCaller(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"19_request_ids_and_sector", requestIDs},
		{"19_long_body_delays_nobody", longBodyDelaysNobody},
		{"19b_ext_of_the_caller", extOfCaller},
		{"19b_malformed_ext_of_a_service", malformedExtOfService},
		{"19c_cancel_is_sent_where_announced", cancelIsSent},
		{"19c_cancel_is_not_sent_elsewhere", cancelIsNotSent},
		{"19c_cancel_of_what_was_given_up_before_the_first_reply", cancelBeforeTheFirstReply},
		{"20_reply_id_as_number_or_string", replyIDForms},
		{"22_integers_and_no_zero_client_id", integersInRequests},
		{"24_missing_type_is_a_reply", missingTypeIsReply},
		{"26_null_errors_are_success", nullErrors},
		{"27_error_without_code", errorWithoutCode},
		{"31_unknown_reply_is_drained", unknownReplyIsDrained},
		{"31a_late_replies", lateReplies},
		{"31a_replies_to_ids_never_issued", neverIssued},
		{"32_no_member_of_a_request_is_null", noNullInRequests},
		{"51_reply_ended_by_txerr", replyBrokenOff},
	} {
		t.Run(tt.name, func(t *testing.T) { synctest.Test(t, tt.run) })
	}
}

// echoReq is a request with a body.
func echoReq(body string) *scamp.Request {
	return &scamp.Request{Action: "Sample.echo", Data: []byte(body)}
}

const plainReply = `{"request_id":%d,"type":"reply"}`

// replyTo is a whole reply to a request id.
func reply(no, id int, body string) string { return msg(no, fmt.Sprintf(plainReply, id), body) }

func requestIDs(t *testing.T) {
	c, w := newFar(t).client(nil)
	var calls []<-chan outcome
	for i := range 5 {
		calls = append(calls, inBackground(t.Context(), c, echoReq(fmt.Sprint(i))))
		synctest.Wait()
	}
	for i := range 5 {
		m := w.message()
		ext := `"ext":{"v":1,"win":1048576,"cancel":1},`
		if i > 0 {
			ext = ""
		}
		want := fmt.Sprintf(`{"action":"Sample.echo","envelope":"json",%s"request_id":%d,"sector":"main","type":"request","version":1}`, ext, i+1)
		if m.json != want || m.no != i || m.body != fmt.Sprint(i) {
			t.Errorf("request %d: number %d, %s with %q\nwant %s", i, m.no, m.json, m.body, want)
		}
	}
	for i := range 5 {
		w.send(reply(i, 5-i, fmt.Sprint("to ", 5-i))) // in any order
	}
	for i, done := range calls {
		if o := <-done; o.body != fmt.Sprint("to ", i+1) {
			t.Errorf("call %d: %q, %v, want the reply to its id", i+1, o.body, o.err)
		}
	}
}

func longBodyDelaysNobody(t *testing.T) {
	f := newFar(t)
	c := f.known()
	long := inBackground(t.Context(), c, &scamp.Request{Action: "Sample.echo", Body: io.LimitReader(zeros{}, 1<<20)})
	w := f.next()
	w.await("a full window", func() bool { return w.data[0] == 65536 })
	short := inBackground(t.Context(), c, echoReq("x"))
	w.await("the short request", func() bool { return w.data[1] == 1 })
	w.send(reply(0, 2, "short"))
	if o := <-short; o.body != "short" {
		t.Errorf("short call beside a long one: %q, %v, want it done", o.body, o.err)
	}
	w.acks.Store(true)
	w.send(pk("ACK", 0, "65536"))
	w.await("the rest of the body", func() bool { return w.data[0] == 1<<20 })
	w.send(reply(1, 1, "long"))
	if o := <-long; o.body != "long" {
		t.Errorf("long call: %q, %v, want it done", o.body, o.err)
	}
}

// zeros is a body without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func extOfCaller(t *testing.T) {
	c, w := newFar(t).client(nil)
	for i, tt := range []struct {
		left time.Duration
		want string
	}{
		{2500 * time.Millisecond, `"ext":{"v":1,"win":1048576,"cancel":1,"ms":2500}`},
		{0, ""},
		{time.Minute, `"ext":{"v":1,"ms":60000}`},
		{time.Microsecond, `"ext":{"v":1,"ms":1}`},
	} {
		ctx, cancel := t.Context(), func() {}
		if tt.left > 0 {
			ctx, cancel = context.WithTimeout(ctx, tt.left)
		}
		done := inBackground(ctx, c, echoReq(""))
		m := w.message()
		w.send(reply(i, i+1, ""))
		<-done
		cancel()
		if !strings.Contains(m.json, tt.want) || tt.want == "" && strings.Contains(m.json, "ext") {
			t.Errorf("call with %v left: %s, want %s", tt.left, m.json, tt.want)
		}
	}
}

func malformedExtOfService(t *testing.T) {
	for _, ext := range []string{`17`, `{}`, `{"v":0,"win":9999999,"cancel":1}`, `{"v":1,"win":"1048576","cancel":true}`, `{"v":1,"win":-1}`, `[1]`} {
		c, w := newFar(t).client(nil)
		done := inBackground(t.Context(), c, echoReq("x"))
		w.message()
		w.send(msg(0, fmt.Sprintf(`{"ext":%s,"request_id":1,"type":"reply"}`, ext), "y"))
		if o := <-done; o.body != "y" {
			t.Errorf("reply with ext %s: %q, %v, want y", ext, o.body, o.err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done = inBackground(ctx, c, &scamp.Request{Action: "Sample.echo", Data: bytes.Repeat([]byte("x"), 200000)})
		w.await("a full window", func() bool { return w.data[1] >= 65536 })
		synctest.Wait()
		if w.data[1] != 65536 {
			t.Errorf("after ext %s: %d octets without an ACK, want 65536", ext, w.data[1])
		}
		cancel()
		<-done
	}
}

// sentAfter calls with a request of that body, cancels it when it arrived, and returns
// what the far service hears of that.
func sentAfter(t *testing.T, replyHeader, body string, unfinished bool) string {
	c, w := newFar(t).client(nil)
	first := inBackground(t.Context(), c, echoReq(""))
	w.message()
	w.send(msg(0, replyHeader, ""))
	<-first
	ctx, cancel := context.WithCancel(t.Context())
	req := echoReq(body)
	if unfinished {
		r, _ := io.Pipe()
		req.Data, req.Body = nil, io.MultiReader(strings.NewReader(body), r)
		t.Cleanup(func() { r.Close() })
	}
	done := inBackground(ctx, c, req)
	w.await("the request", func() bool { return w.heads == 2 && w.data[1] == len(body) })
	synctest.Wait()
	w.arrived()
	cancel()
	if o := <-done; !errors.Is(o.err, context.Canceled) || ranOf(o.err) != scamp.RanMaybe {
		t.Errorf("cancelled call: %v with Ran %v, want context.Canceled and maybe", o.err, ranOf(o.err))
	}
	synctest.Wait()
	got := w.arrived()
	w.quiet() // and its late reply harms nobody
	w.send(msg(1, `{"request_id":2,"type":"reply"}`, strings.Repeat("late", 25000)))
	w.awaitAck(1, 100000)
	if n := c.Stats()["reply_late"]; n != 1 {
		t.Errorf("reply_late is %d, want 1", n)
	}
	return got
}

func cancelIsSent(t *testing.T) {
	ours := `{"ext":{"v":1,"cancel":1},"request_id":1,"type":"reply"}`
	if got, want := sentAfter(t, ours, "body", false), msg(2, `{"request_id":2,"type":"cancel"}`, ""); got != want {
		t.Errorf("after a cancelled call toward a peer that announced cancel: %q, want %q", got, want)
	}
	// An unfinished request is ended by TXERR instead.
	if got, want := sentAfter(t, ours, "half", true), pk("TXERR", 1, "cancelled by the caller"); got != want {
		t.Errorf("after an unfinished call: %q, want %q", got, want)
	}
}

func cancelIsNotSent(t *testing.T) {
	for _, header := range []string{`{"request_id":1,"type":"reply"}`, `{"ext":{"v":1},"request_id":1,"type":"reply"}`, `{"ext":{"v":1,"cancel":0},"request_id":1,"type":"reply"}`} {
		if got := sentAfter(t, header, "body", false); got != "" {
			t.Errorf("after a cancelled call toward a peer that sent %s: %q, want nothing", header, got)
		}
	}
}

func replyIDForms(t *testing.T) {
	c, w := newFar(t).client(nil)
	for i, id := range []string{`1`, `"2"`, `3`} {
		done := inBackground(t.Context(), c, echoReq(""))
		w.message()
		w.send(msg(i, fmt.Sprintf(`{"request_id":%s,"type":"reply"}`, id), "x"))
		if o := <-done; o.body != "x" {
			t.Errorf("reply with id %s: %q, %v, want it taken", id, o.body, o.err)
		}
	}
}

func integersInRequests(t *testing.T) {
	c, w := newFar(t).client(nil)
	inBackground(t.Context(), c, &scamp.Request{Action: "Sample.echo~2", ClientID: 77})
	if m := w.message(); !strings.Contains(m.json, `"client_id":77,`) || !strings.Contains(m.json, `"version":2`) {
		t.Errorf("request: %s, want client_id 77 and version 2 as integers", m.json)
	}
	inBackground(t.Context(), c, &scamp.Request{Action: "Sample.echo"})
	if m := w.message(); strings.Contains(m.json, "client_id") || !strings.Contains(m.json, `"version":1`) {
		t.Errorf("request: %s, want no client_id and version 1", m.json)
	}
}

func missingTypeIsReply(t *testing.T) {
	c, w := newFar(t).client(nil)
	for i, header := range []string{`{"request_id":1}`, `{"request_id":2,"type":null}`} {
		done := inBackground(t.Context(), c, echoReq(""))
		w.message()
		w.send(msg(i, header, "x"))
		if o := <-done; o.body != "x" {
			t.Errorf("reply %s: %q, %v, want it taken", header, o.body, o.err)
		}
	}
}

// answered is what a call makes of a reply with these members beside its id.
func answered(t *testing.T, members string) outcome {
	t.Helper()
	c, w := newFar(t).client(nil)
	done := inBackground(t.Context(), c, echoReq(""))
	w.message()
	w.send(msg(0, `{"request_id":1,"type":"reply"`+members+`}`, "body"))
	return <-done
}

func nullErrors(t *testing.T) {
	for _, members := range []string{`,"error_code":null,"error":null,"error_data":null`, `,"error":"","error_code":""`, `,"error_data":{"dispatch_failure":true}`} {
		if o := answered(t, members); o.err != nil || o.body != "body" {
			t.Errorf("reply with %s: %q, %v, want success", members, o.body, o.err)
		}
	}
}

func errorWithoutCode(t *testing.T) {
	for _, tt := range []struct{ members, code, text string }{
		{`,"error":"no"`, "general", "no"},
		{`,"error":"no","error_code":null`, "general", "no"},
		{`,"error_code":"x"`, "x", "Unknown error"},
	} {
		o := answered(t, tt.members)
		var re *scamp.RemoteError
		if want := tt.code + ": " + tt.text; !errors.As(o.err, &re) || re.Error() != want || ranOf(o.err) != scamp.RanYes {
			t.Errorf("reply with %s: %v with Ran %v, want %s and yes", tt.members, o.err, ranOf(o.err), want)
		}
	}
	var vectors struct {
		Replies []struct {
			JSON            string
			Error           []string
			DispatchFailure bool `json:"dispatch_failure"`
		}
	}
	fixtures.JSON("headers.json", &vectors)
	for _, v := range vectors.Replies {
		c, w := newFar(t).client(nil)
		done := inBackground(t.Context(), c, echoReq(""))
		w.message()
		w.send(msg(0, v.JSON, ""))
		o := <-done
		var re *scamp.RemoteError
		failed := errors.As(o.err, &re)
		if failed != (v.Error != nil) || failed && (re.Error() != v.Error[0]+": "+v.Error[1] || (ranOf(o.err) == scamp.RanNo) != v.DispatchFailure) {
			t.Errorf("reply %s: %v with Ran %v, want error %q, dispatch failure %v", v.JSON, o.err, ranOf(o.err), v.Error, v.DispatchFailure)
		}
	}
}

func noNullInRequests(t *testing.T) {
	c, w := newFar(t).client(nil)
	for _, req := range []*scamp.Request{
		{Action: "Sample.echo"},
		{Action: "web:Sample.echo~3", Ticket: "t", IdentifyingToken: "i", Terminal: "x", ClientID: 1, Envelope: "web", Extra: map[string]json.RawMessage{"a": json.RawMessage(`[1]`)}},
	} {
		inBackground(t.Context(), c, req)
		if m := w.message(); strings.Contains(m.json, "null") || !strings.Contains(m.json, `"sector":`) {
			t.Errorf("request: %s, want no null and a sector", m.json)
		}
	}
	req := &scamp.Request{Action: "Sample.echo", Extra: map[string]json.RawMessage{"a": json.RawMessage("null")}}
	if _, err := c.Call(t.Context(), req); err == nil {
		t.Error("call with a member null of its own: no error, want it refused")
	}
}

func replyBrokenOff(t *testing.T) {
	for _, tt := range []struct{ packets, text string }{
		{pk("TXERR", 0, "disk failed"), "disk failed"},
		{pk("DATA", 0, "half") + pk("TXERR", 0, "disk failed"), "disk failed"},
		{pk("DATA", 0, "half") + pk("TXERR", 0, ""), "unspecified transmission error"},
		{pk("TXERR", 0, "0"), "unspecified transmission error"},
	} {
		c, w := newFar(t).client(nil)
		done := inBackground(t.Context(), c, echoReq(""))
		w.message()
		w.send(pk("HEADER", 0, fmt.Sprintf(plainReply, 1)), tt.packets)
		if o := <-done; o.err == nil || !strings.Contains(o.err.Error(), tt.text) || ranOf(o.err) != scamp.RanMaybe {
			t.Errorf("reply with %q: %q, %v with Ran %v, want an error with %q and maybe", tt.packets, o.body, o.err, ranOf(o.err), tt.text)
		}
		w.quiet()
	}
}
