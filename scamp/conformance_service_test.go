package scamp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// TestConformanceService has the lines of PROTOCOL 17 that judge a service by the
// octets it sends, each in its own synthetic time.
func TestConformanceService(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"19b_ext_of_the_service", extOfService},
		{"19b_ms_ends_the_context", msEndsContext},
		{"19b_malformed_ext_changes_nothing", malformedExt},
		{"19c_cancel_of_a_running_request", cancelRunning},
		{"19c_cancel_of_a_queued_request", cancelQueued},
		{"19c_cancel_of_nothing", cancelNothing},
		{"19c_request_given_up_within_its_body", cancelWithinBody},
		{"20_request_id_comes_back_as_it_was", requestIDComesBack},
		{"21_ticket_null_empty_and_missing", ticketForms},
		{"22_numbers_in_strings", numbersInStrings},
		{"23_missing_version_and_envelope", missingVersion},
		{"24_missing_type_is_a_request", missingTypeIsRequest},
		{"25_unknown_members_reach_the_handler", unknownMembers},
		{"28_no_request_id_no_reply", noRequestID},
		{"29_action_of_a_wrong_type", wrongType},
		{"30_unknown_type_is_ignored", unknownType},
		{"32_no_member_of_a_reply_is_null", noNullInReplies},
		{"37a_300_requests_at_once", manyAtOnce},
		{"37a_more_than_8_mib_unread", tooMuchOfOne},
		{"50_request_ended_by_txerr", requestBrokenOff},
		{"52_exactly_one_reply", exactlyOneReply},
		{"30_events_without_id_are_drained", subscribeDrained},
		{"89_event_then_subscribe_done", eventThenDone},
		{"89_filters", eventFilters},
		{"89_changes", eventChanges},
		{"89_unfinished_subscribe", unfinishedSubscribe},
	} {
		t.Run(tt.name, func(t *testing.T) { synctest.Test(t, tt.run) })
	}
}

// A seen is what a handler saw of a request.
type seen struct {
	Version          int
	Envelope         string
	Ticket, Token    string
	Terminal         string
	ClientID         int64
	Extra            map[string]json.RawMessage
	Body             string
	Deadline         time.Duration // from now; zero if none
	Context, Ordinal string
}

func look(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
	b, err := req.Bytes()
	if err != nil {
		return err
	}
	s := seen{req.Version, req.Envelope, string(req.Ticket), string(req.IdentifyingToken), string(req.Terminal), req.ClientID, req.Extra, string(b), 0, "", ""}
	if at, ok := ctx.Deadline(); ok {
		s.Deadline = time.Until(at)
	}
	return rep.SetJSON(s)
}

// sampleService offers actions that do what their names say, and a caller made of
// octets.
func sampleService(t *testing.T, opts *scamp.ServiceOptions) (*scamptest.Service, *wire) {
	n := scamptest.New(t)
	if opts == nil {
		opts = new(scamp.ServiceOptions)
	}
	s := n.ServeWith("sample", opts, func(s *scamp.Service) {
		s.Handle("Sample.echo", echo, nil)
		s.Handle("Sample.look", look, nil)
		s.Handle("Sample.look~2", look, nil)
		s.Handle("Sample.Item.look", look, &scamp.ActionOptions{Envelopes: []string{"jsonstore", "web"}})
		s.Handle("Sample.wait", func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error {
			<-ctx.Done()
			return ctx.Err()
		}, nil)
		s.Handle("Sample.half", func(ctx context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
			io.WriteString(rep, "half")
			<-ctx.Done()
			return ctx.Err()
		}, nil)
		s.Handle("Sample.panic", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { panic("ouch") }, nil)
		s.Handle("Sample.blind", func(ctx context.Context, _ *scamp.Request, _ *scamp.ReplyWriter) error {
			select {
			case <-time.After(time.Second): // without a look at its body
			case <-ctx.Done():
			}
			return nil
		}, nil)
		s.Handle("Sample.fail", func(context.Context, *scamp.Request, *scamp.ReplyWriter) error {
			return &scamp.RemoteError{Code: "x_no", Text: "no", Data: json.RawMessage(`{"a":1}`)}
		}, nil)
	})
	return s, callWire(t, n, s.Addr())
}

// ask is the header of a request as JSON; more members override.
func ask(action string, id any, more ...string) string {
	m := map[string]any{"action": action, "envelope": "json", "request_id": id, "sector": "main", "type": "request", "version": 1}
	for i := 0; i < len(more); i += 2 {
		if more[i+1] == "" {
			delete(m, more[i])
			continue
		}
		m[more[i]] = json.RawMessage(more[i+1])
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func sawOf(t *testing.T, m heard) (s seen) {
	t.Helper()
	if err := json.Unmarshal([]byte(m.body), &s); err != nil {
		t.Errorf("reply %q with body %q: %v", m.json, m.body, err)
	}
	return s
}

func extOfService(t *testing.T) {
	_, w := sampleService(t, nil)
	w.send(msg(0, ask("Sample.echo", 1), "a"))
	w.expect(pk("HEADER", 0, `{"ext":{"v":1,"win":1048576,"cancel":1},"request_id":1,"type":"reply"}`), pk("DATA", 0, "a"), pk("EOF", 0, ""))
	w.send(msg(1, ask("Sample.echo", 2), "b"))
	w.expect(pk("HEADER", 1, `{"request_id":2,"type":"reply"}`), pk("DATA", 1, "b"), pk("EOF", 1, ""))
}

func msEndsContext(t *testing.T) {
	_, w := sampleService(t, nil)
	w.send(msg(0, ask("Sample.look", 1, "ext", `{"v":1,"ms":2500}`), ""))
	if s := sawOf(t, w.message()); s.Deadline != 2500*time.Millisecond {
		t.Errorf("request with ms 2500: the handler has %v, want 2.5s", s.Deadline)
	}
	began := time.Now()
	w.send(msg(1, ask("Sample.wait", 2, "ext", `{"v":1,"ms":2500}`), ""))
	m := w.message()
	if took := time.Since(began); took != 2500*time.Millisecond || m.header.ErrorCode != "transport" {
		t.Errorf("request with ms 2500: reply %q after %v, want transport after 2.5s", m.json, took)
	}
	w.send(msg(2, ask("Sample.half", 3, "ext", `{"v":1,"ms":2500}`), ""))
	m = w.message()
	if took := time.Since(began); took != 5*time.Second || m.body != "half" || m.txerr == "" {
		t.Errorf("request with ms 2500: reply %q %q ended by %q after %v, want half and a TXERR after 5s", m.json, m.body, m.txerr, took)
	}
}

func malformedExt(t *testing.T) {
	_, w := sampleService(t, nil)
	for i, ext := range []string{`17`, `"x"`, `[]`, `{}`, `{"v":0}`, `{"v":"1","ms":1}`, `{"v":1,"ms":"1"}`, `{"v":1,"ms":-1}`, `{"v":1,"win":1,"cancel":true,"x":[1]}`} {
		w.send(msg(i, ask("Sample.look", i+1, "ext", ext), "b"))
		m := w.message()
		if s := sawOf(t, m); !m.whole || m.header.ErrorCode != "" || s.Body != "b" || s.Deadline != 0 {
			t.Errorf("request with ext %s: %q, seen as %+v, want it served without a deadline", ext, m.json, s)
		}
	}
	w.quiet()
}

// serve runs a service until the test ends.
func serve(t testing.TB, s *scamp.Service) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }() // ends with ctx
	ended := false
	stop = func() error {
		cancel()
		if ended {
			return nil
		}
		ended = true
		return <-done
	}
	t.Cleanup(func() { stop() })
	select {
	case <-s.Ready():
	case err := <-done:
		t.Fatal(err)
	}
	return stop
}

func requestBrokenOff(t *testing.T) {
	_, w := sampleService(t, nil)
	w.acks.Store(true)
	for i, action := range []string{"Sample.echo", "Sample.look", "Sample.blind"} {
		for j, octets := range []string{"", pk("DATA", 3*i+1, "half a body"), strings.Repeat(pk("DATA", 3*i+2, strings.Repeat("x", 9999)), 9)} {
			no := 3*i + j
			w.send(pk("HEADER", no, ask(action, no+1)))
			synctest.Wait() // the handler runs, but for its body
			w.send(octets)
			synctest.Wait()
			w.send(pk("TXERR", no, "changed my mind"))
			m := w.message()
			broken := m.header.ErrorCode == "transport" && m.header.Error == "request body not received" && m.body == ""
			cut := action == "Sample.echo" && octets != "" && m.txerr != "" // its reply had begun
			if !broken && !cut || m.header.DispatchFailure() {
				t.Errorf("%s with %.40q and TXERR: reply %s with %.40q, TXERR %q, want transport", action, octets, m.json, m.body, m.txerr)
			}
		}
	}
	w.send(pk("HEADER", 9, ask("Sample.look", 10)) + pk("TXERR", 9, "never mind"))
	if m := w.message(); m.header.Error != "request body not received" || !m.header.DispatchFailure() {
		t.Errorf("TXERR before the handler ran: reply %s, want transport with dispatch_failure", m.json)
	}
	w.quiet()
}

// Invariant 4.
func exactlyOneReply(t *testing.T) {
	s, w := sampleService(t, nil)
	for i, tt := range []struct{ action, code, text string }{
		{"Sample.panic", "general", "the handler failed"},
		{"Sample.wait", "transport", "service timeout"},
		{"Sample.blind", "", ""},
		{"Sample.fail", "x_no", "no"},
		{"Sample.nothere", "no_action", "no action Sample.nothere~1 with envelope json here"},
	} {
		w.send(msg(i, ask(tt.action, i+1), ""))
		m := w.message()
		if m.header.ErrorCode != tt.code || m.header.Error != tt.text || m.header.ID.String() != fmt.Sprint(i+1) || m.body != "" {
			t.Errorf("%s: reply %s with %q, want id %d, %s %q", tt.action, m.json, m.body, i+1, tt.code, tt.text)
		}
		synctest.Wait()
		w.quiet()
	}
	if n := s.Bus.Stats()["worker_timeout"]; n != 1 {
		t.Errorf("worker_timeout is %d, want 1", n)
	}
}

// TestHandlerLifeIsTheReplys checks what a handler may do with its reply, and when.
func TestHandlerLifeIsTheReplys(t *testing.T) {
	n := scamptest.New(t)
	errs := make(chan []error, 1)
	n.Serve("sample", func(s *scamp.Service) {
		s.Handle("Sample.twice", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
			var all []error
			all = append(all, rep.SetBytes([]byte("one")), rep.SetBytes([]byte("two")))
			_, err := rep.Write([]byte("three"))
			errs <- append(all, err)
			return nil
		}, nil)
		s.Handle("Sample.begun", func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
			_, err := rep.Write([]byte("one"))
			errs <- []error{err, rep.SetBytes([]byte("two"))}
			return nil
		}, nil)
	})
	bus := n.Bus(nil)
	for action, failing := range map[string][]bool{"Sample.twice": {false, true, true}, "Sample.begun": {false, true}} {
		reply, err := bus.Call(t.Context(), &scamp.Request{Action: action})
		if err != nil {
			t.Fatal(err)
		}
		if b, err := reply.Bytes(0); string(b) != "one" || err != nil {
			t.Errorf("%s: %q, %v, want one", action, b, err)
		}
		var got []bool
		for _, err := range <-errs {
			got = append(got, err != nil)
		}
		if !slices.Equal(got, failing) {
			t.Errorf("%s: errors %v, want them at %v", action, got, failing)
		}
	}
}

// An honest peer asks 300 times at once, before it takes any reply: all are served,
// though no more than 256 handlers run for one connection.
func manyAtOnce(t *testing.T) {
	const requests = 300
	for _, header := range []string{
		`{"action":"Sample.blind","envelope":"json","request_id":%d,"sector":"main","type":"request","version":1}`,
		`{"version":1,"action":"Sample.blind","ticket":null,"request_id":%d,"type":"request","envelope":"json"}`, // Perl
	} {
		s, w := sampleService(t, nil)
		var all strings.Builder
		for i := range requests {
			all.WriteString(msg(i, fmt.Sprintf(header, i+1), strings.Repeat("x", 1000*(i%8))))
		}
		w.send(all.String())
		seen := map[string]bool{}
		for range requests {
			m := w.message()
			if m.header.ErrorCode != "" || !m.whole || seen[m.header.ID.String()] {
				t.Errorf("reply %s, ended by %q; want each request served once", m.json, m.txerr)
			}
			seen[m.header.ID.String()] = true
		}
		if n := s.Bus.Stats()["handlers_queued"]; n != requests-256 {
			t.Errorf("handlers_queued is %d, want the %d beyond 256", n, requests-256)
		}
		w.quiet()
	}
}

// While 8 MiB of a connection are unread, new requests on it are refused before
// dispatch; those that run go on, and when they have read, new ones are taken again.
func tooMuchOfOne(t *testing.T) {
	const window, full = 65536, 8 << 20 / 65536
	n := scamptest.New(t)
	read := make(chan struct{})
	free := sync.OnceFunc(func() { close(read) })
	s := n.Serve("slow", func(s *scamp.Service) {
		s.Handle("Slow.size", func(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
			<-read
			size, err := io.Copy(io.Discard, req.Body)
			if err != nil {
				return err
			}
			return rep.SetBytes(fmt.Append(nil, size))
		}, nil)
	})
	t.Cleanup(free) // before the service is stopped
	w := callWire(t, n, s.Addr())
	for i := range full {
		w.send(pk("HEADER", i, ask("Slow.size", i+1)), pk("DATA", i, strings.Repeat("x", window)))
	}
	synctest.Wait()
	w.send(msg(full, ask("Slow.size", full+1), ""))
	synctest.Wait()
	if got := w.arrived(); got != "" {
		t.Errorf("8 MiB unread: %.200q, want nothing refused", got)
	}
	w.send(pk("DATA", 0, "y"), msg(full+1, ask("Slow.size", full+2), ""))
	if m := w.message(); !m.header.DispatchFailure() || m.header.ErrorCode != "transport" || m.header.ID.String() != fmt.Sprint(full+2) {
		t.Errorf("8 MiB and an octet unread: %s, want the new request refused with dispatch_failure", m.json)
	}
	free()
	for i := range full {
		w.send(pk("EOF", i, ""))
	}
	total := 0
	for range full + 1 {
		m := w.message()
		size, err := strconv.Atoi(m.body)
		if total += size; err != nil || m.header.ErrorCode != "" {
			t.Errorf("request that ran: %s %q, want its size", m.json, m.body)
		}
	}
	if total != 8<<20+1 {
		t.Errorf("the handlers read %d octets, want all 8 MiB and one", total)
	}
	w.send(msg(full+2, ask("Slow.size", full+3), "z"))
	if m := w.message(); m.body != "1" {
		t.Errorf("when all was read: %s, want the next request served", m.json)
	}
}
