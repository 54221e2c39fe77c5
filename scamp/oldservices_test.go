package scamp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
)

// TestOldServices has what other implementations do as services, and ours never does
// (PROTOCOL, appendix B), done to a caller. The octets are those of PROTOCOL 2.5, of
// PEERS and of fixtures/transcripts.
func TestOldServices(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"perl_reply_without_type":           perlReply,
		"go_reply_with_newline":             goReplyWithNewline,
		"csharp_id_as_string":               csharpReply,
		"csharp_error_data_null":            csharpErrorData,
		"js_txerr_for_a_missing_action":     jsMissingAction,
		"js_txerr_before_the_request_ended": jsEarlyTXERR,
		"go_success_for_a_missing_action":   goMissingAction,
		"go_data_beyond_131072":             goLargeData,
		"go_knows_no_window":                goKnowsNoWindow,
		"go_empty_data":                     goEmptyDataInReply,
		"js_error_without_code":             jsErrorWithoutCode,
		"early_reply":                       earlyReply,
		"acks_at_once":                      serviceAcksAtOnce,
		"acks_late":                         serviceAcksLate,
		"no_ping_to_who_may_not_know_it":    callerSendsNoPing,
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
	}
}

// asked is a caller of the far service, and what its one call gets when the service
// answers with octets.
func asked(t *testing.T, octets ...string) (outcome, *wire) {
	t.Helper()
	f := newFar(t)
	done := inBackground(t.Context(), f.known(), echoReq("x"))
	w := f.next()
	w.message()
	w.send(octets...)
	return <-done, w
}

func wantBody(t *testing.T, o outcome, want string) {
	t.Helper()
	if o.err != nil || o.body != want {
		t.Errorf("call: %d octets %.60q, %v; want %d octets %.60q", len(o.body), o.body, o.err, len(want), want)
	}
}

func perlReply(t *testing.T) {
	o, w := asked(t, "HEADER 0 16\r\n{\"request_id\":1}END\r\nDATA 0 2\r\nokEND\r\nEOF 0 0\r\nEND\r\n")
	wantBody(t, o, "ok")
	w.quiet()
}

func goReplyWithNewline(t *testing.T) {
	o, w := asked(t, "HEADER 0 123\r\n"+
		`{"action":"","envelope":"json","request_id":1,"client_id":0,"ticket":"","identifying_token":"","type":"reply","version":0}`+
		"\nEND\r\nDATA 0 2\r\nokEND\r\nEOF 0 0\r\nEND\r\n")
	wantBody(t, o, "ok")
	w.quiet()
}

func csharpReply(t *testing.T) {
	o, w := asked(t, msg(0, `{"type":"reply","request_id":"1"}`, "ok"))
	wantBody(t, o, "ok")
	w.quiet()
}

func csharpErrorData(t *testing.T) {
	o, _ := asked(t, msg(0, `{"type":"reply","request_id":"1","error_code":null,"error":null,"error_data":null}`, "ok"))
	wantBody(t, o, "ok")
	o, _ = asked(t, msg(0, `{"type":"reply","request_id":"1","error_code":"x_no","error":"no","error_data":null}`, ""))
	var re *scamp.RemoteError
	if !errors.As(o.err, &re) || re.Code != "x_no" || ranOf(o.err) != scamp.RanYes {
		t.Errorf("error with error_data null: %v, want x_no and Ran yes", o.err)
	}
}

// JavaScript and Perl end a reply without error members by a TXERR: the infrastructure
// failed, whatever came before.
func jsMissingAction(t *testing.T) {
	for _, body := range []string{"", "half"} {
		octets := pk("HEADER", 0, `{"type":"reply","request_id":1}`)
		if body != "" {
			octets += pk("DATA", 0, body)
		}
		o, w := asked(t, octets+"TXERR 0 23\r\nError: action not foundEND\r\n")
		if ranOf(o.err) != scamp.RanMaybe || !strings.Contains(o.err.Error(), "Error: action not found") {
			t.Errorf("reply %q ended by TXERR: %q, %v; want the text of the TXERR and Ran maybe", body, o.body, o.err)
		}
		w.quiet()
	}
}

func jsEarlyTXERR(t *testing.T) {
	f := newFar(t)
	done := inBackground(t.Context(), f.known(), &scamp.Request{Action: "Sample.echo", Body: io.LimitReader(zeros{}, 1<<20)})
	w := f.next()
	w.await("a full window", func() bool { return w.data[0] == 65536 })
	w.send(pk("HEADER", 0, `{"type":"reply","request_id":1}`), pk("TXERR", 0, "Error: too busy"))
	if o := <-done; ranOf(o.err) != scamp.RanMaybe || !strings.Contains(o.err.Error(), "too busy") {
		t.Errorf("TXERR before the request ended: %v, want its text and Ran maybe", o.err)
	}
	if m := w.message(); m.txerr == "" || len(m.body) != 65536 {
		t.Errorf("the request: %d octets, ended by %q; want 65536 and a TXERR", len(m.body), m.txerr)
	}
	w.quiet()
}

func goMissingAction(t *testing.T) {
	o, _ := asked(t, goReply(0, 1, `{"error": "no such action"}`))
	wantBody(t, o, `{"error": "no such action"}`)
}

// A DATA of more than 131072 octets only its author takes: it ends the connection.
func goLargeData(t *testing.T) {
	o, w := asked(t, strings.TrimSuffix(goReply(0, 1, strings.Repeat("g", 131072)), pk("EOF", 0, "")), pk("DATA", 0, strings.Repeat("g", 131073)))
	if ranOf(o.err) != scamp.RanMaybe || !errors.Is(o.err, scamp.ErrLost) {
		t.Errorf("DATA of 131073 octets: %v, want the connection lost and Ran maybe", o.err)
	}
	w.over()
}

// Go and Perl send a whole reply at once. Who they are shows in its header: client_id,
// or no type. Such a reply may leave 1 MiB unread.
func goKnowsNoWindow(t *testing.T) {
	for header, fits := range map[string]bool{
		`{"action":"","envelope":"json","request_id":1,"client_id":0,"ticket":"","identifying_token":"","type":"reply","version":0}` + "\n": true,
		`{"request_id":1}`:                true,
		`{"type":"reply","request_id":1}`: false,
	} {
		f := newFar(t)
		s, err := f.known().Stream(t.Context(), &scamp.Request{Action: "Sample.echo"})
		if err != nil {
			t.Fatal(err)
		}
		s.CloseSend()
		w := f.next()
		w.message()
		w.send(msg(0, header, strings.Repeat("r", 1<<20)))
		synctest.Wait() // nobody has read any of it
		n, err := io.Copy(io.Discard, s)
		if ok := n == 1<<20 && err == nil; ok != fits {
			t.Errorf("reply %q of 1 MiB at once: %d octets, %v; want it taken: %v", header, n, err, fits)
		}
		w.quiet()
	}
}

func goEmptyDataInReply(t *testing.T) {
	o, w := asked(t, pk("HEADER", 0, `{"type":"reply","request_id":1,"client_id":0,"version":0}`), pk("DATA", 0, strings.Repeat("g", 131072)), pk("DATA", 0, ""), pk("EOF", 0, ""))
	wantBody(t, o, strings.Repeat("g", 131072))
	w.quiet()
}

func jsErrorWithoutCode(t *testing.T) {
	o, _ := asked(t, msg(0, `{"type":"reply","request_id":1,"error":"it broke"}`, "body"))
	var re *scamp.RemoteError
	if !errors.As(o.err, &re) || re.Code != "general" || re.Text != "it broke" {
		t.Errorf("error without a code: %q, %v; want general: it broke", o.body, o.err)
	}
}

// An error may come while the request is still being sent; the rest is not wanted.
func earlyReply(t *testing.T) {
	f := newFar(t)
	done := inBackground(t.Context(), f.known(), &scamp.Request{Action: "Sample.echo", Body: io.LimitReader(zeros{}, 1<<20)})
	w := f.next()
	w.await("a full window", func() bool { return w.data[0] == 65536 })
	w.send(msg(0, `{"type":"reply","request_id":1,"error_code":"early","error":"stop"}`, ""))
	var re *scamp.RemoteError
	if o := <-done; !errors.As(o.err, &re) || re.Code != "early" || ranOf(o.err) != scamp.RanYes {
		t.Errorf("early error: %v, want early: stop, and Ran yes", o.err)
	}
	if m := w.message(); m.txerr == "" {
		t.Errorf("the request ended well after %d octets, want a TXERR", len(m.body))
	}
	w.quiet()
}

// JavaScript and Go acknowledge each DATA, also of a request that has ended by then.
func serviceAcksAtOnce(t *testing.T) {
	f := newFar(t)
	bus := f.known()
	var w *wire
	for i, size := range []int{1, 16384, 32768, 65536, 65537, 300000} {
		done := inBackground(t.Context(), bus, echoReq(strings.Repeat("j", size)))
		if w == nil {
			w = f.next()
			w.acks.Store(true)
		}
		m := w.message()
		w.send(reply(i, i+1, "ok"), pk("ACK", i, fmt.Sprint(size)))
		wantBody(t, <-done, "ok")
		if len(m.body) != size {
			t.Errorf("request of %d octets: %d arrived", size, len(m.body))
		}
	}
	w.quiet()
}

// Perl acknowledges nothing until somebody reads, and then all at once.
func serviceAcksLate(t *testing.T) {
	f := newFar(t)
	done := inBackground(t.Context(), f.known(), echoReq(strings.Repeat("p", 131072)))
	w := f.next()
	w.await("a full window", func() bool { return w.data[0] == 65536 })
	<-time.After(70 * time.Second)
	w.send(pk("ACK", 0, "65536"))
	w.await("the rest", func() bool { return w.data[0] == 131072 })
	<-time.After(70 * time.Second)
	w.message()
	w.send(pk("ACK", 0, "131072"), reply(0, 1, "ok"))
	wantBody(t, <-done, "ok")
	w.quiet()
}

// A PING ends the connection of Perl, C# and Go, however long a reply is awaited.
func callerSendsNoPing(t *testing.T) {
	f := newFar(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	done := inBackground(ctx, f.known(), echoReq("x"))
	w := f.next()
	w.message()
	<-time.After(50 * time.Minute)
	if got := w.arrived(); got != "" {
		t.Errorf("while a reply is awaited: %q, want nothing", got)
	}
	w.send(reply(0, 1, "ok"))
	wantBody(t, <-done, "ok")
}
