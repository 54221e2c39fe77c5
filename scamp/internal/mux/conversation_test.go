package mux_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// The worked examples of PROTOCOL 2.5, octet for octet.
const (
	example1 = "HEADER 0 86\r\n" + `{"action":"Sample.echo","envelope":"json","request_id":1,"type":"request","version":1}` + "END\r\n" +
		"DATA 0 7\r\n" + `{"a":1}` + "END\r\n" +
		"EOF 0 0\r\nEND\r\n"
	example2 = "HEADER 0 31\r\n" + `{"request_id":1,"type":"reply"}` + "END\r\n" +
		"DATA 0 7\r\n" + `{"a":1}` + "END\r\n" +
		"EOF 0 0\r\nEND\r\n"
	exampleACK = "ACK 0 1\r\n7END\r\n" // 2 and 3
	example4   = "HEADER 1 140\r\n" + `{"action":"Sample.Item.list","envelope":"json","request_id":2,"ticket":"1,42,100,1700000000,3600,1+2+30,AbC-_","type":"request","version":2}` + "END\r\n" +
		"EOF 1 0\r\nEND\r\n"
	example5 = "HEADER 1 76\r\n" + `{"error":"Access denied","error_code":"authz","request_id":2,"type":"reply"}` + "END\r\n" +
		"EOF 1 0\r\nEND\r\n"
	example7 = "HEADER 3 31\r\n" + `{"request_id":4,"type":"reply"}` + "END\r\n" +
		"DATA 3 9\r\n" + `{"rows":[` + "END\r\n" +
		"TXERR 3 11\r\ndisk failedEND\r\n"
	example8 = "HEADER 2 86\r\n" + `{"action":"Sample.echo","envelope":"json","request_id":3,"type":"request","version":1}` + "END\r\n" +
		"HEADER 3 86\r\n" + `{"action":"Sample.echo","envelope":"json","request_id":4,"type":"request","version":1}` + "END\r\n" +
		"DATA 3 2\r\n{}END\r\n" +
		"DATA 2 2\r\n{}END\r\n" +
		"EOF 2 0\r\nEND\r\n" +
		"EOF 3 0\r\nEND\r\n"
	example9 = "PING 0 0\r\nEND\r\n" // answered by:
	pong9    = "PONG 0 0\r\nEND\r\n"

	example10 = "HEADER 4 119\r\n" + `{"error":"shutting down","error_code":"transport","error_data":{"dispatch_failure":true},"request_id":5,"type":"reply"}` + "END\r\n" +
		"EOF 4 0\r\nEND\r\n"
	example11perl = "HEADER 0 100\r\n" + `{"version":1,"action":"Sample.echo","ticket":null,"request_id":1,"type":"request","envelope":"json"}` + "END\r\n"
	example11go   = "HEADER 0 136\r\n" + `{"action":"Sample.echo","envelope":"json","request_id":1,"client_id":0,"ticket":"","identifying_token":"","type":"request","version":1}` + "\nEND\r\n"
	example12     = "HEADER 0 35\r\n" + `{"request_id":1,"type":"subscribe"}` + "END\r\n" +
		"DATA 0 12\r\n" + `["announce"]` + "END\r\n" +
		"EOF 0 0\r\nEND\r\n"
	example12service = "ACK 0 2\r\n12END\r\n" +
		"HEADER 0 16\r\n" + `{"type":"event"}` + "END\r\n" +
		"HEADER 1 40\r\n" + `{"request_id":1,"type":"subscribe_done"}` + "END\r\n" +
		"DATA 0 2\r\n[]END\r\n" +
		"EOF 0 0\r\nEND\r\n" +
		"DATA 1 4\r\ntrueEND\r\n" +
		"EOF 1 0\r\nEND\r\n"
)

// example6 is a body of 5000 octets in chunks of 2048.
func example6() string {
	body := string(octets(5000))
	return "HEADER 2 31\r\n" + `{"request_id":3,"type":"reply"}` + "END\r\n" +
		"DATA 2 2048\r\n" + body[:2048] + "END\r\n" +
		"DATA 2 2048\r\n" + body[2048:4096] + "END\r\n" +
		"DATA 2 904\r\n" + body[4096:] + "END\r\n" +
		"EOF 2 0\r\nEND\r\n"
}

func sampleRequest(id uint64) *packet.Header {
	return &packet.Header{Type: packet.TypeRequest, Action: "Sample.echo", ID: packet.NumberID(id)}
}

func sampleReply(id uint64) *packet.Header {
	return &packet.Header{Type: packet.TypeReply, ID: packet.NumberID(id)}
}

// TestExamplesAreWritten has a Conn of an old dialect write the examples of
// PROTOCOL 2.5, octet for octet.
func TestExamplesAreWritten(t *testing.T) {
	old := mux.Options{NoExt: true, Limits: mux.Limits{ChunkSize: 2048}}
	t.Run("requester", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			e, w := talk(t, old)
			send(t, e, sampleRequest(1), mux.Body{Data: []byte(`{"a":1}`)})
			list := sampleRequest(2)
			list.Action, list.Version, list.Ticket = "Sample.Item.list", 2, "1,42,100,1700000000,3600,1+2+30,AbC-_"
			send(t, e, list, mux.Body{})
			two := send(t, e, sampleRequest(3), mux.Body{More: true})
			three := send(t, e, sampleRequest(4), mux.Body{More: true})
			for _, o := range []*mux.Outbound{three, two} {
				if _, err := o.Write(t.Context(), []byte("{}")); err != nil {
					t.Fatal(err)
				}
			}
			two.CloseSend()
			three.CloseSend()
			if got, want := w.octets(), example1+example4+example8; got != want {
				t.Errorf("wrote %q\nwant  %q", got, want)
			}
		})
	})
	t.Run("service", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			e, w := talk(t, old)
			send(t, e, sampleReply(1), mux.Body{Data: []byte(`{"a":1}`)})
			denied := sampleReply(2)
			denied.Error, denied.ErrorCode = "Access denied", "authz"
			send(t, e, denied, mux.Body{})
			send(t, e, sampleReply(3), mux.Body{Data: octets(5000)})
			synctest.Wait() // what comes later may overtake what is not written yet (invariant 7)
			failing := send(t, e, sampleReply(4), mux.Body{More: true})
			if _, err := failing.Write(t.Context(), []byte(`{"rows":[`)); err != nil {
				t.Fatal(err)
			}
			failing.Abort("disk failed")
			synctest.Wait()
			down := sampleReply(5)
			down.Error, down.ErrorCode, down.ErrorData = "shutting down", "transport", json.RawMessage(`{"dispatch_failure":true}`)
			send(t, e, down, mux.Body{})
			synctest.Wait()
			w.send(example9)
			if got, want := w.octets(), example2+example5+example6()+example7+example10+pong9; got != want {
				t.Errorf("wrote %q\nwant  %q", got, want)
			}
		})
	})
}

func send(t *testing.T, e *end, h *packet.Header, body mux.Body) *mux.Outbound {
	t.Helper()
	o, err := e.Send(h, body, nil)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestExamplesAreRead has a Conn read the examples of PROTOCOL 2.5, whole and in
// pieces of every size.
func TestExamplesAreRead(t *testing.T) {
	type heard struct{ header, body, err string }
	for _, tt := range []struct {
		name, wire string
		want       []heard
	}{
		{"requests", example1 + example4 + example8, []heard{
			{"request Sample.echo~1 1", `{"a":1}`, ""}, {"request Sample.Item.list~2 2", "", ""},
			{"request Sample.echo~1 3", "{}", ""}, {"request Sample.echo~1 4", "{}", ""},
		}},
		{"replies", example2 + example5 + example6() + example7 + example9 + example10, []heard{
			{"reply ~1 1", `{"a":1}`, ""}, {"reply ~1 2 authz: Access denied", "", ""}, {"reply ~1 3", string(octets(5000)), ""},
			{"reply ~1 4", "", "disk failed"}, {"reply ~1 5 transport: shutting down", "", ""},
		}},
		{"Perl", example11perl + eof(0), []heard{{"request Sample.echo~1 1", "", ""}}},
		{"Go", example11go + eof(0), []heard{{"request Sample.echo~1 1", "", ""}}},
		{"subscribe", example12, []heard{{"subscribe ~1 1", `["announce"]`, ""}}},
		{"events", exampleACK + example12service, []heard{{"event ~1 ", "[]", ""}, {"subscribe_done ~1 1", "true", ""}}},
	} {
		for _, piece := range []int{1, 2, 7, 64, 1 << 20} {
			bubble(t, func(t *testing.T) {
				var lib library
				e, w := talk(t, mux.Options{Accept: lib.accept})
				w.sendSplit(tt.wire, piece)
				got := map[uint64]heard{}
				for _, r := range lib.readouts() {
					h := r.m.Header
					text := fmt.Sprintf("%s %s~%d %s", h.Type, h.Action, h.Version, h.ID)
					if h.ErrorCode != "" {
						text += " " + h.ErrorCode + ": " + h.Error
					}
					x := heard{text, string(r.body), ""}
					if tx, ok := r.err.(*mux.TXERR); ok {
						x.err = tx.Text
					} else if r.err != nil {
						t.Errorf("%s in pieces of %d: message %d: %v", tt.name, piece, r.m.No(), r.err)
					}
					got[r.m.No()] = x
				}
				for no, want := range tt.want {
					if got[uint64(no)] != want {
						t.Errorf("%s in pieces of %d: message %d: %q, want %q", tt.name, piece, no, got[uint64(no)], want)
					}
				}
				if len(got) != len(tt.want) || e.Err() != nil {
					t.Errorf("%s in pieces of %d: %d messages, %v; want %d", tt.name, piece, len(got), e.Err(), len(tt.want))
				}
			})
		}
	}
}
