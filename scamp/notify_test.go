package scamp_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// Both ends of a notification, from another bus, within the process, and to a service that
// does not show what it is before it is asked.
func TestBusNotify(t *testing.T) {
	for _, from := range []string{"another bus", "its own bus", "another bus, unknown"} {
		t.Run(from, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scamptest.New(t)
				heard := make(chan string, 10)
				svc := n.ServeWith("sample", &scamp.ServiceOptions{
					OmitBuiltIns: strings.HasSuffix(from, "unknown"),
					Notified: func(_ context.Context, m *scamp.Notification) {
						heard <- m.Remote.Network() + " " + string(m.Data)
					},
				}, func(s *scamp.Service) { s.Handle("Sample.echo", echo, nil) })
				bus, network := n.Bus(nil), "pipe"
				if from == "its own bus" {
					bus, network = svc.Bus, "local"
				}
				req := &scamp.Request{Action: "Sample.echo", Ticket: "not to be sent"}
				for _, tt := range []struct {
					value any
					want  string
				}{
					{"one", `"one"`},
					{nil, "null"},
					{map[string]int{"a": 1}, `{"a":1}`},
					{strings.Repeat("x", 1<<20), `"` + strings.Repeat("x", 1<<20) + `"`},
				} {
					if err := bus.Notify(t.Context(), req, tt.value); err != nil {
						t.Errorf("Notify %.20v: %v", tt.value, err)
						continue
					}
					synctest.Wait()
					if got := <-heard; !strings.HasSuffix(got, " "+tt.want) || network == "local" && !strings.HasPrefix(got, network) {
						t.Errorf("Notify %.20v: heard %.40q, want %.40q from %s", tt.value, got, tt.want, network)
					}
				}
				if got := bus.Stats()["instance_avoided"]; got != 0 {
					t.Errorf("instance_avoided is %d, want 0", got)
				}
			})
		})
	}
}

// What cannot be sent says so, and that nothing was.
func TestNotifyRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scamptest.New(t)
		n.Limits.MaxBody = 1000
		n.Serve("sample", func(s *scamp.Service) { s.Handle("Sample.echo", echo, nil) }) // drains it
		bus := n.Bus(nil)
		over, cancel := context.WithCancel(t.Context())
		cancel()
		for _, tt := range []struct {
			ctx    context.Context
			action string
			value  any
			want   string
			is     error
		}{
			{t.Context(), "Sample.echo", strings.Repeat("x", 998), "", nil},
			{t.Context(), "Sample.echo", strings.Repeat("x", 999), "flow.max_body", nil},
			{t.Context(), "Sample.echo", make(chan int), "unsupported type", nil},
			{t.Context(), "nonsense", 1, "nonsense", nil},
			{t.Context(), "Sample.nobody", 1, "main:Sample.nobody~1", scamp.ErrNotFound},
			{over, "Sample.echo", 1, "canceled", context.Canceled},
		} {
			err := bus.Notify(tt.ctx, &scamp.Request{Action: tt.action, Route: &scamp.RouteOptions{Wait: -1}}, tt.value)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("Notify %s %.20v: %v, want an error with %q", tt.action, tt.value, err, tt.want)
			}
			if ce, ok := errors.AsType[*scamp.CallError](err); tt.is != nil && (!ok || ce.Ran != scamp.RanNo) {
				t.Errorf("Notify %s: %v, want a CallError that says that nothing was sent", tt.action, err)
			}
		}
	})
}

// Old services close a connection for a notify: they get one harmless request at most.
func TestOldServicesAreNotNotified(t *testing.T) {
	for _, tt := range []struct {
		name     string
		announce func(*far, *scamp.Bus)
		answer   string
	}{
		{"Go, announced", (*far).announceGo, ""},
		{"Perl", func(f *far, b *scamp.Bus) { f.announce(b, "far:1", "127.0.0.1:30100") }, msg(0, `{"request_id":1,"error":null}`, `{"actions":[]}`)},
		{"Perl, without the action", func(f *far, b *scamp.Bus) { f.announce(b, "far:1", "127.0.0.1:30100") }, msg(0, `{"request_id":1,"error_code":"general","error":"no"}`, "")},
		{"ours", func(f *far, b *scamp.Bus) { f.announce(b, "far:1", "127.0.0.1:30100") }, msg(0, `{"ext":{"v":1},"request_id":1,"type":"reply","error":"no","error_code":"no_action"}`, "")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFar(t)
				bus := f.bus(nil)
				tt.announce(f, bus)
				done := make(chan error, 1)
				go func() { done <- bus.Notify(t.Context(), &scamp.Request{Action: "Sample.echo"}, "one") }() // ends with its error
				if tt.answer != "" {
					w := f.next()
					if m := w.message(); m.header.Type.String() != "request" || m.header.Action != "_meta.documentation" || m.body != "" {
						t.Errorf("arrived: %s with %q, want a request for documentation", m.json, m.body)
					}
					w.send(tt.answer)
					synctest.Wait()
					if got := w.arrived(); strings.Contains(got, "notify") != (tt.name == "ours") {
						t.Errorf("arrived after its reply: %q", got)
					}
				}
				select {
				case err := <-done:
					ce, _ := errors.AsType[*scamp.CallError](err)
					if tt.name == "ours" && err != nil || tt.name != "ours" && (ce == nil || ce.Ran != scamp.RanNo || !strings.Contains(err.Error(), "not known to have events")) {
						t.Errorf("Notify: %v", err)
					}
				case <-time.After(time.Minute):
					t.Error("Notify does not return")
				}
				if tt.answer == "" && f.dialed() != 0 {
					t.Error("a service known not to have events is dialed")
				}
			})
		})
	}
}
