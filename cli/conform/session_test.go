package conform_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/cli/conform"
	"github.com/scampbus/scamp-go/fixtures"
)

// TestWhatAServiceWritesIsWatched feeds a session with what a service wrote after one
// request, and counts the rules that it broke.
func TestWhatAServiceWritesIsWatched(t *testing.T) {
	const head = "HEADER 0 31\r\n" + `{"request_id":1,"type":"reply"}` + "END\r\n"
	const eof = "EOF 0 0\r\nEND\r\n"
	header := func(no int, body string) string { return fmt.Sprintf("HEADER %d %d\r\n%sEND\r\n", no, len(body), body) }
	for _, tt := range []struct {
		name, octets string
		broken       int
	}{
		{"a good reply", "ACK 0 1\r\n7END\r\n" + head + "DATA 0 1\r\nxEND\r\n" + eof, 0},
		{"the id in its other form", header(0, `{"request_id":"1","type":"reply"}`) + eof, 0},
		{"the first number is 1", strings.ReplaceAll(head+eof, " 0 ", " 1 "), 1},
		{"DATA of no message", head + "DATA 1 1\r\nxEND\r\n" + eof, 1},
		{"empty DATA", head + "DATA 0 0\r\nEND\r\n" + eof, 1},
		{"EOF with a body", head + "EOF 0 1\r\nxEND\r\n", 1},
		{"a second EOF", head + eof + eof, 1},
		{"TXERR", head + "TXERR 0 4\r\noopsEND\r\n", 0},
		{"TXERR without text", head + "TXERR 0 0\r\nEND\r\n", 1},
		{"TXERR 0", head + "TXERR 0 1\r\n0END\r\n", 1},
		{"a header that is none", header(0, "[]") + eof, 1},
		{"a null", header(0, `{"error":null,"request_id":1,"type":"reply"}`) + eof, 1},
		{"a null deeper", header(0, `{"request_id":1,"type":"reply","x":[null,{"y":null}]}`) + eof, 0},
		{"an event", header(0, `{"type":"event"}`) + eof, 1},
		{"a second reply", head + eof + header(1, `{"request_id":1,"type":"reply"}`) + "EOF 1 0\r\nEND\r\n", 1},
		{"a reply to nothing", header(0, `{"request_id":7,"type":"reply"}`) + eof, 1},
		{"a long header", header(0, `{"request_id":1,"type":"reply","x":"`+strings.Repeat("x", 32768)+`"}`) + eof, 1},
		{"more than the window", head + strings.Repeat("DATA 0 65536\r\n"+strings.Repeat("x", 65536)+"END\r\n", 2) + eof, 1},
		{"an ACK past the end", "ACK 0 1\r\n8END\r\n" + head + eof, 1},
		{"an ACK twice", "ACK 0 1\r\n7END\r\nACK 0 1\r\n7END\r\n" + head + eof, 1},
		{"an ACK of 0", "ACK 0 1\r\n0END\r\n" + head + eof, 1},
		{"an ACK of no message", "ACK 5 1\r\n1END\r\n" + head + eof, 1},
		{"a PING", "PING 0 0\r\nEND\r\n" + head + eof, 1},
		{"a PONG", "PONG 0 0\r\nEND\r\n" + head + eof, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if broken, messages := conform.Feed([]byte(tt.octets)); broken != tt.broken {
				t.Errorf("%.200q: %d rules are broken, want %d; messages %q", tt.octets, broken, tt.broken, messages)
			}
		})
	}
}

// TestWhatARequesterWritesIsWatched is the same for a requester.
func TestWhatARequesterWritesIsWatched(t *testing.T) {
	request := func(no int, json string) string {
		return fmt.Sprintf("HEADER %d %d\r\n%sEND\r\nEOF %[1]d 0\r\nEND\r\n", no, len(json), json)
	}
	const good = `{"action":"Sample.echo","envelope":"json","request_id":1,"sector":"main","type":"request","version":1}`
	for _, tt := range []struct {
		name, octets string
		broken       int
	}{
		{"a good request", request(0, good), 0},
		{"two of them", request(0, good) + request(1, strings.Replace(good, ":1,", ":2,", 1)), 0},
		{"the same id again", request(0, good) + request(1, good), 1},
		{"the first id is 2", request(0, strings.Replace(good, ":1,", ":2,", 1)), 1},
		{"an id that is a string", request(0, strings.Replace(good, ":1,", `:"1",`, 1)), 1},
		{"no sector", request(0, strings.Replace(good, `"sector":"main",`, "", 1)), 1},
		{"no version", request(0, strings.Replace(good, `,"version":1`, "", 1)), 1},
		{"a version that is a list", request(0, strings.Replace(good, `"version":1`, `"version":[]`, 1)), 1},
		{"no action", request(0, strings.Replace(good, `"action":"Sample.echo",`, "", 1)), 1},
		{"no type", request(0, strings.Replace(good, `"type":"request",`, "", 1)), 1},
		{"a null", request(0, strings.Replace(good, `}`, `,"ticket":null}`, 1)), 1},
		{"a cancel that was not offered", request(0, `{"request_id":1,"type":"cancel"}`), 1},
		{"a subscription", request(0, `{"request_id":1,"type":"subscribe"}`), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if broken, messages := conform.FeedGuest([]byte(tt.octets)); broken != tt.broken {
				t.Errorf("%.300q: %d rules are broken, want %d; messages %q", tt.octets, broken, tt.broken, messages)
			}
		})
	}
}

// FuzzSession wants no panic, and a text that a terminal does not obey, whatever comes.
func FuzzSession(f *testing.F) {
	var streams []struct{ Visible, Hex string }
	fixtures.JSON("framing/cases.json", &streams)
	for _, s := range streams {
		var octets []byte
		if _, err := fmt.Sscanf(s.Hex, "%x", &octets); err == nil {
			f.Add(octets)
		}
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		_, messages := conform.Feed(octets)
		_, requests := conform.FeedGuest(octets)
		for _, m := range append(messages, requests...) {
			for _, c := range []byte(m) {
				if c < 0x20 || c > 0x7e {
					t.Fatalf("%q: message %q has the octet %#x", octets, m, c)
				}
			}
		}
	})
}

// FuzzHasNull compares with the JSON library.
func FuzzHasNull(f *testing.F) {
	for _, header := range []string{`{}`, `{"a":null}`, `{"null":"null","b":["n",null]}`, `{"a\"n":{"n":null},"b":null }`} {
		f.Add([]byte(header))
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		var members map[string]json.RawMessage
		if json.Unmarshal(header, &members) != nil {
			return
		}
		want := false
		for _, v := range members {
			want = want || string(v) == "null"
		}
		// Of a member that occurs twice the library keeps the last; such a header is
		// refused before this is asked.
		if got := conform.HasNull(header); got != want && !(got && strings.Count(string(header), ":") > len(members)) {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	})
}
