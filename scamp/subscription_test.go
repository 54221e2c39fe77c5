package scamp_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// subscribed is a subscription to codes of whoever offers Sample.echo.
func subscribed(t testing.TB, bus *scamp.Bus, codes ...string) *scamp.Subscription {
	t.Helper()
	s, err := bus.Subscribe(&scamp.Request{Action: "Sample.echo"}, codes...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func wantReady(t testing.TB, s *scamp.Subscription) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Ready(ctx); err != nil || s.Err() != nil {
		t.Fatalf("Ready: %v, Err %v", err, s.Err())
	}
}

func wantValue(t testing.TB, s *scamp.Subscription, code, key, want string) {
	t.Helper()
	if v, ok := s.Value(code, key); string(v) != want || ok != (want != "") {
		t.Errorf("Value %q, %q: %.100q, %v, want %q", code, key, v, ok, want)
	}
}

// Both roles against each other: the table, its changes, the loss of the instance and
// the table of the next one.
func TestSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		serve := func() *scamptest.Service {
			return n.Serve("sample", func(s *scamp.Service) { s.Handle("Sample.echo", echo, nil) })
		}
		one := serve()
		publish(t, one, "a", "x", 1)
		publish(t, one, "a", "only one", map[string]int{"n": 1})
		bus := n.Bus(nil)
		s := subscribed(t, bus, "a", "announce")
		wantReady(t, s)
		if s.Instance() != one.Ident() {
			t.Errorf("Instance is %q, want %q", s.Instance(), one.Ident())
		}
		wantValue(t, s, "a", "x", "1")
		wantValue(t, s, "a", "only one", `{"n":1}`)
		wantValue(t, s, "a", "none", "")
		if v, _ := s.Value("announce", ""); !strings.Contains(string(v), one.Ident()) {
			t.Errorf("the announcement: %.100q, want one of %s", v, one.Ident())
		}
		var heard []string
		follow, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { // ends with follow
			defer close(done)
			for e := range s.Changes(follow) {
				if e.Code == "a" {
					heard = append(heard, fmt.Sprintf("%s=%s", e.Key, e.Value))
				}
			}
		}()
		synctest.Wait()
		publish(t, one, "a", "x", 2)
		publish(t, one, "b", "x", "nobody asked")
		synctest.Wait()
		publish(t, one, "a", "x", nil)
		synctest.Wait()
		wantValue(t, s, "a", "x", "")
		<-time.After(10 * time.Minute) // heartbeats keep a quiet connection
		if got := bus.Stats()["subscription_lost"]; got != 0 || s.Err() != nil {
			t.Errorf("after ten quiet minutes: subscription_lost %d, %v, want none", got, s.Err())
		}
		two := serve()
		publish(t, two, "a", "y", true)
		n.Kill(one)
		synctest.Wait()
		if err := s.Err(); !errors.Is(err, scamp.ErrLost) {
			t.Errorf("Err after the instance is gone: %v, want ErrLost", err)
		}
		wantValue(t, s, "a", "only one", "") // not usable now
		wantReady(t, s)
		synctest.Wait()
		if s.Instance() != two.Ident() {
			t.Errorf("Instance is %q, want the other one, %q", s.Instance(), two.Ident())
		}
		stop()
		<-done
		if want := []string{"x=1", `only one={"n":1}`, "x=2", "x=", "only one=", "y=true"}; !slices.Equal(heard, want) {
			t.Errorf("changes: %q, want %q", heard, want)
		}
		if got := bus.Stats()["subscription_lost"]; got != 1 {
			t.Errorf("subscription_lost is %d, want 1", got)
		}
		s.Close()
		for e := range s.Changes(t.Context()) {
			t.Errorf("change after Close: %+v", e)
		}
		if err := s.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("Ready after Close: %v, want that it is closed", err)
		}
	})
}

// The next table takes the place of the last one as a whole, also where both together are
// more than may be held.
func TestNextTableIsWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Limits.MaxEventOctets = 20000
		serve := func() *scamptest.Service {
			return n.Serve("sample", func(s *scamp.Service) { s.Handle("Sample.echo", echo, nil) })
		}
		big := strings.Repeat("x", 12000)
		one := serve()
		publish(t, one, "a", "shrinks", big)
		publish(t, one, "a", "grows", 1)
		publish(t, one, "a", "goes", 1)
		s := subscribed(t, n.Bus(nil), "a")
		wantReady(t, s)
		two := serve()
		publish(t, two, "a", "grows", big) // told first
		publish(t, two, "a", "shrinks", 2)
		publish(t, two, "a", "comes", 2)
		n.Kill(one)
		synctest.Wait()
		wantReady(t, s)
		if s.Instance() != two.Ident() {
			t.Errorf("Instance is %q, want the other one, %q", s.Instance(), two.Ident())
		}
		wantValue(t, s, "a", "grows", `"`+big+`"`)
		wantValue(t, s, "a", "shrinks", "2")
		wantValue(t, s, "a", "comes", "2")
		wantValue(t, s, "a", "goes", "")
	})
}

// A slow consumer hears the latest, and that he missed deletions, if he did.
func TestSlowConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Limits.MaxEventEntries = 20
		svc := n.Serve("sample", func(s *scamp.Service) { s.Handle("Sample.echo", echo, nil) })
		s := subscribed(t, n.Bus(nil), "a")
		wantReady(t, s)
		publish(t, svc, "a", "x", 0)
		var heard []string
		for e := range s.Changes(t.Context()) {
			heard = append(heard, fmt.Sprintf("%s=%s %v", e.Key, e.Value, e.Reset))
			if len(heard) == 1 {
				for i := range 100 {
					publish(t, svc, "a", "x", i)
					publish(t, svc, "a", fmt.Sprint("gone", i), i)
					synctest.Wait()
					publish(t, svc, "a", fmt.Sprint("gone", i), nil)
					synctest.Wait()
				}
			}
			if e.Key == "x" && string(e.Value) == "99" {
				break
			}
		}
		if want := []string{"x=0 false", "= true", "x=99 false"}; !slices.Equal(heard, want) {
			t.Errorf("a slow consumer hears %q, want %q", heard, want)
		}
	})
}

// announceEvents makes bus believe that the far service has events, as JavaScript ones say.
func (f *far) announceEvents(bus *scamp.Bus) {
	f.announce(bus, "far-AAECAwQFBgcICQoLDA0ODxAR", "127.0.0.1:30100", discovery.Action{Class: "Sample", Name: "echo"}, discovery.Action{Class: "far", Name: "queue_depth"})
}

// The octets of a subscription to a service of another make, and what it makes of events
// that are strange.
func TestSubscriptionToJavaScript(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		bus := f.bus(nil)
		f.announceEvents(bus)
		s := subscribed(t, bus, "a", "b")
		w := f.next()
		if m := w.message(); m.json != `{"ext":{"v":1,"win":1048576,"cancel":1},"request_id":1,"type":"subscribe"}` || m.body != `["a","b"]` || m.no != 0 {
			t.Errorf("arrived: message %d %s with %q, want subscribe 1 for a and b", m.no, m.json, m.body)
		}
		long := strings.Repeat("x", 50000)
		w.send(pk("HEADER", 0, `{"type":"event"}`)+pk("DATA", 0, `[{"code":"a","key":"x","value":1},{"code":"b","key":"","value":"`+long[:20000]),
			msg(1, `{"type":"subscribe_done","request_id":1}`, "true")) // before the event is complete
		synctest.Wait()
		wantValue(t, s, "a", "x", "")
		w.send(pk("DATA", 0, long[20000:]+`"}]`) + pk("EOF", 0, ""))
		wantReady(t, s)
		wantValue(t, s, "a", "x", "1")
		wantValue(t, s, "b", "", `"`+long+`"`)
		for i, tt := range []struct{ event, want string }{
			{`[{"code":"a","key":"x","value": {"n" : 2} }]`, `{"n":2}`},
			{`[7,null,"x",[],{},{"code":"a"},{"code":"a","key":"x"},{"code":1,"key":"x","value":0},{"code":null,"key":"x","value":0},{"Code":"a","key":"x","value":0},{"code":"a","key":"x","value":3,"more":[{}]}]`, "3"},
			{`{"code":"a","key":"x","value":4}`, "3"},
			{``, "3"},
			{`[{"code":"a","key":"x","value":5}`, "3"},
			{`[{"code":"a","key":"x","value":null}]`, ""},
			{`[{"code":"c","key":"x","value":1},{"code":"a","key":"x","value":false}]`, "false"},
		} {
			w.send(msg(2+i, `{"type":"event"}`, tt.event))
			synctest.Wait()
			wantValue(t, s, "a", "x", tt.want)
			wantValue(t, s, "c", "x", "")
		}
		if got := bus.Stats()["event_malformed"]; got != 3 {
			t.Errorf("event_malformed is %d, want 3", got)
		}
		w.send(msg(9, `{"type":"banana"}`, ""), msg(10, `{"type":"subscribe_done","request_id":1}`, "true"))
		began := time.Now() // nobody heard anything since
		w.mute.Store(true)
		w.over()
		if took := time.Since(began); took < 15*time.Second || took > 45*time.Second {
			t.Errorf("a service that does not answer PING is given up after %v, want 15 s to 45 s", took)
		}
	})
}

// Nothing that old services do not know is sent to them; they get one harmless request
// at most (PROTOCOL 14).
func TestOldServicesAreNotSubscribed(t *testing.T) {
	for _, tt := range []struct {
		name     string
		announce func(*far, *scamp.Bus)
		answer   string
	}{
		{"Go, announced", (*far).announceGo, ""},
		{"Go, Rust", func(f *far, b *scamp.Bus) { f.announce(b, "far:1", "127.0.0.1:30100") }, goReply(0, 1, "")},
		{"Perl", func(f *far, b *scamp.Bus) { f.announce(b, "far:1", "127.0.0.1:30100") }, msg(0, `{"request_id":1,"error":null}`, `{"actions":[]}`)},
		{"ours", func(f *far, b *scamp.Bus) { f.announce(b, "far:1", "127.0.0.1:30100") }, msg(0, `{"ext":{"v":1},"request_id":1,"type":"reply","error":"no","error_code":"no_action"}`, "")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFar(t)
				bus := f.bus(nil)
				tt.announce(f, bus)
				s := subscribed(t, bus, "a")
				if tt.answer == "" {
					synctest.Wait()
					if f.dialed() != 0 {
						t.Error("a service known not to have events is dialed")
					}
				} else {
					w := f.next()
					if m := w.message(); m.header.Type.String() != "request" || m.header.Action != "_meta.documentation" || m.body != "" {
						t.Errorf("arrived: %s with %q, want a request for documentation", m.json, m.body)
					}
					w.send(tt.answer)
					synctest.Wait()
					if got := w.arrived(); strings.Contains(got, "subscribe") != (tt.name == "ours") {
						t.Errorf("arrived after its reply: %q", got)
					}
				}
				if err := s.Err(); err == nil || strings.Contains(err.Error(), "not known to have events") != (tt.name != "ours") {
					t.Errorf("Err: %v", err)
				}
			})
		})
	}
}

// A subscription that is refused, not answered, or broken is tried again: after 50 ms,
// then twice as long each time up to 10 s, and 50 ms again after it worked. By chance it
// is up to a quarter longer.
func TestSubscriptionIsTriedAgain(t *testing.T) {
	t.Run("least jitter", func(t *testing.T) {
		subscriptionTriedAgain(t, func(int) int { return 0 }, func(time.Duration) time.Duration { return 0 })
	})
	t.Run("most jitter", func(t *testing.T) {
		subscriptionTriedAgain(t, func(n int) int { return n - 1 }, func(pause time.Duration) time.Duration {
			return (pause / 4).Truncate(time.Millisecond)
		})
	})
}

func subscriptionTriedAgain(t *testing.T, rand func(n int) int, jitter func(pause time.Duration) time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		bus := f.bus(&scamp.Options{Limits: scamp.Limits{MaxEventEntries: 100}, Rand: rand})
		f.announceEvents(bus)
		s := subscribed(t, bus, "a")
		pause := 50 * time.Millisecond
		const done = `{"type":"subscribe_done","request_id":1}`
		for i, tt := range []struct {
			answer, want string
			works        bool
		}{
			{msg(0, done, "false"), "does not accept", false},
			{msg(0, done, `"true"`), "does not accept", false},
			{pk("HEADER", 0, `{"type":"event"}`) + pk("TXERR", 0, "no"), "broke off", false},
			{msg(0, `{"type":"event"}`, `[`+strings.Repeat(`{"code":"a","key":"","value":1},`, 101)+`1]`), "table of events is full", false},
			{"", "no answer to the subscription", false},
			{msg(0, `{"type":"event"}`, `[]`) + msg(1, done, "true"), "", true},
			{msg(0, done, "false"), "does not accept", false},
		} {
			w := f.next()
			w.message()
			began := time.Now()
			w.send(tt.answer)
			if tt.works {
				wantReady(t, s)
				w.c.Close()
				pause = 50 * time.Millisecond
			}
			if tt.answer == "" {
				<-time.After(75*time.Second - 2*time.Millisecond)
				w.quiet()
				f.announceEvents(bus) // it has expired
			}
			w.over()
			synctest.Wait()
			if err := s.Err(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("attempt %d: Err %v, want %q", i, err, tt.want)
			}
			if took := time.Since(began); tt.answer == "" && took > 75*time.Second {
				t.Errorf("attempt %d: given up after %v, want 75 s", i, took)
			}
			dialed := f.dialed()
			rest := pause + jitter(pause)
			<-time.After(rest - time.Millisecond)
			synctest.Wait()
			if f.dialed() != dialed {
				t.Errorf("attempt %d: tried again before %v have passed", i, rest)
			}
			<-time.After(2 * time.Millisecond)
			synctest.Wait()
			if f.dialed() != dialed+1 {
				t.Errorf("attempt %d: not tried again after %v", i, rest)
			}
			pause *= 2
		}
	})
}

// A service that never ends an event and sends more behind it is cut off.
func TestFloodOfEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		bus := f.bus(nil)
		f.announceEvents(bus)
		subscribed(t, bus, "a")
		w := f.next()
		w.message()
		w.send(pk("HEADER", 0, `{"type":"event"}`) + pk("DATA", 0, "["))
		for i := range 2000 {
			w.send(msg(1+i, `{"type":"event"}`, "[]"))
		}
		w.over()
		synctest.Wait()
		if got := bus.Stats()["event_flood"]; got != 1 {
			t.Errorf("event_flood is %d, want 1", got)
		}
	})
}

func TestSubscribeRefusesWhatCannotBe(t *testing.T) {
	bus := scamptest.New(t).Bus(nil)
	for _, tt := range []struct {
		req   scamp.Request
		codes []string
		want  string
	}{
		{scamp.Request{Action: "Sample.echo"}, nil, "want 1 to 10"},
		{scamp.Request{Action: "Sample.echo"}, make([]string, 11), "want 1 to 10"},
		{scamp.Request{Action: "Sample.echo"}, []string{"\xff"}, "UTF-8"},
		{scamp.Request{Action: "nodot"}, []string{"a"}, "nodot"},
	} {
		if s, err := bus.Subscribe(&tt.req, tt.codes...); s != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Subscribe %q, %q: %v, want an error with %q", tt.req.Action, tt.codes, err, tt.want)
		}
	}
	s, err := bus.Subscribe(&scamp.Request{Action: "Sample.echo", Route: &scamp.RouteOptions{Wait: -1}}, "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := s.Ready(ctx); !errors.Is(err, scamp.ErrNotFound) || !errors.Is(err, scamp.ErrTimeout) {
		t.Errorf("Ready where nobody offers the action: %v, want ErrTimeout and ErrNotFound", err)
	}
	bus.Close()
	if err := s.Ready(t.Context()); err == nil {
		t.Error("Ready after the bus is closed: no error")
	}
	if _, err := bus.Subscribe(&scamp.Request{Action: "Sample.echo"}, "a"); err == nil {
		t.Error("Subscribe after the bus is closed: no error")
	}
	s.Close()
}

// Ready says what it waits for: an instance, which one, or its answer.
func TestReadySaysWhatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		bus := f.bus(nil)
		for _, tt := range []struct {
			name     string
			announce bool
			after    time.Duration
			want     []string
			is       error
		}{
			{"nobody, soon", false, 500 * time.Millisecond, []string{"main:Sample.echo~1", "timed out"}, scamp.ErrNotFound},
			{"nobody, later", false, 20 * time.Second, []string{"main:Sample.echo~1", "timed out"}, scamp.ErrNotFound},
			{"one that does not answer", true, 5 * time.Second, []string{"main:Sample.echo~1 at far:1 (127.0.0.1:30100)", "has not answered the subscription yet"}, scamp.ErrTimeout},
		} {
			if tt.announce {
				f.announce(bus, "far:1", "127.0.0.1:30100")
			}
			s, err := bus.Subscribe(&scamp.Request{Action: "Sample.echo"}, "a")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), tt.after)
			err = s.Ready(ctx)
			cancel()
			ce, _ := errors.AsType[*scamp.CallError](err)
			if ce == nil || !errors.Is(err, tt.is) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: Ready: %v, want a CallError that is %v", tt.name, err, tt.is)
			}
			for _, want := range tt.want {
				if !strings.Contains(fmt.Sprint(err), want) {
					t.Errorf("%s: Ready: %v, want %q in it", tt.name, err, want)
				}
			}
			s.Close()
		}
	})
}
