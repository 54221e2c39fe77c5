package scamp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/scampbus/scamp-go/scamp"
)

// oddTexts are texts of which a header may make something else.
var oddTexts = []string{
	"", "plain", "Grüße, 世界 😀", "one \xff", "a row \xff\xfe\xfd\x80 and \xc3", "half a character \xe2\x82", "\xe2\x82\xac\xe2\x82", "a surrogate \xed\xa0\x80", "too long a form \xc0\xaf",
	"\xff", "\x80\x80\x80\x80", "U+FFFD itself \ufffd\xff", "control \x00\x01\x1b\x7f\n\r\t", "quotes \"\\/", "line \u2028 ends",
	strings.Repeat("x", 5000), strings.Repeat("€", 3000), strings.Repeat("\xff", 5000), strings.Repeat("\x01", 5000), strings.Repeat("x", 4095) + "€", strings.Repeat("x", 4095) + "\xff",
}

// oddJSON are details of which a header may make something else.
var oddJSON = []json.RawMessage{
	nil, json.RawMessage(``), json.RawMessage(`null`), json.RawMessage(`{}`), json.RawMessage(` {"a" : 1 } ` + "\n"), json.RawMessage(`[1]`), json.RawMessage(`"x"`), json.RawMessage(`{`),
	json.RawMessage("{\"a\":\"\xff\"}"), json.RawMessage("{\"\xff\":1}"), json.RawMessage(`{"a":"\ud800"}`), json.RawMessage(`{"a":1,"a":2}`),
	json.RawMessage(strings.Repeat(`{"a":`, 20) + "1" + strings.Repeat("}", 20)), json.RawMessage(`{"a":"` + strings.Repeat("x", 20000) + `"}`),
	json.RawMessage(`{"a":"` + strings.Repeat("x", 10000) + `"}`), json.RawMessage(`{"dispatch_failure":true}`), json.RawMessage(`{"timeout":true}`),
}

// What is said of errors, requests and replies is the same whichever way it comes.
func TestLocalTextsAreAsOverTheWire(t *testing.T) {
	var registers []func(*scamp.Service)
	var tests []func(t *testing.T, own, far *scamp.Bus)
	for _, part := range []func() (func(*scamp.Service), func(t *testing.T, own, far *scamp.Bus)){oddErrors, oddRequests, oddReplies} {
		register, test := part()
		registers, tests = append(registers, register), append(tests, test)
	}
	register := func(s *scamp.Service) {
		for _, r := range registers {
			r(s)
		}
	}
	own, far := ownBus(t, &scamp.Config{}, "own", register), overTCP(t, register)
	for i, name := range []string{"errors", "requests", "replies"} {
		t.Run(name, func(t *testing.T) { tests[i](t, own, far) })
	}
}

// oddErrors are errors of handlers.
func oddErrors() (register func(*scamp.Service), test func(t *testing.T, own, far *scamp.Bus)) {
	var all []error
	for _, text := range oddTexts {
		all = append(all, &scamp.RemoteError{Code: "x_odd", Text: text}, &scamp.RemoteError{Code: text, Text: "odd"}, errors.New(text), fmt.Errorf("wrapped: %w", &scamp.RemoteError{Code: text, Text: text}))
	}
	for _, data := range oddJSON {
		all = append(all, &scamp.RemoteError{Code: "x_odd", Text: "odd", Data: data}, &scamp.RemoteError{Code: scamp.CodeTransport, Text: strings.Repeat("\x01", 4000), Data: data})
	}
	register = func(s *scamp.Service) {
		scamp.HandleJSON(s, "Odd.error", func(_ context.Context, i int) (int, error) { return 0, all[i] }, nil)
	}
	test = func(t *testing.T, own, far *scamp.Bus) {
		odd := 0
		differs := func(format string, args ...any) {
			t.Helper()
			if odd++; odd < 10 {
				t.Errorf(format, args...)
			}
		}
		for _, ctx := range []context.Context{context.Background(), t.Context()} {
			for i, err := range all {
				seen := func(b *scamp.Bus) string {
					_, err := scamp.Call[int](ctx, b, "Odd.error", i)
					ce, _ := errors.AsType[*scamp.CallError](err)
					re, ok := errors.AsType[*scamp.RemoteError](err)
					if !ok {
						t.Fatalf("%q comes as %v: no *RemoteError", all[i], err)
					}
					return fmt.Sprintf("%q %q %q ran %v, %v, timeout %v", re.Code, re.Text, re.Data, ce.Ran, re.Data == nil, errors.Is(err, scamp.ErrTimeout))
				}
				if local, remote := seen(own), seen(far); local != remote {
					differs("%.80q comes as\n%.300s locally, and as\n%.300s over the wire", err, local, remote)
				}
			}
		}
	}
	return register, test
}

// oddRequests arrive as the same, or are refused either way.
func oddRequests() (register func(*scamp.Service), test func(t *testing.T, own, far *scamp.Bus)) {
	var passed atomic.Int32
	register = func(s *scamp.Service) {
		scamp.HandleJSON(s, "Odd.request", func(ctx context.Context, _ int) (string, error) {
			r := scamp.RequestFrom(ctx)
			if r.Data == nil {
				passed.Add(1)
			}
			return fmt.Sprintf("%q %q %q %q %q %q %q %d %d", r.Action, r.Sector, string(r.Ticket), string(r.IdentifyingToken), string(r.Terminal), r.Envelope, shownExtra(r.Extra), r.ClientID, r.Version), nil
		}, nil)
	}
	var all []scamp.Request
	for _, text := range oddTexts {
		all = append(all, scamp.Request{Ticket: scamp.Ticket(text)}, scamp.Request{IdentifyingToken: scamp.Ticket(text)}, scamp.Request{Terminal: scamp.Ticket(text)},
			scamp.Request{Ticket: scamp.Ticket(text), Terminal: scamp.Ticket(text)}, scamp.Request{Extra: scamp.Extra{text: json.RawMessage("1")}})
	}
	for _, data := range oddJSON {
		all = append(all, scamp.Request{Extra: scamp.Extra{"x_odd": data}})
	}
	all = append(all, scamp.Request{Sector: "main", ClientID: 7}, scamp.Request{Extra: scamp.Extra{}}, scamp.Request{Envelope: "odd\xff"}, scamp.Request{Envelope: "odd\ufffd"}, scamp.Request{Envelope: "odd \x01"}, scamp.Request{Action: "oDD.rEQUEST"},
		scamp.Request{Extra: scamp.Extra{"x_odd": json.RawMessage(" [ 1 ]\n"), "y": json.RawMessage("true")}})
	test = func(t *testing.T, own, far *scamp.Bus) {
		odd := 0
		differs := func(format string, args ...any) {
			t.Helper()
			if odd++; odd < 10 {
				t.Errorf(format, args...)
			}
		}
		for _, ctx := range []context.Context{context.Background(), t.Context()} {
			for _, req := range all {
				if req.Action == "" {
					req.Action = "Odd.request"
				}
				seen := func(b *scamp.Bus) string {
					req := req
					out, _, err := scamp.CallWith[string](ctx, b, &req, 1)
					if err == nil {
						return out
					}
					text := err.Error()
					if _, rest, ok := strings.Cut(text, " at "); ok { // the instances have names of their own
						_, text, _ = strings.Cut(rest, ": ")
					}
					return text
				}
				if local, remote := seen(own), seen(far); local != remote {
					differs("%.200q comes as\n%.300s locally, and as\n%.300s over the wire", fmt.Sprint(string(req.Ticket), string(req.IdentifyingToken), string(req.Terminal), req.Envelope, shownExtra(req.Extra)), local, remote)
				}
			}
		}
		if passed.Load() == 0 {
			t.Error("no value passed as it is")
		}
	}
	return register, test
}

func shownExtra(x scamp.Extra) string {
	return fmt.Sprint(x == nil, map[string]json.RawMessage(x))
}

// oddReplies have headers that arrive as the same, or are refused either way.
func oddReplies() (register func(*scamp.Service), test func(t *testing.T, own, far *scamp.Bus)) {
	type header struct {
		envelope string
		extra    scamp.Extra
	}
	var all []header
	for _, text := range oddTexts {
		all = append(all, header{text, nil}, header{"", scamp.Extra{text: json.RawMessage("1")}})
	}
	for _, data := range oddJSON {
		all = append(all, header{"", scamp.Extra{"x_odd": data}})
	}
	all = append(all, header{"", scamp.Extra{}})
	register = func(s *scamp.Service) {
		scamp.HandleJSON(s, "Odd.reply", func(ctx context.Context, i int) (int, error) {
			rep := scamp.ReplyFrom(ctx)
			rep.Envelope, rep.Extra = all[i].envelope, all[i].extra
			return i, nil
		}, nil)
	}
	test = func(t *testing.T, own, far *scamp.Bus) {
		odd := 0
		differs := func(format string, args ...any) {
			t.Helper()
			if odd++; odd < 10 {
				t.Errorf(format, args...)
			}
		}
		for _, ctx := range []context.Context{context.Background(), t.Context()} {
			for i := range all {
				seen := func(b *scamp.Bus) string {
					_, r, err := scamp.CallWith[int](ctx, b, &scamp.Request{Action: "Odd.reply"}, i)
					if err != nil {
						re, _ := errors.AsType[*scamp.RemoteError](err)
						return fmt.Sprintf("%+v", re)
					}
					return fmt.Sprintf("%q %q", r.Envelope, shownExtra(r.Extra))
				}
				if local, remote := seen(own), seen(far); local != remote {
					differs("%.80q comes as\n%.300s locally, and as\n%.300s over the wire", fmt.Sprint(all[i]), local, remote)
				}
			}
		}
	}
	return register, test
}
