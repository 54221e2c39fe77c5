package scamptest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// A noted test has cleanups of its own, and keeps what it is told.
type noted struct {
	testing.TB
	errors   []string
	cleanups []func()
}

func (n *noted) Cleanup(f func()) { n.cleanups = append(n.cleanups, f) }
func (n *noted) Errorf(format string, args ...any) {
	n.errors = append(n.errors, fmt.Sprintf(format, args...))
}

// end does what the end of a test does.
func (n *noted) end() {
	for i := len(n.cleanups) - 1; i >= 0; i-- {
		n.cleanups[i]()
	}
}

// deafHandler does not listen to its context.
func deafHandler(end <-chan struct{}) scamp.Handler {
	return func(context.Context, *scamp.Request, *scamp.ReplyWriter) error { <-end; return nil }
}

// deafFunc is one that a caller of its own bus reaches directly.
func deafFunc(end <-chan struct{}) func(context.Context, int) (int, error) {
	return func(_ context.Context, n int) (int, error) { <-end; return n, nil }
}

// TestHandlersMustEnd: a handler that does not return fails the test that has left it, and is
// named, by its name alone; one that returns late does not.
func TestHandlersMustEnd(t *testing.T) {
	for _, tt := range []struct {
		name   string
		direct bool          // the call stays on one bus
		late   time.Duration // after the test has ended
		wants  string
	}{
		{"late", false, 10 * time.Second, ""},
		{"never", false, time.Hour, "deafHandler"},
		{"direct, late", true, 10 * time.Second, ""},
		{"direct", true, time.Hour, "deafFunc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test := &noted{TB: t}
				n, end := scamptest.New(test), make(chan struct{})
				s := n.Serve("deaf", func(s *scamp.Service) {
					s.Handle("Deaf.wait", deafHandler(end), nil)
					scamp.HandleJSON(s, "Deaf.count", deafFunc(end), nil)
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				var err error
				if tt.direct {
					_, err = scamp.Call[int](ctx, s.Bus, "Deaf.count", 1)
				} else {
					_, err = n.Bus(nil).Call(ctx, &scamp.Request{Action: "Deaf.wait"})
				}
				if err == nil {
					t.Error("a call of a handler that hangs ended well")
				}
				n.Kill(s)
				timer := time.AfterFunc(tt.late, func() { close(end) })
				test.end()
				if text := strings.Join(test.errors, "\n"); (text == "") != (tt.wants == "") || !strings.Contains(text, tt.wants) {
					t.Errorf("the test is told %q, want %q in it", text, tt.wants)
				} else if text != "" && !strings.Contains(text, "service deaf; what runs now: github.com/") || strings.Contains(text, "(0x") || strings.Contains(text, "({0x") {
					t.Errorf("the test is told %q, want the service, and names without arguments", text)
				}
				if timer.Stop() {
					close(end)
				}
			})
		})
	}
}
