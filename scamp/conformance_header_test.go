package scamp_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/fixtures"
)

func requestIDComesBack(t *testing.T) {
	_, w := sampleService(t, nil)
	for i, id := range []string{`1`, `7`, `"4"`, `"00000000-0000"`, `"a\"b\\c\u00e9"`, `9007199254740993`, `18446744073709551616`, `-3`, `0`, `1.5`, `""`} {
		w.send(msg(i, ask("Sample.echo", json.RawMessage(id)), "x"))
		m := w.message()
		if want := `"request_id":` + id + `,`; !strings.Contains(m.json, want) {
			t.Errorf("request with id %s: reply %s, want %s", id, m.json, want)
		}
	}
}

func ticketForms(t *testing.T) {
	_, w := sampleService(t, nil)
	for i, form := range []string{"", `null`, `""`} {
		w.send(msg(i, ask("Sample.look", i+1, "ticket", form, "identifying_token", form, "terminal", form), ""))
		if s := sawOf(t, w.message()); s.Ticket != "" || s.Token != "" || s.Terminal != "" {
			t.Errorf("ticket %q: seen as %+v, want none", form, s)
		}
	}
	w.send(msg(3, ask("Sample.look", 4, "ticket", `"1,2,3"`, "identifying_token", `"t"`, "station", `"s"`), ""))
	if s := sawOf(t, w.message()); s.Ticket != "1,2,3" || s.Token != "t" || s.Terminal != "s" {
		t.Errorf("ticket, token and station: seen as %+v, want them", s)
	}
}

func numbersInStrings(t *testing.T) {
	_, w := sampleService(t, nil)
	w.send(msg(0, ask("Sample.look", 1, "version", `"2"`, "client_id", `"77"`), ""))
	if s := sawOf(t, w.message()); s.Version != 2 || s.ClientID != 77 {
		t.Errorf("version \"2\" and client_id \"77\": seen as %+v, want 2 and 77", s)
	}
	for i, none := range []string{"", `null`, `""`, `0`} {
		w.send(msg(i+1, ask("Sample.look", i+2, "client_id", none), ""))
		if s := sawOf(t, w.message()); s.ClientID != 0 {
			t.Errorf("client_id %q: seen as %+v, want 0", none, s)
		}
	}
}

func missingVersion(t *testing.T) {
	_, w := sampleService(t, nil)
	for i, none := range []string{"", `null`} {
		w.send(msg(i, ask("Sample.look", i+1, "version", none, "envelope", none), ""))
		if s := sawOf(t, w.message()); s.Version != 1 || s.Envelope != "json" {
			t.Errorf("version and envelope %q: seen as %+v, want 1 and json", none, s)
		}
	}
	w.send(msg(2, ask("sample.LOOK", 3, "version", `3`), ""), msg(3, ask("Sample.look", 4, "envelope", `"web"`), ""), msg(4, ask("Sample.Item.look", 5, "envelope", `"web"`), ""))
	for i, want := range []string{"no_action", "no_action", ""} {
		if m := w.message(); m.header.ErrorCode != want {
			t.Errorf("request %d: reply %s, want code %q", i+3, m.json, want)
		}
	}
}

func missingTypeIsRequest(t *testing.T) {
	_, w := sampleService(t, nil)
	for i, none := range []string{"", `null`} {
		w.send(msg(i, ask("Sample.echo", i+1, "type", none), "x"))
		if m := w.message(); m.body != "x" {
			t.Errorf("type %q: reply %s with body %q, want x", none, m.json, m.body)
		}
	}
}

func unknownMembers(t *testing.T) {
	_, w := sampleService(t, nil)
	w.send(msg(0, ask("Sample.look", 1, "cgi_headers", `{"REQUEST_METHOD":"GET"}`, "x", `[1,null]`), ""))
	s := sawOf(t, w.message())
	if string(s.Extra["cgi_headers"]) != `{"REQUEST_METHOD":"GET"}` || string(s.Extra["x"]) != `[1,null]` || len(s.Extra) != 2 {
		t.Errorf("unknown members: seen as %s, want cgi_headers and x", s.Extra)
	}
}

func noRequestID(t *testing.T) {
	_, w := sampleService(t, nil)
	w.send(msg(0, ask("Sample.echo", 1, "request_id", ""), "x"), msg(1, ask("Sample.echo", 1, "request_id", "null"), "x"),
		msg(2, ask("Sample.echo", strings.Repeat("x", 30000)), "x"))
	w.quiet()
	w.send(msg(3, ask("Sample.echo", 1), "later"))
	if m := w.message(); m.body != "later" {
		t.Errorf("request after one without an id: reply %s with %q, want later", m.json, m.body)
	}
}

func wrongType(t *testing.T) {
	_, w := sampleService(t, nil)
	no := 0
	for name, value := range map[string]string{"action": `17`, "version": `1.5`, "envelope": `[]`, "ticket": `{}`, "client_id": `"x"`, "terminal": `true`} {
		w.send(msg(no, ask("Sample.echo", no+1, name, value), strings.Repeat("x", 100000)))
		m := w.message()
		if m.header.ErrorCode != "bad_request" || m.header.DispatchFailure() || !strings.Contains(m.header.Error, name) {
			t.Errorf("%s %s: reply %s, want bad_request naming it", name, value, m.json)
		}
		no++
	}
	w.quiet()
}

func unknownType(t *testing.T) {
	_, w := sampleService(t, nil)
	for i, typ := range []string{`"banana"`, `"reply"`, `"event"`, `"subscribe_done"`, `"notify"`, `3`} {
		w.send(msg(i, ask("Sample.echo", i+1, "type", typ), strings.Repeat("x", 100000)))
		w.awaitAck(i, 100000) // drained: its sender can finish
	}
	w.quiet()
}

func noNullInReplies(t *testing.T) {
	_, w := sampleService(t, nil)
	var replies struct {
		Requests []struct{ From, JSON string }
	}
	fixtures.JSON("headers.json", &replies)
	requests := []string{ask("Sample.echo", 1), ask("Sample.fail", 2), ask("Sample.nothere", 3), ask("Sample.panic", 4), ask("Sample.echo", 5, "action", `7`)}
	for _, r := range replies.Requests {
		if r.From == "Perl" || r.From == "Go" || r.From == "JavaScript" || r.From == "C#" {
			requests = append(requests, r.JSON)
		}
	}
	for i, r := range requests {
		w.send(msg(i, r, ""))
		m := w.message()
		if strings.Contains(m.json, "null") || m.header.Type.String() != "reply" {
			t.Errorf("request %s: reply %s, want type reply and no null", r, m.json)
		}
	}
}

func subscribeDrained(t *testing.T) {
	_, w := sampleService(t, nil)
	w.send(msg(0, `{"type":"subscribe"}`, `["announce"]`), msg(1, `{"type":"notify"}`, `{}`), msg(2, `{"type":"notify","request_id":7}`, strings.Repeat("x", 100000)))
	w.awaitAck(2, 100000)
	w.quiet()
}
