package scamp_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// TestOldRequesters has what other implementations do as requesters, and ours never does
// (PROTOCOL, appendix B), done to a service with its default limits. The octets are those
// of PROTOCOL 2.5 and of fixtures/transcripts.
func TestOldRequesters(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"perl_null_ticket":                perlNullTicket,
		"go_newline_and_empty_members":    goNewline,
		"csharp_string_ids_no_envelope":   csharpIDs,
		"csharp_window_of_131072":         csharpWindow,
		"js_passes_its_window_by_one":     jsPassesItsWindow,
		"go_and_perl_know_no_window":      noWindow,
		"go_empty_data_before_the_end":    goEmptyData,
		"js_and_go_acknowledge_at_once":   acksAtOnce,
		"perl_acknowledges_late":          acksLate,
		"go_acknowledges_the_txerr_text":  goAcksTXERR,
		"perl_csharp_and_go_get_no_ping":  noPing,
		"all_get_replies_they_understand": repliesForOldRequesters,
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
	}
}

// ourFirst is the header of our first reply to id, and plain that of later ones.
const ourFirst = `{"ext":{"v":1,"win":1048576,"cancel":1},"request_id":%s,"type":"reply"}`

func perlNullTicket(t *testing.T) {
	_, w := sampleService(t, nil)
	w.send("HEADER 0 100\r\n" + `{"version":1,"action":"Sample.echo","ticket":null,"request_id":1,"type":"request","envelope":"json"}` + "END\r\n" +
		"DATA 0 4\r\nperlEND\r\nEOF 0 0\r\nEND\r\n")
	w.expect(pk("HEADER", 0, fmt.Sprintf(ourFirst, "1")), "DATA 0 4\r\nperlEND\r\n", "EOF 0 0\r\nEND\r\n")
	w.quiet()
}

func goNewline(t *testing.T) {
	_, w := sampleService(t, nil)
	w.send("HEADER 0 136\r\n" + `{"action":"Sample.echo","envelope":"json","request_id":1,"client_id":0,"ticket":"","identifying_token":"","type":"request","version":1}` + "\nEND\r\n" +
		"DATA 0 2\r\ngoEND\r\nEOF 0 0\r\nEND\r\n")
	w.expect(pk("HEADER", 0, fmt.Sprintf(ourFirst, "1")), "DATA 0 2\r\ngoEND\r\n", "EOF 0 0\r\nEND\r\n")
	w.quiet()
}

// C# finds its calls by the id as text, and may leave the envelope out.
func csharpIDs(t *testing.T) {
	_, w := sampleService(t, nil)
	w.send(msg(0, `{"action":"Sample.echo","version":1,"request_id":"7","type":"request"}`, "cs"))
	w.expect(pk("HEADER", 0, fmt.Sprintf(ourFirst, `"7"`)), "DATA 0 2\r\ncsEND\r\n", "EOF 0 0\r\nEND\r\n")
	w.send(msg(1, `{"action":"Sample.fail","version":1,"request_id":"007","type":"request"}`, ""))
	if m := w.message(); !strings.Contains(m.json, `"request_id":"007"`) || m.header.ErrorCode != "x_no" {
		t.Errorf("error reply to the id \"007\": %s, want the id as it came", m.json)
	}
}

// A late handler takes nothing of its request until it is told to.
func lateHandler(t *testing.T) (w *wire, read func()) {
	n := scamptest.New(t)
	begin := make(chan struct{})
	s := n.Serve("late", func(s *scamp.Service) {
		s.Handle("Late.size", func(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
			select {
			case <-begin:
			case <-ctx.Done():
				return ctx.Err()
			}
			size, err := io.Copy(io.Discard, req.Body)
			if err != nil {
				return err
			}
			return rep.SetBytes([]byte(fmt.Sprint(size)))
		}, nil)
		s.Handle("Late.echo", echo, nil)
	})
	return callWire(t, n, s.Addr()), func() { close(begin) }
}

// stillThere makes a request on the same connection.
func (w *wire) stillThere(no int) {
	w.t.Helper()
	w.send(msg(no, ask("Late.echo", 1000+no), "still there"))
	if m := w.message(); m.body != "still there" {
		w.t.Errorf("the next request: %s %q, want it served", m.json, m.body)
	}
}

func csharpWindow(t *testing.T) {
	w, read := lateHandler(t)
	w.send(pk("HEADER", 0, ask("Late.size", 1)), pk("DATA", 0, strings.Repeat("c", 131072)))
	synctest.Wait()
	w.stillThere(1)
	read()
	w.awaitAck(0, 131072) // only then it sends more
	w.send(pk("DATA", 0, strings.Repeat("c", 131072)), pk("EOF", 0, ""))
	if m := w.message(); m.body != "262144" {
		t.Errorf("body from a sender with a window of 131072: %s %q, want 262144 octets", m.json, m.body)
	}
}

// JavaScript looks at its window when a packet is out.
func jsPassesItsWindow(t *testing.T) {
	w, read := lateHandler(t)
	w.send(pk("HEADER", 0, ask("Late.size", 1)), pk("DATA", 0, strings.Repeat("j", 65535)), pk("DATA", 0, strings.Repeat("j", 131072)), pk("EOF", 0, ""))
	synctest.Wait()
	w.stillThere(1)
	read()
	if m := w.message(); m.body != "196607" {
		t.Errorf("body from a sender that passes its window by a packet: %s %q, want 196607 octets", m.json, m.body)
	}
}

// Go and Perl send all they have at once. Who they are shows in the header, which has no
// sector. One message may leave 1 MiB unread; more is the end of that message alone.
func noWindow(t *testing.T) {
	header := func(id int) string {
		return fmt.Sprintf(`{"action":"Late.size","envelope":"json","request_id":%d,"client_id":0,"ticket":"","identifying_token":"","type":"request","version":1}`+"\n", id)
	}
	w, read := lateHandler(t)
	begun := pk("HEADER", 1, header(2))
	w.send(msg(0, header(1), strings.Repeat("g", 1<<20)), begun)
	synctest.Wait() // both handlers run
	w.send(strings.TrimPrefix(msg(1, header(2), strings.Repeat("g", 1<<20+1)), begun))
	// It is answered at once, whatever its handler waits for.
	if m := w.message(); m.header.ID.String() != "2" || m.header.ErrorCode != "transport" || m.header.DispatchFailure() {
		t.Errorf("a body of 1 MiB and an octet that nobody read: %s, want transport, and no promise that it did not run", m.json)
	}
	synctest.Wait()
	w.stillThere(2)
	read()
	if m := w.message(); m.header.ID.String() != "1" || m.body != "1048576" {
		t.Errorf("a body of 1 MiB: %s %q, want all of it", m.json, m.body)
	}
	w.stillThere(3)
}

// Go ends a body that is an exact multiple of 131072 octets with an empty DATA.
func goEmptyData(t *testing.T) {
	w, read := lateHandler(t)
	read()
	w.send(pk("HEADER", 0, `{"action":"Late.size","envelope":"json","request_id":1,"client_id":0,"type":"request","version":1}`+"\n"),
		pk("DATA", 0, strings.Repeat("g", 131072)), pk("DATA", 0, ""), pk("EOF", 0, ""))
	if m := w.message(); m.body != "131072" {
		t.Errorf("body with an empty DATA at its end: %s %q, want 131072 octets", m.json, m.body)
	}
	w.stillThere(1)
}

// JavaScript and Go acknowledge each DATA as it arrives, also that of a message which
// has ended by then.
func acksAtOnce(t *testing.T) {
	_, w := sampleService(t, nil)
	w.acks.Store(true)
	for i, size := range []int{1, 16384, 32768, 65536, 65537, 150000} {
		w.send(msg(i, ask("Sample.echo", i+1), strings.Repeat("j", size)))
		if m := w.message(); len(m.body) != size || !m.whole {
			t.Errorf("echo of %d octets: %d came back, ended by %q", size, len(m.body), m.txerr)
		}
		w.send(pk("ACK", i, fmt.Sprint(size))) // and once more
	}
	w.quiet()
}

// Perl acknowledges all at once when somebody reads, and that may be late.
func acksLate(t *testing.T) {
	_, w := sampleService(t, nil)
	w.send(pk("HEADER", 0, ask("Sample.echo", 1)))
	w.send(pk("DATA", 0, strings.Repeat("p", 65536)))
	w.await("a full window", func() bool { return w.data[0] == 65536 })
	<-time.After(50 * time.Second)
	w.send(pk("ACK", 0, "65536"), pk("DATA", 0, strings.Repeat("p", 65536)), pk("EOF", 0, ""))
	w.await("the rest", func() bool { return w.data[0] == 131072 })
	w.send(pk("ACK", 0, "131072"))
	if m := w.message(); !m.whole {
		t.Errorf("reply that was acknowledged late: ended by %q, want it whole", m.txerr)
	}
	w.quiet()
}

// Go counts the text of a TXERR with the octets of the body.
func goAcksTXERR(t *testing.T) {
	_, w := sampleService(t, nil)
	w.send(msg(0, ask("Sample.half", 1), ""))
	w.begun()
	w.expect(pk("DATA", 0, "half"))
	w.send(pk("ACK", 0, "4"), msg(1, `{"request_id":1,"type":"cancel"}`, ""))
	m := w.message()
	if m.txerr == "" {
		t.Fatalf("reply: %q, want it cut by a TXERR", m.body)
	}
	w.send(pk("ACK", 0, fmt.Sprint(4+len(m.txerr))))
	w.quiet()
}

// A PING ends the connection of Perl, C# and Go, however long a handler takes.
func noPing(t *testing.T) {
	_, w := sampleService(t, nil)
	w.send(msg(0, ask("Sample.wait", 1), ""))
	began := time.Now()
	end := time.After(2 * time.Minute)
	for p, ok := w.popWithin(end); ok && p.Kind != packet.KindEOF; p, ok = w.popWithin(end) {
		if p.Kind == packet.KindPING {
			t.Fatalf("a PING after %v, to a peer that may not know it", time.Since(began))
		}
	}
	if took := time.Since(began); took != time.Minute {
		t.Errorf("the reply comes after %v, want the service's own timeout", took)
	}
}

// repliesForOldRequesters: Go closes on an envelope or type it does not know, on a string
// for an id or a version, and on null for a client id. So none of our replies may have
// these.
func repliesForOldRequesters(t *testing.T) {
	_, w := sampleService(t, nil)
	for i, action := range []string{"Sample.echo", "Sample.fail", "Sample.panic", "Sample.nothere", "Sample.look"} {
		w.send(msg(i, fmt.Sprintf(`{"action":%q,"envelope":"json","request_id":%d,"client_id":0,"ticket":"","identifying_token":"","type":"request","version":1}`+"\n", action, i+1), ""))
		m := w.message()
		h := m.header
		if n, ok := h.ID.Number(); !ok || n != uint64(i+1) || strings.Contains(m.json, "null") || !strings.Contains(m.json, fmt.Sprintf(`"request_id":%d`, i+1)) ||
			strings.Contains(m.json, `"envelope"`) || strings.Contains(m.json, `"client_id"`) || !strings.Contains(m.json, `"type":"reply"`) {
			t.Errorf("reply of %s: %s, want what every peer understands", action, m.json)
		}
		if action == "Sample.nothere" && (h.ErrorCode != "no_action" || h.DispatchFailure()) {
			t.Errorf("reply of %s: %s, want no_action, without what makes old peers avoid the instance", action, m.json)
		}
	}
}
