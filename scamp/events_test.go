package scamp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// subscribe is a whole subscribe as octets.
func subscribe(no, id int, filter string) string {
	return msg(no, fmt.Sprintf(`{"request_id":%d,"type":"subscribe"}`, id), filter)
}

func publish(t testing.TB, s *scamptest.Service, code, key string, value any) {
	t.Helper()
	if err := s.Publish(code, key, value); err != nil {
		t.Error(err)
	}
}

// wantEvent takes the next message, which must be an event with this body.
func wantEvent(t *testing.T, w *wire, body string) {
	t.Helper()
	if m := w.message(); m.header.Type.String() != "event" || m.body != body || !m.whole || !m.header.ID.IsZero() {
		t.Errorf("arrived: %s with %.200q, want an event without an id with %.200q", m.json, m.body, body)
	}
}

// wantDone takes the next message, which must be this answer to a subscribe.
func wantDone(t *testing.T, w *wire, id int, accepted string) {
	t.Helper()
	if m := w.message(); m.header.Type.String() != "subscribe_done" || m.header.ID.String() != fmt.Sprint(id) || m.body != accepted || !m.whole {
		t.Errorf("arrived: %s with %.200q, want subscribe_done %d with %s", m.json, m.body, id, accepted)
	}
}

// The HEADERs come in this order also when the event takes long.
func eventThenDone(t *testing.T) {
	s, w := sampleService(t, nil)
	publish(t, s, "a", "big", strings.Repeat("x", 100000))
	w.send(subscribe(0, 4, `["a"]`))
	first, value := w.begun(), 0
	for p := w.next(); p.Kind.String() == "DATA"; p = w.next() {
		if value += len(p.Body); value == 65536 {
			break
		}
	}
	done := w.message()
	if first.header.Type.String() != "event" || first.no != 0 || done.header.Type.String() != "subscribe_done" || done.no != 1 || done.body != "true" {
		t.Errorf("arrived: %s as message %d, then %s as message %d with %q, want event and subscribe_done true", first.json, first.no, done.json, done.no, done.body)
	}
	w.send(pk("ACK", 0, "65536"))
	if m := w.message(); m.no != 0 || !m.whole || value+len(m.body) < 100000 {
		t.Errorf("the event: message %d, whole %v, %d octets more, want the rest of 100000", m.no, m.whole, len(m.body))
	}
	w.quiet()
}

func eventFilters(t *testing.T) {
	s, w := sampleService(t, nil)
	publish(t, s, "a", "x", 1)
	publish(t, s, "b", "y", "two")
	no := 0
	for _, tt := range []struct{ filter, event, done string }{
		{`["a"]`, `[{"code":"a","key":"x","value":1}]`, "true"},
		{` [ "b" , "a", "a" ] `, `[{"code":"b","key":"y","value":"two"},{"code":"a","key":"x","value":1}]`, "true"},
		{`["nothing"]`, `[]`, "true"},
		{`[]`, `[]`, "true"},
		{`["1","2","3","4","5","6","7","8","9","a"]`, `[{"code":"a","key":"x","value":1}]`, "true"},
		{`null`, "", "true"},
		{`["1","2","3","4","5","6","7","8","9","10","a"]`, "", "false"},
		{``, "", "false"},
		{`"a"`, "", "false"},
		{`{"a":1}`, "", "false"},
		{`["a",null]`, "", "false"},
		{`[1]`, "", "false"},
		{`["a"`, "", "false"},
		{`["` + strings.Repeat("a", 100000) + `"]`, "", "false"},
	} {
		w.send(subscribe(no, no+1, `["a"]`)) // so that there is one to replace
		wantEvent(t, w, `[{"code":"a","key":"x","value":1}]`)
		wantDone(t, w, no+1, "true")
		no++
		w.send(subscribe(no, no+1, tt.filter))
		if tt.event != "" {
			wantEvent(t, w, tt.event)
		}
		wantDone(t, w, no+1, tt.done)
		no++
		publish(t, s, "a", "x", 2)
		publish(t, s, "a", "x", 1)
		synctest.Wait()
		if subscribed := strings.Contains(tt.event, `"code":"a"`); subscribed != strings.Contains(w.arrived(), "event") {
			t.Errorf("after filter %.100q: subscribed is not %v", tt.filter, subscribed)
		}
	}
	w.send(msg(no, `{"action":17,"request_id":99,"type":"subscribe"}`, `["a"]`))
	wantDone(t, w, 99, "false")
}

func eventChanges(t *testing.T) {
	s, w := sampleService(t, nil)
	w.send(subscribe(0, 1, `["a","b"]`))
	wantEvent(t, w, `[]`)
	wantDone(t, w, 1, "true")
	for _, tt := range []struct {
		code, key string
		value     any
		event     string
	}{
		{"a", "x", json.RawMessage(`{"p": 1, "q": [1.50]}`), `[{"code":"a","key":"x","value":{"p":1,"q":[1.50]}}]`},
		{"a", "x", json.RawMessage(`{"q":[1.50],"p":1}`), ""},
		{"a", "x", json.RawMessage(`{"q":[1.5],"p":2}`), `[{"code":"a","key":"x","value":{"q":[1.5],"p":2}}]`},
		{"c", "x", 1, ""},
		{"b", "", "é\n\"", `[{"code":"b","key":"","value":"é\n\""}]`},
		{"a", "x", nil, `[{"code":"a","key":"x","value":null}]`},
		{"a", "x", nil, ""},
		{"a", "x", json.RawMessage(`null`), ""},
		{"a", "never", nil, ""},
		{"a", "x", false, `[{"code":"a","key":"x","value":false}]`},
	} {
		publish(t, s, tt.code, tt.key, tt.value)
		if tt.event == "" {
			w.quiet()
		} else {
			wantEvent(t, w, tt.event)
		}
	}
	w.c.Close()
	synctest.Wait()
	publish(t, s, "a", "x", "to nobody")
}

// A subscribe that has yet to come whole holds up nobody but its connection, and what
// follows on that has its turn after it.
func unfinishedSubscribe(t *testing.T) {
	s, w := sampleService(t, nil)
	publish(t, s, "a", "x", 1)
	w.send(pk("HEADER", 0, `{"request_id":1,"type":"subscribe"}`) + pk("DATA", 0, `["a`))
	synctest.Wait()
	w.send(subscribe(1, 2, `null`), msg(2, ask("Sample.echo", 3), "x"))
	if m := w.message(); m.body != "x" {
		t.Errorf("a request behind an unfinished subscribe: %s with %q, want x", m.json, m.body)
	}
	w.send(pk("DATA", 0, `"]`) + pk("EOF", 0, ""))
	wantEvent(t, w, `[{"code":"a","key":"x","value":1}]`)
	wantDone(t, w, 1, "true")
	wantDone(t, w, 2, "true")
	publish(t, s, "a", "x", 2)
	w.quiet()
	w.send(subscribe(3, 4, `["a"]`), pk("HEADER", 4, `{"request_id":5,"type":"subscribe"}`)+pk("TXERR", 4, "no"))
	wantEvent(t, w, `[{"code":"a","key":"x","value":2}]`)
	wantDone(t, w, 4, "true")
	wantDone(t, w, 5, "false")
	w.send(pk("HEADER", 5, `{"request_id":6,"type":"subscribe"}`)) // the connection ends in the middle of it
}

// A subscriber that is slow is told the latest value of each entry, and one that takes
// nothing for SendStall is cut off.
func TestSlowSubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, w := sampleService(t, nil)
		w.send(subscribe(0, 1, `["a"]`))
		wantEvent(t, w, `[]`)
		wantDone(t, w, 1, "true")
		big := strings.Repeat("x", 100000)
		publish(t, s, "a", "big", big)
		for i := range 5000 {
			publish(t, s, "a", "x", i)
			publish(t, s, "a", fmt.Sprint("gone", i%10), i)
			publish(t, s, "a", fmt.Sprint("gone", i%10), nil)
		}
		synctest.Wait()
		w.send(pk("ACK", 2, "65536"))
		wantEvent(t, w, `[{"code":"a","key":"big","value":"`+big+`"}]`)
		m := w.message()
		if !strings.Contains(m.body, `{"code":"a","key":"x","value":4999}`) || strings.Count(m.body, `"value":null}`) != 10 || strings.Count(m.body, "code") != 11 {
			t.Errorf("after 15,000 changes of 11 entries: event with %.2000q, want the latest of each", m.body)
		}
		w.quiet()
		publish(t, s, "a", "big", big+"x")
		synctest.Wait()
		began := time.Now()
		w.over()
		if took := time.Since(began); took != 60*time.Second || s.Bus.Stats()["subscriber_stalled"] != 1 {
			t.Errorf("a subscriber that takes nothing: cut off after %v, subscriber_stalled %d, want 1m0s and 1", took, s.Bus.Stats()["subscriber_stalled"])
		}
	})
}

// Deletions are not remembered without end: who has missed some begins anew.
func TestSubscriberBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Limits.MaxEventEntries = 20
		s := n.Serve("sample", func(s *scamp.Service) { s.Handle("Sample.echo", echo, nil) })
		stuck, good := callWire(t, n, s.Addr()), callWire(t, n, s.Addr())
		for _, w := range []*wire{stuck, good} {
			w.send(subscribe(0, 1, `["a"]`))
			wantEvent(t, w, `[]`)
			wantDone(t, w, 1, "true")
		}
		good.acks.Store(true)
		publish(t, s, "a", "big", strings.Repeat("x", 100000))
		for i := range 1000 {
			publish(t, s, "a", fmt.Sprint(i), i)
			publish(t, s, "a", fmt.Sprint(i), nil)
			synctest.Wait()
		}
		stuck.send(pk("ACK", 2, "65536"))
		stuck.over()
		if got := s.Bus.Stats()["subscriber_behind"]; got != 1 {
			t.Errorf("subscriber_behind is %d, want 1", got)
		}
		good.quietEvents()
		publish(t, s, "a", "big", 1)
		wantEvent(t, good, `[{"code":"a","key":"big","value":1}]`)
	})
}

// Who is told all that concerns him is not behind, however much others were told meanwhile.
func TestQuietSubscriberIsNotBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Limits.MaxEventEntries = 20
		s := n.Serve("sample", func(s *scamp.Service) { s.Handle("Sample.echo", echo, nil) })
		w := callWire(t, n, s.Addr())
		w.acks.Store(true)
		publish(t, s, "a", "old", 1)
		w.send(subscribe(0, 1, `["a"]`))
		wantEvent(t, w, `[{"code":"a","key":"old","value":1}]`)
		wantDone(t, w, 1, "true")
		for i := range 100 {
			publish(t, s, "b", fmt.Sprint(i), i)
			publish(t, s, "b", fmt.Sprint(i), nil)
		}
		publish(t, s, "a", "old", nil)
		wantEvent(t, w, `[{"code":"a","key":"old","value":null}]`)
		for i := range 100 {
			publish(t, s, "b", fmt.Sprint(i), i)
			publish(t, s, "b", fmt.Sprint(i), nil)
		}
		publish(t, s, "a", "new", 2)
		wantEvent(t, w, `[{"code":"a","key":"new","value":2}]`)
		if got := s.Bus.Stats()["subscriber_behind"]; got != 0 {
			t.Errorf("subscriber_behind is %d, want 0", got)
		}
	})
}

// quietEvents takes what has arrived until a PONG.
func (w *wire) quietEvents() {
	w.ping++
	w.send(fmt.Sprintf("PING %d 0\r\nEND\r\n", w.ping))
	for p := w.next(); p.Kind.String() != "PONG"; p = w.next() {
	}
}

func TestLimitsOfEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Limits.MaxSubscribers, n.Limits.MaxEventEntries, n.Limits.MaxEventOctets = 2, 3, 20000
		s := n.Serve("sample", func(s *scamp.Service) { s.Handle("Sample.echo", echo, nil) })
		publish(t, s, "a", "x", 1) // beside its announcement
		publish(t, s, "a", "y", 1)
		for _, tt := range []struct {
			code, key string
			value     any
			want      string
		}{
			{"a", "z", 1, "MaxEventEntries"},
			{"a", "x", strings.Repeat("x", 20000), "MaxEventOctets"},
			{"announce", "z", 1, "another code"},
			{"a\xff", "z", 1, "UTF-8"},
			{"a", strings.Repeat("z", 1025), 1, "1024 octets"},
			{"a", "x", make(chan int), "unsupported type"},
		} {
			if err := s.Publish(tt.code, tt.key, tt.value); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Publish %.20q, %.20q: %v, want an error with %q", tt.code, tt.key, err, tt.want)
			}
		}
		if got := s.Bus.Stats()["event_refused"]; got != 2 {
			t.Errorf("event_refused is %d, want 2", got)
		}
		publish(t, s, "a", "y", nil)
		publish(t, s, "a", "z", 1)
		var all []*wire
		for i := range 3 {
			w := callWire(t, n, s.Addr())
			w.send(subscribe(0, 1, `["a"]`))
			if i < 2 {
				wantEvent(t, w, `[{"code":"a","key":"x","value":1},{"code":"a","key":"z","value":1}]`)
			}
			wantDone(t, w, 1, fmt.Sprint(i < 2))
			all = append(all, w)
		}
		if got := s.Bus.Stats()["subscribe_refused"]; got != 1 {
			t.Errorf("subscribe_refused is %d, want 1", got)
		}
		all[0].send(subscribe(1, 2, `null`))
		wantDone(t, all[0], 2, "true")
		all[2].send(subscribe(1, 2, `["b"]`))
		wantEvent(t, all[2], `[]`)
		wantDone(t, all[2], 2, "true")
		all[1].c.Close() // with which its subscription ends
		synctest.Wait()
		all[0].send(subscribe(2, 3, `[]`))
		wantEvent(t, all[0], `[]`)
		wantDone(t, all[0], 3, "true")
	})
}

// TestFloodsOfSubscribes has THREATS P18 for a service with events: each subscribe has
// one answer, also behind one that takes its time, and the last one counts.
func TestFloodsOfSubscribes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		s := n.Serve("sample", func(s *scamp.Service) { s.Handle("Sample.echo", echo, nil) })
		w := callWire(t, n, s.Addr())
		w.acks.Store(true)
		publish(t, s, "a", "x", 1)
		no, answers := 0, map[string]int{}
		for _, filter := range []string{`["a"]`, `null`, `[1]`} {
			for range 2000 {
				w.send(subscribe(no, no+1, filter))
				no++
			}
			synctest.Wait()
			for answered := 0; answered < 2000; {
				if m := w.message(); m.header.Type.String() == "subscribe_done" {
					answers[m.body]++
					answered++
				}
			}
			w.quiet()
		}
		// How many wait for their turn at once, and so are refused, is up to the scheduler.
		refused := int(s.Bus.Stats()["subscribe_refused"])
		if answers["true"] == 0 || answers["false"] < 2000 || answers["true"]+answers["false"] != 6000 || refused != answers["false"] {
			t.Errorf("6,000 subscribes got %v and subscribe_refused is %d, want an answer each, and each false one counted", answers, refused)
		}
		before := s.Bus.Stats()["subscribe_refused"]
		w.acks.Store(false)
		publish(t, s, "a", "big", strings.Repeat("x", 100000))
		for i := range 1000 {
			w.send(subscribe(no+i, no+i+1, `["a"]`))
			if i == 0 {
				synctest.Wait() // its event is on its way
			}
		}
		synctest.Wait()
		if got := s.Bus.Stats()["subscribe_refused"] - before; got != 1000-17 {
			t.Errorf("subscribe_refused is %d, want all but 17 of the last 1000", got)
		}
		w.c.Close()
		synctest.Wait()
		again := callWire(t, n, s.Addr())
		again.acks.Store(true)
		again.send(subscribe(0, 1, `["b"]`))
		wantEvent(t, again, `[]`)
		wantDone(t, again, 1, "true")
	})
}

// A service publishes its own announcement, the text that everybody else hears.
func TestAnnouncementIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, w := sampleService(t, nil)
		w.acks.Store(true)
		w.send(subscribe(0, 1, `["announce"]`))
		stamp := int64(0)
		hear := func(weight int) {
			t.Helper()
			var records []struct{ Code, Key, Value string }
			m := w.message()
			if err := json.Unmarshal([]byte(m.body), &records); err != nil || len(records) != 1 || records[0].Code != "announce" || records[0].Key != "" {
				t.Fatalf("event with %.200q: %v, want one record with the announcement", m.body, err)
			}
			a, err := discovery.Parse([]byte(records[0].Value))
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Verify(); err != nil || a.Ident != s.Ident() || a.Weight != weight || a.Timestamp <= stamp {
				t.Errorf("announcement of %s with weight %v at %d: %v, want a newer one of %s with weight %v", a.Ident, a.Weight, a.Timestamp, err, s.Ident(), weight)
			}
			stamp = a.Timestamp
		}
		hear(1)
		wantDone(t, w, 1, "true")
		if err := s.Suspend(t.Context()); err != nil {
			t.Fatal(err)
		}
		hear(0)
		if err := s.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		hear(1)
	})
}

// Notifications reach their handler in order, and a handler that panics or takes long
// does no harm to others.
func TestNotify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log syncBuffer
		n := scamptest.New(t)
		pair := n.KeyPair()
		bus := n.Bus(&scamp.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		heard, ended := make(chan string, 100), make(chan error, 1) // room for all of the test
		svc, err := bus.NewService("sample", &scamp.ServiceOptions{KeyPair: pair, Listen: []string{"127.0.0.1:0"}, Grace: -1,
			Notified: func(ctx context.Context, m *scamp.Notification) {
				switch body := string(m.Data); {
				case body == "panic":
					panic("ouch")
				case body == "wait":
					<-ctx.Done()
					ended <- ctx.Err()
				default:
					heard <- fmt.Sprintf("%.10s %d %v", body, len(body), m.Remote != nil && m.Caller == nil)
				}
			}})
		if err != nil {
			t.Fatal(err)
		}
		svc.Handle("Sample.echo", echo, nil)
		serve(t, svc)
		w := callWire(t, n, svc.Addr())
		notify := `{"type":"notify"}`
		w.send(msg(0, notify, "one"), msg(1, notify, "panic"), msg(2, notify, strings.Repeat("2", 65536)), msg(3, notify, ""))
		w.send(pk("HEADER", 4, notify)+pk("DATA", 4, "broken")+pk("TXERR", 4, ""), msg(5, notify, "wait"))
		for _, want := range []string{"one 3 true", "2222222222 65536 true", " 0 true"} {
			if got := <-heard; got != want {
				t.Errorf("notification: %q, want %q", got, want)
			}
		}
		synctest.Wait()
		if got := bus.Stats()["notify_dropped"]; got != 1 || bus.Stats()["handler_panicked"] != 1 || !strings.Contains(log.String(), "ouch") {
			t.Errorf("notify_dropped is %d, handler_panicked %d, want 1 and 1, and the panic in the log", got, bus.Stats()["handler_panicked"])
		}
		for i := range 100 {
			w.send(msg(6+i, notify, "behind"))
		}
		w.quiet()
		if got := bus.Stats()["notify_dropped"]; got != 1+100-16 {
			t.Errorf("notify_dropped is %d with 100 behind one that takes its time, want 85", got)
		}
		w.c.Close()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("context of the handler: %v, want it ended with the connection", err)
		}
	})
}
